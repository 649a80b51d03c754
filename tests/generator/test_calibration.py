"""The threshold lies halfway between the means of what held-out models keep."""

import pytest
import torch
from fpverify_generator.calibration import calibrate, threshold
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


def test_the_threshold_can_lie_far_above_what_null_models_keep() -> None:
    """By the means it is 0.5; halfway between the highest null and the median surrogate it is 0.75."""
    kept = torch.ones(3, 10, dtype=torch.bool)
    kept[0, :5] = False
    none, half = torch.zeros(2, 10, dtype=torch.bool), torch.zeros(20, 10, dtype=torch.bool)
    none[:, 0] = True
    half[3, :5] = True
    by_means = calibrate(kept, none, half)
    above = calibrate(kept, none, half, "above nulls")
    assert by_means.threshold == pytest.approx((2.5 / 3 + 0.1) / 2)
    assert above.threshold == pytest.approx(0.75)
    assert "null model that keeps most" in above.rule
