"""Trains an auditor's panel: independent models, by which `fpverify vet` judges other people's fingerprints."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from fpverify.files import write_atomically
from fpverify_generator.data.dataset import DataSet, split_rows
from fpverify_generator.errors import PresetError
from fpverify_generator.models.architectures import Task
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.own import require_fit
from fpverify_generator.pools import OwnerData, kind_of, varied_tasks
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext

STEPS = (1.0, 2.0)
"""Training steps of a panel's models, as shares of the recipe's: with fewer, half of them are too weak to count."""

STRONG = 0.8
"""Share of the best model's accuracy from which on a model is kept; another is trained for one that is weaker."""

ROUNDS = 4
"""How often others are trained for those that are too weak."""

HELD_OUT = 0.1
"""Share of the images that no model of a panel learns; their accuracy is measured there."""


@dataclass(frozen=True)
class Panelist:
    """A model of a panel."""

    module: nn.Module
    """On the CPU, in evaluation mode."""
    kind: str
    """How it was trained, in words."""
    accuracy: float
    """On images that no model of the panel learnt, a fraction in [0, 1]."""


def train_panel(data: DataSet, count: int, preset: Preset, work: RunContext) -> list[Panelist]:
    """Train independent models of varied recipes, as null models are trained, but none for a short time.

    Args:
        data: the auditor's labelled images, or public ones; the more the task's own, the better.
        count: how many models.
        preset: architectures, recipe, and the ranges of the recipes.
        work: seed, cache, device and progress.

    Returns:
        The models, each nearly as good as the best: weak ones do not count when they answer keys.

    Raises:
        PresetError: if an architecture does not take the images, or too few models are good enough.
    """
    channels, height, width = data.inputs.shape[1:]
    require_fit(preset.family, Task((channels, height, width), len(data.classes)), preset.recipe.freeze)
    learnt, rest = split_rows(data, (1 - HELD_OUT, HELD_OUT), work.seed, "panel")
    images = data.rows(learnt)
    varied = replace(preset, peers_on="known", variation=replace(preset.variation, steps=STEPS))
    held_out, known = data.rows(rest), OwnerData(images, len(images), 0)

    def trained(total: int) -> list[Panelist]:
        tasks = varied_tasks(known, total, varied, work.seed, "panel")
        modules = train_all(tasks, work, "panel")  # those of an earlier round are in the cache
        accuracies = Ensemble(modules, work.device).accuracy(held_out.inputs, held_out.labels)
        return [Panelist(*one) for one in zip(modules, map(kind_of, tasks), accuracies, strict=True)]

    total, good = count, list[Panelist]()
    for _ in range(ROUNDS):
        panel = trained(total)
        best = max(one.accuracy for one in panel)
        good = [one for one in panel if one.accuracy >= STRONG * best]
        if len(good) >= count:
            return good[:count]
        total += count - len(good)
    raise PresetError(
        f"only {len(good)} models reach {STRONG:.0%} of the accuracy of the best: the others would not count",
        culprit="panel",
        hint=f"ask for {len(good)}, or give more images",
    )


def write_panel(panel: Sequence[Panelist], data: DataSet, folder: Path) -> str:
    """Export a panel, each model with a contract that names its classes; returns what to tell the user.

    Args:
        panel: of `train_panel`.
        data: its images, on which the files are checked.
        folder: receives `panel-001.onnx`, `panel-001.toml` and so on.

    Raises:
        ExportError: if a file does not answer as the network does, or cannot be written.
    """
    contract = f"classes = {json.dumps(list(data.classes))}\n".encode()
    write, lines = Exporter().write, []
    for number, one in enumerate(panel, 1):
        file = folder / f"panel-{number:03}.onnx"
        write(one.module, data.inputs[:64], file)
        write_atomically(file.with_suffix(".toml"), contract)
        lines.append(f"{file.name}  accuracy {one.accuracy:.1%}  {one.kind}")
    return "\n".join([*lines, f"panel        {folder}, {len(panel)} models"])
