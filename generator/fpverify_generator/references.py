"""Unrelated models on true labels: references, trained by one recipe, and null models, trained by varied recipes."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from fpverify_generator.data import DataSet, split
from fpverify_generator.owner import OwnerData
from fpverify_generator.presets import Preset
from fpverify_generator.seeds import derive_seed, generator_for
from fpverify_generator.training import TrainingTask


def reference_tasks(data: OwnerData, count: int, preset: Preset, seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of unrelated models, on true labels.

    Half of them have the source's architecture, and half learn from exactly the source's training images: a model that
    shares both is the likeliest to be accused. The others take turns over the other architectures, and each draws its
    own part of what the owner has.

    Args:
        data: the owner's.
        count: how many.
        preset: the family, the recipe, and the share of the images in a draw.
        seed: the run's seed.
        role: what they are for.

    Returns:
        One task each.
    """
    base, *others = preset.architectures.names
    known, tasks = data.known, []
    for number in range(count):
        architecture = base if number % 2 == 0 else others[number // 2 % len(others)]
        part: DataSet = data.train
        if number // 2 % 2:
            share = preset.reference_share
            part = split(known, (share, 1 - share), seed, f"{role} {number}")[0] if share < 1 else known
        task_seed = derive_seed(seed, role, number)
        tasks.append(TrainingTask("reference", task_seed, architecture, part.inputs, part.targets, preset.recipe))
    return tasks


def varied_tasks(data: OwnerData, count: int, preset: Preset, seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of unrelated models, each with its own draw of `Preset.variation`.

    An unrelated model is somebody else's: trained for longer or shorter, on noisier or moved images, with mixup, with
    wrong labels, on other images, in another architecture. Null models of one recipe rank too low against it, which
    gave it small p-values more often than the level says.

    Args:
        data: the owner's.
        count: how many.
        preset: the family, the recipe, and the ranges of the draws.
        seed: the run's seed.
        role: what they are for.

    Returns:
        One task each.
    """
    known, ranges, classes = data.known, preset.variation, len(data.train.classes)
    base, *others = preset.architectures.names
    tasks = []
    for number in range(count):
        draw = generator_for(seed, f"{role} recipe", number)

        def uniform(low: float, high: float, draw: torch.Generator = draw) -> float:
            return low + (high - low) * float(torch.rand((), generator=draw))

        def choice(count: int, draw: torch.Generator = draw) -> int:
            return int(torch.randint(count, (), generator=draw))

        architecture = base if choice(2) == 0 else others[choice(len(others))]
        recipe = replace(preset.recipe, steps=round(preset.recipe.steps * ranges.steps[choice(len(ranges.steps))]))
        recipe = replace(recipe, rate=preset.recipe.rate * ranges.rates[choice(len(ranges.rates))])
        inputs = choice(3)
        if inputs == 0:
            recipe = replace(recipe, noise=uniform(*ranges.noise))
        elif inputs == 1:
            recipe = replace(recipe, augment=recipe.augment + ranges.moved)
        if choice(2):
            recipe = replace(recipe, mixup=uniform(*ranges.mixup))
        wrong = uniform(*ranges.label_noise) if choice(2) else 0.0
        rows = torch.arange(len(data.train))  # the training images come first among the known ones
        if choice(2):
            images = known.images.unique()
            size = max(1, round(uniform(*ranges.share) * len(images)))
            drawn = images[torch.randperm(len(images), generator=draw)[:size]]
            rows = torch.isin(known.images, drawn).nonzero()[:, 0]
        targets = mislabelled(known.labels, classes, wrong, draw)
        task_seed = derive_seed(seed, role, number)
        tasks.append(TrainingTask(role, task_seed, architecture, known.inputs, targets, recipe, rows=rows))
    return tasks


def mislabelled(labels: torch.Tensor, classes: int, share: float, draw: torch.Generator) -> torch.Tensor:
    """Return `(n, classes)` one-hot targets, some of them drawn at random.

    Args:
        labels: `(n,)` the true labels.
        classes: how many there are.
        share: of the labels that are drawn, a fraction in [0, 1].
        draw: of which they are, and what they become.
    """
    labels = labels.clone()
    wrong = torch.rand(len(labels), generator=draw) < share
    labels[wrong] = torch.randint(classes, (int(wrong.sum()),), generator=draw)
    return F.one_hot(labels, classes).float()


def kind_of(task: TrainingTask) -> str:
    """Return in words how an unrelated model was trained: the group that the fingerprint's file names it by."""
    recipe = task.recipe
    parts = [task.architecture, f"{recipe.steps} steps at rate {recipe.rate:g}"]
    parts += [f"noise {recipe.noise:.2f}"] if recipe.noise else []
    parts += [f"moved by {recipe.augment}"] if recipe.augment else []
    parts += [f"mixup {recipe.mixup:.2f}"] if recipe.mixup else []
    return ", ".join([*parts, f"{len(task.inputs) if task.rows is None else len(task.rows)} images"])
