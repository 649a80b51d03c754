"""The small parts of a fingerprint, each of which checks itself."""

import re
import sys
from dataclasses import dataclass
from typing import Any

from fpverify.errors import FingerprintError

CHANNELS = {"grey": 1, "rgb": 3}
"""Names of channel orders, and how many channels each has."""

FLOAT32_MAX = (2 - 2**-23) * 2.0**127
"""Largest number in single precision, in which inputs are stored."""


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """How the keys are to be read: what a suspect's input must be fitted to."""

    layout: str = "NCHW"
    """Order of the axes; version 1 knows `NCHW` alone."""
    channels: str
    """`grey` (one channel) or `rgb` (three, in this order)."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    low: float = 0.0
    """Smallest value that an input may hold."""
    high: float = 1.0
    """Largest value that an input may hold."""
    mean: tuple[float, ...] | None = None
    """What the source subtracts from each channel of a key before its first layer; None if nothing."""
    std: tuple[float, ...] | None = None
    """What it then divides each channel by; None if nothing. Keys are stored before both."""

    def __post_init__(self) -> None:
        _require(self.layout == "NCHW", "contract: layout", "'NCHW'", self.layout)
        _require(self.channels in list(CHANNELS), "contract: channels", "'grey' or 'rgb'", self.channels)
        for name in ("height", "width"):
            size = getattr(self, name)
            _require(type(size) is int and size >= 1, f"contract: {name}", "an integer of at least 1", size)
        for name in ("low", "high"):
            object.__setattr__(self, name, number(getattr(self, name), f"contract: {name}"))
        fits = -FLOAT32_MAX <= self.low < self.high <= FLOAT32_MAX
        _require(fits, "contract: range", "low < high within single precision", (self.low, self.high))
        for name in ("mean", "std"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, numbers(values, f"contract: {name}"))
                wanted = CHANNELS[self.channels]
                _require(len(values) == wanted, f"contract: {name}", f"{wanted} values, one per channel", values)
        _require(self.std is None or min(self.std) > 0, "contract: std", "values above 0", self.std)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return `(C, H, W)`."""
        return CHANNELS[self.channels], self.height, self.width


@dataclass(frozen=True)
class Calibration:
    """What models that neither made nor chose the keys keep of them, and the threshold that follows."""

    surrogates: tuple[float, ...]
    """Retentions of held-out models derived from the source, fractions in [0, 1]."""
    references: tuple[float, ...]
    """Retentions of held-out models trained without it, fractions in [0, 1]; they took part in the threshold."""
    nulls: tuple[float, ...]
    """Retentions of unrelated models used for nothing but p-values and bounds, fractions in [0, 1]; at least one."""
    threshold: float
    """Retention from which a suspect may be called derived, a fraction in (0, 1]."""
    rule: str
    """How the threshold was chosen, in words."""

    def __post_init__(self) -> None:
        for name in ("surrogates", "references", "nulls"):
            values = numbers(getattr(self, name), f"calibration: {name}")
            wrong = [value for value in values if not 0 <= value <= 1]
            _require(not wrong, f"calibration: {name}", "fractions in [0, 1]", wrong)
            object.__setattr__(self, name, values)
        _require(len(self.nulls) > 0, "calibration: nulls", "at least one", self.nulls)
        threshold = number(self.threshold, "calibration: threshold")
        _require(0 < threshold <= 1, "calibration: threshold", "a fraction in (0, 1]", threshold)
        object.__setattr__(self, "threshold", threshold)
        _require(isinstance(self.rule, str), "calibration: rule", "a text", self.rule)


ROLES = ("surrogate", "reference", "null")
"""What a held-out model is for: it is derived from the source, it helps to set the threshold, or it gives p-values."""


@dataclass(frozen=True)
class HeldOut:
    """A model whose answers to the keys the fingerprint holds; it neither made nor chose them."""

    role: str
    """One of `ROLES`."""
    group: str
    """Which removal attack made it, or which kind of unrelated model it is."""
    accuracy: float
    """On images that it did not learn, a fraction in [0, 1]."""

    def __post_init__(self) -> None:
        _require(self.role in ROLES, "models: role", f"one of {', '.join(ROLES)}", self.role)
        _require(isinstance(self.group, str), "models: group", "a text", self.group)
        accuracy = number(self.accuracy, "models: accuracy")
        _require(0 <= accuracy <= 1, "models: accuracy", "a fraction in [0, 1]", accuracy)
        object.__setattr__(self, "accuracy", accuracy)


@dataclass(frozen=True)
class Source:
    """The model that the fingerprint belongs to."""

    sha256: str
    """SHA-256 of the source model's file, 64 lower-case hexadecimal digits."""

    def __post_init__(self) -> None:
        fits = isinstance(self.sha256, str) and re.fullmatch("[0-9a-f]{64}", self.sha256) is not None
        _require(fits, "source: sha256", "64 lower-case hexadecimal digits", self.sha256)


def number(value: Any, where: str) -> float:
    """Return a finite number as a float.

    Args:
        value: what should be one.
        where: its name, for the error.

    Returns:
        The number, with minus zero as zero so that equal content has equal bytes.

    Raises:
        FingerprintError: if it is none.
    """
    real = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared rather than converted: an integer may be too large for a float.
    _require(real and abs(value) <= sys.float_info.max, where, "a finite number", value)
    return float(value) + 0.0


def numbers(values: Any, where: str) -> tuple[float, ...]:
    """Return a list of finite numbers as floats.

    Args:
        values: a list or a tuple.
        where: its name, for the error.

    Returns:
        The numbers.

    Raises:
        FingerprintError: if it is no list, or one of them is no finite number.
    """
    _require(isinstance(values, list | tuple), where, "a list of numbers", values)
    return tuple(number(value, where) for value in values)


def _require(fits: bool, where: str, expected: str, found: Any) -> None:
    if not fits:
        raise FingerprintError(f"{where} must be {expected}, found {_short(found)}")


def _short(found: Any) -> str:
    if isinstance(found, int) and found.bit_length() > 64:
        return f"an integer of {found.bit_length()} bits"
    text = repr(found)
    return text if len(text) <= 100 else f"{text[:100]}…"
