"""Parses and validates the replies of the sandboxed process; their content is untrusted.

A model that has taken over its process can write any bytes here. Nothing is unpickled, no size is taken on trust, and
whatever does not fit is an error of the suspect.
"""

import json
import math
import struct
import sys
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.text import one_line

MAX_HEADER_BYTES = 2**22
"""Bytes of a header, in which a model's texts are. As objects it takes twenty times that."""

MAX_BODY_BYTES = 2**27
"""Bytes of all arrays of a reply: 100 answers of 160,000 double-precision scores."""

MAX_OUTPUTS = 1000
"""Outputs of one model."""

MAX_TEXT = 1000
"""Characters of one text or key."""

MAX_TEXTS = 2**20
"""Characters of all texts of an output."""

MAX_TABLE = 2**24
"""Characters of an output's texts where each is as long as the longest, as NumPy holds them."""

DTYPES = frozenset(
    np.dtype(name).str
    for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")  # numbers and nothing else
)
"""Element types that an array may have."""


@dataclass(frozen=True)
class Output:
    """What a model returned for all inputs under one name."""

    name: str
    """As the file has it."""
    array: NDArray[Any] | None
    """`(n, …)` numbers; None if the output has none."""
    texts: NDArray[np.object_] | None = None
    """`(n, …)` texts; None if the output has none."""
    columns: tuple[int | str, ...] | None = None
    """Of a sequence of maps: the keys, one for each column of `array`."""
    other: str | None = None
    """What it is instead, in words, if it can be no answer."""


@dataclass(frozen=True)
class Reply:
    """A frame from the child."""

    header: dict[str, Any]
    """Its checked-for-shape JSON object."""
    outputs: tuple[Output, ...]
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
    (size,) = struct.unpack("<Q", _exactly(stream, 8))
    if size > MAX_HEADER_BYTES:
        raise SuspectError(f"sent an invalid reply: a header of {size} bytes")
    try:
        header = json.loads(_exactly(stream, size))
    except (ValueError, RecursionError) as error:
        raise SuspectError("sent an invalid reply: its header is no JSON") from error
    if not isinstance(header, dict):
        _refuse("its header is no object")
    entries = header.get("outputs", [])
    if not isinstance(entries, list):
        _refuse("its outputs are no list")
    if len(entries) > MAX_OUTPUTS:
        raise SuspectError(f"has {len(entries)} outputs; at most {MAX_OUTPUTS} are read")
    left = MAX_BODY_BYTES
    outputs = []
    for entry in entries:
        output = _read_output(stream, entry, left)
        left -= 0 if output.array is None else output.array.nbytes
        outputs.append(output)
    return Reply(header, tuple(outputs))


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
        _refuse("it does not say which limits hold")
    for name, most in asked.items():
        value = held[name]
        kinds = (int, float) if name == "cpu_seconds" else (int,)
        if value is not None and (type(value) not in kinds or not 0 < value <= most):
            _refuse(f"its limit {name} is not the one that was asked")
    if type(held["no_writing"]) is not bool or type(held["seccomp"]) is not bool:
        _refuse("it does not say whether it can write")
    if type(held["landlock"]) is not int or not 0 <= held["landlock"] < 1000:
        _refuse("it does not say which files it can read")
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
        _refuse(f"it does not say {what}")
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


def _read_output(stream: IO[bytes], entry: Any, left: int) -> Output:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        _refuse("an output has no name")
    name, kind = entry["name"], entry.get("kind")
    if kind == "other" and isinstance(entry.get("what"), str):
        return Output(name, None, other=one_line(entry["what"], 200))
    shape = _shape(entry.get("shape"))
    if kind == "texts":
        texts = entry.get("texts")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            _refuse("an output's texts are none")
        if len(texts) != math.prod(shape):
            _refuse("an output's texts do not fit its shape")
        longest = max(map(len, texts), default=0)
        if longest > MAX_TEXT or sum(map(len, texts)) > MAX_TEXTS or longest * len(texts) > MAX_TABLE:
            _refuse("an output's texts are too long")
        array: NDArray[np.object_] = np.empty(len(texts), np.object_)
        array[:] = texts
        return Output(name, None, texts=array.reshape(shape))
    if kind not in ("array", "maps") or not isinstance(entry.get("dtype"), str) or entry.get("dtype") not in DTYPES:
        _refuse("an output is of no known kind")
    numbers = _numbers(stream, entry["dtype"], shape, left)
    return Output(name, numbers, columns=_columns(entry.get("keys"), shape) if kind == "maps" else None)


def _numbers(stream: IO[bytes], name: str, shape: tuple[int, ...], left: int) -> NDArray[Any]:
    dtype = np.dtype(name)
    size = math.prod(shape) * dtype.itemsize
    if size > left:
        _refuse(f"its arrays are longer than {MAX_BODY_BYTES} bytes")
    return np.frombuffer(_exactly(stream, size), dtype).reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    sound = isinstance(value, list) and 1 <= len(value) <= 16
    if not sound or not all(type(size) is int and 0 <= size < 2**40 for size in value):
        _refuse("an output has no shape")
    return tuple(value)


def _columns(keys: Any, shape: tuple[int, ...]) -> tuple[int | str, ...]:
    if not isinstance(keys, list) or not all(type(key) in (int, str) for key in keys) or shape[1:] != (len(keys),):
        _refuse("a map's keys do not fit its values")
    if any(type(key) is str and len(key) > MAX_TEXT for key in keys):
        _refuse("a map's keys are too long")
    return tuple(keys)


def _refuse(what: str) -> NoReturn:
    raise SuspectError(f"sent an invalid reply: {what}")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = stream.read(min(size - len(content), 2**20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)
