"""What an attacker holds, what it does step by step, and what comes of it."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.cem import CemConfig
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import Inputs
from fpverify_generator.errors import AttackError
from fpverify_generator.models.architectures import Family
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import Recipe, TrainingTask, copied


class BlackBox:
    """The source behind its API: counts each query, and answers no more of them than the budget allows."""

    def __init__(self, source: Source, classes: int, budget: int | None = None) -> None:
        """Put a source behind an API.

        Args:
            source: the owner's model.
            classes: how many it knows.
            budget: queries that it answers in all; None for no limit.
        """
        self._source = source
        self.classes = classes
        self.budget = budget
        self.queries = 0
        """Inputs that were answered so far."""

    def labels(self, inputs: Inputs) -> torch.Tensor:
        """Return the labels of `(n, C, H, W)` inputs as one-hot `(n, classes)` float32 rows: n queries.

        Raises:
            AttackError: if the budget does not allow so many.
        """
        return F.one_hot(self._ask(inputs)[0], self.classes).float()

    def probabilities(self, inputs: Inputs) -> torch.Tensor:
        """Return the probabilities of `(n, C, H, W)` inputs, `(n, classes)`: n queries; labels from a label oracle.

        Raises:
            AttackError: if the budget does not allow so many.
        """
        labels, soft = self._ask(inputs)
        return F.one_hot(labels, self.classes).float() if soft is None else soft

    def _ask(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.budget is not None and self.queries + len(inputs) > self.budget:
            raise AttackError(
                f"the attack asks {self.queries + len(inputs)} queries, its budget is {self.budget}: "
                "raise --budget or choose another attack"
            )
        self.queries += len(inputs)
        return self._source.answers(inputs)


@dataclass(frozen=True)
class Attacker:
    """Everything that an attack may use; nothing of the owner but its answers and, if stolen, its weights."""

    box: BlackBox = field(repr=False)
    """The source behind its API."""
    weights: nn.Module | None = field(repr=False)
    """The stolen network; None where the attacker has answers only."""
    data: DataSet = field(repr=False)
    """The attacker's own images of the task, with true labels."""
    family: Family
    """Architectures to choose from."""
    recipe: Recipe
    """How a network of the task is trained from nothing."""
    cem: CemConfig
    """The defender's settings, which are public; an adaptive attacker uses them."""
    foreign: DataSet | None = field(default=None, repr=False)
    """Images of another domain, with that domain's labels; None where the attacker has none."""

    def stolen(self) -> nn.Module:
        """Return a copy of the stolen network, on the CPU.

        Raises:
            AttackError: if there is none.
        """
        if self.weights is None:
            raise AttackError("this attack changes the source's weights, and an ONNX source gives answers only")
        return copied(self.weights)

    def foreign_data(self) -> DataSet:
        """Return the images of another domain.

        Raises:
            AttackError: if there are none.
        """
        if self.foreign is None:
            raise AttackError("this attack asks about images of another domain, and none were given")
        return self.foreign

    def with_learning_rate(self, share: float) -> Recipe:
        """Return the recipe with a share of its learning rate, as fine-tuning takes it."""
        return replace(self.recipe, learning_rate=self.recipe.learning_rate * share)


@dataclass(frozen=True)
class Surrogate:
    """What an attack ends with."""

    module: nn.Module
    """From `(n, C, H, W)` to `(n, classes)` scores, or `(n,)` int64 labels with -1 for a refusal; on the CPU."""
    classes: tuple[str, ...] = ()
    """Names of its classes where they are not the source's."""
    random: bool = False
    """Whether its answers draw random numbers."""
    architecture: str = ""
    """What it is made of, in words; empty where it is of the attacker's family's base."""


class Piece(Protocol):
    """Work of an attack that is no training: it is cached, and runs on any process."""

    def key(self) -> str:
        """Return the digest of everything that the result depends on."""

    def __call__(self) -> dict[str, torch.Tensor]:
        """Do it."""

    def undone(self) -> dict[str, torch.Tensor]:
        """Return something like the result without doing it, for who plans a build."""

    @property
    def passes(self) -> int:
        """Return how many passes of one image through one network it takes, forward and back."""


Steps = Generator[Sequence[TrainingTask | Piece], list[Any], Surrogate]
"""An attack under way: it yields what it wants done, is sent what came of each (a trained network of a task, tensors of
a piece), and returns what it stole.

So many attacks run side by side, and the networks of all of them train as stacks.
"""


class Attack(Protocol):
    """What every removal attack is: a frozen dataclass that is called."""

    category: ClassVar[str]
    """One of `CATEGORIES`."""

    @property
    def needs_weights(self) -> bool:
        """Whether the attacker must hold the source's weights."""

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Begin the attack.

        Args:
            attacker: what it may use.
            seed: of all its draws.

        Returns:
            The attack under way.
        """


Answers = Literal["labels", "probabilities"]
"""What the source's API returns."""


def ask(attacker: Attacker, inputs: Inputs, answers: Answers) -> torch.Tensor:
    """Return what the API says of `(n, C, H, W)` inputs, `(n, classes)`."""
    return attacker.box.labels(inputs) if answers == "labels" else attacker.box.probabilities(inputs)
