"""Verdicts on many suspects: of many unrelated ones some would be called derived by chance."""

import numpy as np
import pytest
from scipy import stats

from fpverify import Policy, PolicyError, Verdict, correct, verify
from fpverify.reports import FORMATS
from fpverify.statistics import benjamini_hochberg, holm


@pytest.fixture
def results(make_backed, by_key):
    """One derived suspect with p = 0.01 among unrelated ones with p = 1."""
    fingerprint = make_backed()

    def judged(kept):
        labels = np.where(np.arange(24) < kept, fingerprint.labels, (fingerprint.labels + 1) % 3)
        return verify(fingerprint, by_key(fingerprint, labels))

    return lambda count: [judged(24), *(judged(5) for _ in range(count - 1))]


def test_adjusted_values_are_those_of_the_definitions():
    draw = np.random.default_rng(0)
    for count in (1, 2, 7, 40):
        values = draw.random(count).round(2).tolist()
        assert benjamini_hochberg(values) == pytest.approx(stats.false_discovery_control(values).tolist())
        found = holm(values)
        for level in (0.01, 0.05, 0.3):  # Holm's own words: step down, stop at the first that is too large
            rejected, ranked = set(), sorted(range(count), key=values.__getitem__)
            for place, number in enumerate(ranked):
                if values[number] > level / (count - place):
                    break
                rejected.add(number)
            assert {number for number, value in enumerate(found) if value <= level} == rejected
    assert holm([]) == benjamini_hochberg([]) == []


def test_few_tests_leave_a_verdict_and_many_take_it(results):
    for count, verdict in ((1, Verdict.DERIVED), (2, Verdict.DERIVED), (3, Verdict.INCONCLUSIVE)):
        first, *others = correct(results(count))
        assert first.verdict is verdict  # p is 0.01, and 0.02 is required
        assert (first.correction.tests, first.correction.p_value) == (count, pytest.approx(0.01 * count))
        assert all(other.verdict is Verdict.UNRELATED for other in others)
    assert "corrected for 3 tests (holm). 149 null models can reject in any of 3 tests; the fingerprint has 99." in (
        first.reason
    )
    assert "0.03 for 3 tests (holm)" in FORMATS["text"].result(first)


def test_a_share_of_false_accusations_allows_more(results):
    found = [*results(2)[:1], *results(4)]
    assert [one.verdict for one in correct(found, "holm")][:2] == [Verdict.INCONCLUSIVE] * 2
    assert [one.verdict for one in correct([*found[:2], *found[:2]], "benjamini-hochberg")] == [Verdict.DERIVED] * 4


def test_what_cannot_be_corrected(results, make_backed, by_key):
    with pytest.raises(PolicyError, match="one of holm, benjamini-hochberg"):
        correct(results(1), "bonferroni")
    fingerprint = make_backed()
    other = verify(fingerprint, by_key(fingerprint, fingerprint.labels), policy=Policy(significance=0.05))
    with pytest.raises(PolicyError, match="several significances"):
        correct([*results(1), other])
    assert correct([]) == []
