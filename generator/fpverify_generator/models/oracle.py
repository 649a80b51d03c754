"""Runs the owner's own ONNX files in this process: they are trusted, and a label oracle is asked thousands of times.

A suspect's file never comes here: `fpverify.verify` runs it in a sandbox.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpverify.text import one_line
from fpverify_generator.errors import SourceError

Oracle = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]
"""From `(n, C, H, W)` inputs to the model's one output."""

SILENT = 4
"""ONNX Runtime's log severity for nothing but fatal errors."""

PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # Without TensorFloat-32, which keeps 10 bits of a product and would flip labels that lie close together.
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
}
"""ONNX Runtime's providers for each device, best first."""


def open_session(model: Path | bytes, path: Path, device: str = "cpu", threads: int = 0) -> Any:
    """Load an ONNX file of the owner into ONNX Runtime.

    Args:
        model: the file, or its content.
        path: names it in errors.
        device: `cpu` or `cuda`.
        threads: on which it runs; 0 for one a core.

    Returns:
        The session.

    Raises:
        SourceError: if ONNX Runtime is not there or cannot load the file.
    """
    # ONNX Runtime's own packages since 1.29 report each model to their maker, unless told not to before they start.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        install = 'pip install "fpverify[cpu]" or pip install "fpverify[gpu]"'
        raise SourceError(f"ONNX files need ONNX Runtime, which cannot be imported: {install}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA's libraries where pip has put them
    try:
        return onnxruntime.InferenceSession(model, options, providers=PROVIDERS[device])
    except Exception as error:
        raise SourceError(f"ONNX Runtime cannot load it ({_reason(error)})", culprit=path) from error


def load_oracle(path: Path, device: str = "cpu") -> Oracle:
    """Load an ONNX classifier that this package has exported.

    Args:
        path: a file with one float32 input `(n, C, H, W)` with a dynamic batch, and one output.
        device: `cpu` or `cuda`.

    Returns:
        A function of inputs.

    Raises:
        SourceError: if ONNX Runtime cannot load it, or it has other inputs or outputs.
    """
    session = open_session(path, path, device)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{value.name} {value.type}" for value in (*inputs, *outputs))
        raise SourceError(culprit=path, expected="one float32 input and one output", found=found)

    def ask(batch: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        try:
            answer: npt.NDArray[Any] = session.run(None, {inputs[0].name: batch})[0]
        except Exception as error:
            raise SourceError(f"ONNX Runtime cannot run it ({_reason(error)})", culprit=path) from error
        return answer

    return ask


def _reason(error: Exception) -> str:
    """Return a message of ONNX Runtime's, which can have several lines, as one."""
    return one_line(" ".join(str(error).split()), 400)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
