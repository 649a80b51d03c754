"""What can be wrong with an owner's input, one class per culprit; every message is one line."""

import math

from fpverify.errors import FpverifyError


class DataError(FpverifyError):
    """The training data is missing, corrupt or unusable."""


class SourceError(FpverifyError):
    """The source model cannot be loaded, or is no classifier of this data."""


class PresetError(FpverifyError):
    """The sizes or options asked for cannot make a fingerprint."""


class CalibrationError(FpverifyError):
    """Held-out models show that the keys tell nothing apart."""


class ExportError(FpverifyError):
    """An exported model does not answer as the trained one does."""


class CacheError(FpverifyError):
    """The cache folder cannot be written or read."""


class WorkerError(FpverifyError):
    """A process that did part of the work was ended from outside."""


class AttackError(FpverifyError):
    """A removal attack cannot be run as asked."""


class StudyError(FpverifyError):
    """The study cannot be run as asked."""


def require_within(settings: object, name: str, low: float, high: float) -> None:
    """Check a number among settings.

    Raises:
        PresetError: if it lies outside [low, high], or is infinite or NaN.
    """
    value = getattr(settings, name)
    if not (math.isfinite(value) and low <= value <= high):
        expected = f"a number of at least {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"
        raise PresetError(where=name, expected=expected, found=value)
