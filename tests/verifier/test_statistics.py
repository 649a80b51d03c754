import math

import numpy as np
import pytest
from scipy import stats

from fpverify.errors import StatisticsError
from fpverify.statistics import (
    beta_binomial_interval,
    clopper_pearson,
    false_positive_bound,
    rank_p_value,
    rank_q_value,
    sign_test,
    significance_bound,
)

COUNTS = [
    (0, 1),
    (1, 1),
    (0, 20),
    (1, 20),
    (10, 20),
    (20, 20),
    (57, 100),
    (99, 100),
    (480, 1000),
    (3, 10000),
    (9000, 10000),
]
LEVELS = [0.5, 0.9, 0.95, 0.99, 0.999999]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("kept", "queries"), COUNTS)
def test_the_interval_is_scipys(kept, queries, level):
    expected = stats.binomtest(kept, queries).proportion_ci(confidence_level=level, method="exact")
    interval = clopper_pearson(kept, queries, level)
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert interval.coverage == level


@pytest.mark.parametrize("queries", [1, 2, 5, 19, 40])
def test_the_interval_is_the_beta_quantile_for_every_count(queries):
    for kept in range(queries + 1):
        interval = clopper_pearson(kept, queries, 0.95)
        low = stats.beta.ppf(0.025, kept, queries - kept + 1) if kept else 0.0
        high = stats.beta.ppf(0.975, kept + 1, queries - kept) if kept < queries else 1.0
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)


def test_the_interval_is_the_textbooks_for_no_success_in_ten():
    # Clopper and Pearson's chart and every table since: 0 of 10 at 95 % gives 0 to 0.3085.
    interval = clopper_pearson(0, 10, 0.95)
    assert interval.low == 0
    assert interval.high == pytest.approx(0.308497, abs=1e-6)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("false_positives", "nulls"), [(1, 1), *COUNTS[2:]])
def test_the_false_positive_bound_is_the_one_sided_beta_quantile(false_positives, nulls, level):
    whole = false_positives == nulls
    expected = 1.0 if whole else stats.beta.ppf(level, false_positives + 1, nulls - false_positives)
    assert false_positive_bound(false_positives, nulls, level) == pytest.approx(expected, abs=1e-12)


def test_without_false_positives_the_bound_is_the_closed_form():
    assert false_positive_bound(0, 40, 0.95) == pytest.approx(1 - 0.05 ** (1 / 40), abs=1e-15)


@pytest.mark.parametrize(
    ("retention", "nulls", "expected"),
    [
        (0.9, (0.1,) * 19, 1 / 20),
        (0.5, (0.1, 0.5, 0.9), 3 / 4),  # a tie counts against the accusation
        (0.0, (0.0, 0.0), 1.0),
        (1.0, (0.99,), 1 / 2),
    ],
)
def test_the_p_value_is_the_rank_among_the_nulls(retention, nulls, expected):
    assert rank_p_value(retention, nulls) == expected


def test_the_p_value_is_scipys_one_sided_permutation_convention():
    # SciPy's Monte Carlo test counts (1 + as extreme) / (1 + resamples) likewise.
    nulls = [0.1, 0.2, 0.3, 0.4, 0.45, 0.46, 0.5]
    test = stats.monte_carlo_test(
        np.array([0.45]),
        rvs=lambda size: np.array(nulls).reshape(size),
        statistic=lambda sample, axis: sample.mean(axis),
        vectorized=True,
        n_resamples=len(nulls),
        alternative="greater",
    )
    assert rank_p_value(0.45, nulls) == pytest.approx(test.pvalue)


@pytest.mark.parametrize("queries", [3, 7, 49, 100, 1000])
def test_a_tie_is_seen_for_every_fraction(queries):
    for kept in range(queries + 1):
        assert rank_p_value(kept / queries, (kept / queries,)) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clopper_pearson(3, 2, 0.95), "0 <= k <= n"),
        (lambda: clopper_pearson(0, 0, 0.95), "n >= 1"),
        (lambda: clopper_pearson(1, 2, 1.0), "confidence"),
        (lambda: false_positive_bound(-1, 2, 0.5), "found -1 of 2"),
        (lambda: false_positive_bound(1, 2, math.nan), "confidence"),
        (lambda: rank_p_value(0.5, ()), "at least one null"),
        (lambda: rank_p_value(1.5, (0.5,)), "fractions"),
        (lambda: rank_p_value(0.5, (math.nan,)), "fractions"),
    ],
)
def test_impossible_numbers_are_refused(call, message):
    with pytest.raises(StatisticsError, match=message):
        call()


@pytest.mark.parametrize(("level", "nulls", "rejected"), [(0.05, 99, 5), (0.02, 99, 2), (0.01, 99, 1), (0.05, 19, 1)])
def test_the_level_with_these_nulls_is_a_beta_draw(level, nulls, rejected):
    expected = stats.beta.ppf(0.95, rejected, nulls + 1 - rejected)
    assert significance_bound(level, nulls, 0.95) == pytest.approx(expected, abs=1e-12)


def test_too_few_nulls_have_no_level():
    assert significance_bound(0.02, 48, 0.95) is None
    with pytest.raises(StatisticsError, match="a significance must lie between 0 and 1"):
        significance_bound(1.0, 99, 0.95)


def test_the_rank_among_surrogates_counts_ties_against_derived():
    assert rank_q_value(0.5, [0.4, 0.5, 0.9]) == 3 / 4
    assert rank_q_value(0.3, [0.4, 0.5, 0.9]) == 1 / 4
    assert rank_q_value(0.0, []) == 1.0


@pytest.mark.parametrize(("mean", "size"), [(0.3, 5.0), (0.7, 20.0), (0.5, 2.0)])
def test_the_beta_binomial_interval_is_scipys(mean, size):
    keys, level = 100, 0.9
    truth = stats.betabinom(keys, mean * size, (1 - mean) * size)
    # the fit is by moments, so exact quantiles of the distribution stand for its models
    models = truth.ppf((np.arange(2000) + 0.5) / 2000) / keys
    interval = beta_binomial_interval(models.tolist(), keys, level)
    assert interval.low == pytest.approx(truth.ppf(0.05) / keys, abs=0.011)
    assert interval.high == pytest.approx(truth.ppf(0.95) / keys, abs=0.011)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_models_that_all_keep_nothing_or_everything_have_no_spread(value):
    interval = beta_binomial_interval([value] * 3, 10, 0.95)
    assert (interval.low, interval.high) == (value, value)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (0, 7), (5, 0), (9, 3), (40, 20), (400, 500)])
def test_the_sign_test_is_scipys_binomial_test(better, worse):
    expected = stats.binomtest(better, better + worse, 0.5, alternative="greater").pvalue if better + worse else 1.0
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-9)


def test_a_sign_test_of_negative_counts_is_refused():
    with pytest.raises(StatisticsError, match="counts must be"):
        sign_test(-1, 3)
