"""Compares numbers of null models, levels and worst-group ranks on development seeds of the digits study.

    python tests/benchmarks/null_models.py --cache DIR [--seeds 10 11 31 32]

For each: the cut, the surrogates that keep the accuracy and reach it, and the unrelated models that reach it. A
worst-group rank is the largest of the p-values among the null models of each group (Vovk's Mondrian prediction).
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fpverify_generator.build import prepare, train_source
from fpverify_generator.calibration import calibrate, kept_by, retentions
from fpverify_generator.keys import cem_keys
from fpverify_generator.models.source import Source
from fpverify_generator.pools import share_data, varied_tasks
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.judge import accuracy
from fpverify_generator.study.presets import STUDIES
from fpverify_generator.study.suspects import derived_suspects
from fpverify_generator.study.unrelated import unrelated_suspects

from fpverify.verdict import cut_of

LEVELS = (0.02, 0.05)
COUNTS = (49, 99, 199, 299)


def compare(seed: int, cache: Path, nulls: int) -> None:
    """Print one seed's rows."""
    study = STUDIES["digits"]
    work, domain = RunContext(seed, Cache(cache)), load_domain(study, None, seed)
    preset = replace(study.build, nulls=nulls)
    shared = share_data(domain.owner, preset, seed)
    source = Source("0" * 64, train_source(shared.train, preset, work))
    owner = prepare(source, shared, preset, work)
    keys = cem_keys(owner)
    null = kept_by(owner.nulls, keys, "cpu")
    pools = owner.surrogates, owner.references
    calibration = calibrate(*(kept_by(pool.calibration, keys, "cpu") for pool in pools), null)
    least = float((source.labels(domain.test.inputs) == domain.test.labels).double().mean()) - 0.05
    derived = [
        suspect
        for suspect in derived_suspects(source, domain, study, work)
        if not suspect.random and (accuracy(suspect, domain.test) or 0) >= least
    ]
    stolen, innocent = (
        np.array([round(float(accuracy(suspect, keys) or 0) * len(keys.labels)) for suspect in suspects])
        for suspects in (derived, unrelated_suspects(shared, domain, study, work))
    )
    tasks = varied_tasks(shared, nulls, preset, seed, "null")
    base = np.array([task.architecture == preset.family.base for task in tasks])
    same = np.array([task.rows is not None and len(task.rows) == len(shared.train) for task in tasks])
    ways = {f"{count} models": [np.arange(nulls) < count] for count in COUNTS if count <= nulls}
    ways |= {
        f"{nulls}, by architecture": [base, ~base],
        f"{nulls}, by data": [same, ~same],
        f"{nulls}, by both": [a & b for a in (base, ~base) for b in (same, ~same)],
    }
    for name, groups in ways.items():
        for level in LEVELS:
            cuts = [
                cut_of(len(keys.labels), replace(calibration, nulls=retentions(null[group])), level) for group in groups
            ]
            cut = None if None in cuts else max(cuts)
            caught, accused = (0 if cut is None else (kept >= cut).sum() for kept in (stolen, innocent))
            print(
                f"| {seed} | {name} | {level} | {cut} | {caught} of {len(stolen)} | {accused} of {len(innocent)} |",
                flush=True,
            )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 31, 32])
    parser.add_argument("--nulls", type=int, default=299)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| seed | null models | level | cut | derived that reach it | unrelated that reach it |")
    print("|---" * 6 + "|")
    for seed in options.seeds:
        compare(seed, options.cache, options.nulls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
