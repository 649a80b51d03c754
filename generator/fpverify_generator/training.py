"""One network's training, step by step: the reference that the stacked trainer is compared against."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.architectures import Task, initialise, last_layer
from fpverify_generator.seeds import generator_for

PGD_STEPS = 2
"""Gradient steps of adversarial training's inner attack, each 0.7 of the radius long."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam, with a rate that falls to zero in a straight line."""

    steps: int = 300
    """Minibatches."""
    batch: int = 64
    """Images in a minibatch, drawn with replacement."""
    rate: float = 0.01
    """Adam's first learning rate."""
    layers: Literal["all", "last"] = "all"
    """What is trained; the rest keeps its weights."""
    reinitialise: bool = False
    """Draw the last layer's weights anew before training."""
    prune: float = 0.0
    """The share of each weight tensor, smallest magnitudes first, that is set to zero and held there."""
    radius: float = 0.0
    """Train on PGD examples within this max-norm radius, as a fraction of the input range; 0 for none."""


@dataclass(frozen=True)
class TrainingTask:
    """One network to train, with everything that its result depends on."""

    name: str
    """What it is, for progress and tables."""
    seed: int
    """Of its initial weights and minibatches."""
    architecture: str
    """A key of `ARCHITECTURES`; unused where `start` is given."""
    inputs: torch.Tensor = field(repr=False)
    """`(n, C, H, W)` float32 in [0, 1]."""
    targets: torch.Tensor = field(repr=False)
    """`(n, classes)` float32 rows of probabilities; one-hot for labels."""
    recipe: Recipe = Recipe()
    """How it is trained."""
    start: nn.Module | None = field(default=None, repr=False)
    """The network to start from, left as it is; None for fresh weights."""


def initial(task: TrainingTask) -> nn.Module:
    """Return a new network with the weights that training starts from."""
    if task.start is None:
        shape = (task.inputs.shape[1], task.inputs.shape[2], task.inputs.shape[3])
        module: nn.Module = initialise(task.architecture, Task(shape, task.targets.shape[1]), task.seed)
    else:
        module = copy.deepcopy(task.start).cpu()
    if task.recipe.reinitialise:
        generator = generator_for(task.seed, "last layer")
        named = dict(module.named_parameters())
        fan_in = max(named[name].shape[-1] for name in last_layer(module) if named[name].ndim == 2)
        with torch.no_grad():
            for name in last_layer(module):
                named[name].uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
    return module


def pruning_masks(module: nn.Module, share: float) -> dict[str, torch.Tensor]:
    """Return, for each weight tensor, 1 where a weight stays and 0 where magnitude pruning removes it.

    Args:
        module: the network.
        share: of each tensor, the share to remove, in [0, 1).

    Returns:
        Parameter name -> mask of its shape; biases always stay.

    Source:
        Han, Pool, Tran, Dally, "Learning both Weights and Connections", NeurIPS 2015, section 3.1.
    """
    masks = {}
    for name, parameter in module.named_parameters():
        remove = int(parameter.numel() * share) if parameter.ndim > 1 else 0
        mask = torch.ones_like(parameter)
        if remove:
            mask.view(-1)[parameter.detach().abs().flatten().argsort(stable=True)[:remove]] = 0
        masks[name] = mask
    return masks


def minibatches(task: TrainingTask) -> torch.Tensor:
    """Return the row numbers of every minibatch, `(steps, batch)`."""
    size = (task.recipe.steps, task.recipe.batch)
    return torch.randint(len(task.inputs), size, generator=generator_for(task.seed, "minibatches"))


def cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of `(…, classes)` scores against rows of probabilities, `(…,)`."""
    return -(targets * F.log_softmax(scores, -1)).sum(-1)


def adversarial(
    forward: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    radius: torch.Tensor | float,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Return PGD examples for adversarial training.

    Args:
        forward: the network, or the stack of networks.
        inputs: `(…, C, H, W)` in [0, 1].
        targets: `(…, classes)` probabilities.
        radius: max-norm radius, a number or a tensor that broadcasts over the inputs.
        noise: the random start, like `inputs`, uniform in [0, 1).

    Returns:
        Examples like `inputs`, within the radius and in [0, 1].

    Source:
        Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
        Attacks", ICLR 2018, section 2.1.
    """
    offset = (2 * noise - 1) * radius
    for _ in range(PGD_STEPS):
        offset = offset.detach().requires_grad_()
        loss = cross_entropy(forward(inputs + offset), targets).sum()
        (gradient,) = torch.autograd.grad(loss, offset)
        offset = torch.clamp((offset + 0.7 * radius * gradient.sign()) / radius, -1, 1) * radius
    return (inputs + offset).clamp(0, 1).detach()


def train_sequentially(task: TrainingTask, device: str = "cpu") -> nn.Module:
    """Train one network by itself.

    Args:
        task: what to train.
        device: `cpu` or `cuda`.

    Returns:
        The trained network on the CPU.
    """
    module, recipe = initial(task).to(device), task.recipe
    masks = pruning_masks(module, recipe.prune) if recipe.prune else {}
    parameters = dict(module.named_parameters())
    trained = last_layer(module) if recipe.layers == "last" else tuple(parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    optimizer = torch.optim.Adam([parameters[name] for name in trained], lr=recipe.rate)
    inputs, targets = task.inputs.to(device), task.targets.to(device)
    noise = generator_for(task.seed, "adversarial")
    _hold(parameters, masks)
    for step, rows in enumerate(minibatches(task).to(device)):
        optimizer.param_groups[0]["lr"] = recipe.rate * (1 - step / recipe.steps)
        batch, wanted = inputs[rows], targets[rows]
        if recipe.radius:
            start = torch.rand(batch.shape, generator=noise).to(device)
            batch = adversarial(module, batch, wanted, recipe.radius, start)
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(module(batch), wanted).mean())
        optimizer.step()
        _hold(parameters, masks)
    return module.requires_grad_(False).cpu()


@torch.no_grad()
def _hold(parameters: dict[str, nn.Parameter], masks: dict[str, torch.Tensor]) -> None:
    for name, mask in masks.items():
        parameters[name].mul_(mask)
