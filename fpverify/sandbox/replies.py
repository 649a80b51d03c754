"""Parses and validates the replies of the sandboxed process; their content is untrusted.

A model that has taken over its process can write any bytes here. Nothing is unpickled, no size is taken on trust, and
whatever does not fit is an error of the suspect.
"""

import json
import struct
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fpverify.errors import SuspectError
from fpverify.sandbox.frames import MAX_TEXT, exactly, refuse

if TYPE_CHECKING:
    from fpverify.sandbox.outputs import Output

MAX_HEADER_BYTES = 2**22
"""Bytes of a header, in which a model's texts are. As objects it takes twenty times that."""


@dataclass(frozen=True)
class Reply:
    """A frame from the child."""

    header: dict[str, Any]
    """Its checked-for-shape JSON object."""
    outputs: "tuple[Output, ...]"
    """Outputs, if it holds any."""


def read_reply(stream: IO[bytes]) -> Reply:
    """Read one frame.

    Args:
        stream: what the child writes to.

    Returns:
        The reply.

    Raises:
        EOFError: if the stream ends before the frame does.
        SuspectError: if the bytes are no reply.
    """
    (size,) = struct.unpack("<Q", exactly(stream, 8))
    if size > MAX_HEADER_BYTES:
        raise SuspectError(f"sent an invalid reply: a header of {size} bytes")
    try:
        header = json.loads(exactly(stream, size))
    except (ValueError, RecursionError) as error:
        raise SuspectError("sent an invalid reply: its header is no JSON") from error
    if not isinstance(header, dict):
        refuse("its header is no object")
    entries = header.get("outputs", [])
    if not isinstance(entries, list):
        refuse("its outputs are no list")
    if not entries:
        return Reply(header, ())
    from fpverify.sandbox.outputs import read_outputs  # here: a model is told to load before NumPy is imported

    return Reply(header, read_outputs(stream, entries))


def check_held(header: dict[str, Any], asked: dict[str, float]) -> dict[str, Any]:
    """Check what a process says when it has limited itself, before it has seen the model.

    Args:
        header: its reply.
        asked: the limits that it was given: `memory`, `cpu_seconds` and `open_files`.

    Returns:
        The same header.

    Raises:
        SuspectError: if a value is of a wrong type, or a limit is larger than the one asked.
    """
    held = header.get("held")
    if not isinstance(held, dict) or set(held) != {*asked, "no_writing", "landlock", "seccomp"}:
        refuse("it does not say which limits hold")
    for name, most in asked.items():
        value = held[name]
        kinds = (int, float) if name == "cpu_seconds" else (int,)
        if value is not None and (type(value) not in kinds or not 0 < value <= most):
            refuse(f"its limit {name} is not the one that was asked")
    if type(held["no_writing"]) is not bool or type(held["seccomp"]) is not bool:
        refuse("it does not say whether it can write")
    if type(held["landlock"]) is not int or not 0 <= held["landlock"] < 1000:
        refuse("it does not say which files it can read")
    check_text(header, "runtime", "which ONNX Runtime it is")
    return header


def check_text(header: dict[str, Any], name: str, what: str) -> str:
    """Return a short text of a reply.

    Args:
        header: the reply.
        name: the field.
        what: what it says, for the error.

    Raises:
        SuspectError: if it is none.
    """
    value = header.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        refuse(f"it does not say {what}")
    return value


def limits_of(pid: int, asked: dict[str, float]) -> dict[str, Any] | None:
    """Read from the system, on Linux, which of the limits asked a process runs under; None elsewhere.

    Landlock's rules alone cannot be read from outside.
    """
    if sys.platform != "linux":
        return None
    import resource

    held: dict[str, Any] = {"memory": None, "cpu_seconds": None, "open_files": None, "no_writing": False}
    held["seccomp"] = False
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            held["seccomp"] = "Seccomp:\t2\n" in file.read(2**16)
        for name, which in (("memory", resource.RLIMIT_AS), ("open_files", resource.RLIMIT_NOFILE)):
            _, most = resource.prlimit(pid, which)
            held[name] = most if 0 <= most <= asked[name] else None
        soft, _ = resource.prlimit(pid, resource.RLIMIT_CPU)
        # The process adds what it had used before, which is a second of imports.
        held["cpu_seconds"] = asked["cpu_seconds"] if 0 <= soft <= asked["cpu_seconds"] + 10 else None
        held["no_writing"] = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1] == 0
    except OSError:
        pass  # what cannot be read is not said to hold
    return held
