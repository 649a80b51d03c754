"""One rule gives the verdict: the cut decides "derived", the rank among held-out surrogates "unrelated"."""

import re

import pytest

from fpverify import Calibration
from fpverify.errors import PolicyError
from fpverify.result import Policy, Verdict
from fpverify.verdict import Retention, cut_of, judge, nulls_for, rule, weaknesses

SURROGATES = (0.6, *[0.9] * 19)


def calibrated(nulls, surrogates=SURROGATES, references=(0.2, 0.3), threshold=0.7):
    return Calibration(surrogates, references, tuple(nulls), threshold, "chosen by hand")


@pytest.mark.parametrize(
    ("kept", "cut", "p_value", "q_value", "expected"),
    [
        (70, 70, 0.01, 1.0, Verdict.DERIVED),
        (70, 70, 0.01, 0.01, Verdict.DERIVED),
        (69, 70, 0.06, 0.051, Verdict.INCONCLUSIVE),  # fewer than the cut, but as many as some derived models
        (69, 70, 0.06, 0.05, Verdict.UNRELATED),
        (69, 70, 0.05, 0.05, Verdict.INCONCLUSIVE),  # more than null models keep, and less than derived ones
        (100, None, 0.01, 1.0, Verdict.INCONCLUSIVE),  # the nulls reject nothing
        (0, None, 1.0, 0.01, Verdict.INCONCLUSIVE),
    ],
)
def test_the_rule(kept, cut, p_value, q_value, expected):
    assert rule(kept, cut, p_value, q_value, 0.05) is expected


@pytest.mark.parametrize(
    ("nulls", "level", "cut"),
    [
        ([0.2] * 99, 0.02, 70),  # the threshold decides
        ([0.2] * 98 + [0.86], 0.02, 70),  # one null may keep as much: p is 0.02
        ([0.2] * 97 + [0.86] * 2, 0.02, 87),  # two may not
        ([0.2] * 97 + [0.86] * 2, 0.03, 70),
        ([0.2] * 97 + [1.0] * 2, 0.02, None),
        ([0.2] * 48, 0.02, None),  # the smallest p is 1 / 49
        ([0.2] * 49, 0.02, 70),
    ],
)
def test_one_cut_holds_the_threshold_and_the_level(nulls, level, cut):
    assert cut_of(100, calibrated(nulls), level) == cut


@pytest.mark.parametrize(
    ("kept", "nulls", "surrogates", "verdict", "reason"),
    [
        (90, [0.2] * 99, SURROGATES, "derived", r"90 of 100 keys, and 70 are needed .* is 0.01 \(rank among 99 null"),
        (20, [0.2] * 99, SURROGATES, "unrelated", r'fewer than the 70 .* q of "derived" is 0.0476 .* at 0.05'),
        (65, [0.2] * 99, SURROGATES, "inconclusive", r"as many as some derived models: q .* 0.0952 .* above 0.05"),
        (40, [0.2] * 99, SURROGATES, "inconclusive", r"fits neither kind .* is 0.01 .* is 0.0476 .* both at most 0.05"),
        (65, [0.2] * 99, (0.9,) * 18, "inconclusive", "18 held-out surrogates cannot reject .* 19 are needed"),
        (90, [1.0] * 99, SURROGATES, "inconclusive", "Too many null models keep all keys"),
        (90, [0.2] * 18, SURROGATES, "inconclusive", "18 null models cannot reject .* 0.02: 49 are needed"),
    ],
)
def test_the_reason_explains_the_verdict(kept, nulls, surrogates, verdict, reason):
    judgement = judge(Retention(kept, 100), calibrated(nulls, surrogates), Policy())
    assert judgement.verdict == verdict
    assert re.search(reason, judgement.reason)


def test_the_judgement_counts_the_models():
    calibration = calibrated((0.1, 0.4, 0.5, 0.6), (0.3, 0.5, 0.8), threshold=0.45)
    judgement = judge(Retention(50, 100), calibration, Policy(significance=0.6))
    assert (judgement.nulls, judgement.nulls_above_suspect, judgement.nulls_above_cut) == (4, 2, 2)
    assert (judgement.surrogates, judgement.surrogates_below_suspect) == (3, 2)
    assert (judgement.cut, judgement.p_value, judgement.q_value) == (45, 3 / 5, 3 / 4)


@pytest.mark.parametrize(("level", "needed"), [(0.05, 19), (0.02, 49), (0.01, 99), (0.3, 3)])
def test_how_many_models_a_level_needs(level, needed):
    assert nulls_for(level) == needed
    assert 1 / (needed + 1) <= level < 1 / needed


@pytest.mark.parametrize(
    ("change", "labels", "fault"),
    [
        ({}, 3, None),
        ({}, 1, "all its keys have one label"),
        ({"surrogates": ()}, 3, "no held-out surrogates or references"),
        ({"references": ()}, 3, "no held-out surrogates or references"),
        ({"threshold": 0.25}, 3, r"threshold \(25.0%\) is not above what references keep \(25.0%\)"),
        ({"surrogates": (0.6,) * 11 + (0.9,) * 9}, 3, "only 9 of 20 held-out surrogates keep the 70 of 100 keys"),
    ],
)
def test_a_fingerprint_that_decides_nothing_is_named(change, labels, fault):
    found = weaknesses(calibrated([0.2] * 99, **change), labels, 0.02, 100)
    assert (found == []) if fault is None else re.search(fault, found[0])


@pytest.mark.parametrize("name", ["significance", "derived_significance", "confidence"])
@pytest.mark.parametrize("value", [0, 1, -0.1, float("nan"), "0.05", True, None])
def test_a_policy_takes_only_probabilities(name, value):
    with pytest.raises(PolicyError, match=f"{name} must be a number between 0 and 1"):
        Policy(**{name: value})


@pytest.mark.parametrize("value", [0, 1.5, True, None])
def test_the_fewest_keys_are_a_count(value):
    with pytest.raises(PolicyError, match="min_keys must be an integer of at least 1"):
        Policy(min_keys=value)
