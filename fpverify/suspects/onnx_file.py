"""An ONNX file as a suspect, run by ONNX Runtime, which is imported when a file is loaded and not before."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.files import regular_file_size
from fpverify.plaintext import one_line
from fpverify.suspects.outputs import choose_output

PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # Without TensorFloat-32, which keeps 10 bits of a product and would flip labels that lie close together.
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
}
"""ONNX Runtime's providers for each device, best first."""

SILENT = 4
"""ONNX Runtime's log severity for nothing but fatal errors: what goes wrong is reported once, by us."""


class OnnxSuspect:
    """A loaded ONNX classifier; call it with `(n, C, H, W)` float32 inputs."""

    path: str
    """The file."""
    sha256: str
    """SHA-256 of the file, as hexadecimal digits."""
    provider: str
    """What runs it, as ONNX Runtime names it."""
    runtime: str
    """ONNX Runtime's version."""

    def __init__(self, path: str | os.PathLike[str], device: str, classes: int | None) -> None:
        runtime = import_runtime()
        self.path, self.runtime = os.fspath(path), runtime.__version__
        self.sha256 = _digest_of(self.path)
        self._classes = classes
        self._session = _open_session(runtime, self.path, device)
        self.provider = self._session.get_providers()[0]
        self._input = _only_input(self.path, self._session.get_inputs())
        self._options = runtime.RunOptions()
        self._options.log_severity_level = SILENT

    def __repr__(self) -> str:
        return f"OnnxSuspect({self.path!r})"

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[Any]:
        """Answer inputs.

        Args:
            inputs: `(n, C, H, W)` float32.

        Returns:
            The `(n,)` labels or `(n, classes)` scores of the one output that holds such.

        Raises:
            SuspectError: if the inputs do not fit, ONNX Runtime fails, or no output or several hold an answer.
        """
        batch = self._check(inputs)
        if batch is None:
            return self._run(inputs)
        # A file exported with a fixed batch: ask in chunks of just that size, the last one padded with zeros.
        padded = np.zeros((-(-len(inputs) // batch) * batch, *inputs.shape[1:]), inputs.dtype)
        padded[: len(inputs)] = inputs
        answers = [self._run(padded[start : start + batch]) for start in range(0, len(padded), batch)]
        if len({answer.shape for answer in answers}) > 1:
            raise SuspectError(f"{self.path}: answers batches of the same size with different shapes")
        return np.concatenate(answers)[: len(inputs)]

    def _check(self, inputs: NDArray[np.float32]) -> int | None:
        """Check inputs against the file's; return its fixed batch size, or None if it takes any (or just this one)."""
        shape: list[Any] = self._input.shape
        given = f"float32 of shape {tuple(inputs.shape)}"
        found = f"{self.path}: its input {one_line(self._input.name, 80)!r} takes {self._input.type} {_shown(shape)}"
        if self._input.type != "tensor(float)" or inputs.dtype != np.float32:
            raise SuspectError(f"{found}; the keys are {given} (NCHW)")
        if not shape:  # the file says nothing of the shape
            return None
        fixed = [(size, have) for size, have in zip(shape[1:], inputs.shape[1:], strict=False) if type(size) is int]
        if len(shape) != inputs.ndim or any(size != have for size, have in fixed):
            raise SuspectError(f"{found}; the keys are {given} (NCHW)")
        if type(shape[0]) is not int or shape[0] == len(inputs):
            return None
        if shape[0] < 1:
            raise SuspectError(f"{found}; no batch fits")
        return shape[0]

    def _run(self, inputs: NDArray[np.float32]) -> NDArray[Any]:
        try:
            answers = self._session.run(None, {self._input.name: inputs}, self._options)
        except Exception as error:
            raise SuspectError(f"{self.path}: ONNX Runtime could not run it: {one_line(str(error), 300)}") from error
        names = [output.name for output in self._session.get_outputs()]
        return choose_output(self.path, names, answers, len(inputs), self._classes)


def load_onnx(path: str | os.PathLike[str], *, device: str = "cpu", classes: int | None = None) -> OnnxSuspect:
    """Load an ONNX classifier.

    Args:
        path: the file.
        device: `cpu` or `cuda`.
        classes: how many classes there are, if known: it tells scores from other outputs of the same rank.

    Returns:
        A callable from `(n, C, H, W)` float32 inputs to labels or scores, with `sha256` and `path`.

    Raises:
        SuspectError: if the file cannot be read or run, or ONNX Runtime or the device is missing.
    """
    if device not in PROVIDERS:
        raise SuspectError(f"device must be one of {', '.join(PROVIDERS)}, found {device!r}")
    return OnnxSuspect(path, device, classes)


def import_runtime() -> Any:
    """Return the package onnxruntime.

    Returns:
        The module.

    Raises:
        SuspectError: if it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        install = 'pip install "fpverify[cpu]" or pip install "fpverify[gpu]"'
        raise SuspectError(f"an ONNX suspect needs ONNX Runtime, which cannot be imported: {install}") from error
    return onnxruntime


def _digest_of(path: str) -> str:
    try:
        if regular_file_size(path) == 0:
            raise SuspectError(f"{path}: empty: 0 bytes")
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SuspectError(f"{path}: cannot read the suspect: {error.strerror or error}") from error


def _open_session(runtime: Any, path: str, device: str) -> Any:
    wanted = f"{device.upper()}ExecutionProvider"
    hint = 'it needs an NVIDIA GPU and pip install "fpverify[gpu]" instead of the extra cpu'
    if wanted not in runtime.get_available_providers():
        raise SuspectError(f"device {device}: this ONNX Runtime has no {wanted}; {hint}")
    if device == "cuda" and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()  # finds CUDA's libraries where pip has put them
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        session = runtime.InferenceSession(path, options, providers=PROVIDERS[device])
    except Exception as error:
        raise SuspectError(f"{path}: ONNX Runtime cannot load it: {one_line(str(error), 300)}") from error
    # Where CUDA does not start, ONNX Runtime quietly takes the CPU.
    if session.get_providers()[0] != wanted:
        raise SuspectError(f"device {device}: {wanted} did not start; {hint}")
    return session


def _only_input(path: str, inputs: Sequence[Any]) -> Any:
    if len(inputs) != 1:
        names = ", ".join(f"{one_line(value.name, 80)!r} {value.type}" for value in inputs) or "none"
        raise SuspectError(f"{path}: must have one input, for images; found {len(inputs)}: {names}")
    return inputs[0]


def _shown(shape: Sequence[Any]) -> str:
    return f"({', '.join('?' if size is None else one_line(str(size), 40) for size in shape)})"
