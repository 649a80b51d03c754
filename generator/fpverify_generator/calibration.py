"""The threshold and the null distribution, from models that made and chose no key."""

from collections.abc import Sequence
from statistics import fmean, median

import torch
from torch import nn

from fpverify.fingerprint import Calibration
from fpverify_generator.errors import CalibrationError
from fpverify_generator.keys import Keys
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.presets import Rule


def retentions(kept: torch.Tensor) -> tuple[float, ...]:
    """Return the share of keys that each model keeps, from low to high, of `(models, n)` whether it keeps each."""
    return tuple(sorted(kept.double().mean(1).tolist()))


def threshold(surrogates: tuple[float, ...], references: tuple[float, ...]) -> tuple[float, str]:
    """Choose the retention from which a suspect counts as derived: halfway between the classes' means.

    Means, because one odd model moves the extremes by a tenth: rules that were built on the highest reference
    and the lowest surrogate, on the medians or on the spreads, were tried and missed more stolen models. False
    accusations of models like the nulls are bounded by their ranks, whatever the threshold.

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
            "no fingerprint was found",
            hint="give more data or more models",
        )
    return (
        kept + unrelated
    ) / 2, "halfway between the mean of the held-out references and that of the held-out surrogates"


def kept_by(models: Sequence[nn.Module], keys: Keys, device: str) -> torch.Tensor:
    """Return whether each model answers each key as the source does, `(models, n)`."""
    return Ensemble(models, device).labels(keys.inputs) == keys.labels


def above_nulls(surrogates: tuple[float, ...], nulls: tuple[float, ...]) -> tuple[float, str]:
    """Return a threshold for unrelated models that the nulls do not stand for: far above what any of these keeps.

    Args:
        surrogates: retentions of held-out surrogates.
        nulls: retentions of null models.
    """
    value = (max(nulls) + median(surrogates)) / 2
    return value, "halfway between the null model that keeps most and the median of the held-out surrogates"


def calibrate(
    surrogates: torch.Tensor, references: torch.Tensor, nulls: torch.Tensor, rule: Rule = "means"
) -> Calibration:
    """Choose the threshold from what held-out models keep.

    Args:
        surrogates: `kept_by` surrogates that made and chose no key.
        references: likewise.
        nulls: likewise, of unrelated models used for nothing else, whose ranks give the p-value.
        rule: `means`, or `above nulls` for the larger of both thresholds.

    Returns:
        What the fingerprint's file holds under `calibration`.

    Raises:
        CalibrationError: if surrogates keep no more on average than references do.
    """
    kept, unrelated, null = retentions(surrogates), retentions(references), retentions(nulls)
    chosen = threshold(kept, unrelated)
    if rule == "above nulls":
        chosen = max(chosen, above_nulls(kept, null))
    return Calibration(kept, unrelated, null, *chosen)
