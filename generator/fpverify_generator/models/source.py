"""The owner's model: trained here, a `torch.export` file, or an ONNX file that is only asked."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import fpverify
from fpverify.contract import SuspectContract, Values
from fpverify.files import regular_file_size
from fpverify.fingerprint import InputContract
from fpverify.statistics import by_chance, clopper_pearson
from fpverify.suspects.options import check_contract
from fpverify.text import one_line
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import Inputs, taken, whole
from fpverify_generator.errors import SourceError
from fpverify_generator.models.asked import Asked
from fpverify_generator.models.exported import MAX_BYTES, load_exported
from fpverify_generator.models.onnx_source import OnnxModel, in_words, readings_of_network
from fpverify_generator.models.own import load_network
from fpverify_generator.models.passes import answers_of, at_most, sent


@dataclass(frozen=True)
class Source:
    """The owner's classifier."""

    sha256: str | None
    """Hex digest of the model's file; None for a network that is in none."""
    module: nn.Module | None
    """The network with its weights, or None for a label oracle."""
    oracle: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]] | None = None
    """Without a module: `(n, C, H, W)` -> `(n,)` labels or `(n, classes)` scores."""
    device: str = "cpu"
    """Where the module runs."""
    reading: str = ""
    """How images are handed to a model that was loaded from a file: layout, size, element type, values."""
    asked: Asked | None = None
    """Its answers to images that are not asked again."""
    beside: bool = False
    """Whether its file reads others, such as weights, so that its digest does not tell it from other models."""

    def answers(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Ask the source; what it was asked before is looked up.

        Args:
            inputs: `(n, C, H, W)` in [0, 1].

        Returns:
            `(n,)` labels and `(n, classes)` probabilities, both on the CPU; None for an oracle that gives labels only.
        """
        if self.asked is None:
            return self._answers(inputs)
        rows = self.asked.rows(inputs)
        labels = self.asked.labels[rows]
        soft = None if self.asked.probabilities is None else self.asked.probabilities[rows]
        if (new := rows < 0).any():
            more, scores = self._answers(taken(inputs, new.to(inputs.device)))
            labels[new] = more
            if soft is not None and scores is not None:
                soft[new] = scores
        return labels, soft

    def remembering(self, asked: Asked | None) -> "Source":
        """Return this source with answers that are looked up; None for one that remembers nothing, which is small."""
        return replace(self, asked=asked)

    def _answers(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.module is not None:
            scores = answers_of(self.module.to(self.device), inputs, self.device)
        else:
            answer = _said(_oracle(self), inputs)
            if answer.ndim == 1:
                return answer.long(), None
            scores = answer.float()
        return scores.argmax(1), as_probabilities(scores)

    def labels(self, inputs: Inputs) -> torch.Tensor:
        """Return the source's labels of `(n, C, H, W)` inputs, `(n,)` on the CPU."""
        return self.answers(inputs)[0]


def _oracle(source: Source) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]:
    if source.oracle is None:
        raise SourceError("neither a network nor an oracle was given", culprit="source")
    return source.oracle


def _said(oracle: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]], inputs: Inputs) -> torch.Tensor:
    """Return an oracle's answer; images of a file are read a few at a time."""
    if isinstance(inputs, torch.Tensor):
        return torch.from_numpy(np.asarray(oracle(inputs.cpu().numpy())))
    return torch.cat([_said(oracle, whole(chunk)) for chunk in sent(inputs)])


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


def load_source(
    path: str | os.PathLike[str],
    data: DataSet,
    device: str = "cpu",
    log: Callable[[str], None] = lambda _: None,
    contract: Mapping[str, Any] | None = None,
    weights: Path | None = None,
) -> Source:
    """Load the owner's model.

    What its file leaves open (range and normalisation of pixels, order of channels, layout) is what `fpverify verify`
    assumes of a suspect, unless the model is clearly more accurate on the data under another reading in wide use.

    Args:
        path: a `.pt2` file of `torch.export.save`, with a dynamic batch; an `.onnx` file; or `FILE.py:NAME`: NAME makes
            a network, from `(n, C, H, W)` images to `(n, classes)` scores. The file's code is run.
        data: the owner's data, which the model must classify.
        device: `cpu` or `cuda`.
        log: takes a line about the reading that was chosen, and warnings.
        contract: what is known of its input and output, the fields of a contract file; nothing else is tried for them.
        weights: for `FILE.py:NAME`, a file of the network's weights, `.safetensors` or a `state_dict` of `torch.save`.

    Returns:
        The source; its `reading` says how images are handed to it.

    Raises:
        SourceError: if the file cannot be loaded, or does not return one score per class.
        PolicyError: if the contract makes no sense.
    """
    file = Path(path)
    of_python = ".py:" in file.name
    if weights is not None and not of_python:
        raise SourceError("its weights are in its own file", culprit=file, hint="leave --source-weights out")
    if not of_python and not file.is_file():
        raise SourceError("no such file", culprit=file, expected=_expected())
    if not of_python and file.suffix.lower() not in SOURCES:
        raise SourceError(culprit=file, expected=_expected(), found=f"'{file.suffix}'")
    _, _, height, width = data.inputs.shape
    key_contract = InputContract(channels="grey" if data.inputs.shape[1] == 1 else "rgb", height=height, width=width)
    options = check_contract(contract or {}, "contract")
    if of_python:
        network, sha256 = load_network(str(file), weights)
        sources = _readings(file, _checked(network, file, data), sha256, key_contract, device, options)
    else:
        sources = SOURCES[file.suffix.lower()].load(file, data, key_contract, device, options)
    return _best(sources, file, data, log)


def _load_program(
    path: Path, data: DataSet, key_contract: InputContract, device: str, options: Mapping[str, Any]
) -> list[Source]:
    content = _read(path)
    network = _checked(load_exported(content, str(path)), path, data)
    return _readings(path, network, hashlib.sha256(content).hexdigest(), key_contract, device, options)


def _readings(
    path: Path, network: nn.Module, digest: str, key_contract: InputContract, device: str, options: Mapping[str, Any]
) -> list[Source]:
    """Return a network as a source, for each way in which it can be meant to read its input."""
    unused = sorted({"input", "output", "reading", "classes", "renamed"} & set(options))
    if unused:
        raise SourceError(
            f"the contract's {', '.join(unused)} cannot be applied to a network",
            culprit=path,
            hint="give a module whose only output are scores in the order of the data's classes",
        )
    contracts = readings_of_network(path, key_contract, options)
    return [Source(digest, _as_read(network, one, key_contract), None, device, in_words(one)) for one in contracts]


def _load_onnx(
    path: Path, data: DataSet, key_contract: InputContract, device: str, options: Mapping[str, Any]
) -> list[Source]:
    model = OnnxModel(path, device, key_contract, data.classes, options)
    digest = hashlib.sha256(model.content).hexdigest()
    said = "" if model.output is None else f", output {one_line(model.output, 80)!r}"
    return [
        Source(digest, None, model.oracle(one), device, in_words(one) + said, beside=model.beside)
        for one in model.contracts
    ]


@dataclass(frozen=True)
class SourceKind:
    """One kind of file that a source can be loaded from."""

    what: str
    """What to call it."""
    load: Callable[[Path, DataSet, InputContract, str, Mapping[str, Any]], list[Source]]
    """Takes the file, the owner's data, what its images are, the device, and the contract's known fields; returns a
    source for each way in which the file can be meant to read its input, the stated one first."""


SOURCES: Mapping[str, SourceKind] = MappingProxyType(
    {
        ".pt2": SourceKind("torch.export", _load_program),
        ".onnx": SourceKind("a label oracle", _load_onnx),
    }
)
"""Kinds of source by the suffix of their file."""


def _expected() -> str:
    return f"a model: {', '.join(f'{suffix} ({kind.what})' for suffix, kind in SOURCES.items())} or FILE.py:NAME"


def _best(sources: Sequence[Source], path: Path, data: DataSet, log: Callable[[str], None]) -> Source:
    """Return the first reading of a model, or another one under which it is clearly more accurate on the data."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:ASKED]
    sample = data.rows(order)
    right = _right(sources, path, data, sample)
    first = min(right)
    rates = {number: float(answers.double().mean()) for number, answers in right.items()}
    best = max(rates, key=lambda number: (len(right[number]), rates[number], -number))
    shown = {
        number: f"accuracy {rate:.1%} on {len(right[number])} of the owner's images" for number, rate in rates.items()
    }
    chosen = first
    if _p_value(right[best], right[first]) * len(right) <= LEVEL:
        # of those that these images cannot tell from the best, the one that is surest of the right answers
        tied = [number for number in right if number != first and _p_value(right[best], right[number]) > TIE_LEVEL]
        chosen = min(tied, key=lambda number: _loss(sources[number], sample))
        others = [sources[number].reading for number in tied if number != chosen]
        also = f"; as good on these images: {' or '.join(others)}" if others else ""
        log(
            f"source: takes {sources[chosen].reading}: {shown[chosen]}, against {rates[first]:.1%} of "
            f"{len(right[first])} with {sources[first].reading}{also}"
        )
    elif rates[best] - rates[first] > MARGIN:
        log(
            f"warning: source: {shown[first]} with {sources[first].reading}, which is used, and {rates[best]:.1%} with "
            f"{sources[best].reading}: these images cannot tell which it takes; give more of them"
        )
    simple = _nearest_mean(data)
    if not _above_chance(right[best], sample.labels):
        tried = sorted(rates, key=lambda number: -rates[number])
        listed = "; ".join(f"{rates[number]:.1%} with {sources[number].reading}" for number in tried[:SHOWN])
        more = f"; and {len(tried) - SHOWN} more" if len(tried) > SHOWN else ""
        log(
            f"warning: source: right no more often than by chance on {len(sample)} of the owner's images, however it "
            f"is read: {listed}{more}; check the labels and the order of the classes, or say what it expects with "
            "--source-contract FILE"
        )
    elif rates[chosen] < simple - MARGIN:
        log(
            f"warning: source: {shown[chosen]} is less than the {simple:.1%} of comparing each image with the mean "
            "image of each class; check the order of the classes and what the model expects of pixels"
        )
    return sources[chosen]


def _right(sources: Sequence[Source], path: Path, data: DataSet, sample: DataSet) -> dict[int, torch.Tensor]:
    """Return which images each reading is right about, by its number.

    A large network takes long to answer: a reading that is clearly worse than the best on the first images is asked
    about no more.
    """
    right: dict[int, torch.Tensor] = {}
    failure: SourceError | None = None
    few, more = taken(sample.inputs, slice(FIRST)), taken(sample.inputs, slice(FIRST, None))
    for number, source in enumerate(sources):
        try:
            _check_answers(source, path, data)
            right[number] = source.labels(few) == sample.labels[:FIRST]
        except SourceError as error:  # a wrong reading may well overflow
            failure = failure or error
    if not right:
        raise failure or SourceError("no reading of its input can be tried", culprit=path)
    if len(more):
        best = max(right.values(), key=lambda answers: int(answers.sum()))
        for number, answers in right.items():
            if _p_value(best, answers) * len(right) > LEVEL:
                later = sources[number].labels(more) == sample.labels[FIRST:]
                right[number] = torch.cat([answers, later])
    return right


SHOWN = 6
"""Readings that a message lists."""

FIRST = 200
"""Images on which all readings are compared."""

COMPARED = 2**28
"""Values of the images that are compared with mean images, at most: 1 GiB."""

ASKED = 2000
"""Images that decide how a source is read."""

MARGIN = 0.05
"""Differences of accuracy from which a warning is given."""

LEVEL = 0.01
"""At which level chance must be rejected before another reading is taken, corrected for the number of readings."""

TIE_LEVEL = 0.05
"""Readings tie unless chance is rejected at this level."""


def _p_value(better: torch.Tensor, other: torch.Tensor) -> float:
    """Compare two readings on the images where just one of them is right: a sign test, its p-value doubled."""
    both = min(len(better), len(other))
    return min(1.0, 2 * by_chance(better[:both].numpy(), other[:both].numpy()))


def _loss(source: Source, sample: DataSet) -> float:
    """Return the mean cross-entropy of a source's probabilities; 0 for one that gives labels alone."""
    _, probabilities = source.answers(sample.inputs)
    if probabilities is None:
        return 0.0
    return float(-probabilities.gather(1, sample.labels[:, None]).clamp_min(1e-12).log().mean())


def _nearest_mean(data: DataSet) -> float:
    """Return the accuracy of the nearest mean image, learnt from every second image and tried on the others."""
    if len(data) < 4 * len(data.classes):
        return 0.0
    most = at_most(data.inputs.shape[1:].numel(), 2 * ASKED, COMPARED)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))[:most]
    known, tried = order[::2], order[1::2]
    pixels, labels = data.inputs[known].flatten(1), data.labels[known]
    means = torch.stack([pixels[labels == label].mean(0) for label in range(len(data.classes))])
    nearest = torch.cdist(data.inputs[tried].flatten(1), means.nan_to_num(1e6)).argmin(1)
    return float((nearest == data.labels[tried]).double().mean())


class _Normalised(nn.Module):
    """A network that is handed images in [0, 1], and hands them on in the range and order that it was trained on."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: nn.Module, values: Values, flip: bool) -> None:
        super().__init__()
        self.network = network
        self.flip = flip
        mean, std = values.mean or (0.0,), values.std or (1.0,)
        self.register_buffer("scale", (values.high - values.low) / torch.tensor(std)[:, None, None])
        self.register_buffer("shift", ((values.low - torch.tensor(mean)) / torch.tensor(std))[:, None, None])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        ordered = inputs.flip(1) if self.flip else inputs
        scores: torch.Tensor = self.network(ordered * self.scale + self.shift)
        return scores


def _as_read(network: nn.Module, contract: SuspectContract, key_contract: InputContract) -> nn.Module:
    flip = contract.channels == "bgr" and key_contract.channels == "rgb"
    if contract.values == Values(low=key_contract.low, high=key_contract.high) and not flip:
        return network
    return _Normalised(network, contract.values, flip)


def _read(path: Path) -> bytes:
    """Read a file once: what is checked, what is digested and what is loaded are the same bytes."""
    try:
        size = regular_file_size(path)
        if size > MAX_BYTES:
            raise SourceError(
                f"{size / 2**30:.3g} GiB; a .pt2 source has at most {MAX_BYTES // 2**30} GiB", culprit=path
            )
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the source ({error.strerror or error})", culprit=path) from error


def _checked(network: nn.Module, path: Path, data: DataSet) -> nn.Module:
    """Return a network that takes the data's images, any number at once, as one that returns logits."""
    try:
        with torch.no_grad():
            answers = [network(data.inputs[:1]), network(data.inputs[:3])]
        if not all(isinstance(one, torch.Tensor) for one in answers):
            raise SourceError(
                culprit=path,
                expected="one tensor of scores",
                found=type(answers[0]).__name__,
                hint="wrap the network so that it returns the scores alone",
            )
        scores = torch.cat(answers)
    except SourceError:
        raise
    except Exception as error:
        shape = ("n", *data.inputs.shape[1:])
        raise SourceError(
            f"does not take inputs {shape} ({_first_line(error)})",
            culprit=path,
            hint="export it with a dynamic batch dimension, for images of the data's size, channels first",
        ) from error
    if scores.ndim != 2 or len(scores) != 4 or not scores.is_floating_point():
        raise SourceError(
            culprit=path,
            expected=f"scores of shape (n, {len(data.classes)}) as floats",
            found=f"{str(scores.dtype).removeprefix('torch.')} of shape {('n', *scores.shape[1:])}",
            hint="wrap the network so that it returns the scores alone",
        )
    return network if as_probabilities(scores) is not scores else _Logits(network)


def _check_answers(source: Source, path: Path, data: DataSet) -> None:
    try:
        labels, probabilities = source.answers(data.inputs[:8])
    except SourceError:
        raise
    except (fpverify.FpverifyError, RuntimeError) as error:
        raise SourceError(f"cannot classify this data ({_first_line(error)})", culprit=path) from error
    width = len(data.classes) if probabilities is None else probabilities.shape[-1]
    if labels.shape != (len(data.inputs[:8]),) or width != len(data.classes):
        raise SourceError(culprit=path, expected=f"{len(data.classes)} scores per input", found=width)
    if int(labels.min()) < 0 or int(labels.max()) >= len(data.classes):
        raise SourceError(f"answered a label outside 0..{len(data.classes) - 1}", culprit=path)


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
    accuracy = float(right.double().mean())
    chance, low = _chance(data.labels), clopper_pearson(int(right.sum()), len(data), 0.99).low
    if not _above_chance(right, data.labels):
        raise SourceError(
            f"accuracy {accuracy:.1%} on {len(data)} held-out images (99 % interval from {low:.1%}) is not "
            f"above chance ({chance:.1%}, the commonest class)",
            culprit=where,
            hint="give more images"
            if accuracy > chance
            else "check the labels, the order of the classes and what the model expects of pixels",
        )
    return accuracy


def _above_chance(right: torch.Tensor, labels: torch.Tensor) -> bool:
    """Say whether answers are right more often than those of who always answers the commonest class, at 99 %."""
    return clopper_pearson(int(right.sum()), len(labels), 0.99).low > _chance(labels)


def _chance(labels: torch.Tensor) -> float:
    return float(torch.bincount(labels).max()) / len(labels)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
