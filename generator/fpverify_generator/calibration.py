"""The threshold and the null distribution, from models that made and chose no key."""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import nn

from fpverify.fingerprint import Calibration
from fpverify_generator.ensembles import Ensemble
from fpverify_generator.errors import CalibrationError
from fpverify_generator.owner import Keys


def retentions(models: Ensemble, keys: torch.Tensor, labels: torch.Tensor) -> tuple[float, ...]:
    """Return the share of keys that each model answers as the fingerprint says, sorted from low to high."""
    return tuple(sorted(models.accuracy(keys, labels)))


def threshold(surrogates: tuple[float, ...], references: tuple[float, ...]) -> tuple[float, str]:
    """Choose the retention from which a suspect counts as derived: halfway between the classes' means.

    Means, because one odd model moves the extremes by a tenth: rules that were built on the highest reference
    and the lowest surrogate, on the medians or on the spreads, were tried and missed more stolen models. False
    accusations are bounded by the null models' ranks, whatever the threshold.

    Args:
        surrogates: retentions of held-out surrogates.
        references: retentions of held-out references.

    Returns:
        The threshold, and the rule that gave it, in words.

    Raises:
        CalibrationError: if surrogates keep no more on average than references do.
    """
    kept, unrelated = fmean(surrogates), fmean(references)
    if kept <= unrelated:
        raise CalibrationError(
            f"held-out surrogates keep {kept:.2f} of the keys on average and references {unrelated:.2f}: "
            "no fingerprint was found; give more data or more models"
        )
    return (
        kept + unrelated
    ) / 2, "halfway between the mean of the held-out references and that of the held-out surrogates"


def calibrate(
    keys: Keys,
    surrogates: Sequence[nn.Module],
    references: Sequence[nn.Module],
    nulls: Sequence[nn.Module],
    device: str,
) -> Calibration:
    """Measure the held-out models and choose the threshold.

    Args:
        keys: the fingerprint's.
        surrogates: held out from CEM and from the choice of keys.
        references: likewise.
        nulls: unrelated models used for nothing else, whose ranks give the p-value.
        device: `cpu` or `cuda`.

    Returns:
        What the fingerprint's file holds under `calibration`.

    Raises:
        CalibrationError: if surrogates keep no more on average than references do.
    """
    pools = (surrogates, references, nulls)
    kept, unrelated, null = (retentions(Ensemble(pool, device), keys.inputs, keys.labels) for pool in pools)
    value, rule = threshold(kept, unrelated)
    return Calibration(kept, unrelated, null, value, rule)
