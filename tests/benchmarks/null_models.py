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
from fpverify_generator.build import cem_keys, prepare, train_source
from fpverify_generator.cache import Cache
from fpverify_generator.data import DataSet
from fpverify_generator.owner import share_data
from fpverify_generator.references import varied_tasks
from fpverify_generator.source import Source
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.presets import STUDIES
from fpverify_generator.study.suspects import derived_suspects
from fpverify_generator.study.unrelated import unrelated_suspects
from fpverify_generator.workshop import Workshop
from numpy.typing import NDArray
from torch import nn

from fpverify.statistics import rank_p_value

LEVELS = (0.02, 0.05)
COUNTS = (49, 99, 199, 299)
ROUNDING = 1e-9


def right(model: nn.Module, data: DataSet) -> float:
    """Return the share of images that a model gives their label."""
    with torch.no_grad():
        answers = model(data.inputs)
    labels = answers if answers.ndim == 1 else answers.argmax(1)
    return float((labels == data.labels).double().mean())


def cut_among(groups: list[NDArray[np.float64]], threshold: float, level: float) -> float:
    """Return the least retention that reaches the threshold and has a p-value of at most the level in every group."""
    for kept in range(101):
        rate = kept / 100
        if rate >= threshold and max(rank_p_value(rate, group.tolist()) for group in groups) <= level:
            return rate
    return float("inf")


def compare(seed: int, cache: Path, nulls: int) -> None:
    """Print one seed's rows."""
    study = STUDIES["digits"]
    work, domain = Workshop(seed, Cache(cache)), load_domain(study, None, seed)
    preset = replace(study.build, nulls=nulls)
    shared = share_data(domain.owner, preset, seed)
    network = train_source(shared.train, preset, work)
    owner = prepare(Source("0" * 64, network), shared, preset, work)
    least = right(network, domain.test) - 0.05
    derived = [
        suspect.module
        for suspect in derived_suspects(Source("0" * 64, network), domain, study, work)
        if not suspect.classes and not suspect.random and right(suspect.module, domain.test) >= least
    ]
    unrelated = [suspect.module for suspect in unrelated_suspects(shared, domain, study, work)]
    keys = cem_keys(owner)
    kept = [
        np.round([right(model, keys) for model in models], 12)
        for models in (owner.nulls, derived, unrelated, owner.surrogates.calibration, owner.references.calibration)
    ]
    null, stolen, innocent = kept[:3]
    threshold = float(kept[3].mean() + kept[4].mean()) / 2
    tasks = varied_tasks(shared, nulls, preset, seed, "null")
    base = np.array([task.architecture == preset.architectures.base for task in tasks])
    same = np.array([task.rows is not None and len(task.rows) == len(shared.train) for task in tasks])
    ways = {f"{count} models": [null[:count]] for count in COUNTS if count <= nulls}
    ways |= {
        f"{nulls}, by architecture": [null[base], null[~base]],
        f"{nulls}, by data": [null[same], null[~same]],
        f"{nulls}, by both": [null[a & b] for a in (base, ~base) for b in (same, ~same)],
    }
    for name, groups in ways.items():
        for level in LEVELS:
            cut = cut_among(groups, threshold, level)
            caught, accused = ((values >= cut - ROUNDING).sum() for values in (stolen, innocent))
            print(
                f"| {seed} | {name} | {level} | {cut:.2f} | {caught} of {len(stolen)} | {accused} of {len(innocent)} |",
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
