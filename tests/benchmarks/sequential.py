"""How many queries sequential asking takes, and how often its verdict differs from that of all keys.

python tests/benchmarks/sequential.py [--orders 10000] [--fingerprint FILE --suspects FOLDER] [--held-out]

Each model answers all keys once; then they are asked in random orders, the same number for each model. The bars: at
an error of 0.01 a median of at most 12 queries for derived and 26 for unrelated models, and at most 1 verdict in 1,000
that differs.
"""

import argparse
from pathlib import Path
from statistics import median

import numpy as np

from fpverify import Policy, Verdict, load_fingerprint, vet
from fpverify.sequential import Rule, certain, verdicts_of

STUDY = Path(__file__).parents[2] / "fixtures" / "study"


def stops(kept, rule, verdicts):
    """Return after how many keys the verdict is decided, in this order, and which it is."""
    keys = len(kept)
    for asked, decision in enumerate(rule.decisions(kept), 1):
        if decision.verdict is not None:
            return asked, decision.verdict
    return keys, verdicts[int(kept.sum())]


def curtailed(kept, verdicts):
    """Return after how many keys no answer could change the verdict."""
    for asked in range(1, len(kept) + 1):
        open_ones = certain(int(kept[:asked].sum()), asked, len(kept))
        if len({verdict for verdict, one in zip(verdicts, open_ones, strict=True) if one}) == 1:
            return asked
    raise AssertionError("all keys decide")


def main() -> None:
    """Print medians and differing verdicts."""
    options = argparse.ArgumentParser()
    options.add_argument("--orders", type=int, default=10000)
    options.add_argument("--fingerprint", type=Path, default=STUDY / "fingerprint.safetensors")
    options.add_argument("--suspects", type=Path, default=STUDY)
    options.add_argument("--held-out", action="store_true", help="the fingerprint's held-out models, not the suspects")
    options = options.parse_args()
    fingerprint = load_fingerprint(options.fingerprint)
    members = vet(fingerprint, options.suspects).counted
    verdicts = verdicts_of(fingerprint.calibration, len(fingerprint), Policy())
    models = [np.array(one.answers) == fingerprint.labels for one in members]
    if options.held_out:
        rates, keys = fingerprint.calibration.nulls + fingerprint.calibration.surrogates, len(fingerprint)
        models = [np.arange(keys) < round(rate * keys) for rate in rates]
    draw, each = np.random.default_rng(0), -(-options.orders // len(models))
    print(f"{len(models)} models, {each} orders each; verdict by all keys: queries in the median, mean; that differ")
    for error in (0.01, 0.05, None):
        rule = None if error is None else Rule(fingerprint.calibration, len(fingerprint), verdicts, error)
        for verdict in Verdict:
            asked, differ = [], 0
            for kept in models:
                if verdicts[int(kept.sum())] is not verdict:
                    continue
                for _ in range(each):
                    order = draw.permutation(kept)
                    number, said = (
                        (curtailed(order, verdicts), verdict) if rule is None else stops(order, rule, verdicts)
                    )
                    asked.append(number)
                    differ += said is not verdict
            if asked:
                name = "curtailed " if error is None else f"error {error:<4}"
                print(f"{name}  {verdict:<12}  {median(asked):5.0f}  {np.mean(asked):6.1f}  {differ} of {len(asked)}")


if __name__ == "__main__":
    main()
