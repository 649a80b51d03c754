"""How many images to hold back from the source: verdicts of the digits study by the share of the query part.

    python tests/benchmarks/held_back.py --seed 10 --seed 11 [--shares 0.05 0.1 0.25 0.4 0.55]

A fifth of the owner's images are start points; of the others, the source learns what it does not hold back.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from fpverify_generator.run.context import open_run
from fpverify_generator.study.presets import STUDIES, verdicts_only
from fpverify_generator.study.run import run_study

STARTS = 0.2
WORTH = 0.05
"""Accuracy that a copy may lose and still be worth stealing."""


def main() -> None:
    """Print a row for each share."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, action="append", required=True)
    options.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.25, 0.4, 0.55])
    options.add_argument("--folder", type=Path, default=Path("held-back"))
    options.add_argument("--jobs", type=int, default=2)
    chosen = options.parse_args()
    study = verdicts_only(replace(STUDIES["digits"], seeds=tuple(chosen.seed), budgets=(100,), false_claims=False))
    print("| held back | source | copies that keep the accuracy | derived | unrelated models | derived | means |")
    for share in chosen.shares:
        build = replace(study.build, query_share=share, train_share=1 - STARTS - share)
        folder = chosen.folder / f"{share:g}"
        work = open_run(folder / "cache", 0, jobs=chosen.jobs)
        rows = run_study(replace(study, build=build), None, folder, work)
        worth = [
            row
            for row in rows
            if row.kind == "derived" and row.accuracy is not None and row.accuracy >= row.source_accuracy - WORTH
        ]
        unrelated = [row for row in rows if row.kind == "unrelated"]
        accused = [[row for row in some if (row.verdicts or {}).get("100") == "derived"] for some in (worth, unrelated)]
        scores = [[row.scores["100"] for row in some if row.scores["100"] is not None] for some in (worth, unrelated)]
        means = " and ".join(f"{sum(some) / len(some):.2f}" for some in scores)
        source = sum({row.seed: row.source_accuracy for row in rows}.values()) / len(chosen.seed)
        counts = f"{len(worth)} | {len(accused[0])} | {len(unrelated)} | {len(accused[1])}"
        print(f"| {share:.0%} | {source:.1%} | {counts} | {means} |", flush=True)


if __name__ == "__main__":
    main()
