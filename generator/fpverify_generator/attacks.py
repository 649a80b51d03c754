"""Removal attacks: what turns a source into a surrogate, each a frozen dataclass that writes a training task.

An attack called with the source, the attacker's queries and a seed returns a `TrainingTask`; the tasks of many
attacks then train together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.architectures import ARCHITECTURES
from fpverify_generator.data import DataSet
from fpverify_generator.errors import SourceError
from fpverify_generator.source import Source
from fpverify_generator.training import Recipe, TrainingTask


@dataclass(frozen=True)
class Queries:
    """The attacker's images, with what the source answered."""

    data: DataSet = field(repr=False)
    """The attacker's images and their true labels."""
    labels: torch.Tensor = field(repr=False)
    """`(n, classes)`: the source's labels, one-hot."""
    probabilities: torch.Tensor | None = field(repr=False)
    """`(n, classes)`: the source's probabilities, None where it gives labels only."""


def query(source: Source, data: DataSet) -> Queries:
    """Ask the source about each of the attacker's images once."""
    labels, probabilities = source.answers(data.inputs)
    return Queries(data, F.one_hot(labels, len(data.classes)).float(), probabilities)


class Attack(Protocol):
    """What every removal attack is."""

    @property
    def needs_weights(self) -> bool:
        """Whether the attacker must hold the source's weights."""

    def __call__(self, source: Source, queries: Queries, seed: int, name: str) -> TrainingTask:
        """Return the task that trains this attack's surrogate."""


@dataclass(frozen=True)
class Retraining:
    """Train a fresh network on the source's answers; one query per image.

    Source:
        Lukas, Zhang, Kerschbaum, ICLR 2021; with probabilities, distillation (Hinton, Vinyals, Dean, 2015).
    """

    answers: Literal["labels", "probabilities"]
    """What the source's API returns."""
    architecture: str = "convolutional"
    """The surrogate's architecture, a key of `ARCHITECTURES`."""

    needs_weights = False

    def __call__(self, source: Source, queries: Queries, seed: int, name: str) -> TrainingTask:  # noqa: ARG002
        """Return the training task; where the source gives labels only, labels serve for probabilities."""
        soft = queries.probabilities if self.answers == "probabilities" else None
        targets = queries.labels if soft is None else soft
        return TrainingTask(name, seed, self.architecture, queries.data.inputs, targets)


@dataclass(frozen=True)
class FineTuning:
    """Go on training the stolen weights on true labels: FTLL, FTAL, RTLL, RTAL; no query.

    Source:
        Adi et al., "Turning Your Weakness Into a Strength", USENIX Security 2018, section 5.
    """

    layers: Literal["last", "all"]
    """What is trained."""
    reinitialise: bool
    """RT: draw the last layer anew first. FT: keep it."""
    rate: float = 0.003
    """Adam's first learning rate."""

    needs_weights = True

    def __call__(self, source: Source, queries: Queries, seed: int, name: str) -> TrainingTask:
        """Return the training task."""
        recipe = Recipe(rate=self.rate, layers=self.layers, reinitialise=self.reinitialise)
        return TrainingTask(name, seed, "", queries.data.inputs, queries.data.targets, recipe, weights(source))


@dataclass(frozen=True)
class Pruning:
    """Set the smallest weights to zero, then fine-tune the rest on true labels; no query.

    Source:
        Han et al., NeurIPS 2015, section 3; as a removal attack, Liu, Dolan-Gavitt, Garg, RAID 2018 (fine-pruning).
    """

    share: float
    """The share of each weight tensor that is removed."""
    rate: float = 0.001
    """Adam's first learning rate in the fine-tuning."""

    needs_weights = True

    def __call__(self, source: Source, queries: Queries, seed: int, name: str) -> TrainingTask:
        """Return the training task."""
        recipe = Recipe(rate=self.rate, prune=self.share)
        return TrainingTask(name, seed, "", queries.data.inputs, queries.data.targets, recipe, weights(source))


@dataclass(frozen=True)
class AdversarialTraining:
    """Harden the stolen weights on PGD examples, labelled by the source; one query per image.

    Source:
        Madry et al., ICLR 2018, section 2.1.
    """

    radius: float
    """Max-norm radius of the examples, as a fraction of the input range."""
    rate: float = 0.003
    """Adam's first learning rate."""

    needs_weights = True

    def __call__(self, source: Source, queries: Queries, seed: int, name: str) -> TrainingTask:
        """Return the training task."""
        recipe = Recipe(rate=self.rate, radius=self.radius)
        return TrainingTask(name, seed, "", queries.data.inputs, queries.labels, recipe, weights(source))


def weights(source: Source) -> nn.Module:
    """Return the source's network.

    Raises:
        SourceError: if it is a label oracle.
    """
    if source.module is None:
        raise SourceError("source: this attack changes the source's weights, and an ONNX source gives answers only")
    return source.module


def _retrainings() -> dict[str, Attack]:
    table: dict[str, Attack] = {}
    for architecture in ARCHITECTURES:
        kind = architecture.removeprefix("convolutional").strip("-")
        suffix = f"-{kind}" if kind else ""
        table[f"retrain-labels{suffix}"] = Retraining("labels", architecture)
        table[f"retrain-probabilities{suffix}"] = Retraining("probabilities", architecture)
    return table


ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        **_retrainings(),
        "ftll": FineTuning("last", reinitialise=False),
        "ftal": FineTuning("all", reinitialise=False),
        "ftal-strong": FineTuning("all", reinitialise=False, rate=0.006),
        "rtll": FineTuning("last", reinitialise=True),
        "rtal": FineTuning("all", reinitialise=True),
        "rtal-strong": FineTuning("all", reinitialise=True, rate=0.006),
        "prune-0.4": Pruning(0.4),
        "prune-0.7": Pruning(0.7),
        "adversarial-0.05": AdversarialTraining(0.05),
        "adversarial-0.1": AdversarialTraining(0.1),
    }
)
"""Every removal attack by name; the table drives ensembles, suspects, tests and the command line."""
