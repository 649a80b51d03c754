"""What a model owner installs: makes the fingerprint of an image classifier.

Every room, in the order in which commands come down to data; none imports one that stands above it here:

    cli             the command line; `options` of several commands; `commands`, `attack_command`: what each does
    demo            the whole job on real data, with suspects that took no part, judged by `fpverify.verify`
    study           every removal attack against every method, judged the same way
    budget          pools that fit into the time that there is
    plan            what a build would train, and about how long that takes
    build           the pipeline: source, models, keys, calibration, fingerprint; cached and resumable
    twins           networks that are trained alike, each with its fingerprint
    panel           an auditor's own independent models, for `fpverify vet`
    calibration     held-out models give the threshold and the null distribution
    feasible        checked before hours of training: the file's size, the source's answers, the networks' accuracy
    starts          the images from which a fingerprint's keys were made
    baselines       other methods of fingerprinting, for comparison
    keys            CEM over the start points, and the choice among the candidates
    pools           the owner's data and models, by role: surrogates, references, null models
    presets         sizes and settings of a fingerprint
    settings        an owner's own settings, from TOML files
    attacks         the removal attacks that turn a source into a surrogate; one table says everything of each
    cem             conferrable adversarial examples: objective, optimiser, start points, conferrability
    models          networks: architectures, training, the owner's source, export
    data            images with labels, and how they are read
    run             seed, cache, processes and clusters of a run
    report          a study's tables, plots and page from its rows; knows no networks
    documents       strict reading of JSON and TOML into dataclasses
    categories, errors

Images are float32 tensors `(n, C, H, W)` in [0, 1] on the CPU; rates are fractions; times are seconds.

Importing this package loads nothing: each public name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fpverify_generator.attack_command import run_attack as run_attack
    from fpverify_generator.attacks import ATTACKS as ATTACKS
    from fpverify_generator.baselines import BASELINES as BASELINES
    from fpverify_generator.build import build_fingerprint as build_fingerprint
    from fpverify_generator.cem import CemConfig as CemConfig
    from fpverify_generator.data.dataset import DataSet as DataSet
    from fpverify_generator.data.load import load_data as load_data
    from fpverify_generator.models.architectures import (
        FAMILIES as FAMILIES,
        Architecture as Architecture,
        Family as Family,
        Task as Task,
    )
    from fpverify_generator.models.own import load_family as load_family
    from fpverify_generator.models.source import Source as Source, load_source as load_source
    from fpverify_generator.models.training import Recipe as Recipe
    from fpverify_generator.presets import PRESETS as PRESETS, Preset as Preset, load_preset as load_preset
    from fpverify_generator.run.context import RunContext as RunContext, open_run as open_run
    from fpverify_generator.study.presets import StudyPreset as StudyPreset, find_study as find_study
    from fpverify_generator.study.run import run_study as run_study

__version__ = "0.1.0"

_ROOMS = {
    "fpverify_generator.attack_command": ("run_attack",),
    "fpverify_generator.attacks": ("ATTACKS",),
    "fpverify_generator.baselines": ("BASELINES",),
    "fpverify_generator.build": ("build_fingerprint",),
    "fpverify_generator.cem": ("CemConfig",),
    "fpverify_generator.data.dataset": ("DataSet",),
    "fpverify_generator.data.load": ("load_data",),
    "fpverify_generator.models.architectures": ("FAMILIES", "Architecture", "Family", "Task"),
    "fpverify_generator.models.own": ("load_family",),
    "fpverify_generator.models.source": ("Source", "load_source"),
    "fpverify_generator.models.training": ("Recipe",),
    "fpverify_generator.presets": ("PRESETS", "Preset", "load_preset"),
    "fpverify_generator.run.context": ("RunContext", "open_run"),
    "fpverify_generator.study.presets": ("StudyPreset", "find_study"),
    "fpverify_generator.study.run": ("run_study",),
}


_NAMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'fpverify_generator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
