"""Builds a fingerprint: source, ensembles, CEM, keys, calibration; every step is cached, so that a run resumes."""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

import fpverify
from fpverify.fingerprint import Calibration, Fingerprint, InputContract
from fpverify.fingerprint import Source as SourceIdentity
from fpverify_generator import __version__
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.calibration import calibrate
from fpverify_generator.candidates import make_candidates
from fpverify_generator.conferrability import choose_keys
from fpverify_generator.data import DataSet, split
from fpverify_generator.ensembles import Ensemble
from fpverify_generator.errors import PresetError
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.references import reference_tasks
from fpverify_generator.seeds import derive_seed
from fpverify_generator.source import Source, require_better_than_chance
from fpverify_generator.starts import start_points
from fpverify_generator.surrogates import simulated_attacks, surrogate_tasks
from fpverify_generator.training import Recipe, TrainingTask
from fpverify_generator.workshop import Workshop, train_all


@dataclass(frozen=True)
class OwnerData:
    """The owner's images, shared out by what they are for; no image is in two parts."""

    train: DataSet
    """What the source is trained on."""
    query: DataSet
    """Asked of the source by simulated attackers, and learnt from by references."""
    start: DataSet
    """Where CEM starts: seen by no model that makes, chooses or calibrates the keys."""

    @property
    def known(self) -> DataSet:
        """Return what surrogates and references may learn from: all but the start points."""
        return DataSet(
            torch.cat([self.train.inputs, self.query.inputs]),
            torch.cat([self.train.labels, self.query.labels]),
            torch.cat([self.train.images, self.query.images]),
            self.train.classes,
        )


def share_data(data: DataSet, preset: Preset, seed: int) -> OwnerData:
    """Share the owner's data out as the preset says."""
    rest = 1 - preset.train_share - preset.query_share
    return OwnerData(*split(data, (preset.train_share, preset.query_share, rest), seed, "owner"))


def train_source(data: DataSet, preset: Preset, work: Workshop) -> nn.Module:
    """Train the owner's model on the training part of its data."""
    seed = derive_seed(work.seed, "source")
    task = TrainingTask("source", seed, preset.source_architecture, data.inputs, data.targets)
    return train_all([task], work, "source")[0]


@dataclass(frozen=True)
class Pool:
    """Networks of one kind, parted by what they are for; none has two roles."""

    cem: list[nn.Module]
    """CEM optimises against them."""
    selection: list[nn.Module]
    """They choose the keys."""
    calibration: list[nn.Module]
    """They set the threshold."""


def part(modules: Sequence[nn.Module], roles: Roles) -> Pool:
    """Part networks, trained in the order of the roles, into a pool."""
    first, second = roles.cem, roles.cem + roles.selection
    return Pool(list(modules[:first]), list(modules[first:second]), list(modules[second:]))


def train_surrogates(source: Source, data: DataSet, preset: Preset, work: Workshop) -> Pool:
    """Train the simulated stolen models."""
    tasks: list[TrainingTask] = []
    for role, count in asdict(preset.surrogates).items():
        names = simulated_attacks(source, role, count)
        tasks += surrogate_tasks(source, data, names, work.seed, f"surrogate {role}")
    return part(train_all(tasks, work, "surrogates"), preset.surrogates)


def train_unrelated(data: DataSet, preset: Preset, work: Workshop) -> tuple[Pool, list[nn.Module]]:
    """Train the references, parted by role, and the null models that serve the p-value alone."""
    share, tasks = preset.reference_share, []
    for role, count in asdict(preset.references).items():
        tasks += reference_tasks(data, count, share, work.seed, f"reference {role}")
    references = len(tasks)
    tasks += reference_tasks(data, preset.nulls, share, work.seed, "null")
    modules = train_all(tasks, work, "references and nulls")
    return part(modules[:references], preset.references), modules[references:]


def build_fingerprint(source: Source, data: OwnerData, preset: Preset, work: Workshop) -> Fingerprint:
    """Build the fingerprint of a source.

    Args:
        source: the owner's model.
        data: the owner's data, shared out.
        preset: sizes and hyper-parameters.
        work: seed, cache, device and progress.

    Returns:
        The fingerprint, ready to be saved.

    Raises:
        SourceError: if the source is not above chance on the start points.
        CacheError: if finished work cannot be written.
    """
    accuracy = require_better_than_chance(source, data.start, "source")
    work.say(f"source: right about {accuracy:.1%} of {len(data.start)} held-out images")
    surrogates = train_surrogates(source, data.known, preset, work)
    references, nulls = train_unrelated(data.known, preset, work)
    starts = start_points(source, data.start, preset.candidates)
    candidates = make_candidates(starts, source, surrogates.cem, references.cem, preset.cem, work)
    labels, device = source.labels(candidates), work.device
    mistakes = (labels != starts.labels).nonzero()[:, 0]
    if len(mistakes) < preset.keys:
        raise PresetError(
            f"{len(mistakes)} of {len(starts)} candidates became keys, {preset.keys} are wanted: "
            "give more data, a larger epsilon or fewer keys"
        )
    candidates, labels = candidates[mistakes], labels[mistakes]
    held_out = Ensemble(surrogates.selection, device), Ensemble(references.selection, device)
    chosen, values = choose_keys(candidates, labels, *held_out, preset.keys)
    keys, labels = candidates[chosen], labels[chosen]
    work.say(f"CEM: {len(candidates)} candidates fool the source")
    work.say(f"keys: {len(keys)} chosen, held-out conferrability {float(values.mean()):.2f} on average")
    judges = Ensemble(surrogates.calibration, device), Ensemble(references.calibration, device)
    calibration = calibrate(keys, labels, *judges, Ensemble(nulls, device))
    return describe(keys, labels, data, source, preset, work, calibration)


def describe(
    keys: torch.Tensor,
    labels: torch.Tensor,
    data: OwnerData,
    source: Source,
    preset: Preset,
    work: Workshop,
    calibration: Calibration,
) -> Fingerprint:
    """Put keys, calibration and everything that made them into the fingerprint that is saved."""
    channels = "grey" if keys.shape[1] == 1 else "rgb"
    return Fingerprint(
        inputs=keys.numpy(),
        labels=labels.numpy(),
        classes=data.start.classes,
        contract=InputContract(channels=channels, height=keys.shape[2], width=keys.shape[3]),
        source=SourceIdentity(sha256=source.sha256),
        method=_method(source, preset),
        seeds={"run": work.seed},
        versions=versions(),
        calibration=calibration,
    )


def _method(source: Source, preset: Preset) -> dict[str, Any]:
    """Return the method with every hyper-parameter, and how often each role simulates each attack."""
    roles = {role: simulated_attacks(source, role, count) for role, count in asdict(preset.surrogates).items()}
    return {
        "name": "cem",
        **asdict(preset),
        "recipe": asdict(Recipe()),
        "attacks": {name: repr(ATTACKS[name]) for name in sorted({name for names in roles.values() for name in names})},
        "surrogates_by_attack": {role: dict(Counter(names)) for role, names in roles.items()},
    }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        "fpverify": fpverify.__version__,
        "fpverify-generator": __version__,
        "numpy": np.__version__,
        "onnx": version("onnx"),
        "python": platform.python_version(),
        "scikit-learn": version("scikit-learn"),
        "torch": str(torch.__version__),
    }
