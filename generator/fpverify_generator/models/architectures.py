"""The networks that sources, surrogates and references are made of: seeded, in families."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn

from fpverify_generator.errors import SourceError
from fpverify_generator.models.backbones import efficientnet_lite
from fpverify_generator.models.residual import mobile, residual, vgg


@dataclass(frozen=True)
class Task:
    """What a network must take and return."""

    shape: tuple[int, int, int]
    """Channels, height and width of one input."""
    classes: int
    """How many scores it returns."""


def _convolutional(width: int) -> Callable[[Task], nn.Sequential]:
    def build(task: Task) -> nn.Sequential:
        channels, height, breadth = task.shape
        # each convolution halves a side: the first rounds down (4 wide, padded 1), the second rounds up
        area = ((height // 2 + 1) // 2) * ((breadth // 2 + 1) // 2)
        return nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * area, 64),
            nn.ReLU(),
            nn.Linear(64, task.classes),
        )

    return build


def _perceptron(width: int) -> Callable[[Task], nn.Sequential]:
    def build(task: Task) -> nn.Sequential:
        channels, height, breadth = task.shape
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * breadth, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, task.classes),
        )

    return build


@dataclass(frozen=True)
class Architecture:
    """One kind of network."""

    name: str
    """What tables call it."""
    build: Callable[[Task], nn.Module] = field(repr=False, compare=False)
    """Makes a network with random weights, drawn by PyTorch's default generator: from `(n, C, H, W)` in [0, 1] to
    `(n, classes)` scores, for any n."""
    sha256: str = ""
    """Of the file that it comes from, where it is an owner's own."""
    steps: float = 1.0
    """Its training steps, as a multiple of the recipe's: more where its weights are random and others' are public."""
    learning_rate: float = 1.0
    """Its learning rate, as a multiple of the recipe's."""
    layers: Literal["all"] | None = None
    """What of it is trained, in place of what the recipe says: where its weights are random, all; None for that."""


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            Architecture("convolutional", _convolutional(16)),
            Architecture("convolutional-narrow", _convolutional(8)),
            Architecture("convolutional-wide", _convolutional(32)),
            Architecture("perceptron", _perceptron(64)),
            Architecture("resnet-8", residual(16, 1, stem=2)),
            Architecture("resnet-8-narrow", residual(12, 1, stem=2)),
            Architecture("resnet-8-wide", residual(24, 1, stem=2)),
            Architecture("vgg-small", vgg(16, 2, stem=2)),
            Architecture("resnet-20", residual(16, 3)),
            Architecture("mobilenet", mobile(32, 3)),
            Architecture("wide-resnet", residual(48, 2)),
            Architecture("vgg", vgg(64, 2)),
            *(Architecture(f"efficientnet-lite{version}", efficientnet_lite(version)) for version in (0, 1, 2)),
            Architecture("resnet-8 from nothing", residual(16, 1, stem=2), steps=4, learning_rate=16, layers="all"),
            Architecture("vgg-small from nothing", vgg(16, 2, stem=2), steps=4, learning_rate=16, layers="all"),
        )
    }
)
"""Every architecture by name."""


@dataclass(frozen=True)
class Family:
    """The architectures that owner and attacker choose from for one kind of image."""

    base: Architecture
    """The source's, or the one most like it."""
    narrow: Architecture
    """A cheaper one."""
    wide: Architecture
    """A larger one."""
    other: Architecture
    """One of another kind."""
    name: str = ""
    """A key of `FAMILIES`, or where an owner's own comes from."""

    @property
    def members(self) -> tuple[Architecture, ...]:
        """Return all four, in the order in which ensembles take turns."""
        return self.base, self.narrow, self.wide, self.other


def _family(name: str, *members: str) -> Family:
    base, narrow, wide, other = (ARCHITECTURES[member] for member in members)
    return Family(base, narrow, wide, other, name)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            _family("small", "convolutional", "convolutional-narrow", "convolutional-wide", "perceptron"),
            _family("residual-small", "resnet-8", "resnet-8-narrow", "resnet-8-wide", "vgg-small"),
            _family("residual", "resnet-20", "mobilenet", "wide-resnet", "vgg"),
            _family(
                "efficientnet-lite",
                "efficientnet-lite0",
                "efficientnet-lite0",
                "efficientnet-lite1",
                "efficientnet-lite2",
            ),
        )
    }
)
"""Every family by name."""


def initialise(architecture: Architecture, task: Task, seed: int) -> nn.Module:
    """Return a new network, the same for the same seed, without touching the process's random state.

    Args:
        architecture: what to make.
        task: the input shape and the number of classes.
        seed: of the initial weights.

    Returns:
        The network in evaluation mode, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return architecture.build(task).eval()


def last_layer(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the last layer's parameters: of the last linear layer or convolution.

    Raises:
        SourceError: if there is none.
    """
    weights = [name for name, parameter in module.named_parameters() if parameter.ndim in (2, 4)]
    if not weights:
        raise SourceError("the network has no linear layer and no convolution: no attack can change it")
    prefix = weights[-1].rpartition(".")[0]
    return tuple(name for name, _ in module.named_parameters() if name.rpartition(".")[0] == prefix)
