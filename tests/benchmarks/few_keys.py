"""Measures what few counted keys cost: every suspect of a study, as if it knew only some of the classes.

    fpverify-generator study --preset digits -o STUDY
    python tests/benchmarks/few_keys.py STUDY

For every set of at least two classes, only the keys with these labels count, a suspect answers the class of this set
with the highest score, and the rule decides without its minimum of keys. One row for each range of counted keys.
"""

import argparse
import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import fpverify
from fpverify.statistics import rank_p_value, rank_q_value
from fpverify.verdict import cut_of, rule

RANGES = ((1, 9), (10, 19), (20, 39), (40, 69), (70, 100))
KINDS = ("derived", "unrelated")


def scores_of(file: Path, keys: NDArray[np.float32], classes: int) -> NDArray[np.float32] | None:
    """Return a suspect's `(n, classes)` scores of the keys; None for one that gives something else."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: keys})
    shaped = len(outputs) == 1 and outputs[0].shape == (len(keys), classes) and outputs[0].dtype == np.float32
    return outputs[0] if shaped else None


def verdicts(fingerprint: fpverify.Fingerprint, suspects: list[tuple[str, NDArray[np.float32]]]) -> Counter[Any]:
    """Count the rule's verdicts by range of counted keys and kind of suspect, over all sets of classes."""
    found: Counter[Any] = Counter()
    policy, classes = fpverify.Policy(), range(len(fingerprint.classes))
    for size in classes[2:]:
        for known in itertools.combinations(classes, size):
            counted = np.isin(fingerprint.labels, known)
            queries = int(counted.sum())
            calibration = fingerprint.calibrated_for(np.isin(classes, known)) if queries else None
            if calibration is None:
                continue
            cut = cut_of(queries, calibration, policy.significance)
            wanted = fingerprint.labels[counted]
            within = next(number for number, (low, high) in enumerate(RANGES) if low <= queries <= high)
            for kind, scores in suspects:
                answers = np.array(known)[scores[counted][:, known].argmax(1)]
                kept = int((answers == wanted).sum())
                ranks = (
                    rank_p_value(kept / queries, calibration.nulls),
                    rank_q_value(kept / queries, calibration.surrogates),
                )
                found[within, kind, rule(kept, cut, *ranks, policy.derived_significance)] += 1
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    study = parser.parse_args().study
    rows = [json.loads(line) for line in (study / "rows.jsonl").read_text().splitlines()]
    found: Counter[Any] = Counter()
    for seed in sorted({row["seed"] for row in rows}):
        fingerprint = fpverify.load_fingerprint(study / "fingerprints" / f"seed-{seed}" / "cem-100.safetensors")
        suspects = []
        for row in rows:
            keeps = row["accuracy"] is not None and row["accuracy"] >= row["source_accuracy"] - 0.05
            if row["method"] == "cem" and row["seed"] == seed and (keeps or row["kind"] == "unrelated"):
                scores = scores_of(study / row["file"], fingerprint.inputs, len(fingerprint.classes))
                suspects += [] if scores is None else [(row["kind"], scores)]
        print(f"seed {seed}: {Counter(kind for kind, _ in suspects)}", file=sys.stderr)
        found += verdicts(fingerprint, suspects)
    print("| counted keys | unrelated: derived | unrelated: inconclusive | derived: derived | derived: inconclusive |")
    print("|---" * 5 + "|")
    for number, (low, high) in enumerate(RANGES):
        totals = {kind: sum(found[number, kind, verdict] for verdict in fpverify.Verdict) for kind in KINDS}
        if all(totals.values()):
            cells = [
                f"{found[number, kind, verdict] / totals[kind]:.1%}"
                for kind in reversed(KINDS)
                for verdict in (fpverify.Verdict.DERIVED, fpverify.Verdict.INCONCLUSIVE)
            ]
            print(f"| {low} to {high} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
