"""Each suspect is exported, judged by every fingerprint as an auditor judges it, and becomes rows."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fpverify
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.baselines import ScoreBaseline
from fpverify_generator.build import versions
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.oracle import load_oracle
from fpverify_generator.models.passes import answers_of
from fpverify_generator.models.source import as_probabilities
from fpverify_generator.report.rows import Row
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.progress import Stage
from fpverify_generator.study.methods import Method
from fpverify_generator.study.suspects import Suspect

LAYOUT = 3
"""Of the findings in the cache: another layout gets another number, so that no older finding is read as one."""

exporter = cache(Exporter)
"""This process's exporter, which keeps what it has exported once of each architecture."""


@cache
def _loaded(path: Path, changed: int) -> fpverify.Fingerprint:  # noqa: ARG001  a file that is written anew is another
    """Return a fingerprint, which this process reads once for all suspects: reading took half of the time."""
    return fpverify.load_fingerprint(path)


@dataclass(frozen=True)
class Judging:
    """One suspect's export and judgement by every method, as a piece of work; leaves its file in the folder."""

    suspect: Suspect
    file: Path
    test: DataSet
    methods: Sequence[Method]
    ours: dict[str, np.ndarray]
    """Method that compares scores -> `(n, classes)` what the source answers to its keys."""

    def __call__(self) -> dict[str, torch.Tensor]:
        """Return the findings as JSON, in the bytes of a tensor, so that they lie in the cache like all work."""
        found = self.judge()
        return {"json": torch.frombuffer(bytearray(json.dumps(found, allow_nan=False).encode()), dtype=torch.uint8)}

    def judge(self) -> dict[str, Any]:
        """Export, measure the accuracy, and judge."""
        began = time.perf_counter()
        sha256 = exporter().write(self.suspect.module, self.test.inputs[:64], self.file, self.suspect.random)
        found: dict[str, Any] = {"sha256": sha256, "accuracy": accuracy(self.suspect, self.test), "methods": {}}
        judged = [method for method in self.methods if not method.compares_scores]
        contract = {"classes": list(self.suspect.classes)} if self.suspect.classes else None
        files = [path for method in judged for path in method.files.values()]
        fingerprints = [_loaded(path, path.stat().st_mtime_ns) for path in files]
        results = fpverify.verify_each(fingerprints, self.file, contract=contract)
        for method in judged:
            found["methods"][method.name] = _judged({count: next(results) for count in method.files})
        for method in self.methods:
            if method.compares_scores:
                found["methods"][method.name] = self._compared(method)
        return {**found, "seconds": time.perf_counter() - began}

    def _compared(self, method: Method) -> dict[str, Any]:
        """Return the similarity of the suspect's scores to the source's, at each number of queries."""
        ours, baseline = self.ours[method.name], method.baseline
        theirs = load_oracle(self.file)(method.keys.inputs.numpy())
        scores: dict[str, float | None] = {}
        for count in (int(name) for name in _counts(self.methods)):
            if theirs.ndim == 2 and theirs.shape[1] == ours.shape[1] and isinstance(baseline, ScoreBaseline):
                probabilities = as_probabilities(torch.from_numpy(theirs[:count])).numpy()
                scores[str(count)] = baseline.similarity(ours[:count], probabilities)
            else:
                scores[str(count)] = None
        return {"scores": scores}


def _counts(methods: Sequence[Method]) -> list[str]:
    return [str(count) for count in next(method.files for method in methods if not method.compares_scores)]


def _judged(results: dict[int, fpverify.Result | fpverify.SuspectError]) -> dict[str, Any]:
    found: dict[str, Any] = {"scores": {}, "verdicts": {}, "no_verdict": {}, "cut": {}, "p_value": {}, "q_value": {}}
    for count, result in results.items():
        if isinstance(result, fpverify.SuspectError):
            found["scores"][str(count)] = None
            found["no_verdict"][str(count)] = result.reason
            continue
        found["scores"][str(count)] = result.retention
        found["verdicts"][str(count)] = result.verdict.value
        if result.cut is not None:
            found["cut"][str(count)] = result.cut / result.queries
        found["p_value"][str(count)], found["q_value"][str(count)] = result.p_value, result.q_value
    return found


def accuracy(suspect: Suspect, test: DataSet) -> float | None:
    """Return the share of test images that a suspect gets right; None if it knows other classes."""
    if suspect.classes:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        answers = answers_of(suspect.module, test.inputs)
    labels = answers if answers.ndim == 1 else answers.argmax(1)
    return float((labels == test.labels).double().mean())


def judge_all(
    suspects: Sequence[Suspect],
    methods: Sequence[Method],
    ours: dict[str, np.ndarray],
    test: DataSet,
    folder: Path,
    seed: int,
    work: RunContext,
) -> list[dict[str, Any]]:
    """Judge every suspect; what was judged before, and whose file is still there, is not judged again."""
    light = [
        replace(method, keys=method.keys if method.compares_scores else method.keys.first(0)) for method in methods
    ]
    sums = [file.read_bytes() for method in methods for file in method.files.values()]
    everything = digest(
        "judging", LAYOUT, fpverify.__version__, test.inputs, test.labels, *map(repr, light), *sums, *ours.items()
    )
    pieces = {}
    for suspect in suspects:
        file = folder / suspect.file(seed)
        attack = ATTACKS.get(suspect.attack or "")
        key = digest("judge", everything, str(file), suspect.module, repr(suspect), repr(attack))
        if not file.is_file():
            work.cache.drop(key)
        pieces[key] = Judging(suspect, file, test, light, ours)
    found, stage = [], Stage(work.log, "suspects", len(suspects), "judged")
    for one in run_pieces(pieces, work):
        found.append(json.loads(one["json"].numpy().tobytes()))
        if len(found) % 10 == 0 or len(found) == len(suspects):
            stage.done(len(found))
    return found


def rows_of(
    suspect: Suspect,
    found: dict[str, Any],
    methods: Sequence[Method],
    preset: str,
    source_accuracy: float,
    work: RunContext,
) -> list[Row]:
    """Return one row per method."""
    attack = ATTACKS.get(suspect.attack or "")
    rows = []
    for method in methods:
        said = found["methods"][method.name]
        rows.append(
            Row(
                preset=preset,
                seed=work.seed,
                method=method.name,
                group=method.group,
                value=method.value,
                epsilon=method.epsilon,
                ensemble=method.ensemble,
                statistic="correlation" if method.compares_scores else "retention",
                kind=suspect.kind,
                suspect=suspect.name,
                attack=suspect.attack,
                category=attack.category if attack else None,
                cell=suspect.cell,
                architecture=suspect.architecture,
                file=suspect.file(work.seed),
                sha256=found["sha256"],
                accuracy=found["accuracy"],
                source_accuracy=source_accuracy,
                scores=said["scores"],
                verdicts=said.get("verdicts"),
                no_verdict=said.get("no_verdict"),
                cut=said.get("cut"),
                p_value=said.get("p_value"),
                attack_queries=suspect.queries,
                attack_seconds=suspect.seconds,
                seconds=found["seconds"],
                device=work.device,
                versions=versions(),
                configuration={
                    "attack": repr(attack) if attack else None,
                    "baseline": repr(method.baseline) if method.baseline else None,
                },
            )
        )
    return rows
