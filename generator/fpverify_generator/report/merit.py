"""Figures of merit of a method: how well its statistic tells derived suspects from unrelated ones.

Each is computed within a seed, since a fingerprint has a scale of its own, and averaged over seeds. Intervals are of
the bootstrap over models: derived and unrelated suspects are drawn again within each seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpverify.statistics import Interval
from fpverify_generator.errors import StudyError
from fpverify_generator.report.rows import Row

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
    shape, (n, m) = derived.shape[:-1], (derived.shape[-1], unrelated.shape[-1])
    levels = np.unique(np.concatenate([derived.ravel(), unrelated.ravel()]))
    ours, theirs = (np.searchsorted(levels, scores.reshape(-1, scores.shape[-1])) for scores in (derived, unrelated))
    # counts of the unrelated at each level, one histogram a resample: n + m steps instead of n * m
    offsets = len(levels) * np.arange(len(theirs))[:, None]
    counts = np.bincount((theirs + offsets).ravel(), minlength=len(levels) * len(theirs)).reshape(-1, len(levels))
    beaten = np.take_along_axis(counts.cumsum(1) - counts / 2, ours, 1)
    result: Scores = (beaten.sum(1) / (n * m)).reshape(shape)
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

    Returns:
        A sample for each seed; empty of a kind where no suspect of it counts, of which no figure is made.

    Raises:
        StudyError: if a seed has no derived or no unrelated suspect at all.
    """
    samples = []
    for seed in sorted({row.seed for row in rows}):
        own = [row for row in rows if row.seed == seed]
        if len({row.kind for row in own}) < 2:
            missing = "unrelated" if own[0].kind == "derived" else "derived"
            raise StudyError(
                f"seed {seed} has no {missing} suspect for {own[0].method}",
                culprit="rows",
                hint="is the study cut short?",
            )
        scores: dict[str, list[float]] = {"derived": [], "unrelated": []}
        for row in own:
            score = row.scores.get(queries)
            if score is not None and (everything or row.kind == "unrelated" or row.keeps_accuracy):
                scores[row.kind].append(score)
        samples.append(Sample(np.array(scores["derived"], np.float64), np.array(scores["unrelated"], np.float64)))
    return samples


def paired(
    first: Sequence[Row], second: Sequence[Row], queries: str, everything: bool = False
) -> tuple[list[Sample], list[Sample]]:
    """Return two methods' statistics over the suspects that both judged, in the same order."""
    judged = {(row.seed, row.suspect): row for row in second if row.scores.get(queries) is not None}
    ours, theirs = [], []
    for row in first:
        other = judged.get((row.seed, row.suspect))
        apart = replace(row, scores={}) if other is None or row.scores.get(queries) is None else None
        ours.append(apart or row)
        theirs.append(apart or other or row)
    return samples_of(ours, queries, everything), samples_of(theirs, queries, everything)


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
        total += merit(sample.derived[derived], sample.unrelated[unrelated])
    result: Scores = total / len(samples)
    return result


def estimate(samples: Sequence[Sample], merit: Merit) -> Estimate | None:
    """Return a figure with its interval; None where a seed has no suspect of a kind that counts."""
    if not _complete(samples):
        return None
    return _between(_mean(samples, merit), bootstrapped(samples, merit))


def difference(first: Sequence[Sample], second: Sequence[Sample], merit: Merit) -> Estimate | None:
    """Return the first method's figure minus the second's, resampling the same models for both.

    Args:
        first: as `paired` returns it.
        second: of the same models in the same order.
        merit: which figure.
    """
    if not _complete(first) or not _complete(second):
        return None
    apart = bootstrapped(first, merit) - bootstrapped(second, merit)
    return _between(_mean(first, merit) - _mean(second, merit), apart)


def _complete(samples: Sequence[Sample]) -> bool:
    return bool(samples) and all(sample.derived.size and sample.unrelated.size for sample in samples)


def _mean(samples: Sequence[Sample], merit: Merit) -> float:
    return float(np.mean([merit(sample.derived, sample.unrelated) for sample in samples]))


def _between(value: float, resampled: Scores) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, Interval(float(low), float(high), LEVEL))
