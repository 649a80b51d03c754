"""Builds a fingerprint: source, ensembles, CEM, keys, calibration; every step is cached, so that a run resumes."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

import fpverify
from fpverify.fingerprint import Backing, Calibration, Controls, Fingerprint, HeldOut, InputContract, SourceIdentity
from fpverify.fingerprint.model import ROLES
from fpverify.result import Policy
from fpverify.verdict import cut_of, nulls_for, weaknesses
from fpverify_generator import __version__
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.attacks.run import Run, run_attacks
from fpverify_generator.calibration import calibrate
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import Inputs, joined
from fpverify_generator.errors import CalibrationError, SourceError
from fpverify_generator.feasible import ask_once, is_slow, require_peers
from fpverify_generator.keys import Keys, cem_keys
from fpverify_generator.models.architectures import Task
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.given import NO_FOLDERS, Folders, Given, GivenModels, load_given, parted_by_use
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.own import require_fit
from fpverify_generator.models.source import Source, require_better_than_chance
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import (
    Owner,
    OwnerData,
    Pool,
    attack_runs,
    attackers_images,
    kind_of,
    measured_on,
    part,
    reference_tasks,
    share_data,
    simulated_attacks,
    varied_tasks,
    with_given,
    with_public,
)
from fpverify_generator.presets import Preset, described
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed, generator_for


def train_source(data: DataSet, preset: Preset, work: RunContext) -> nn.Module:
    """Train the owner's model on the training part of its data."""
    seed = derive_seed(work.seed, "source")
    base = preset.family.base
    task = TrainingTask("source", seed, base, data.inputs, data.targets, preset.recipe)
    return train_all([task], work, "source")[0]


def simulated_runs(source: Source, data: OwnerData, preset: Preset, seed: int) -> list[Run]:
    """Return the attacks whose surrogates make, choose and calibrate the keys, in the order of their roles."""
    runs: list[Run] = []
    for role, count in asdict(preset.surrogates).items():
        names = simulated_attacks(source, preset, role, count)
        images = attackers_images(data, preset, seed, role, count)
        runs += attack_runs(source, images, names, preset, seed, f"surrogate {role}")
    return runs


def train_surrogates(source: Source, data: OwnerData, preset: Preset, work: RunContext) -> Pool:
    """Train the simulated stolen models."""
    outcomes = run_attacks(simulated_runs(source, data, preset, work.seed), work, "surrogates")
    return part([outcome.stolen.module for outcome in outcomes], preset.surrogates)


def unrelated_tasks(data: OwnerData, preset: Preset, seed: int) -> list[TrainingTask]:
    """Return the training tasks of the references, in the order of their roles, and then of the null models."""
    tasks = []
    for role, count in asdict(preset.references).items():
        varied = round(preset.varied_references * count)
        tasks += reference_tasks(data, count - varied, preset, seed, f"reference {role}")
        tasks += varied_tasks(data, varied, preset, seed, f"varied reference {role}")
    return tasks + varied_tasks(data, preset.nulls, preset, seed, "null")


def train_unrelated(data: OwnerData, preset: Preset, work: RunContext) -> tuple[Pool, list[nn.Module]]:
    """Train the references, parted by role, and the null models that serve the p-value alone."""
    modules = train_all(unrelated_tasks(data, preset, work.seed), work, "references and nulls")
    references = len(modules) - preset.nulls
    return part(modules[:references], preset.references), modules[references:]


def prepare(
    source: Source,
    data: OwnerData,
    preset: Preset,
    work: RunContext,
    weak: bool = False,
    folders: Folders = NO_FOLDERS,
    public: Inputs | None = None,
) -> Owner:
    """Train everything that a method of fingerprinting may use.

    Args:
        source: the owner's model.
        data: the owner's data, shared out.
        preset: sizes and hyper-parameters.
        work: seed, cache, device and progress.
        weak: whether to go on where the preset's networks are much worse than a source from a file.
        folders: of models that the owner has, beside those that are trained.
        public: `(n, C, H, W)` images without labels that attackers may have; None for none.

    Returns:
        The owner, with surrogates, references and nulls.

    Raises:
        PresetError: if an architecture does not take the images, or all are much worse than the source.
        SourceError: if the source is in no file, or not above chance on the start points, or a model of the folders
            cannot be used.
        CacheError: if finished work cannot be written.
    """
    channels, height, width = data.start.inputs.shape[1:]
    require_fit(preset.family, Task((channels, height, width), len(data.start.classes)), preset.recipe.freeze)
    accuracy = require_better_than_chance(source, data.start, "source")
    work.log(f"source: accuracy {accuracy:.1%} on {len(data.start)} held-out images")
    given = load_given(folders, measured_on(data, work.seed), source, work.device, work.log)
    if is_slow(source):
        source = ask_once(source, data.every.inputs if public is None else joined([data.every.inputs, public]), work)
    if public is not None:
        data = with_public(data, public, source)
    if source.reading:  # it is somebody's own: it may be better than these networks
        require_peers(source, data, preset, work, weak)
    surrogates = with_given(train_surrogates(source, data, preset, work), given.surrogates)
    references, nulls = train_unrelated(data, preset, work)
    references = with_given(references, given.references)
    return Owner(source, data, surrogates, references, nulls, preset, work, given)


def build_fingerprint(
    source: Source,
    data: DataSet | OwnerData,
    preset: Preset,
    work: RunContext,
    weak: bool = False,
    folders: Folders = NO_FOLDERS,
    public: Inputs | None = None,
) -> Fingerprint:
    """Build the fingerprint of a source by the conferrable ensemble method.

    Args:
        source: the owner's model.
        data: the owner's data; as `share_data` shares it out, or whole.
        preset: sizes and hyper-parameters.
        work: seed, cache, device and progress.
        weak: whether to go on where the preset's networks are much worse than a source from a file.
        folders: of models that the owner has, beside those that are trained.
        public: `(n, C, H, W)` images without labels that attackers may have; None for none.

    Returns:
        The fingerprint, ready to be saved.

    Raises:
        SourceError: if the source is in no file, or not above chance on the start points.
        PresetError: if an architecture does not take the images, all networks are much worse than the source, or too
            few candidates fool it.
        CalibrationError: if held-out models show that the keys tell nothing apart, or all keys have one label.
        CacheError: if finished work cannot be written.
    """
    identity_of(source)  # before anything is trained
    shared = data if isinstance(data, OwnerData) else share_data(data, preset, work.seed)
    return fingerprint_of(prepare(source, shared, preset, work, weak, folders, public))


def fingerprint_of(owner: Owner) -> Fingerprint:
    """Make keys against an owner's models, calibrate them, and put all into a fingerprint.

    Args:
        owner: with every model trained.

    Raises:
        PresetError: if too few candidates fool the source.
        CalibrationError: if held-out models show that the keys tell nothing apart, or all keys have one label.
    """
    keys, held_out = cem_keys(owner), held_out_models(owner)
    answers = held_out.answers(keys, owner.work.device)
    surrogates, references, nulls = (role == keys.labels for role in answers)
    calibration = calibrate(surrogates, references, nulls, owner.preset.threshold)
    labels = len(keys.labels.unique())
    faults = weaknesses(calibration, labels, Policy.significance, len(keys.labels))
    enough = nulls_for(Policy.significance) <= len(calibration.nulls)
    if enough and cut_of(len(keys.labels), calibration, Policy.significance) is None:
        faults.append('too many null models keep all keys: no number of kept keys rejects "unrelated"')
    if faults:
        raise CalibrationError(
            f"this fingerprint would decide nothing: {'; '.join(faults)}",
            hint="give more data, more models or a source that makes other mistakes",
        )
    method = {**method_of(owner.source, owner.preset), **files_of(owner.given)}
    if owner.data.public is not None:
        method["public_images"] = len(owner.data.public)
    return describe(keys, owner, method, calibration, held_out.backing(answers))


@dataclass(frozen=True)
class HeldOutModels:
    """The models that set the threshold and give p-values, and what the fingerprint's file says of them."""

    modules: tuple[Sequence[nn.Module], ...]
    """Surrogates, references and nulls."""
    models: tuple[HeldOut, ...]
    """All of them, in that order."""
    controls: Controls
    """Ordinary images, of which the source learnt none."""
    given: Sequence[Given] = ()
    """Further null models, from the owner's files; they come last."""

    def answers(self, keys: Keys, device: str) -> tuple[torch.Tensor, ...]:
        """Return the labels that surrogates, references and nulls give the keys, each `(models, n)`."""
        trained = [Ensemble(modules, device).labels(keys.inputs) for modules in self.modules]
        given = [one.model.labels(keys.inputs)[None] for one in self.given]
        return (*trained[:-1], torch.cat([trained[-1], *given]))

    def backing(self, answers: Sequence[torch.Tensor]) -> Backing:
        """Return what stands behind the calibration: `answers` of `answers`, of all keys or the first few."""
        return Backing(self.models, torch.cat(list(answers)).numpy().astype(np.int16), self.controls)


def held_out_models(owner: Owner) -> HeldOutModels:
    """Describe the held-out models and choose the control images.

    Args:
        owner: source, data and models.

    Returns:
        The models with their groups and accuracies on the start points, and the controls.
    """
    preset, data, seed = owner.preset, owner.data, owner.work.seed
    count = preset.references.calibration
    varied = round(preset.varied_references * count)
    references = reference_tasks(data, count - varied, preset, seed, "reference calibration")
    references += varied_tasks(data, varied, preset, seed, "varied reference calibration")
    surrogates = simulated_attacks(owner.source, preset, "calibration", preset.surrogates.calibration)
    ours, theirs = (
        [one.group for one in parted_by_use(some)["calibration"]]
        for some in (owner.given.surrogates, owner.given.references)
    )
    groups = (
        [*surrogates, *ours],
        [*(kind_of(task) for task in references), *theirs],
        [kind_of(task) for task in varied_tasks(data, preset.nulls, preset, seed, "null")],
    )
    modules = owner.surrogates.calibration, owner.references.calibration, owner.nulls
    start = measured_on(data, seed)
    models: list[HeldOut] = []
    for role, names, networks in zip(ROLES, groups, modules, strict=True):
        accuracies = Ensemble(networks, owner.work.device).accuracy(start.inputs, start.labels)
        models += [HeldOut(role, name, right) for name, right in zip(names, accuracies, strict=True)]
    models += [HeldOut("null", one.group, one.accuracy) for one in owner.given.nulls]
    right = float((owner.source.labels(start.inputs) == start.labels).double().mean())
    if lost := destroyed(models, right, len(start.classes)):
        owner.work.log(
            f"warning: held-out copies made by {', '.join(lost)} lost more than half of the accuracy, and copies that "
            "are worth stealing are judged by what they keep: leave these attacks out of the preset (simulated)"
        )
    return HeldOutModels(modules, tuple(models), control_images(owner), owner.given.nulls)


def destroyed(models: Sequence[HeldOut], accuracy: float, classes: int) -> list[str]:
    """Return the attacks whose held-out copies lost more than half of what the source has above chance.

    Args:
        models: held-out models with their accuracies.
        accuracy: the source's, a fraction in [0, 1].
        classes: how many there are.
    """
    least = (accuracy + 1 / classes) / 2
    return sorted({model.group for model in models if model.role == "surrogate" and model.accuracy < least})


def control_images(owner: Owner) -> Controls:
    """Return ordinary 8-bit images that the source did not learn, about as many of each class."""
    query = owner.data.query
    order = torch.randperm(len(query), generator=generator_for(owner.work.seed, "controls"))
    labels = query.labels[order]
    # an image's place among those of its class: the first of each class come first
    places = torch.stack([(labels[:end] == labels[end]).sum() for end in range(len(labels))])
    chosen = order[places.argsort(stable=True)[: owner.preset.controls]]
    inputs, truth = (query.inputs[chosen] * 255).round() / 255, query.labels[chosen]
    right = float((owner.source.labels(inputs) == truth).double().mean())
    return Controls(inputs.numpy(), truth.numpy(), right)


def describe(
    keys: Keys, owner: Owner, method: Mapping[str, Any], calibration: Calibration, backing: Backing
) -> Fingerprint:
    """Put keys, calibration and everything that made them into the fingerprint that is saved."""
    channels = "grey" if keys.inputs.shape[1] == 1 else "rgb"
    return Fingerprint(
        inputs=keys.inputs.numpy(),
        labels=keys.labels.numpy(),
        classes=owner.data.start.classes,
        contract=InputContract(channels=channels, height=keys.inputs.shape[2], width=keys.inputs.shape[3]),
        source=identity_of(owner.source),
        method=dict(method),
        seeds={"run": owner.work.seed},
        versions=versions(),
        calibration=calibration,
        backing=backing,
    )


def identity_of(source: Source) -> SourceIdentity:
    """Return what names the source in a fingerprint.

    Raises:
        SourceError: if it is in no file.
    """
    if source.sha256 is None:
        raise SourceError(
            "the network is in no file that a fingerprint could name",
            culprit="source",
            hint="export it, and give the file's SHA-256",
        )
    return SourceIdentity(sha256=source.sha256)


def method_of(source: Source, preset: Preset) -> dict[str, Any]:
    """Return CEM with every hyper-parameter, and how often each role simulates each attack."""
    roles = {role: simulated_attacks(source, preset, role, count) for role, count in asdict(preset.surrogates).items()}
    return {
        "name": "cem",
        **described(preset),
        "attacks": {name: repr(ATTACKS[name]) for name in sorted({name for names in roles.values() for name in names})},
        "surrogates_by_attack": {role: dict(Counter(names)) for role, names in roles.items()},
    }


def files_of(given: GivenModels) -> dict[str, Any]:
    """Return what a fingerprint says of the owner's own surrogates and references: file and digest, by role."""
    pools = {"surrogates": given.surrogates, "references": given.references}
    named = {
        pool: {role: [one.group for one in some] for role, some in parted_by_use(models).items() if some}
        for pool, models in pools.items()
        if models
    }
    return {"given": named} if named else {}


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
