"""A study's unrelated models, group by group: what each shares with the source, and how it was trained."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.data.dataset import DataSet
from fpverify_generator.models.architectures import ARCHITECTURES, Architecture, Family
from fpverify_generator.models.networks import train_timed
from fpverify_generator.models.training import Recipe, TrainingTask
from fpverify_generator.pools import OwnerData, mislabelled
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed, generator_for
from fpverify_generator.study.domains import Domain
from fpverify_generator.study.presets import StudyPreset
from fpverify_generator.study.suspects import Suspect


@dataclass(frozen=True)
class Group:
    """How the models of a group are trained, all on the attacker's half, half of them in the source's architecture."""

    recipe: Callable[[Preset], Recipe]
    """Returns their recipe."""
    wrong_labels: float = 0.0
    """Share of their labels that is drawn at random."""
    share: float = 1.0
    """Share of the attacker's half that each draws."""


def _noisier(preset: Preset) -> Recipe:
    return replace(preset.recipe, noise=preset.variation.noise[1] * 4 / 3)


def _moved(preset: Preset) -> Recipe:
    return replace(preset.recipe, augment=preset.recipe.augment + preset.variation.moved)


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "a third of the steps": Group(lambda preset: replace(preset.recipe, steps=preset.recipe.steps // 3)),
        "three times the steps": Group(lambda preset: replace(preset.recipe, steps=preset.recipe.steps * 3)),
        "images moved further": Group(_moved),
        "noisier images": Group(_noisier),
        "15 % wrong labels": Group(lambda preset: preset.recipe, wrong_labels=0.15),
        "a fifth of the images": Group(lambda preset: preset.recipe, share=0.2),
        "larger batches, lower rate": Group(
            lambda preset: replace(
                preset.recipe, batch=2 * preset.recipe.batch, learning_rate=preset.recipe.learning_rate / 4
            )
        ),
    }
)
"""Groups by name. Most lie outside the ranges of the null models: an owner does not know what others do."""

KERNEL_MACHINES = "kernel machine"
"""The group of models that are no networks trained by gradient descent."""

CENTRES = 500
"""Images that a kernel machine compares with."""


class KernelMachine(nn.Module):
    """Kernel ridge regression on one-hot labels, with Gaussian kernels around some of the training images.

    Source:
        Rahimi, Recht, "Random Features for Large-Scale Kernel Machines", NIPS 2007, section 1, with the Nystroem
        centres of Williams, Seeger, "Using the Nystroem Method to Speed Up Kernel Machines", NIPS 2000.
    """

    def __init__(self, data: DataSet, seed: int) -> None:
        """Fit it.

        Args:
            data: what it learns from.
            seed: of the draw of its centres.
        """
        super().__init__()
        draw = torch.randperm(len(data), generator=generator_for(seed, "centres"))[:CENTRES]
        self.register_buffer("centres", data.inputs[draw].flatten(1))
        self.register_buffer("lengths", self.centres.square().sum(1))
        distances = self._distances(self.centres)
        self.width = float(distances[distances > 0].median())
        kernel, between = self._kernel(data.pixels.flatten(1)).double(), self._kernel(self.centres).double()
        targets = F.one_hot(data.labels, len(data.classes)).double()
        regular = between * (1e-6 * len(data)) + 1e-6 * torch.eye(len(between), dtype=torch.float64)
        weights = torch.linalg.solve(kernel.T @ kernel + regular, kernel.T @ targets)
        self.register_buffer("weights", weights.float())

    centres: torch.Tensor
    lengths: torch.Tensor
    weights: torch.Tensor

    def _distances(self, pixels: torch.Tensor) -> torch.Tensor:
        squares = pixels.square().sum(1, keepdim=True) + self.lengths
        return (squares - 2 * pixels @ self.centres.T).clamp_min(0)

    def _kernel(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.exp(-self._distances(pixels) / self.width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n, classes)` scores of `(n, C, H, W)` inputs."""
        return self._kernel(inputs.flatten(1)) @ self.weights


def unrelated_suspects(data: OwnerData, domain: Domain, preset: StudyPreset, work: RunContext) -> list[Suspect]:
    """Train every unrelated model on true labels, or on those of its group.

    Args:
        data: the owner's.
        domain: the study's images.
        preset: how many there are of each group.
        work: where and by whom they are trained.

    Returns:
        First those that are trained as the source is, by what they share with it; then the further groups.
    """
    cells, tasks = _alike(data, domain, preset, work.seed)
    for name in GROUPS:
        for number in range(preset.per_group):
            cells.append(name)
            tasks.append(_task(name, number, domain.attacker, preset, work.seed))
    trained = train_timed(tasks, work, "unrelated suspects")
    suspects = [
        Suspect(task.name, "unrelated", one.module, task.made_of, cell=cell, seconds=one.seconds)
        for task, cell, one in zip(tasks, cells, trained, strict=True)
    ]
    for number in range(preset.per_group):
        began = time.perf_counter()
        seed = derive_seed(work.seed, KERNEL_MACHINES, number)
        part = _drawn(domain.attacker, 0.5, seed)
        module = KernelMachine(part, seed).eval()
        seconds = time.perf_counter() - began
        name = f"{KERNEL_MACHINES}, {number + 1}"
        suspects.append(Suspect(name, "unrelated", module, KERNEL_MACHINES, cell=KERNEL_MACHINES, seconds=seconds))
    return suspects


def _alike(data: OwnerData, domain: Domain, preset: StudyPreset, run: int) -> tuple[list[str], list[TrainingTask]]:
    """Return models that are trained as the source is, on its own training data or on the attacker's half."""
    kinds, cells, tasks = _kinds(preset), [], []
    for where, images in (("same data", data.train), ("other data", domain.attacker)):
        for number in range(preset.unrelated):
            kind = list(kinds)[number % len(kinds)]
            architecture = kinds[kind][number // len(kinds) % len(kinds[kind])]
            cells.append(f"{kind}, {where}")
            seed = derive_seed(run, "unrelated suspect", where, number)
            name = f"{architecture.name}, {where}, {number + 1}"
            tasks.append(TrainingTask(name, seed, architecture, images.inputs, images.targets, preset.build.recipe))
    return cells, tasks


def _kinds(preset: StudyPreset) -> dict[str, tuple[Architecture, ...]]:
    """Return the kinds of unrelated models, by what they share with the source, with their architectures."""
    base, *others = preset.build.family.members
    if not preset.kinds:
        return {"same architecture": (base,), "other architecture": tuple(others)}
    return {kind: tuple(ARCHITECTURES[name] for name in names) for kind, names in preset.kinds.items()}


def _architecture(family: Family, number: int) -> Architecture:
    """Return the source's architecture for every second model; the others take turns."""
    return family.base if number % 2 == 0 else family.members[1 + number // 2 % 3]


def _task(name: str, number: int, images: DataSet, preset: StudyPreset, run: int) -> TrainingTask:
    group, family = GROUPS[name], preset.build.family
    seed = derive_seed(run, "unrelated suspect", name, number)
    architecture = _architecture(family, number)
    part = _drawn(images, group.share, seed)
    draw = generator_for(seed, "wrong labels")
    targets = mislabelled(part.labels, len(part.classes), group.wrong_labels, draw)
    return TrainingTask(f"{name}, {number + 1}", seed, architecture, part.inputs, targets, group.recipe(preset.build))


def _drawn(images: DataSet, share: float, seed: int) -> DataSet:
    if share >= 1:
        return images
    order = torch.randperm(len(images), generator=generator_for(seed, "share"))
    return images.rows(order[: round(share * len(images))])
