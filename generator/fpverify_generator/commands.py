"""What the commands do, from arguments to files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fpverify.documents import keep, require_writable
from fpverify.files import write_atomically
from fpverify.fingerprint import load_fingerprint, save_fingerprint
from fpverify.starts import save_starts
from fpverify_generator.budget import fit_budget
from fpverify_generator.build import build_fingerprint, train_source
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.images import IN_MEMORY, Size
from fpverify_generator.data.load import load_data, load_unlabelled
from fpverify_generator.data.store import Images, Inputs
from fpverify_generator.demo import as_json, as_picture, as_table, run_demo
from fpverify_generator.errors import DataError, PresetError
from fpverify_generator.feasible import require_apart, require_enough, require_room, undecided
from fpverify_generator.models.architectures import Task
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.given import NO_FOLDERS, Folders, load_given, model_files
from fpverify_generator.models.own import require_fit
from fpverify_generator.models.source import Source, load_source, require_better_than_chance
from fpverify_generator.panel import train_panel, write_panel
from fpverify_generator.plan import as_text, plan_build
from fpverify_generator.pools import OwnerData, measured_on, share_data
from fpverify_generator.presets import Preset
from fpverify_generator.report import headline
from fpverify_generator.run.context import RunContext
from fpverify_generator.starts import find_starts
from fpverify_generator.study.presets import find_study, verdicts_only
from fpverify_generator.study.run import run_study
from fpverify_generator.twins import build_twins

FEWEST_PUBLIC = 20
"""Images without labels that there must be at least: a simulated attacker labels a few of its images by itself."""


def build_command(
    data: str,
    source_file: Path | None,
    output: Path,
    preset: Preset,
    work: RunContext,
    contract: Mapping[str, Any] | None = None,
    weak: bool = False,
    size: Size | None = None,
    unseen: str | None = None,
    folders: Folders = NO_FOLDERS,
    budget: float | None = None,
    weights: Path | None = None,
    query_data: str | None = None,
) -> str:
    """Build a fingerprint and write it; returns what to tell the user.

    Args:
        data: the owner's, as `load_data` takes it.
        source_file: the owner's model; None to train one.
        output: the fingerprint's file.
        preset: sizes and hyper-parameters.
        work: seed, cache, device and progress.
        contract: what is known of the source's input and output.
        weak: whether to go on where the preset's networks are much worse than the source.
        size: height and width to which the images of a folder are brought.
        unseen: images that the source never learnt, as `data`; None where that is not known.
        folders: of models that the owner has.
        budget: seconds that the build may take, by estimate; None for what the preset takes.
        weights: of a source that a Python file makes.
        query_data: images without labels that simulated attackers have, too, as `load_unlabelled` takes them.

    Raises:
        FpverifyError: if any input or step is at fault; nothing half-written stays.
    """
    _require_unseen(preset, source_file, unseen)
    files = [Path(one) for one in (data, unseen, query_data) if one is not None]
    require_writable(output, [*files, *(one for one in (source_file, weights) if one is not None)])
    given = _counted(folders)
    owner, fresh = _images(data, unseen, size, preset, work)
    public = None if query_data is None else _public(query_data, owner, fresh, size, preset, work)
    shared = share_data(owner, preset, work.seed, fresh)
    _require_feasible(shared, preset)
    lines = []
    if source_file is not None:
        source = load_source(source_file, fresh or owner, work.device, work.log, contract, weights)
    del owner, fresh  # `shared` holds the images: they are held once
    if source_file is None:
        network = train_source(shared.train, preset, work)
        # check the accuracy before writing anything
        require_better_than_chance(Source(None, network, device=work.device), shared.start, "source")
        trained = output.with_suffix(".source.onnx")
        source = Source(Exporter().write(network, shared.start.inputs[:64], trained), network, device=work.device)
        lines.append(f"source       {trained}")
    if budget is not None:
        preset = fit_budget(source, shared, preset, budget, work, given["nulls"])
    for doubt in _undecided(preset, given):
        work.log(f"warning: {doubt}")
    fingerprint = build_fingerprint(source, shared, preset, work, weak, folders, public)
    sha256 = save_fingerprint(fingerprint, output)
    calibration = fingerprint.calibration
    lines += [
        f"fingerprint  {output}",
        f"sha256       {sha256}",
        f"keys         {len(fingerprint.labels)}",
        f"threshold    {calibration.threshold:.3f} ({calibration.rule})",
        f"held out     surrogates keep {calibration.surrogates[0]:.2f} or more, "
        f"references {calibration.references[-1]:.2f} or less, nulls {calibration.nulls[-1]:.2f} or less",
    ]
    if calibration.surrogates[0] <= calibration.references[-1]:
        lines.append("warning      held-out surrogates and references overlap: some stolen models will be missed")
    lines += [f"warning      {doubt}" for doubt in undecided(len(calibration.nulls), len(calibration.surrogates))]
    return "\n".join(lines)


def _require_unseen(preset: Preset, source_file: Path | None, unseen: str | None) -> None:
    if preset.private_images and source_file is not None and unseen is None:
        raise PresetError(
            "nothing says which images a given source never learnt, and with private images all models learn from "
            "these alone",
            hint="give them with --unseen, or leave --private-images out",
        )


def _counted(folders: Folders) -> dict[str, int]:
    """Return how many models lie in each folder; what is no folder of models is an error."""
    return {role: 0 if one is None else len(model_files(one)) for role, one in vars(folders).items()}


def _undecided(preset: Preset, given: Mapping[str, int]) -> list[str]:
    """Return what a build cannot decide, even if all of the owner's own surrogates are held out."""
    return undecided(preset.nulls + given["nulls"], preset.surrogates.calibration + given["surrogates"])


def _require_feasible(data: OwnerData, preset: Preset) -> None:
    """Check what would be found after hours of training."""
    require_enough(data, preset)
    channels, height, width = data.start.inputs.shape[1:]
    require_fit(preset.family, Task((channels, height, width), len(data.start.classes)), preset.recipe.freeze)


def _images(
    data: str, unseen: str | None, size: Size | None, preset: Preset, work: RunContext
) -> tuple[DataSet, DataSet | None]:
    """Read the owner's images, and those that its source never learnt: both in memory, or both from the disk."""

    def read(where: str, in_memory: int = IN_MEMORY) -> DataSet:
        return load_data(where, work.seed, log=work.log, size=size, folder=work.cache.folder, in_memory=in_memory)

    owner = read(data)
    require_room(owner, preset)
    if unseen is None:
        return owner, None
    on_disk = isinstance(owner.inputs, Images)
    fresh = read(unseen, 0 if on_disk else IN_MEMORY)
    if isinstance(fresh.inputs, Images) and not on_disk:
        owner = read(data, 0)
    require_apart(owner.inputs, fresh.inputs, ("--data", "--unseen"), "the source learnt them", work.log)
    return owner, fresh


def _public(
    where: str, owner: DataSet, fresh: DataSet | None, size: Size | None, preset: Preset, work: RunContext
) -> Inputs:
    """Read images without labels: in memory or from the disk, as the owner's are."""
    in_memory = 0 if isinstance(owner.inputs, Images) else IN_MEMORY
    found = load_unlabelled(where, owner, work.log, size, work.cache.folder, in_memory)
    if len(found) < FEWEST_PUBLIC:
        raise DataError(culprit="--query-data", expected=f"at least {FEWEST_PUBLIC} images", found=len(found))
    if fresh is not None:
        why = "attackers would learn from the images that keys are made from"
        require_apart(fresh.inputs, found, ("--unseen", "--query-data"), why, work.log)
    if preset.private_images:
        require_apart(owner.inputs, found, ("--data", "--query-data"), "private images are nobody else's", work.log)
    return found


def plan_command(
    data: str,
    source_file: Path | None,
    preset: Preset,
    work: RunContext,
    contract: Mapping[str, Any] | None = None,
    size: Size | None = None,
    unseen: str | None = None,
    folders: Folders = NO_FOLDERS,
    weights: Path | None = None,
    query_data: str | None = None,
) -> str:
    """Return what a build would do, and about how long it would take; nothing is written.

    Args:
        data: as for `build_command`, like all that follows.
        source_file: the owner's model; None where one would be trained.
        preset: sizes and hyper-parameters.
        work: seed, device, processes and progress.
        contract: what is known of the source's input and output.
        size: height and width to which the images of a folder are brought.
        unseen: images that the source never learnt; None where that is not known.
        folders: of models that the owner has.
        weights: of a source that a Python file makes.
        query_data: images without labels that simulated attackers have, too.

    Raises:
        FpverifyError: if any input is at fault.
    """
    _require_unseen(preset, source_file, unseen)
    given = _counted(folders)
    owner, fresh = _images(data, unseen, size, preset, work)
    public = 0 if query_data is None else len(_public(query_data, owner, fresh, size, preset, work))
    shared, source = share_data(owner, preset, work.seed, fresh), None
    _require_feasible(shared, preset)
    if source_file is not None:
        source = load_source(source_file, fresh or owner, work.device, work.log, contract, weights)
        require_better_than_chance(source, shared.start, "source")
        load_given(folders, measured_on(shared, work.seed), source, work.device, work.log)
    text = as_text(plan_build(source, shared, preset, work, given["nulls"], public))
    return "\n".join([text, *(f"warning: {doubt}" for doubt in _undecided(preset, given))])


def panel_command(data: str, count: int, output: Path, preset: Preset, work: RunContext, size: Size | None) -> str:
    """Train a panel and write its files; returns what to tell the user.

    Raises:
        FpverifyError: if any input or step is at fault; finished work stays, and the next start goes on from there.
    """
    images = load_data(data, work.seed, log=work.log, size=size, folder=work.cache.folder)
    return write_panel(train_panel(images, count, preset, work), images, output)


def twins_command(
    data: str,
    count: int,
    output: Path,
    preset: Preset,
    work: RunContext,
    source_file: Path | None = None,
    contract: Mapping[str, Any] | None = None,
    size: Size | None = None,
) -> str:
    """Train twins and write their fingerprints; returns what to tell the user.

    Raises:
        FpverifyError: if any input or step is at fault; finished work stays, and the next start goes on from there.
    """
    images = load_data(data, work.seed, log=work.log, size=size, folder=work.cache.folder)
    require_room(images, preset)
    source = None if source_file is None else load_source(source_file, images, work.device, work.log, contract)
    return build_twins(images, count, preset, work, output, source)


def starts_command(fingerprint: Path, data: str, output: Path, work: RunContext, size: Size | None) -> str:
    """Write the images from which a fingerprint's keys started; returns what to tell the user.

    Raises:
        FpverifyError: if any input is at fault, or a key lies near none of the images; nothing is written then.
    """
    loaded = load_fingerprint(fingerprint)
    keep(output, [fingerprint])
    images = load_data(data, work.seed, log=work.log, size=size, folder=work.cache.folder)
    save_starts(find_starts(loaded, images, work.log), loaded, output)
    return f"starts       {output}, {len(loaded)} images"


def demo_command(out: Path, preset: Preset, work: RunContext) -> str:
    """Run the demo and write its JSON and picture; returns its table.

    Raises:
        FpverifyError: if any step is at fault.
        OSError: if a result cannot be written.
    """
    demo = run_demo(out, preset, work)
    write_atomically(out / "demo.json", as_json(demo).encode())
    write_atomically(out / "demo.png", as_picture(demo))
    return as_table(demo)


def study_command(
    name: str, seeds: tuple[int, ...], data: Path | None, output: Path, work: RunContext, alone: bool = False
) -> str:
    """Run a study, with or without baselines and variants, and write its rows and report; returns its headline.

    Raises:
        FpverifyError: if any input or step is at fault; finished work stays, and the next start goes on from there.
    """
    study = find_study(name)
    if seeds:
        study = replace(study, seeds=seeds)
    if alone:
        study = verdicts_only(study)
    rows = run_study(study, data, output, work)
    return f"{headline(rows)}\nreport       {output / 'study.html'}"
