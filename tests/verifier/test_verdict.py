import re

import pytest

from fpverify.errors import PolicyError
from fpverify.retention import Retention
from fpverify.statistics import Interval
from fpverify.verdict import Policy, Verdict, judge, rule


@pytest.mark.parametrize(
    ("retention", "interval", "p_value", "expected"),
    [
        (0.90, (0.80, 0.95), 0.02, Verdict.DERIVED),
        (0.70, (0.60, 0.80), 0.05, Verdict.DERIVED),  # at the threshold, and at the level
        (0.90, (0.80, 0.95), 0.06, Verdict.INCONCLUSIVE),  # the null is not rejected
        (0.69, (0.60, 0.75), 0.02, Verdict.INCONCLUSIVE),  # straddles
        (0.65, (0.50, 0.70), 0.02, Verdict.INCONCLUSIVE),  # touches
        (0.50, (0.40, 0.60), 0.02, Verdict.UNRELATED),  # above every null, and still below the threshold
        (0.10, (0.05, 0.20), 0.90, Verdict.UNRELATED),
    ],
)
def test_the_rule(retention, interval, p_value, expected):
    assert rule(retention, 0.70, Interval(*interval, 0.95), p_value, 0.05) is expected


@pytest.mark.parametrize(
    ("kept", "nulls", "verdict", "reason"),
    [
        (
            90,
            (0.2,) * 39,
            "derived",
            r"90 of 100 keys, at or above the threshold of 70.0%, and its rank among 39 unrelated .* p = 0.025",
        ),
        (
            20,
            (0.2,) * 39,
            "unrelated",
            "20 of 100 keys, below the threshold of 70.0%, and the whole interval .* lies below it",
        ),
        (65, (0.2,) * 39, "inconclusive", "below the threshold of 70.0%, but the interval .* reaches it"),
        (90, (0.95,) * 39, "inconclusive", "but so do unrelated models: p = 1"),
        (90, (0.2,) * 18, "inconclusive", "18 null models cannot reject unrelatedness at 0.05"),
    ],
)
def test_the_reason_explains_the_verdict(kept, nulls, verdict, reason):
    judgement = judge(Retention(kept, 100), 0.70, nulls, Policy())
    assert judgement.verdict == verdict
    assert re.search(reason, judgement.reason)


def test_the_judgement_counts_the_nulls():
    judgement = judge(Retention(50, 100), 0.40, (0.1, 0.4, 0.5, 0.6), Policy())
    assert (judgement.nulls, judgement.nulls_above_suspect, judgement.nulls_above_threshold) == (4, 2, 3)
    assert judgement.p_value == 3 / 5


@pytest.mark.parametrize("name", ["level", "interval_level"])
@pytest.mark.parametrize("value", [0, 1, -0.1, float("nan"), "0.05", True, None])
def test_a_policy_takes_only_probabilities(name, value):
    with pytest.raises(PolicyError, match=f"{name} must be a number between 0 and 1"):
        Policy(**{name: value})
