"""Ensembles: many networks trained as one stack, and asked as one."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fpverify_generator.data.store import Inputs
from fpverify_generator.models.heads import as_head, parted
from fpverify_generator.models.passes import in_passes
from fpverify_generator.models.stacked import Stack, is_stackable, stack
from fpverify_generator.models.training import (
    TrainingTask,
    adversarial,
    augmented,
    by_pixel,
    copied,
    initial,
    minibatches,
    optimizer_for,
    pruning_masks,
    rate_at,
    varies_images,
)
from fpverify_generator.run.cache import digest
from fpverify_generator.run.seeds import generator_for

STACK = 12
"""Networks in one stack: more would leave the processor's cache, and a kill loses at most one stack's work."""


def structure(module: nn.Module) -> str:
    """Return what two networks have in common exactly if they can be stacked: layers, sizes and options."""
    return repr(module)


def stacks(tasks: Sequence[TrainingTask]) -> list[tuple[int, ...]]:
    """Group tasks that can train together.

    Args:
        tasks: what to train.

    Returns:
        Tuples of at most `STACK` task numbers; a network that cannot be stacked is alone in its tuple.
    """

    def key(number: int) -> str:
        task, module = tasks[number], initial(tasks[number])
        if not is_stackable(module):
            return f"alone {number}"
        # the amounts may differ within a stack, whether there is such a step may not; images are varied one by one
        recipe = task.recipe
        if recipe.freeze or recipe.precision != "automatic":
            return f"alone {number}"
        same = replace(
            recipe,
            prune=float(recipe.prune > 0),
            radius=float(recipe.radius > 0),
            mixup=0.0,
            augment=0,
            noise=0.0,
            colour=0.0,
        )
        return f"{structure(module)} {same} {tuple(task.inputs.shape[1:])} {task.targets.shape[1]}"

    keys = [key(number) for number in range(len(tasks))]
    groups: list[tuple[int, ...]] = []
    for _, members in groupby(sorted(range(len(tasks)), key=lambda i: (keys[i], i)), key=lambda i: keys[i]):
        numbers = list(members)
        groups += [tuple(numbers[i : i + STACK]) for i in range(0, len(numbers), STACK)]
    return groups


def train_together(tasks: Sequence[TrainingTask], device: str = "cpu") -> list[nn.Module]:
    """Train networks that share an architecture and a recipe as one stack.

    Args:
        tasks: one tuple of `stacks`.
        device: `cpu` or `cuda`.

    Returns:
        The trained networks on the CPU, each what `train_sequentially` returns, up to rounding.
    """
    modules, recipe = [initial(task) for task in tasks], tasks[0].recipe
    network = cast(nn.Sequential, modules[0])
    networks = Stack(network, {name: value.to(device) for name, value in stack(modules).items()})
    mask = _mask(networks, modules, tasks, device)
    last_only = recipe.layers == "last"
    first = len(networks.weights) - networks.by_layer(networks.weights)[-1].numel() if last_only else 0
    trained = networks.weights[first:]
    optimizer = optimizer_for(recipe, [trained], recipe.learning_rate)
    batches = _Batches(tasks, device)
    noises = [generator_for(task.seed, "adversarial") for task in tasks]
    radius = torch.tensor([task.recipe.radius for task in tasks], device=device).view(-1, 1, 1, 1, 1)
    if mask is not None:
        networks.weights.mul_(mask)
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = rate_at(recipe, step)
        batch, wanted = batches.draw(step)
        if recipe.radius:
            start = torch.stack([torch.rand(batch.shape[1:], generator=noise) for noise in noises]).to(device)
            batch = adversarial(networks.scores, batch, wanted, radius, start)
        networks.learn(batch, wanted, last_only)
        trained.grad = networks.gradients[first:]
        optimizer.step()
        if mask is not None:
            networks.weights.mul_(mask)
    parameters = networks.parameters()
    return [unstacked(network, parameters, k) for k in range(len(tasks))]


class _Batches:
    """The minibatches of networks that train together."""

    def __init__(self, tasks: Sequence[TrainingTask], device: str) -> None:
        self.tasks = tasks
        self.order = torch.stack([minibatches(task) for task in tasks], 1).to(device)
        self.draws = [generator_for(task.seed, "variation") for task in tasks]
        self.plain = not any(varies_images(task.recipe) for task in tasks)
        self.inputs = [task.inputs.to(device) for task in tasks]
        self.targets = [task.targets.to(device) for task in tasks]

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a step's images `(K, n, C, H, W)` and targets `(K, n, classes)`."""
        rows = self.order[step]
        if self.plain:
            return _chosen(self.inputs, rows), _chosen(self.targets, rows)
        drawn = [
            augmented(inputs[row], targets[row], task.recipe, draw)
            for task, inputs, targets, row, draw in zip(
                self.tasks, self.inputs, self.targets, rows, self.draws, strict=True
            )
        ]
        images, wanted = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        return images, wanted


def _chosen(pools: Sequence[Inputs], rows: torch.Tensor) -> torch.Tensor:
    """Return `(K, n, …)`: of each of K tensors the `(K, n)` rows, in one step where they are one tensor."""
    tensors = [pool for pool in pools if isinstance(pool, torch.Tensor)]
    if len(tensors) < len(pools):
        return torch.stack([pool[row] for pool, row in zip(pools, rows, strict=True)])
    whole = max(tensors, key=len)
    if all((pool.data_ptr(), pool.stride()) == (whole.data_ptr(), whole.stride()) for pool in tensors):
        return whole.index_select(0, rows.flatten()).view(*rows.shape, *whole.shape[1:])
    return torch.stack([pool.index_select(0, row) for pool, row in zip(tensors, rows, strict=True)])


def unstacked(network: nn.Module, parameters: dict[str, torch.Tensor], index: int) -> nn.Module:
    """Return network number `index` of a stack as a module of its own, on the CPU."""
    module = copy.deepcopy(network)
    module.load_state_dict({name: value[index].detach().cpu() for name, value in parameters.items()})
    return module.requires_grad_(False)


def _mask(
    networks: Stack, modules: Sequence[nn.Module], tasks: Sequence[TrainingTask], device: str
) -> torch.Tensor | None:
    """Return 1 where a weight stays and 0 where it is pruned, like the weights; None if nothing is pruned."""
    if not tasks[0].recipe.prune:
        return None
    masks = [pruning_masks(module, task.recipe.prune) for module, task in zip(modules, tasks, strict=True)]
    return networks.flattened({name: torch.stack([mask[name] for mask in masks]).to(device) for name in masks[0]})


Seen = dict[str, torch.Tensor]
"""What bodies say of some inputs, by their names: ensembles on one body ask it once."""


class Ensemble:
    """Networks that are asked together; keeps the stacks, so that it is built once and asked often."""

    def __init__(self, modules: Sequence[nn.Module], device: str = "cpu") -> None:
        """Stack the networks that share an architecture.

        Args:
            modules: at least one network; their weights are copied.
            device: `cpu` or `cuda`.
        """
        self.device = device
        self.size = len(modules)
        numbers: dict[str, list[int]] = {}
        for number, module in enumerate(modules):
            numbers.setdefault(_group(number, module), []).append(number)
        self._groups = [
            _asked_as_one([modules[number] for number in members], name, device) for name, members in numbers.items()
        ]
        order = [number for members in numbers.values() for number in members]
        self._order = torch.tensor(order, device=device).argsort()

    def scores(self, inputs: torch.Tensor, seen: Seen | None = None) -> torch.Tensor:
        """Ask every network.

        Args:
            inputs: `(n, C, H, W)` on the ensemble's device; gradients flow back to it.
            seen: what bodies said of these very inputs when another ensemble was asked; None for nothing.

        Returns:
            `(models, n, classes)` scores in the order of the networks.
        """
        return torch.cat([_scores(group, inputs, seen) for group in self._groups])[self._order]

    def part(self, share: float) -> "Part":
        """Return an ensemble of a share of the networks, which are drawn anew whenever that is asked for."""
        return Part(self._groups, share)

    @torch.no_grad()
    def labels(self, inputs: Inputs) -> torch.Tensor:
        """Return each network's label for each of `(n, C, H, W)` inputs, `(models, n)` on the CPU."""
        chunks = []
        for chunk in in_passes(inputs, self.device):
            answers = [_labels(group, chunk) for group in self._groups]
            chunks.append(torch.cat(answers)[self._order].cpu())
        return torch.cat(chunks, 1)

    def accuracy(self, inputs: Inputs, labels: torch.Tensor) -> list[float]:
        """Return each network's share of right answers on labelled inputs."""
        return [float(value) for value in (self.labels(inputs) == labels).double().mean(1)]


class OnBody:
    """Networks that share a body, which answers once for all of them; K last layers are a stack on its answers."""

    def __init__(self, body: nn.Module, heads: Stack, name: str) -> None:
        """Put last layers on a body.

        Args:
            body: from images to `(n, features)`, on its device.
            heads: a stack for `(n, features, 1, 1)`.
            name: tells the body from others.
        """
        self.body, self.heads, self.name = body, heads, name

    @property
    def models(self) -> int:
        """Return how many networks these are."""
        return self.heads.models

    @property
    def weights(self) -> torch.Tensor:
        """Return the last layers' weights."""
        return self.heads.weights

    def first(self, count: int) -> "OnBody":
        """Return copies of the first networks, as `Stack.first` does, on the same body."""
        return OnBody(self.body, self.heads.first(count), self.name)

    def take(self, whole: "OnBody", rows: torch.Tensor) -> None:
        """Become copies of some networks on the same body, as `Stack.take` does."""
        self.heads.take(whole.heads, rows)

    def scores(self, inputs: torch.Tensor, seen: Seen | None = None) -> torch.Tensor:
        """Ask every network, as `Stack.scores` does; what the body says is looked up in `seen`, or put there."""
        known = {} if seen is None else seen
        if self.name not in known:
            known[self.name] = alone(self.body, inputs)[0]
        return self.heads.scores(known[self.name][:, :, None, None])


class LabelModel(nn.Module):
    """A model that gives labels alone: an ensemble with one of them can be asked for labels, and for no scores."""

    def labels(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n,)` labels of `(n, C, H, W)` inputs; -1 for none of the classes."""
        raise NotImplementedError


def _labels(group: "Group", inputs: torch.Tensor) -> torch.Tensor:
    if isinstance(group, LabelModel):
        return group.labels(inputs).to(inputs.device)[None]
    return _scores(group, inputs, None).argmax(-1)


Group = Stack | OnBody | nn.Module
"""Networks of an ensemble that are asked as one, or one alone."""


def _scores(group: Group, inputs: torch.Tensor, seen: Seen | None) -> torch.Tensor:
    if isinstance(group, OnBody):
        return group.scores(inputs, seen)
    return alone(group, inputs) if isinstance(group, nn.Module) else group.scores(inputs)


def _group(number: int, module: nn.Module) -> str:
    """Return what networks have in common that are asked as one; a network's number where it is alone."""
    if is_stackable(module):
        return structure(module)
    parts = parted(module)
    return f"alone {number}" if parts is None else f"{structure(module)} {digest(parts[0])}"


def _asked_as_one(modules: Sequence[nn.Module], name: str, device: str) -> Group:
    if is_stackable(modules[0]):
        return _stacked(modules, device)
    parts = [parted(module) for module in modules]
    if len(modules) == 1 or parts[0] is None:
        network = copied(modules[0]).to(device)
        by_pixel(network)
        return network
    body = copied(parts[0][0]).to(device)
    by_pixel(body)
    heads = [as_head(part[1]) for part in parts if part is not None]
    return OnBody(body, _stacked(heads, device), name)


def _stacked(modules: Sequence[nn.Module], device: str) -> Stack:
    network = cast(nn.Sequential, modules[0])
    return Stack(network, {name: value.to(device) for name, value in stack(modules).items()})


MOST_HELD = 2**20
"""Values of images up to which what a network computes is kept for its gradient; of more it is computed again."""


def alone(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Ask one network about `(n, C, H, W)` inputs, `(1, n, classes)`.

    Of many large images it computes its layers a second time for the gradient, a third more work: to keep them would
    take the memory of all networks of an ensemble at once.
    """
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    if inputs.requires_grad and inputs.numel() > MOST_HELD:
        scores: torch.Tensor = checkpoint(network, inputs, use_reentrant=False)
        return scores[None]
    found: torch.Tensor = network(inputs)
    return found[None]


class Part:
    """A share of the networks of each architecture of an ensemble."""

    def __init__(self, groups: Sequence[Group], share: float) -> None:
        """Take the first networks.

        Args:
            groups: an ensemble's networks that are asked as one, and those that are alone.
            share: of the networks of each group, rounded, at least one; and of those that are alone.
        """
        self._stacks = [group for group in groups if not isinstance(group, nn.Module)]
        self._parts = [whole.first(max(1, round(share * whole.models))) for whole in self._stacks]
        self._alone = [group for group in groups if isinstance(group, nn.Module)]
        self._drawn = self._alone[: max(1, round(share * len(self._alone)))]

    def draw(self, generator: torch.Generator) -> None:
        """Draw other networks."""
        for whole, part in zip(self._stacks, self._parts, strict=True):
            rows = torch.randperm(whole.models, generator=generator)[: part.models]
            part.take(whole, rows.to(whole.weights.device))  # type: ignore[arg-type]
        rows = torch.randperm(len(self._alone), generator=generator)[: len(self._drawn)]
        self._drawn = [self._alone[number] for number in rows.tolist()]

    def scores(self, inputs: torch.Tensor, seen: Seen | None = None) -> torch.Tensor:
        """Ask the networks that are drawn, as `Ensemble.scores` asks all; their order means nothing."""
        return torch.cat([_scores(group, inputs, seen) for group in (*self._parts, *self._drawn)])
