"""Twin sources: networks that are trained alike, each with its fingerprint, for `fpverify verify --twins`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpverify.files import write_atomically
from fpverify.fingerprint import Fingerprint, save_fingerprint
from fpverify.twins import LIST, list_of
from fpverify_generator.attacks.run import run_attacks
from fpverify_generator.build import fingerprint_of, simulated_runs, train_unrelated
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.source import Source, require_better_than_chance
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import Owner, OwnerData, part, share_data
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed


@dataclass(frozen=True)
class Twin:
    """One of several networks that were trained alike."""

    name: str
    """`twin-01` and so on; `source` for one that was given."""
    source: Source
    """The network."""
    accuracy: float
    """On images that no twin learnt, a fraction in [0, 1]."""


def train_twins(
    data: OwnerData, count: int, preset: Preset, work: RunContext, folder: Path, given: Source | None = None
) -> list[Twin]:
    """Train networks alike, seeds apart, and export them.

    Args:
        data: the owner's.
        count: how many twins there are in all, the given source among them.
        preset: their architecture and recipe.
        work: seed, cache, device and progress.
        folder: receives `twin-01.onnx` and so on.
        given: a source that is there already; what it cannot know of the others holds only as far as its training was
            the preset's.

    Returns:
        The twins.
    """
    train, fresh = data.train, count - (given is not None)
    tasks = [
        TrainingTask(
            f"twin {number}",
            derive_seed(work.seed, "twin", number),
            preset.family.base,
            train.inputs,
            train.targets,
            preset.recipe,
        )
        for number in range(fresh)
    ]
    sources = [] if given is None else [("source", given)]
    write = Exporter().write
    for number, network in enumerate(train_all(tasks, work, "twins"), 1):
        name = f"twin-{number:02}"
        sha256 = write(network, data.start.inputs[:64], folder / f"{name}.onnx")
        sources.append((name, Source(sha256, network, device=work.device)))
    return [Twin(name, one, require_better_than_chance(one, data.start, name)) for name, one in sources]


def fingerprints_of(
    twins: Sequence[Twin], data: OwnerData, preset: Preset, work: RunContext
) -> list[tuple[Twin, Fingerprint]]:
    """Fingerprint every twin by the same procedure; the unrelated models are the same for all.

    Args:
        twins: of `train_twins`.
        data: the owner's.
        preset: sizes and hyper-parameters.
        work: seed, cache, device and progress.

    Raises:
        CalibrationError: if a fingerprint would decide nothing: the twins must all be treated alike.
    """
    references, nulls = train_unrelated(data, preset, work)
    runs = [simulated_runs(twin.source, data, preset, work.seed) for twin in twins]
    outcomes = iter(run_attacks([run for some in runs for run in some], work, "surrogates of all twins"))
    found = []
    for twin, some in zip(twins, runs, strict=True):
        surrogates = part([next(outcomes).stolen.module for _ in some], preset.surrogates)
        owner = Owner(twin.source, data, surrogates, references, nulls, preset, work)
        found.append((twin, fingerprint_of(owner)))
        work.log(f"{twin.name}: fingerprint made")
    return found


def build_twins(
    data: DataSet, count: int, preset: Preset, work: RunContext, folder: Path, given: Source | None = None
) -> str:
    """Train twins, fingerprint them, and write both; returns what to tell the user.

    Args:
        data: the owner's images.
        count: how many twins, the given source among them.
        preset: sizes and hyper-parameters.
        work: seed, cache, device and progress.
        folder: receives the networks and their fingerprints.
        given: a source that is there already; None to choose one of them later.

    Raises:
        FpverifyError: if any step is at fault; finished work stays, and the next start goes on from there.
    """
    shared = share_data(data, preset, work.seed)
    twins = train_twins(shared, count, preset, work, folder, given)
    lines, digests = [], []
    for twin, fingerprint in fingerprints_of(twins, shared, preset, work):
        sha256 = save_fingerprint(fingerprint, folder / f"{twin.name}.safetensors")
        digests.append(sha256)
        lines.append(f"{twin.name:<8} accuracy {twin.accuracy:.1%}  fingerprint SHA-256 {sha256}")
    if given is not None:
        better = sum(twin.accuracy >= twins[0].accuracy for twin in twins[1:])
        lines.append(f"the source's accuracy is reached by {better} of its {count - 1} twins")
    write_atomically(folder / LIST, list_of(digests))
    lines.append(f"list     {folder / LIST}: stamp it before it is drawn which twin is published")
    return "\n".join([*lines, f"twins    {folder}: p of {1 / count:.3g} at least"])
