"""Figures of merit of a method: how well its statistic tells derived suspects from unrelated ones.

Each is computed within a seed, since a fingerprint has a scale of its own, and averaged over seeds. Intervals are of
the bootstrap over models: derived and unrelated suspects are drawn again within each seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpverify.statistics import Interval
from fpverify_generator.errors import StudyError
from fpverify_generator.study_report.rows import Row

Scores = NDArray[np.float64]
"""`(…, models)` one statistic of each model."""

Merit = Callable[[Scores, Scores], Scores]
"""A figure of merit of derived `(…, n)` and unrelated `(…, m)` statistics, `(…)`."""

RESAMPLES = 1000
"""Draws of the bootstrap."""
LEVEL = 0.95
"""Confidence of its intervals."""


@dataclass(frozen=True)
class Sample:
    """One seed's statistics."""

    derived: Scores
    """`(models,)`"""
    unrelated: Scores
    """`(models,)`"""


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval."""

    value: float
    """Mean over seeds."""
    interval: Interval
    """Of the bootstrap over models."""


def roc_auc(derived: Scores, unrelated: Scores) -> Scores:
    """Return the share of pairs in which the derived model's statistic is higher; ties count half.

    Args:
        derived: `(…, n)`.
        unrelated: `(…, m)`.

    Returns:
        `(…)`, each the area under the ROC curve.
    """
    difference = derived[..., :, None] - unrelated[..., None, :]
    result: Scores = ((difference > 0) + 0.5 * (difference == 0)).mean((-2, -1))
    return result


def gap(derived: Scores, unrelated: Scores) -> Scores:
    """Return the lowest derived minus the highest unrelated statistic, `(…)`."""
    result: Scores = derived.min(-1) - unrelated.max(-1)
    return result


def true_positives(rate: float) -> Merit:
    """Return the function that gives the true-positive rate at a false-positive rate.

    A suspect counts as derived above a threshold that at most `floor(rate * m)` of the m unrelated models exceed: with
    fewer than 100 of them, 1 % is none.
    """

    def at_rate(derived: Scores, unrelated: Scores) -> Scores:
        allowed = int(rate * unrelated.shape[-1])
        threshold = np.sort(unrelated, -1)[..., ::-1][..., allowed]
        result: Scores = (derived > threshold[..., None]).mean(-1)
        return result

    return at_rate


MERITS: Mapping[str, Merit] = {
    "ROC AUC": roc_auc,
    "gap": gap,
    "TPR at 0 FP": true_positives(0.0),
    "TPR at 1 % FP": true_positives(0.01),
}
"""Every figure of merit by name."""


def samples_of(rows: Sequence[Row], queries: str, everything: bool = False) -> list[Sample]:
    """Return one method's statistics, a sample for each seed.

    Args:
        rows: of one method.
        queries: at how many queries.
        everything: whether to count surrogates that lost the accuracy or know other classes, too.

    Raises:
        StudyError: if a seed has no derived or no unrelated suspect that was judged.
    """
    samples = []
    for seed in sorted({row.seed for row in rows}):
        judged = [row for row in rows if row.seed == seed and row.scores.get(queries) is not None]
        derived = [row for row in judged if row.kind == "derived" and (everything or row.keeps_accuracy)]
        unrelated = [row for row in judged if row.kind == "unrelated"]
        if not derived or not unrelated:
            raise StudyError(f"rows: seed {seed} has no derived or no unrelated suspect that {rows[0].method} judged")
        kept, other = (np.array([row.scores[queries] for row in some], np.float64) for some in (derived, unrelated))
        samples.append(Sample(kept, other))
    return samples


def draws(samples: Sequence[Sample], seed: int = 0) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the bootstrap's row numbers, `(RESAMPLES, n)` and `(RESAMPLES, m)` for each seed's sample."""
    draw = np.random.default_rng(seed)
    return [
        (
            draw.integers(0, len(sample.derived), (RESAMPLES, len(sample.derived))),
            draw.integers(0, len(sample.unrelated), (RESAMPLES, len(sample.unrelated))),
        )
        for sample in samples
    ]


def bootstrapped(samples: Sequence[Sample], merit: Merit) -> Scores:
    """Return a figure's mean over seeds in each resample, `(RESAMPLES,)`."""
    total = np.zeros(RESAMPLES)
    for sample, (derived, unrelated) in zip(samples, draws(samples), strict=True):
        for part in np.array_split(np.arange(RESAMPLES), 20):
            total[part] += merit(sample.derived[derived[part]], sample.unrelated[unrelated[part]])
    result: Scores = total / len(samples)
    return result


def estimate(samples: Sequence[Sample], merit: Merit) -> Estimate:
    """Return a figure with its interval."""
    return _between(_mean(samples, merit), bootstrapped(samples, merit))


def difference(first: Sequence[Sample], second: Sequence[Sample], merit: Merit) -> Estimate:
    """Return the first method's figure minus the second's, resampling the same models for both."""
    ours, theirs = bootstrapped(first, merit), bootstrapped(second, merit)
    same = all(len(a.derived) == len(b.derived) for a, b in zip(first, second, strict=True))
    if not same:  # where one could not judge some suspects, the models are not the same: compared unpaired
        theirs = np.random.default_rng(1).permutation(theirs)
    return _between(_mean(first, merit) - _mean(second, merit), ours - theirs)


def _mean(samples: Sequence[Sample], merit: Merit) -> float:
    return float(np.mean([merit(sample.derived, sample.unrelated) for sample in samples]))


def _between(value: float, resampled: Scores) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, Interval(float(low), float(high), LEVEL))
