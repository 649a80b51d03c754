"""The networks that sources, surrogates and references are made of: `nn.Sequential`, seeded, in families."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

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


ARCHITECTURES: Mapping[str, Callable[[Task], nn.Sequential]] = MappingProxyType(
    {
        "convolutional": _convolutional(16),
        "convolutional-narrow": _convolutional(8),
        "convolutional-wide": _convolutional(32),
        "perceptron": _perceptron(64),
        "resnet-8": residual(16, 1, stem=2),
        "resnet-8-narrow": residual(12, 1, stem=2),
        "resnet-8-wide": residual(24, 1, stem=2),
        "vgg-small": vgg(16, 2, stem=2),
        "resnet-20": residual(16, 3),
        "mobilenet": mobile(32, 3),
        "wide-resnet": residual(48, 2),
        "vgg": vgg(64, 2),
    }
)
"""Every architecture by name."""


@dataclass(frozen=True)
class Family:
    """The architectures that owner and attacker choose from for one kind of image, as keys of `ARCHITECTURES`."""

    base: str
    """The source's."""
    narrow: str
    """A cheaper one."""
    wide: str
    """A larger one."""
    other: str
    """One of another kind."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return all four, in the order in which ensembles take turns."""
        return self.base, self.narrow, self.wide, self.other


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "small": Family("convolutional", "convolutional-narrow", "convolutional-wide", "perceptron"),
        "residual-small": Family("resnet-8", "resnet-8-narrow", "resnet-8-wide", "vgg-small"),
        "residual": Family("resnet-20", "mobilenet", "wide-resnet", "vgg"),
    }
)
"""Every family by name."""


def initialise(name: str, task: Task, seed: int) -> nn.Sequential:
    """Return a new network, the same for the same seed, without touching the process's random state.

    Args:
        name: a key of `ARCHITECTURES`.
        task: the input shape and the number of classes.
        seed: of the initial weights.

    Returns:
        The network in evaluation mode, on the CPU, with PyTorch's default initialisation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ARCHITECTURES[name](task).eval()


def last_layer(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the last layer's parameters: those that share the prefix of the last weight matrix."""
    matrices = [name for name, parameter in module.named_parameters() if parameter.ndim == 2]
    prefix = matrices[-1].rpartition(".")[0]
    return tuple(name for name, _ in module.named_parameters() if name.rpartition(".")[0] == prefix)
