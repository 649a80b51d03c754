"""Exact binomial bounds, rank tests, the beta-binomial interval and entropy; without SciPy, whose import is slow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpverify.errors import StatisticsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """Where the values of some models lie."""

    low: float
    """The least."""
    median: float
    """Half of them are at most this, half at least."""
    high: float
    """The greatest."""


def spread_of(values: Sequence[float]) -> Spread:
    """Return where values lie.

    Raises:
        StatisticsError: if there are none.
    """
    if not values:
        raise StatisticsError(expected="at least one value", found="none")
    ordered, half = sorted(values), (len(values) - 1) // 2
    return Spread(ordered[0], (ordered[half] + ordered[-1 - half]) / 2, ordered[-1])


@dataclass(frozen=True)
class Interval:
    """A two-sided interval of a rate."""

    low: float
    """Lower end, a fraction in [0, 1]."""
    high: float
    """Upper end, a fraction in [0, 1]."""
    coverage: float
    """Its confidence, or the share of a population that it holds, a fraction in (0, 1)."""


def clopper_pearson(kept: int, queries: int, confidence: float) -> Interval:
    """Return the exact interval of a binomial rate.

    Args:
        kept: successes.
        queries: trials, at least one.
        confidence: confidence in (0, 1), shared equally between the two tails.

    Returns:
        The interval, within 1e-12 of the exact one for up to 10,000 trials.

    Raises:
        StatisticsError: if the counts or the confidence cannot be such.

    Source:
        C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
        binomial", Biometrika 26 (1934), 404-413.
    """
    _check(kept, queries, confidence)
    tail = (1 - confidence) / 2
    low = 1 - _upper_limit(queries - kept, queries, tail)
    return Interval(max(low, 0.0), _upper_limit(kept, queries, tail), confidence)


def false_positive_bound(false_positives: int, nulls: int, confidence: float) -> float:
    """Return the exact one-sided upper bound on the rate at which unrelated models reach the threshold.

    Args:
        false_positives: null models at or above the threshold.
        nulls: null models in all, at least one.
        confidence: confidence in (0, 1).

    Returns:
        The largest rate that would still give so few false positives with probability `1 - confidence`.
        Without any false positive it is `1 - (1 - confidence) ** (1 / nulls)`.

    Raises:
        StatisticsError: if the counts or the confidence cannot be such.

    Source:
        Clopper and Pearson (1934), one-sided.
    """
    _check(false_positives, nulls, confidence)
    return _upper_limit(false_positives, nulls, 1 - confidence)


def rank_p_value(retention: float, nulls: Sequence[float]) -> float:
    """Return the p-value of "unrelated": how high the suspect ranks among unrelated models.

    Whole models are ranked, not keys: keys are correlated within a model, so a binomial test per key would overstate
    the evidence. A tie counts against the accusation. The comparison is exact: both sides are `k / n` in double
    precision, which division rounds alike wherever it is done (`Fingerprint` sees to it for the nulls).

    Args:
        retention: the suspect's, a fraction in [0, 1].
        nulls: `(m,)` retentions of unrelated models that were used for nothing else.

    Returns:
        `(1 + nulls at or above the suspect) / (m + 1)`.

    Raises:
        StatisticsError: without any null, or if a retention is not a fraction.

    Source:
        B. Phipson and G. K. Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics
        and Molecular Biology 9 (2010), article 39.
    """
    if not nulls:
        raise StatisticsError("a rank needs at least one null model", found="none")
    if not all(0 <= value <= 1 for value in (retention, *nulls)):
        raise StatisticsError(where="retentions", expected="fractions in [0, 1]")
    return (1 + sum(null >= retention for null in nulls)) / (len(nulls) + 1)


def rank_q_value(retention: float, surrogates: Sequence[float]) -> float:
    """Return the p-value of "derived": how low the suspect ranks among held-out surrogates.

    Args:
        retention: the suspect's, a fraction in [0, 1].
        surrogates: `(m,)` retentions of models derived from the source that neither made nor chose the keys.

    Returns:
        `(1 + surrogates at or below the suspect) / (m + 1)`; 1 without any surrogate.

    Raises:
        StatisticsError: if a retention is not a fraction.

    Source:
        As `rank_p_value`, with the order reversed.
    """
    return rank_p_value(1 - retention, [1 - value for value in surrogates]) if surrogates else 1.0


def significance_bound(significance: float, nulls: int, confidence: float) -> float | None:
    """Return an upper bound on the false-positive rate of the rank test, given the nulls that were drawn.

    The test rejects where at most k nulls keep as much, k = floor(significance * (nulls + 1)) - 1. Over the draw of
    the nulls its false-positive rate is at most `significance` on average; for the nulls at hand it is a draw of
    Beta(k + 1, nulls - k).

    Args:
        significance: of the rank test, a fraction in (0, 1).
        nulls: how many there are, at least one.
        confidence: of the bound, a fraction in (0, 1).

    Returns:
        That beta distribution's quantile at `confidence`; None if so few nulls cannot reject at the significance.

    Raises:
        StatisticsError: if a fraction lies outside (0, 1).

    Source:
        Order statistics of uniform draws: David and Nagaraja, "Order Statistics" (2003), section 2.3.
    """
    if not 0 < significance < 1:
        raise StatisticsError("a significance must lie between 0 and 1", found=significance)
    ranks = math.floor(significance * (nulls + 1) + 1e-9)
    return None if ranks < 1 else false_positive_bound(ranks - 1, nulls, confidence)


def beta_binomial(retentions: Sequence[float], keys: int) -> list[float]:
    """Return the distribution of the number of kept keys over a population of models, fitted by mean and variance.

    Args:
        retentions: `(m,)` of models of one kind, fractions in [0, 1]; at least one.
        keys: how many keys each is asked, at least one.

    Returns:
        The probability of each number of kept keys, from 0 to all.

    Source:
        As `beta_binomial_interval`.
    """
    mean = math.fsum(retentions) / len(retentions)
    if not 0 < mean < 1:
        return [float(kept == round(mean * keys)) for kept in range(keys + 1)]
    between = math.fsum((value - mean) ** 2 for value in retentions) / max(1, len(retentions) - 1)
    share = between / (mean * (1 - mean))
    correlation = (share - 1 / keys) / (1 - 1 / keys) if keys > 1 else share
    size = 1 / min(max(correlation, 1e-6), 1 - 1e-6) - 1
    a, b = mean * size, (1 - mean) * size
    return [
        math.exp(
            math.lgamma(keys + 1)
            - math.lgamma(k + 1)
            - math.lgamma(keys - k + 1)
            + math.lgamma(k + a)
            + math.lgamma(keys - k + b)
            - math.lgamma(keys + size)
            + math.lgamma(size)
            - math.lgamma(a)
            - math.lgamma(b)
        )
        for k in range(keys + 1)
    ]


def beta_binomial_interval(retentions: Sequence[float], keys: int, coverage: float) -> Interval:
    """Return where the retentions of a population of models lie, by a fitted beta-binomial distribution.

    Keys are correlated within a model, so the number of keys that a model keeps spreads more widely than a binomial
    one. Mean and variance of the retentions give the distribution.

    Args:
        retentions: `(m,)` of models of one kind, fractions in [0, 1]; at least one.
        keys: how many keys each was asked.
        coverage: the share of the population that the interval holds, a fraction in (0, 1).

    Returns:
        The central interval, its ends multiples of `1 / keys`.

    Raises:
        StatisticsError: without any retention, or if the coverage is no fraction.

    Source:
        J. G. Skellam, "A probability distribution derived from the binomial distribution by regarding the probability
        of success as variable between the sets of trials", Journal of the Royal Statistical Society B 10 (1948).
    """
    if not retentions or keys < 1 or not 0 < coverage < 1:
        raise StatisticsError("an interval needs retentions, keys and a coverage between 0 and 1")
    probabilities = beta_binomial(retentions, keys)
    ends = []
    for tail in ((1 - coverage) / 2, (1 + coverage) / 2):
        below, end = 0.0, 0
        for probability in probabilities[:-1]:
            below += probability
            if below >= tail:
                break
            end += 1
        ends.append(end / keys)
    return Interval(ends[0], ends[1], coverage)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm: rejecting those of at most a level errs in any test with at most that level.

    Args:
        p_values: fractions in [0, 1].

    Returns:
        The adjusted ones, in the same order.

    Source:
        S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Benjamini and Hochberg: the expected share of errors among rejections is held.

    Args:
        p_values: fractions in [0, 1].

    Returns:
        The adjusted ones, in the same order.

    Source:
        Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B
        57 (1995).
    """
    adjusted, smallest = [0.0] * len(p_values), 1.0
    ranked = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, number in reversed(list(enumerate(ranked, 1))):
        smallest = min(smallest, len(p_values) * p_values[number] / place)
        adjusted[number] = smallest
    return adjusted


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """Return the probability of so many successes or more.

    Args:
        successes: at least 0.
        trials: at least 1, or 0 for no trial at all.
        rate: of success, in (0, 1).

    Returns:
        P(X >= successes) for a binomial X.

    Raises:
        StatisticsError: if the counts or the rate cannot be such.
    """
    if not 0 <= successes <= trials or not 0 < rate < 1:
        raise StatisticsError(
            where="counts", expected="0 <= k <= n and the rate within (0, 1)", found=f"{successes}, {trials}, {rate}"
        )
    hit, miss = math.log(rate), math.log1p(-rate)
    logs = (math.log(math.comb(trials, k)) + k * hit + (trials - k) * miss for k in range(successes, trials + 1))
    return min(1.0, math.fsum(map(math.exp, logs)))


def sign_test(better: int, worse: int) -> float:
    """Return the one-sided p-value of "neither of two readings is better", from the inputs where just one is right.

    Args:
        better: inputs that the first answers rightly and the second wrongly, at least 0.
        worse: the converse, at least 0.

    Returns:
        P(X >= better) for X binomial over `better + worse` trials at 1/2; 1 where the two never differ.

    Raises:
        StatisticsError: if a count is negative.

    Source:
        Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12 (1947), 153-157, with exact tails.
    """
    return binomial_tail(better, better + worse, 0.5)


def entropy_bits(counts: Sequence[int]) -> float:
    """Return the Shannon entropy of a distribution.

    Args:
        counts: how often each value was seen.

    Returns:
        The entropy in bits; 0 where one value was all.

    Source:
        C. E. Shannon, "A mathematical theory of communication", Bell System Technical Journal 27 (1948), section 6.
    """
    total = sum(counts)
    return math.fsum(-count / total * math.log2(count / total) for count in counts if count) + 0.0


def _check(successes: int, trials: int, confidence: float) -> None:
    if not 0 <= successes <= trials or trials < 1:
        raise StatisticsError(where="counts", expected="0 <= k <= n and n >= 1", found=f"{successes} of {trials}")
    if not 0 < confidence < 1:
        raise StatisticsError("a confidence must lie between 0 and 1", found=confidence)


def _upper_limit(successes: int, trials: int, tail: float) -> float:
    """Return the rate at which P(X <= successes) falls to `tail`; X is binomial over `trials`."""
    if successes == trials:
        return 1.0
    if successes == 0:
        return -math.expm1(math.log(tail) / trials)
    # log C(n, k) from exact integers: differences of lgamma lose the last digits for large n.
    ways, logs = 1, []
    for k in range(successes + 1):
        logs.append(math.log(ways))
        ways = ways * (trials - k) // (k + 1)

    def lower_tail(rate: float) -> float:
        hit, miss = math.log(rate), math.log1p(-rate)
        return math.fsum(math.exp(log + k * hit + (trials - k) * miss) for k, log in enumerate(logs))

    return _bisect(lower_tail, tail)


def _bisect(falling: Callable[[float], float], target: float) -> float:
    """Return where a function that falls on (0, 1) crosses a target, to the last bit or 2 ** -100."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if falling(middle) > target else (low, middle)
    return (low + high) / 2


def by_chance(better: "NDArray[np.bool_]", other: "NDArray[np.bool_]") -> float:
    """Return how likely one of two readings seems so much better by chance: a one-sided sign test.

    Args:
        better: `(n,)` which inputs are answered rightly under the reading that may be better.
        other: `(n,)` the same under the other.
    """
    return sign_test(int((better & ~other).sum()), int((other & ~better).sum()))
