"""What a suspect answered, and the readings of its outputs so far."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BY_NAME = ("names of classes", "scores by class")
"""Readings in which the output itself says which class is meant."""


NOT_FINITE = "returned scores that are not finite: NaN or infinity names no class"


@dataclass(frozen=True)
class Alternative:
    """What a further output says that could be the answer too."""

    output: str
    """Its name."""
    reading: str
    """How it was read, in words."""
    labels: NDArray[np.int64]
    """`(n,)` as those of `Answers`; where a tie explains the difference, the labels of the answers."""


@dataclass(frozen=True)
class Answers:
    """What a suspect said of each input."""

    labels: NDArray[np.int64]
    """`(n,)` labels of the fingerprint's classes; `OUTSIDE` where the answer is none of them."""
    known: NDArray[np.bool_]
    """`(classes,)` whether the suspect knows each of the fingerprint's classes."""
    output: str
    """Name of the output that was read."""
    reading: str
    """How it was read, in words."""
    doubt: str = ""
    """What speaks against that, for the report; empty if nothing does."""
    best: NDArray[np.bool_] | None = None
    """`(n, classes)` which of the fingerprint's classes share the best score, exactly; None where there are no scores.
    A row with more than one is a tie, and its label is the first of them."""
    alternatives: tuple[Alternative, ...] = ()
    """Further outputs that could be the answer, and that say otherwise of at least one input."""
    unmatched: tuple[str, ...] = ()
    """The suspect's own names of classes that are no class of the fingerprint."""


@dataclass
class Readings:
    """Readings so far."""

    strong: list[Answers]
    """Of outputs that can be the one answer, as the file orders them."""
    weak: list[list[Answers]]
    """Of outputs that cannot be chosen but could be meant; of each, the readings, the likeliest first."""
    failures: list[tuple[str, str]]
    """Outputs that look like an answer and are none: the name, and what is wrong, a verb first."""


def joined(*doubts: str) -> str:
    """Return doubts as one text; empty ones say nothing."""
    return "; ".join(doubt for doubt in doubts if doubt)
