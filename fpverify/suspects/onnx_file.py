"""An ONNX file as a suspect: surveyed without being run, then run in a sandbox.

ONNX Runtime is never imported here: this process reads the file's bytes with its own bounded reader, and checks what
the child may open.
"""

import contextlib
import functools
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.files import regular_file_size
from fpverify.onnx_format import OnnxHeader, Survey, read_onnx_header, survey_model
from fpverify.onnx_format.external import digest_of, external_files
from fpverify.onnx_format.wrong_files import newer_than_runtime, what_is, what_path
from fpverify.result import HeldLimits, SuspectInfo
from fpverify.sandbox.copies import Copies, most_copied
from fpverify.sandbox.parent import Sandbox
from fpverify.suspects.interface import Suspect, named
from fpverify.text import one_line

if TYPE_CHECKING:  # no NumPy: a file is opened before it is imported
    from numpy.typing import NDArray

    from fpverify.sandbox.outputs import Output

Read = TypeVar("Read")

SIZE = 2
"""Where a file's size is in what `_states` returns."""

CHUNK_BYTES = 2**17
"""Inputs that are run at once, in bytes, where the file lets us choose: ten of 3x32x32. Larger chunks took more memory
and were no faster (`tests/benchmarks/verify_overhead.py`)."""

MODEL_SHARE = 64
"""Of a large model, inputs of this share of its size are run at once: each chunk reads all weights from memory."""

MIN_CHUNK = 4
"""Inputs that are run at once, however large: one by one, a ResNet-50 took a tenth longer."""


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says and does, without being run."""

    path: str
    """The file."""
    bytes: int
    """Its size."""
    header: OnnxHeader
    """What it says about itself."""
    survey: Survey
    """What its graphs do."""


def read_onnx_file(
    path: str | os.PathLike[str], otherwise: str = "no ONNX model", content: memoryview | None = None
) -> OnnxFile:
    """Read a file without running it.

    Args:
        path: the file.
        otherwise: what to call it if it is no model.
        content: its bytes, where they were read before; else they are read now.

    Returns:
        What it says and does.

    Raises:
        SuspectError: if it cannot be read, or is no ONNX model.
    """
    name = os.fspath(path)
    whole = _mapped(name) if content is None else content
    if len(whole) == 0:
        raise SuspectError("empty: 0 bytes", culprit=name)
    try:
        return OnnxFile(name, len(whole), read_onnx_header(whole), survey_model(whole))
    except SuspectError as error:
        known = what_is(whole)
        why = f"{otherwise} that can be read: {error}" if known is None else f"{otherwise}: {known}"
        own = f"if it is your own description of an endpoint, write endpoint:{name}"
        raise SuspectError(why, culprit=name, hint=own if name.lower().endswith(".toml") else "") from error


def _mapped(path: str) -> memoryview:
    """Return a file's bytes; it is mapped for as long as anything refers to it, which an error's traceback may."""
    if _size_of(path) == 0:
        return memoryview(b"")
    with _readable(path), open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class OnnxSuspect(Suspect):
    """An ONNX file in a sandbox."""

    sandboxed = True

    def __init__(self, sandbox: Sandbox, path: str | os.PathLike[str]) -> None:
        """Survey the file and let the child load it, without waiting for that."""
        self._sandbox, self.path = sandbox, os.fspath(path)
        self.name = self.path
        self._until = time.monotonic() + sandbox.limits.seconds
        self._digests: dict[str, str] = {}
        self._provider: str | None = None
        self._one_at_a_time = False
        copies = sandbox.copies if _size_of(self.path) <= most_copied() else None
        before = _states(self.path, {self.path: self.path})  # before the copy: what is surveyed is what was there then
        if copies is not None:
            self._timely(self.path, functools.partial(copies.add_model, self.path, self._until))
        self._file = read_onnx_file(path, content=None if copies is None else copies.view())
        self.stated = self._file.header
        self._files = {self.path: self.path, **external_files(self.path, self._file.survey.external)}
        self._before = {**_states(self.path, self._files), **before}
        self._bytes = sum(state[SIZE] for state in self._before.values())
        self._private = copies is not None and self._bytes <= most_copied()
        if copies is not None and self._private:
            self._copy_data(copies)
        sandbox.start_loading(list(self._files.values()), self._bytes, self._private)

    def _copy_data(self, copies: Copies) -> None:
        """Copy the files that the model reads, each once, and seal the copies against changes."""
        by_file: dict[tuple[int, ...], list[str]] = {}
        for location in self._file.survey.external:
            by_file.setdefault(self._before[location], []).append(location)
        for locations in by_file.values():
            add = functools.partial(copies.add_data, locations, self._files[locations[0]], self._until)
            self._timely(locations[0], add)
        with _readable(self.path):
            copies.seal()

    def _timely(self, name: str, read: Callable[[], Read | None]) -> Read:
        """Read a file, unless that takes too long."""
        with _readable(self.path), named(self.path):
            found = read()
        if found is None:
            seconds = self._sandbox.limits.seconds
            raise SuspectError(f"took longer than {seconds:g} s to read {name!r:.100} (--timeout)", culprit=self.path)
        return found

    def prepare(self) -> None:
        """Identify its files and wait until it is loaded, the first time.

        Raises:
            SuspectError: if it cannot be loaded within the limits, or its files change meanwhile.
        """
        if self._provider is not None:
            return
        self._digest_files()
        with named(self.path):
            try:
                provider = self._sandbox.loaded()
            except SuspectError as error:
                newer = newer_than_runtime(str(error), self.stated.opsets)
                if newer is None:
                    raise
                raise SuspectError(newer) from error
        # What was hashed must be what was loaded, also where somebody writes to the folder meanwhile.
        if not self._private and self._before != _states(self.path, self._files):
            raise SuspectError(
                "changed while it was being read", culprit=self.path, hint="judge a copy that nobody writes to"
            )
        self._provider = provider

    def _digest_files(self) -> None:
        """Take the SHA-256 of each file while it is being loaded; one that goes by several locations is read once."""
        copies, known = self._sandbox.copies if self._private else None, {}
        for name, file in self._files.items():
            state = name == self.path, self._before[name]  # the model's copy is another than those of what it reads
            if state not in known:
                read = functools.partial(digest_of, file, self._until)
                if copies is not None:
                    read = functools.partial(copies.digest, None if name == self.path else name, self._until)
                known[state] = self._timely(name, read)
            self._digests[name] = known[state]

    @property
    def info(self) -> SuspectInfo:
        """Return the file with its digests."""
        external = {location: self._digests[location] for location in self._file.survey.external}
        sha256 = self._digests[self.path]
        return SuspectInfo("onnx", one_line(self.path), self.path, sha256, external, self._provider)

    @property
    def alive(self) -> bool:
        """Say whether its process can still be asked."""
        return self._sandbox.alive

    @property
    def seconds_left(self) -> float:
        """Return how much of the time limit is left, in seconds."""
        return self._until - time.monotonic()

    @property
    def limits(self) -> HeldLimits:
        """Return the limits that its process runs under."""
        return self._sandbox.held

    @property
    def runtime(self) -> str:
        """Return ONNX Runtime's version."""
        return self._sandbox.runtime

    @property
    def unsteady(self) -> tuple[str, ...]:
        """Return what in the file makes answers depend on chance or on the batch."""
        survey, reasons = self._file.survey, []
        if survey.training:
            left = " and ".join(survey.training)
            reasons.append(
                f"the file leaves {left} in training mode, so its answers depend on chance or on their batch"
            )
        if survey.random:
            reasons.append(f"the file draws random numbers ({', '.join(survey.random)}), so its answers may vary")
        return tuple(reasons)

    def __repr__(self) -> str:
        return f"OnnxSuspect({self.path!r})"

    def run(self, inputs: "NDArray[Any]", contract: SuspectContract, one_at_a_time: bool) -> "tuple[Output, ...]":
        """Run the model on inputs in its sandbox, a few at once; see `Suspect.run`."""
        chunk = min(len(inputs), max(MIN_CHUNK, max(CHUNK_BYTES, self._bytes // MODEL_SHARE) // inputs[0].nbytes))
        chunk = contract.batch or (1 if one_at_a_time or self._one_at_a_time else chunk)
        request = {
            "input": contract.input,
            "dtype": inputs.dtype.str,
            "bfloat16": contract.type == "bfloat16",
            "shape": list(inputs.shape),
            "chunk": chunk,
            "pad": contract.batch is not None,
        }
        try:
            reply = self._sandbox.run(request, inputs.data.cast("B"))
        except SuspectError:
            # A graph may hold a batch of one that its input does not state.
            if chunk == 1 or contract.batch is not None or not self._sandbox.alive:
                raise
            reply = self._sandbox.run({**request, "chunk": 1}, inputs.data.cast("B"))
            self._one_at_a_time = True
        return reply.outputs


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Say that the suspect cannot be read where the system says so."""
    try:
        yield
    except OSError as error:
        raise SuspectError(f"cannot read the suspect: {error.strerror or error}", culprit=path) from error


def _size_of(path: str) -> int:
    """Return a file's size, after refusing what is no file that can be read."""
    if (what := what_path(path)) is not None:
        raise SuspectError(what, culprit=path)
    with _readable(path):
        return regular_file_size(path)


def _states(model: str, files: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Return what the system says of each file: it tells whether a file was written to."""
    states: dict[str, tuple[int, ...]] = {}
    for name, path in files.items():
        try:
            status = os.stat(path)
        except OSError as error:
            raise SuspectError(f"cannot read the suspect: {error.strerror or error}", culprit=model) from error
        states[name] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return states
