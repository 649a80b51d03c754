"""One network's training, step by step: the reference that the stacked trainer is compared against."""

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.data.store import Inputs
from fpverify_generator.errors import require_within
from fpverify_generator.models.architectures import Architecture, Task, initialise, last_layer
from fpverify_generator.models.captured import Recorder, Step, recorder_for
from fpverify_generator.run.seeds import generator_for

PGD_STEPS = 2
"""Gradient steps of adversarial training's inner attack, each 0.7 of the radius long."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: with a rate that falls to zero in a straight line."""

    steps: int = 300
    """Minibatches."""
    batch: int = 64
    """Images in a minibatch, drawn with replacement."""
    learning_rate: float = 0.01
    """The highest learning rate."""
    warm_up: float = 0.0
    """The share of the steps in which the rate rises to the highest, in a straight line."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """What turns gradients into steps; `sgd` has a momentum of 0.9."""
    weight_decay: float = 0.0
    """The optimiser's: added to the gradient, with `adamw` taken off the weights."""
    layers: Literal["all", "last"] = "all"
    """What is trained; the rest keeps its weights."""
    freeze: tuple[str, ...] = ()
    """Beginnings of the names of parameters that keep their weights, such as `0.stages.0`."""
    precision: Literal["automatic", "float32", "bfloat16"] = "automatic"
    """Of layers of convolutions and products in training. Automatic: bfloat16 on a GPU, float32 on a processor."""
    reinitialise: bool = False
    """Draw the last layer's weights anew before training."""
    prune: float = 0.0
    """The share of each weight tensor, smallest magnitudes first, that is set to zero and held there."""
    radius: float = 0.0
    """Train on PGD examples within this max-norm radius, as a fraction of the input range; 0 for none."""
    mixup: float = 0.0
    """Beta parameter with which pairs of images and their targets are mixed; 0 for none."""
    augment: int = 0
    """Move each image by up to so many pixels, and mirror half of them; 0 for neither."""
    colour: float = 0.0
    """Change brightness, contrast and saturation of each image by up to this share, each by its own draw."""
    noise: float = 0.0
    """Standard deviation of fresh Gaussian noise on each image of a minibatch, as a fraction of the input range."""

    views: int = 0
    """Where the last layer alone is trained: in how many moved, recoloured or noisy views the rest of the network sees
    each image, once before training; images are then mixed as features. 0 for fresh views at each step, which take a
    pass of the whole network each."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, math.inf),
            ("views", 0, math.inf),
            ("batch", 1, math.inf),
            ("learning_rate", 0, math.inf),
            ("warm_up", 0, 1),
            ("weight_decay", 0, math.inf),
            ("colour", 0, 1),
            ("prune", 0, 1),
            ("radius", 0, 1),
            ("mixup", 0, math.inf),
            ("augment", 0, math.inf),
            ("noise", 0, math.inf),
        ):
            require_within(self, name, low, high)


@dataclass(frozen=True)
class TrainingTask:
    """One network to train, with everything that its result depends on."""

    name: str
    """What it is, for progress and tables."""
    seed: int
    """Of its initial weights and minibatches."""
    architecture: Architecture | None
    """What to train; None where `start` is given."""
    inputs: Inputs = field(repr=False)
    """`(n, C, H, W)` float32 in [0, 1]."""
    targets: torch.Tensor = field(repr=False)
    """`(n, classes)` float32 rows of probabilities; one-hot for labels."""
    asked: Recipe = Recipe()
    """How it is to be trained, before its architecture has its say."""
    start: nn.Module | None = field(default=None, repr=False)
    """The network to start from, left as it is; None for fresh weights."""
    rows: torch.Tensor | None = field(default=None, repr=False)
    """`(m,)` row numbers of the images that it is trained on; None for all. So many tasks share one tensor."""
    order: torch.Tensor | None = field(default=None, repr=False)
    """`(steps, batch)` row numbers of every minibatch; None to draw them."""

    @cached_property
    def recipe(self) -> Recipe:
        """Return how it is trained: as it is asked, but for the architecture's own steps, rate and layers."""
        own = self.architecture
        if own is None or (own.steps, own.learning_rate, own.layers) == (1, 1, None):
            return self.asked
        return replace(
            self.asked,
            steps=max(1, round(own.steps * self.asked.steps)),
            learning_rate=own.learning_rate * self.asked.learning_rate,
            layers=own.layers or self.asked.layers,
        )

    @property
    def made_of(self) -> str:
        """Return the architecture's name, or that of the class of the network that it starts from."""
        return type(self.start).__name__ if self.architecture is None else self.architecture.name


def initial(task: TrainingTask) -> nn.Module:
    """Return a new network with the weights that training starts from."""
    if task.start is not None:
        module = copied(task.start)
    elif task.architecture is not None:
        shape = (task.inputs.shape[1], task.inputs.shape[2], task.inputs.shape[3])
        module = initialise(task.architecture, Task(shape, task.targets.shape[1]), task.seed)
    else:
        raise ValueError(f"the task '{task.name}' has neither an architecture nor a network to start from")
    if task.recipe.reinitialise:
        generator = generator_for(task.seed, "last layer")
        named = dict(module.named_parameters())
        fan_in = max(named[name][0].numel() for name in last_layer(module))
        with torch.no_grad():
            for name in last_layer(module):
                named[name].uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
    return module


def copied(module: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU."""
    with warnings.catch_warnings():
        # PyTorch's own copying of `torch.export` programs uses what PyTorch deprecates
        warnings.simplefilter("ignore", FutureWarning)
        return copy.deepcopy(module).cpu()


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
        mask = torch.ones(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        if remove:
            mask.view(-1)[parameter.detach().abs().flatten().argsort(stable=True)[:remove]] = 0
        masks[name] = mask
    return masks


def minibatches(task: TrainingTask) -> torch.Tensor:
    """Return the row numbers of every minibatch, `(steps, batch)`."""
    if task.order is not None:
        return task.order
    size = (task.recipe.steps, task.recipe.batch)
    count = len(task.inputs) if task.rows is None else len(task.rows)
    drawn = torch.randint(count, size, generator=generator_for(task.seed, "minibatches"))
    return drawn if task.rows is None else task.rows[drawn]


def augmented(batch: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, draw: torch.Generator) -> list[torch.Tensor]:
    """Return a minibatch as it is trained on: moved, mirrored, noisy and mixed as the recipe says.

    Args:
        batch: `(n, C, H, W)`.
        wanted: `(n, classes)` probabilities.
        recipe: `augment`, `noise` and `mixup` are used.
        draw: the network's own, on the CPU.

    Returns:
        Images and targets like those given.

    Source:
        Mixing: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup", ICLR 2018, section 2; the larger share is the image's own,
        as in Berthelot et al., "MixMatch", NeurIPS 2019, section 3.3.
    """
    if recipe.augment:
        reach = recipe.augment
        count, _, height, width = batch.shape
        down, right = torch.randint(2 * reach + 1, (2, count, 1), generator=draw).to(batch.device)
        rows, columns = (torch.arange(size, device=batch.device) for size in (height, width))
        mirrored = (torch.rand(count, 1, generator=draw) < 0.5).to(batch.device)
        columns = torch.where(mirrored, columns.flip(0), columns)
        padded = F.pad(batch, (reach,) * 4)
        each = torch.arange(count, device=batch.device)[:, None, None]
        batch = padded.permute(0, 2, 3, 1)[each, (rows + down)[:, :, None], (columns + right)[:, None]]
        batch = batch.permute(0, 3, 1, 2)
    if recipe.colour:
        batch = recoloured(batch, recipe.colour, draw)
    if recipe.noise:
        drawn = torch.randn(batch.shape, generator=draw).to(batch)
        batch = (batch + recipe.noise * drawn).clamp(0, 1)
    if recipe.mixup:
        # a Beta(a, a) draw from two Gamma draws; PyTorch's own Beta takes no generator
        gamma = torch._standard_gamma(torch.full((2, len(batch)), recipe.mixup), generator=draw)
        share = (gamma[0] / gamma.sum(0).clamp(min=1e-12)).to(batch)
        share = torch.maximum(share, 1 - share)
        partner = torch.randperm(len(batch), generator=draw).to(batch.device)
        weight = share[:, None, None, None]
        batch = weight * batch + (1 - weight) * batch[partner]
        wanted = share[:, None] * wanted + (1 - share[:, None]) * wanted[partner]
    return [batch, wanted]


def varies_images(recipe: Recipe) -> bool:
    """Say whether `augmented` changes anything."""
    return bool(recipe.augment or recipe.colour or recipe.noise or recipe.mixup)


def recoloured(batch: torch.Tensor, share: float, draw: torch.Generator) -> torch.Tensor:
    """Return images with their brightness, contrast and saturation changed.

    Args:
        batch: `(n, C, H, W)` in [0, 1].
        share: by which each of the three changes at most, up or down.
        draw: of each image's own changes.

    Source:
        Krizhevsky, Sutskever, Hinton, NIPS 2012, section 4.1; the three steps are those of torchvision's ColorJitter.
    """
    bright, contrast, saturation = (
        1 + share * (2 * torch.rand(3, len(batch), 1, 1, 1, generator=draw) - 1).to(batch)
    ).unbind(0)
    batch = (bright * batch).clamp(0, 1)
    mean = batch.mean((1, 2, 3), keepdim=True)
    batch = (mean + contrast * (batch - mean)).clamp(0, 1)
    grey = batch.mean(1, keepdim=True)
    return (grey + saturation * (batch - grey)).clamp(0, 1)


def rate_at(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step, the first of which is 0."""
    rising = round(recipe.warm_up * recipe.steps)
    if step < rising:
        return recipe.learning_rate * (step + 1) / rising
    return recipe.learning_rate * (1 - (step - rising) / (recipe.steps - rising))


def optimizer_for(
    recipe: Recipe, parameters: Sequence[torch.Tensor], rate: float | torch.Tensor, recorded: bool = False
) -> torch.optim.Optimizer:
    """Return what a recipe names.

    Args:
        recipe: `optimizer` and `weight_decay` are used.
        parameters: what it changes.
        rate: the learning rate, until it is set anew.
        recorded: whether its steps are recorded on a GPU.
    """
    decay = recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay, fused=True)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay, fused=True, capturable=recorded)


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


def train_sequentially(task: TrainingTask, device: str = "cpu", recorder: Recorder | None = None) -> nn.Module:
    """Train one network by itself.

    Args:
        task: what to train.
        device: `cpu` or `cuda`.
        recorder: what records a step to replay it; None for what the device has.

    Returns:
        The trained network on the CPU.
    """
    # images lie channel by channel within a pixel
    module, recipe = initial(task).to(device), task.recipe
    by_pixel(module)
    masks = pruning_masks(module, recipe.prune) if recipe.prune else {}
    parameters = dict(module.named_parameters())
    trained = last_layer(module) if recipe.layers == "last" else tuple(parameters)
    trained = tuple(name for name in trained if not name.startswith(recipe.freeze))
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    # Where the body stays as it is, so do its normalisation's statistics.
    set_mode(module, training=recipe.layers == "all")
    recorder = recorder_for(device) if recorder is None else recorder
    # a recorded step reads its rate from a tensor; Adam's state then lies on the device, too
    rate = None if recorder is None else torch.tensor(recipe.learning_rate, device=device)
    optimizer = optimizer_for(
        recipe,
        [parameters[name] for name in trained],
        recipe.learning_rate if rate is None else rate,
        recorded=device == "cuda",
    )
    mixed = recipe.precision == "bfloat16" or (recipe.precision == "automatic" and device != "cpu")
    inputs, targets = task.inputs.to(device), task.targets.to(device)
    noise, draw = generator_for(task.seed, "adversarial"), generator_for(task.seed, "variation")
    _hold(parameters, masks)

    def update(batch: torch.Tensor, wanted: torch.Tensor, *start: torch.Tensor) -> None:
        kind = torch.device(device).type
        with torch.autocast(kind, torch.bfloat16, enabled=mixed, cache_enabled=False):
            if start:
                batch = adversarial(module, batch, wanted, recipe.radius, start[0])
            loss = cross_entropy(module(batch), wanted).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        _hold(parameters, masks)

    do = Step(update, recorder)
    for step, rows in enumerate(minibatches(task).to(device)):
        if rate is None:
            optimizer.param_groups[0]["lr"] = rate_at(recipe, step)
        else:
            rate.fill_(rate_at(recipe, step))
        batch, wanted = augmented(inputs[rows], targets[rows], recipe, draw)
        start = [torch.rand(batch.shape, generator=noise).to(device)] if recipe.radius else []
        do(batch.contiguous(memory_format=torch.channels_last), wanted, *start)
    # contiguous again: what is written to disk and exported does not depend on how it was trained
    set_mode(module, training=False)
    by_pixel(module, False)
    return module.requires_grad_(False).cpu()


def by_pixel(module: nn.Module, wanted: bool = True) -> None:
    """Lay convolutions' weights out channel by channel within a pixel, or, if it is not wanted, as usual."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            layout = torch.channels_last if wanted else torch.contiguous_format
            parameter.data = parameter.data.contiguous(memory_format=layout)


def set_mode(module: nn.Module, training: bool) -> nn.Module:
    """Set whether normalisation learns its statistics; a `torch.export` program has one mode alone and keeps it."""
    with contextlib.suppress(NotImplementedError):
        module.train(training)
    return module


@torch.no_grad()
def _hold(parameters: dict[str, nn.Parameter], masks: dict[str, torch.Tensor]) -> None:
    for name, mask in masks.items():
        parameters[name].mul_(mask)
