"""Runs a study: for each seed everything is trained, fingerprinted and judged; finished work is never done again."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fpverify.files import write_atomically
from fpverify.fingerprint import load_fingerprint
from fpverify_generator.build import prepare, train_source
from fpverify_generator.data.store import joined
from fpverify_generator.feasible import ask_once, is_slow
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.source import Source
from fpverify_generator.pools import share_data
from fpverify_generator.report import CLAIMS, write_report
from fpverify_generator.report.facts import Facts
from fpverify_generator.report.rows import Row, settings_digest, write_rows
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.engines import running
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.facts import gather
from fpverify_generator.study.false_claims import Claim, false_claims
from fpverify_generator.study.judge import judge_all, rows_of
from fpverify_generator.study.methods import Method, make_methods
from fpverify_generator.study.presets import StudyPreset, settings_of
from fpverify_generator.study.suspects import derived_suspects
from fpverify_generator.study.unrelated import unrelated_suspects


def run_study(study: StudyPreset, data: Path | None, folder: Path, work: RunContext) -> list[Row]:
    """Run a study, and write its rows and its report after each seed.

    Args:
        study: its name and size, such as `find_study` finds it.
        data: the folder of images, where the domain needs one.
        folder: receives suspects, fingerprints, `rows.jsonl` and the report.
        work: cache, device, processes, engine and progress; its seed is not used.

    Returns:
        All rows.

    Raises:
        FpverifyError: if any step is at fault; what was finished stays in the cache.
    """
    rows: list[Row] = []
    claims: list[dict[str, Any]] = []
    settings = settings_of(study)
    with running(work.engine, work.jobs, work.device):
        for seed in study.seeds:
            found, facts, claimed = run_seed(study, data, folder, replace(work, seed=seed))
            claims += [asdict(claim) for claim in claimed]
            if claims:
                write_atomically(folder / CLAIMS, (json.dumps(claims, indent=1) + "\n").encode())
            rows += [replace(row, study=settings_digest(settings)) for row in found]
            write_rows(folder / "rows.jsonl", rows)
            write_report(rows, folder, {**settings, "facts": asdict(facts)}, claims)
            work.log(f"seed {seed}: {len(rows)} rows so far, report written")
    return rows


def run_seed(
    study: StudyPreset, data: Path | None, folder: Path, work: RunContext
) -> tuple[list[Row], Facts, list[Claim]]:
    """Run one seed of a study; returns its rows, where they come from, and false claims."""
    work.log(f"seed {work.seed}")
    domain = load_domain(study, data, work.seed, work.cache.folder)
    shared = share_data(domain.owner, study.build, work.seed)
    network = train_source(shared.train, study.build, work)
    sha256 = Exporter().write(network, domain.test.inputs[:64], folder / f"source-seed-{work.seed}.onnx")
    source = Source(sha256, network, device=work.device)
    owner = prepare(source, shared, study.build, work)
    methods = make_methods(owner, study, folder / "fingerprints" / f"seed-{work.seed}")
    # From here on nothing feeds back: the fingerprints are on disk, and suspects are only judged.
    stolen = source
    if is_slow(source):
        stolen = ask_once(source, joined([domain.attacker.inputs, domain.foreign.inputs]), work)
    unrelated = unrelated_suspects(shared, domain, study, work)
    suspects = derived_suspects(stolen, domain, study, work) + unrelated
    ours = {method.name: _probabilities(source, method) for method in methods if method.compares_scores}
    found = judge_all(suspects, methods, ours, domain.test, folder, work.seed, work)
    right = float((source.labels(domain.test.inputs) == domain.test.labels).double().mean())
    rows = [
        row
        for suspect, one in zip(suspects, found, strict=True)
        for row in rows_of(suspect, one, methods, study.name, right, work)
    ]
    claims: list[Claim] = []
    if study.false_claims:
        file = methods[0].files[max(methods[0].files)]
        claims = false_claims(owner, methods[0].keys, load_fingerprint(file).calibration, unrelated)
        work.log(f"false claims: {len(claims)} made")
    return rows, gather(study, domain, work.device), claims


def _probabilities(source: Source, method: Method) -> np.ndarray:
    labels, soft = source.answers(method.keys.inputs)
    return np.eye(int(labels.max()) + 1)[labels.numpy()] if soft is None else soft.numpy()
