"""Attacks that move the stolen network to another label set, and perhaps back."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from fpverify_generator.attacks.interface import Attacker, Steps, Surrogate
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import taken
from fpverify_generator.errors import AttackError
from fpverify_generator.models.architectures import last_layer
from fpverify_generator.models.training import TrainingTask, copied
from fpverify_generator.run.seeds import derive_seed, generator_for


@dataclass(frozen=True)
class Transfer:
    """Replace the head for another label set and fine-tune all layers on true labels; no query.

    Merged: two classes at a time become one, so no class of the source is left and no key can be judged. Subset:
    the first half of the classes, of which keys with those labels can be judged. Back: to merged classes and then, with
    a fresh head, to the source's own.

    Source:
        Pan, Yang, "A Survey on Transfer Learning", 2010; as a removal attack, Lukas et al., "SoK: How Robust is Image
        Classification Deep Neural Network Watermarking?", IEEE S&P 2022, section 4.
    """

    to: Literal["merged", "subset", "back"]
    """The label set."""
    learning_rate: float = 0.3
    """The learning rate, as a share of that of training from nothing."""

    category: ClassVar[str] = "transfer"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Train once, or twice for `back`."""
        data = merged(attacker.data) if self.to != "subset" else subset(attacker.data)
        recipe = attacker.with_learning_rate(self.learning_rate)
        start = with_head(attacker.stolen(), len(data.classes), derive_seed(seed, "head"))
        (moved,) = yield [TrainingTask("transfer", seed, None, data.inputs, data.targets, recipe, start)]
        if self.to != "back":
            return Surrogate(moved, data.classes)
        own = attacker.data
        start = with_head(moved, len(own.classes), derive_seed(seed, "head back"))
        back_seed = derive_seed(seed, "back")
        (back,) = yield [TrainingTask("transfer", back_seed, None, own.inputs, own.targets, recipe, start)]
        return Surrogate(back)


def merged(data: DataSet) -> DataSet:
    """Return the data with two neighbouring classes as one, named `a+b`."""
    names = ["+".join(data.classes[first : first + 2]) for first in range(0, len(data.classes), 2)]
    return DataSet(data.inputs, data.labels // 2, data.images, tuple(names))


def subset(data: DataSet) -> DataSet:
    """Return the data of the first half of the classes."""
    count = max(2, len(data.classes) // 2)
    rows = (data.labels < count).nonzero()[:, 0]
    return DataSet(taken(data.inputs, rows), data.labels[rows], data.images[rows], data.classes[:count])


def with_head(module: nn.Module, classes: int, seed: int) -> nn.Module:
    """Return a copy of a network whose last linear layer is fresh and gives so many scores."""
    moved = copied(module)
    path = last_layer(moved)[0].rpartition(".")[0]
    head = moved.get_submodule(path)
    if not isinstance(head, nn.Linear):
        raise AttackError("this attack replaces the last layer, which must be a torch.nn.Linear")
    fresh = nn.Linear(head.in_features, classes)
    draw, bound = generator_for(seed, "weights"), head.in_features**-0.5
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.uniform_(-bound, bound, generator=draw)
    parent, _, name = path.rpartition(".")
    setattr(moved.get_submodule(parent), name, fresh)
    return moved.eval().requires_grad_(False)
