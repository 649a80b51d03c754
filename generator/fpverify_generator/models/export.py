"""Exports networks as ONNX and checks that the file answers as the network does."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import torch
from torch import nn

from fpverify.files import write_atomically
from fpverify_generator.errors import ExportError
from fpverify_generator.models.ensembles import structure
from fpverify_generator.models.oracle import load_oracle, sha256_of
from fpverify_generator.models.plain_onnx import plain_model
from fpverify_generator.models.stacked import is_stackable

TOLERANCE = 1e-4
"""How far a score may differ between ONNX Runtime and PyTorch, relative to the largest score."""

LABELS_TOLERANCE = 0.05
"""Which share of a network's labels may differ between them, where it returns nothing else."""


class Exporter:
    """Exports many networks: each architecture once, since that can take seconds; then weights are put in."""

    def __init__(self) -> None:
        self._templates: dict[str, onnx.ModelProto] = {}

    def write(self, module: nn.Module, inputs: torch.Tensor, path: Path, random: bool = False) -> str:
        """Export one network.

        Args:
            module: the network, on the CPU.
            inputs: `(n, C, H, W)` real inputs, at least two, on which the file is checked.
            path: where the file goes; it is written whole or not at all.
            random: whether the network draws random numbers: then the file is checked for its shape alone.

        Returns:
            The file's SHA-256.

        Raises:
            ExportError: if the file does not answer as the network does, or cannot be written.
        """
        key = f"{structure(module)} {tuple(inputs.shape[1:])}"
        if key not in self._templates:
            self._templates[key] = _export(module, inputs)
        model = _with_weights(self._templates[key], module) or _export(module, inputs)
        if random:
            _seed(model)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, model.SerializeToString(deterministic=True))
        except OSError as error:
            raise ExportError(f"cannot write ({error.strerror})", culprit=path) from error
        check_parity(load_oracle(path)(inputs.numpy()), module, inputs, path, random)
        return sha256_of(path)


def check_parity(
    answers: np.ndarray, module: nn.Module, inputs: torch.Tensor, path: Path, random: bool = False
) -> None:
    """Check an exported file's answers against the network's.

    Args:
        answers: `(n, classes)` scores, or `(n,)` labels, that the file gave through ONNX Runtime.
        module: the network.
        inputs: `(n, C, H, W)`, what both were asked.
        path: the file, removed if the check fails.
        random: whether nothing but the shape can agree.

    Raises:
        ExportError: if scores differ by more than `TOLERANCE`, any label that is not a near-tie differs, or the file
            is of another shape or type.
    """
    with torch.no_grad():
        expected = module(inputs).numpy()
    if answers.shape != expected.shape or answers.dtype != expected.dtype:
        agree, difference = False, float("inf")
    elif random:
        agree, difference = True, 0.0
    elif expected.ndim == 1:
        # labels: a near-tie may fall either way
        difference = float((answers != expected).mean())
        agree = difference <= LABELS_TOLERANCE
    else:
        agree, difference = _scores_agree(answers, expected)
    if not agree:
        what = "scores" if expected.ndim > 1 else "labels"
        path.unlink(missing_ok=True)
        raise ExportError(f"ONNX Runtime's {what} differ from PyTorch's by {difference:.2g}; not kept", culprit=path)


def _scores_agree(answers: np.ndarray, expected: np.ndarray) -> tuple[bool, float]:
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(answers - expected).max())
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * allowed
    return difference <= allowed and bool((answers.argmax(1) == expected.argmax(1))[clear].all()), difference


def _export(module: nn.Module, inputs: torch.Tensor) -> onnx.ModelProto:
    if is_stackable(module):
        return plain_model(module, inputs.shape[1:])
    with _quiet():
        program = torch.onnx.export(
            module,
            (inputs[:2],),
            dynamo=True,
            input_names=["input"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise ExportError("PyTorch's exporter returned no program")
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    return model


def _seed(model: onnx.ModelProto) -> None:
    """Let each operator that draws random numbers begin at a seed of its own: the same session gives the same draws."""
    for number, node in enumerate(model.graph.node):
        if node.op_type.startswith("Random"):
            node.attribute.append(onnx.helper.make_attribute("seed", float(number + 1)))


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about its machine (stack traces with paths), so that bytes are reproducible."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del holder.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def _with_weights(template: onnx.ModelProto, module: nn.Module) -> onnx.ModelProto | None:
    """Return the template with this network's weights, or None if the exporter did not keep every weight by name."""
    model = onnx.ModelProto()
    model.CopyFrom(template)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in module.state_dict().items():
        tensor = initializers.get(name)
        if tensor is None or tuple(tensor.dims) != tuple(value.shape):
            return None
        tensor.CopyFrom(onnx.numpy_helper.from_array(value.numpy(), name))
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about packages that are not needed off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
