"""The owner's model: trained here, a `torch.export` file, or an ONNX file that is only asked."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import fpverify
from fpverify.files import regular_file_size
from fpverify.statistics import clopper_pearson
from fpverify_generator.data import DataSet
from fpverify_generator.errors import SourceError
from fpverify_generator.exported import MAX_BYTES, load_exported
from fpverify_generator.onnx_oracle import load_oracle, sha256_of


@dataclass(frozen=True)
class Source:
    """The owner's classifier."""

    sha256: str
    """Hex digest of the model's file."""
    module: nn.Module | None
    """The network with its weights, or None for a label oracle."""
    oracle: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]] | None = None
    """Without a module: `(n, C, H, W)` -> `(n,)` labels or `(n, classes)` scores."""
    device: str = "cpu"
    """Where the module runs."""

    def answers(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Ask the source.

        Args:
            inputs: `(n, C, H, W)` in [0, 1].

        Returns:
            `(n,)` labels and `(n, classes)` probabilities, both on the CPU; None for an oracle that gives labels only.
        """
        if self.module is not None:
            with torch.no_grad():
                module = self.module.to(self.device)
                scores = torch.cat([module(chunk.to(self.device)).cpu() for chunk in inputs.split(512)])
        else:
            answer = torch.from_numpy(np.asarray(_oracle(self)(inputs.cpu().numpy())))
            if answer.ndim == 1:
                return answer.long(), None
            scores = answer.float()
        return scores.argmax(1), as_probabilities(scores)

    def labels(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the source's labels of `(n, C, H, W)` inputs, `(n,)` on the CPU."""
        return self.answers(inputs)[0]


def _oracle(source: Source) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]:
    if source.oracle is None:
        raise SourceError("source: neither a network nor an oracle was given")
    return source.oracle


def as_probabilities(scores: torch.Tensor) -> torch.Tensor:
    """Return rows of probabilities: the scores themselves where they are such rows, else their softmax."""
    sums = scores.sum(-1)
    if bool((scores >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
        return scores
    return scores.softmax(-1)


class _Logits(nn.Module):
    """A network that returns probabilities, read as one that returns logits, so that losses see one scale."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        probabilities: torch.Tensor = self.network(inputs)
        return probabilities.clamp_min(1e-12).log()


def load_source(path: Path, data: DataSet, device: str) -> Source:
    """Load the owner's model.

    Args:
        path: a `.pt2` file of `torch.export.save`, with a dynamic batch, or an `.onnx` file.
        data: the owner's data, which the model must classify.
        device: `cpu` or `cuda`.

    Raises:
        SourceError: if the file cannot be loaded, or does not return one score per class.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file; expected a .pt2 (torch.export) or .onnx model")
    if path.suffix == ".pt2":
        content = _read(path)
        source = Source(hashlib.sha256(content).hexdigest(), _load_exported(path, content, data), device=device)
    elif path.suffix == ".onnx":
        source = Source(sha256_of(path), None, load_oracle(path, device), device)
    else:
        raise SourceError(f"{path}: expected a .pt2 (torch.export) or .onnx model, found '{path.suffix}'")
    _check_answers(source, path, data)
    return source


def _read(path: Path) -> bytes:
    """Read a file once: what is checked, what is digested and what is loaded are the same bytes."""
    try:
        size = regular_file_size(path)
        if size > MAX_BYTES:
            raise SourceError(f"{path}: {size / 2**30:.3g} GiB; a .pt2 source has at most {MAX_BYTES // 2**30} GiB")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot read the source ({error.strerror or error})") from error


def _load_exported(path: Path, content: bytes, data: DataSet) -> nn.Module:
    network = load_exported(content, str(path))
    try:
        with torch.no_grad():
            scores = torch.cat([network(data.inputs[:1]), network(data.inputs[:3])])
    except Exception as error:
        shape = ("n", *data.inputs.shape[1:])
        raise SourceError(
            f"{path}: does not take inputs {shape} ({_first_line(error)}); export it with a dynamic batch dimension"
        ) from error
    return network if as_probabilities(scores) is not scores else _Logits(network)


def _check_answers(source: Source, path: Path, data: DataSet) -> None:
    try:
        labels, probabilities = source.answers(data.inputs[:8])
    except (fpverify.FpverifyError, RuntimeError) as error:
        raise SourceError(f"{path}: cannot classify this data ({_first_line(error)})") from error
    width = len(data.classes) if probabilities is None else probabilities.shape[-1]
    if labels.shape != (len(data.inputs[:8]),) or width != len(data.classes):
        raise SourceError(f"{path}: expected {len(data.classes)} scores per input, found {width}")
    if int(labels.min()) < 0 or int(labels.max()) >= len(data.classes):
        raise SourceError(f"{path}: answered a label outside 0..{len(data.classes) - 1}")


def require_better_than_chance(source: Source, data: DataSet, where: str) -> float:
    """Check that the source has learnt the task.

    Args:
        source: the owner's model.
        data: labelled images that it was not trained on.
        where: what to name in the message.

    Returns:
        Its accuracy.

    Raises:
        SourceError: if the accuracy is not above always answering the commonest class, by a 99 % interval.
    """
    right = source.labels(data.inputs) == data.labels
    interval = clopper_pearson(int(right.sum()), len(data), 0.99)
    chance = float(torch.bincount(data.labels).max()) / len(data)
    if interval.low <= chance:
        raise SourceError(
            f"{where}: right about {float(right.double().mean()):.1%} of {len(data)} held-out images, which is not "
            f"above chance ({chance:.1%}); check the labels, the class order and the input range"
        )
    return float(right.double().mean())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
