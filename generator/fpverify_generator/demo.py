"""The whole job on real data: fingerprint a source, steal it in many ways, judge every suspect as an auditor does."""

import io
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from fpverify.files import write_atomically
from fpverify.fingerprint import save_fingerprint
from fpverify_generator.attacks import SIMULATED
from fpverify_generator.attacks.run import run_attacks
from fpverify_generator.build import build_fingerprint, train_source, versions
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.load import halves
from fpverify_generator.errors import DataError, StudyError
from fpverify_generator.keys import Keys
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import attack_runs, share_data
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed
from fpverify_generator.study.judge import judge_all
from fpverify_generator.study.methods import Method
from fpverify_generator.study.suspects import Suspect, derived_suspect

UNRELATED_PER_HALF = 9
"""Unrelated suspects trained on each half of the data."""


@dataclass(frozen=True)
class Judged:
    """One row of the demo's table."""

    file: str
    """The ONNX file, below the demo's folder."""
    kind: str
    """The truth: `derived` or `unrelated`."""
    attack: str
    """The removal attack, or what an unrelated model is: its architecture and its half of the data."""
    accuracy: float
    """On the test split."""
    retention: float
    """The share of keys that it answers as the fingerprint says."""
    p_value: float
    """Of "unrelated", by rank among the null models."""
    q_value: float
    """Of "derived", by rank among the held-out surrogates."""
    verdict: str
    """What `fpverify` said: `derived`, `unrelated` or `inconclusive`."""


@dataclass(frozen=True)
class Demo:
    """What a demo measured; `demo.json` holds it."""

    suspects: tuple[Judged, ...]
    """Every suspect that was judged."""
    roc_auc: float
    """Of the retention, derived against unrelated."""
    lowest_derived: float
    """Retention."""
    highest_unrelated: float
    """Retention."""
    threshold: float
    """Of the fingerprint."""
    source: dict[str, str | float]
    """`file`: the source as ONNX; `accuracy` on the test split."""
    seconds: float
    """Wall time of the whole run."""
    trained_before: int
    """How many pieces of cached work from an earlier run were used; 0 in a fresh folder."""
    seed: int
    """The run's seed."""
    versions: dict[str, str]
    """Of everything that a result depends on."""


def run_demo(folder: Path, preset: Preset, work: RunContext) -> Demo:
    """Run the whole pipeline in a folder.

    Args:
        folder: receives the data, the source, the suspects and the fingerprint.
        preset: sizes of the fingerprint.
        work: seed, cache, device and progress.

    Returns:
        The rows and the summary.

    Raises:
        FpverifyError: if any step cannot be done.
    """
    began = time.perf_counter()
    owner, attacker, test = halves(work.seed)
    write_splits(folder / "data.npz", owner, attacker, test)
    shared = share_data(owner, preset, work.seed)
    network = train_source(shared.train, preset, work)
    sha256 = Exporter().write(network, test.pixels, folder / "source.onnx")
    source = Source(sha256, network, device=work.device)
    path = folder / "fingerprint.safetensors"
    fingerprint = build_fingerprint(source, shared, preset, work)
    save_fingerprint(fingerprint, path)
    # From here on nothing feeds back: the fingerprint is on disk, and suspects are only judged.
    runs = attack_runs(source, attacker, SIMULATED, preset, work.seed, "suspect")
    outcomes = zip(SIMULATED, run_attacks(runs, work, "derived suspects"), strict=True)
    suspects = [derived_suspect(name, name, outcome, preset) for name, outcome in outcomes]
    tasks = unrelated_suspects(owner, attacker, preset, UNRELATED_PER_HALF, work.seed)
    networks = train_all(tasks, work, "unrelated suspects")
    suspects += [
        Suspect(f"{task.name} {number}".replace("'", ""), "unrelated", module, task.made_of, cell=task.name)
        for number, (task, module) in enumerate(zip(tasks, networks, strict=True), 1)
    ]
    keys = Keys(torch.tensor(fingerprint.inputs), torch.tensor(fingerprint.labels))
    method = Method("cem", "cem", keys, files={len(fingerprint): path})
    findings = judge_all(suspects, [method], {}, test, folder, work.seed, work)
    rows = tuple(judged(*pair, str(len(fingerprint)), work.seed) for pair in zip(suspects, findings, strict=True))
    return summarise(rows, fingerprint.calibration.threshold, network, test, began, work)


def unrelated_suspects(
    owner: DataSet, attacker: DataSet, preset: Preset, per_half: int, seed: int
) -> list[TrainingTask]:
    """Return models trained on true labels from either half, in every architecture."""
    tasks, names = [], preset.family.members
    for half, data in (("owner", owner), ("attacker", attacker)):
        for number in range(per_half):
            architecture = names[number % len(names)]
            task_seed = derive_seed(seed, "unrelated suspect", half, number)
            name = f"{architecture.name} on the {half}'s half"
            tasks.append(TrainingTask(name, task_seed, architecture, data.inputs, data.targets, preset.recipe))
    return tasks


def judged(suspect: Suspect, finding: Mapping[str, Any], queries: str, seed: int) -> Judged:
    """Return a suspect's row.

    Raises:
        StudyError: if there was no verdict.
    """
    said = finding["methods"]["cem"]
    if queries in said["no_verdict"]:
        raise StudyError(f"no verdict: {said['no_verdict'][queries]}", culprit=suspect.name)
    return Judged(
        file=suspect.file(seed),
        kind=suspect.kind,
        attack=suspect.attack or suspect.cell or "",
        accuracy=finding["accuracy"],
        retention=said["scores"][queries],
        p_value=said["p_value"][queries],
        q_value=said["q_value"][queries],
        verdict=said["verdicts"][queries],
    )


def summarise(
    rows: tuple[Judged, ...], threshold: float, network: nn.Module, test: DataSet, began: float, work: RunContext
) -> Demo:
    """Put the rows and what they amount to together."""
    truth = [row.kind == "derived" for row in rows]
    kept = [row.retention for row in rows]
    return Demo(
        suspects=rows,
        roc_auc=float(roc_auc_score(truth, kept)),
        lowest_derived=min(row.retention for row in rows if row.kind == "derived"),
        highest_unrelated=max(row.retention for row in rows if row.kind == "unrelated"),
        threshold=threshold,
        source={"file": "source.onnx", "accuracy": Ensemble([network]).accuracy(test.inputs, test.labels)[0]},
        seconds=round(time.perf_counter() - began, 1),
        trained_before=work.cache.reused,
        seed=work.seed,
        versions=versions(),
    )


def write_splits(path: Path, owner: DataSet, attacker: DataSet, test: DataSet) -> None:
    """Write the three splits as `NAME_inputs`, `NAME_labels` and `NAME_images`, and `classes`.

    Raises:
        DataError: if the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {"classes": np.array(owner.classes)}
    for name, data in (("owner", owner), ("attacker", attacker), ("test", test)):
        arrays[f"{name}_inputs"] = data.pixels.numpy()
        arrays[f"{name}_labels"] = data.labels.numpy()
        arrays[f"{name}_images"] = data.images.numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise DataError(f"cannot write ({error.strerror})", culprit=path) from error


COLOURS = {"derived": "#b3361d", "unrelated": "#2b6ca3"}


def as_table(demo: Demo) -> str:
    """Return the demo's table and summary as text."""
    width = max(len(row.attack) for row in demo.suspects)
    lines = [f"{'suspect':<{width}}  {'kind':<9}  accuracy  retention  p, unrelated  q, derived  verdict"]
    lines += [_row(row, width) for row in sorted(demo.suspects, key=lambda row: (row.kind, -row.retention))]
    derived = [row for row in demo.suspects if row.kind == "derived"]
    unrelated = [row for row in demo.suspects if row.kind == "unrelated"]
    caught = sum(row.verdict == "derived" for row in derived)
    accused = sum(row.verdict == "derived" for row in unrelated)
    lines += [
        "",
        f"source         accuracy {float(demo.source['accuracy']):.1%} on the test images",
        f"threshold      {demo.threshold:.3f}, from held-out models; no suspect took part",
        f"derived        {caught} of {len(derived)} called derived; lowest retention {demo.lowest_derived:.2f}",
        f"unrelated      {accused} of {len(unrelated)} called derived; highest retention {demo.highest_unrelated:.2f}",
        f"ROC AUC        {demo.roc_auc:.4f}",
        f"seed {demo.seed}, {demo.seconds:.0f} s"
        + (f", {demo.trained_before} steps taken from an earlier run" if demo.trained_before else ""),
    ]
    return "\n".join(lines)


def _row(row: Judged, width: int) -> str:
    return (
        f"{row.attack:<{width}}  {row.kind:<9}  {row.accuracy:8.1%}  {row.retention:9.2f}"
        f"  {row.p_value:12.3f}  {row.q_value:10.3f}  {row.verdict}"
    )


def as_json(demo: Demo) -> str:
    """Return the demo as JSON."""
    return json.dumps(asdict(demo), indent=2, allow_nan=False) + "\n"


def as_picture(demo: Demo) -> bytes:
    """Return a PNG: each suspect's retention, and the threshold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = sorted(demo.suspects, key=lambda row: (row.kind == "derived", row.retention))
    figure = Figure(figsize=(9, 0.24 * len(rows) + 1.6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    for height, row in enumerate(rows):
        axes.plot(row.retention, height, "o", color=COLOURS[row.kind])
    axes.axvline(demo.threshold, color="black", linestyle="--", linewidth=1)
    axes.text(demo.threshold, len(rows) - 0.2, f" threshold {demo.threshold:.2f}", va="bottom", fontsize=9)
    axes.set_yticks(range(len(rows)), [row.attack for row in rows], fontsize=8)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(COLOURS[row.kind])
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.8, len(rows) + 0.8)
    axes.set_xlabel("retention: share of keys answered as the fingerprint says")
    axes.set_title(f"Derived (red) and unrelated (blue) suspects, seed {demo.seed}: ROC AUC {demo.roc_auc:.3f}")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()
