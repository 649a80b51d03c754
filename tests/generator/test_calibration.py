"""The threshold lies halfway between the means of what held-out models keep."""

import pytest
from fpverify_generator.calibration import threshold
from fpverify_generator.errors import CalibrationError


@pytest.mark.parametrize(
    ("surrogates", "references", "expected"),
    [
        ((0.6, 0.8, 1.0), (0.1, 0.2, 0.3), 0.5),
        ((0.5, 0.8, 1.0, 0.9), (0.1, 0.2, 0.3, 0.6), 0.55),
        ((0.6, 0.8), (0.2, 0.4), 0.5),
        ((1.0,), (0.0,), 0.5),
    ],
)
def test_the_threshold_is_halfway_between_the_means(surrogates, references, expected: float) -> None:
    value, rule = threshold(surrogates, references)
    assert value == pytest.approx(expected)
    assert "mean" in rule


@pytest.mark.parametrize("references", [(0.4,), (0.5, 0.6)])
def test_keys_that_tell_nothing_apart_are_no_fingerprint(references) -> None:
    with pytest.raises(CalibrationError, match="no fingerprint was found"):
        threshold((0.3, 0.4, 0.5), references)
