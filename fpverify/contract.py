"""What a suspect expects and returns, and where each field comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Origin(StrEnum):
    """Who says what a suspect expects."""

    FILE = "file"
    """The suspect's file determines it."""
    OPTION = "option"
    """The auditor said it."""
    CONVENTION = "convention"
    """Its kind of suspect settles it: a callable takes the keys as they are."""
    PROBE = "probe"
    """The suspect's accuracy on ordinary inputs picked it."""
    CONTROLS = "controls"
    """The suspect's accuracy on the fingerprint's control images picked it."""
    ASSUMPTION = "assumption"
    """Nothing says it; it is what the fingerprint's own inputs are, or what the element type suggests."""
    UNDETERMINED = "undetermined"
    """Several values are possible, and none was chosen."""


LAYOUTS = ("NCHW", "NHWC", "NHW", "flat-CHW", "flat-HWC")
"""Orders of the axes; the flat ones have one axis of features after the batch."""

CHANNEL_ORDERS = ("grey", "rgb", "bgr")
"""Orders of the channels."""

ORIENTATIONS: dict[str, tuple[int, bool]] = {
    "upright": (0, False),
    "transposed": (1, True),
    "mirrored": (0, True),
    "upside down": (2, True),
    "rotated by 90": (1, False),
    "rotated by 180": (2, False),
    "rotated by 270": (3, False),
    "transposed along the other diagonal": (3, True),
}
"""How a suspect takes images: quarter turns against the clock, then whether left and right are exchanged."""

READINGS = ("scores", "labels", "top-k")
"""What an output's numbers are: a row of scores, a label, or the labels of the best few, best first."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """How a pixel becomes a number: first scaled linearly to a range, then normalised by channel."""

    low: float = 0.0
    """What black becomes."""
    high: float = 1.0
    """What white becomes."""
    mean: tuple[float, ...] | None = None
    """What is then subtracted, per channel in the suspect's order; None if nothing."""
    std: tuple[float, ...] | None = None
    """What it is then divided by, per channel; None if nothing."""

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}"
        if self.mean is not None:
            text += f", minus {_numbers(self.mean)}"
        return text if self.std is None else f"{text}, divided by {_numbers(self.std)}"


@dataclass(frozen=True, kw_only=True)
class SuspectContract:
    """What a suspect expects and returns; None where undetermined."""

    input: str
    """Name of its one input."""
    type: str
    """Its element type, as ONNX names it: `float`, `uint8` …"""
    batch: int | None
    """How many inputs it takes at once; None for any number."""
    layout: str | None
    """One of `LAYOUTS`."""
    trailing: int = 0
    """Axes of size 1 around the features of a flat input: 1 for `(n, features, 1)`, -1 for `(n, 1, features)`."""
    channels: str | None
    """One of `CHANNEL_ORDERS`."""
    height: int | None
    """Pixels."""
    width: int | None
    """Pixels."""
    values: Values
    """How a pixel becomes a number."""
    orientation: str = "upright"
    """One of `ORIENTATIONS`."""
    output: str | None
    """Name of the output that is read; None for the only one that can be an answer."""
    reading: str | None
    """One of `READINGS`; None where the output's type and shape say it."""
    classes: tuple[str, ...] | None
    """Names of the suspect's classes in its own order; None for those of the fingerprint."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """What the suspect calls classes, and what the fingerprint calls the same."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Who says each of the fields above."""
    alternatives: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Of each field that more than one value fits, all values, the likeliest first."""

    def is_given(self, name: str) -> bool:
        """Say whether the auditor settled a field, or the kind of suspect does."""
        return self.origins[name] in (Origin.OPTION, Origin.CONVENTION)


def _numbers(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
