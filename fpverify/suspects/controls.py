"""Shows by ordinary images that ship with the keys whether a suspect works as it is asked, and how to ask it.

A suspect's file is its author's statement: the range, the order of classes and the layout that it names may be false,
and then any model looks unrelated. The accuracy on control images says nothing about where a suspect comes from, so
choosing by it favours no verdict.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import ORIENTATIONS, Origin, SuspectContract, Values
from fpverify.errors import SuspectError
from fpverify.fingerprint import Controls
from fpverify.statistics import by_chance
from fpverify.suspects.conventions import WHOLE
from fpverify.suspects.derive import consistent, value_readings
from fpverify.suspects.prepared import PreparedSuspect

ENOUGH = 0.6
"""A suspect works if its accuracy lies this far from chance towards the source's, a fraction."""

BETTER_LEVEL = 0.05
"""A sign test must reject at this level, corrected for the readings tried, before one replaces what is stated."""

TIE_LEVEL = 0.05
"""Readings tie with the best unless a sign test rejects at this level that they are as good."""

SCREENED = 4
"""A reading is tried on every fourth control first."""

SCREEN_LEVEL = 0.01
"""It is given up if a sign test rejects at this level that it is as good there as the best so far."""


@dataclass(frozen=True)
class Found:
    """What a search among readings found."""

    contract: SuspectContract
    """The reading that is used: the stated one unless another is clearly better."""
    right: NDArray[np.bool_]
    """`(c,)` which controls the suspect answers rightly under it."""
    tried: int
    """Readings that were tried."""
    tied: tuple[SuspectContract, ...]
    """Further readings that the controls cannot tell from the best."""
    late: bool
    """Whether time ran out before all were tried."""
    reserve: float
    """Seconds of the time limit that must stay for what else is asked."""


def needed(controls: Controls) -> int:
    """Return how many controls a suspect that works answers rightly at least."""
    count = len(controls.labels)
    chance = float(np.bincount(controls.labels).max()) / count
    return int(np.ceil(count * (chance + ENOUGH * max(0.0, controls.source_accuracy - chance)) - 1e-9))


def reordered(labels: NDArray[np.int64], order: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return labels in another order of the classes, of `class_order`; as they are without one."""
    if order is None:
        return labels
    inside = (labels >= 0) & (labels < len(order))
    return np.where(inside, order[np.where(inside, labels, 0)], labels)


def find_reading(
    suspect: PreparedSuspect,
    controls: Controls,
    stated: NDArray[np.bool_] | None,
    order: NDArray[np.int64] | None,
    colour: bool,
) -> Found:
    """Search the stated families of readings for the one under which a suspect works.

    What the auditor said is kept. First the layouts, orders of channels, ranges and normalisations, each also inverted,
    are tried together; then the eight orientations with the stated reading and with the best so far. The search may
    take half of the time that is left.

    Args:
        suspect: loaded.
        controls: ordinary images.
        stated: `(c,)` which controls it answers rightly as stated; None where what is stated leaves something open.
        order: the class that each of its answers stands for; None for the stated one.
        colour: whether the fingerprint's images have three channels.

    Returns:
        What was found.

    Raises:
        SuspectError: if it answers under no reading.
    """
    search = _Search(suspect, controls, stated, order)
    for contract in _readings(suspect.contract, suspect, colour):
        search.attempt(contract)
    if not suspect.contract.is_given("layout"):
        bases = [suspect.contract] if stated is not None else []
        bases += [contract for contract in search.best() if contract not in bases]
        for base in bases:
            for name in list(ORIENTATIONS)[1:]:
                search.attempt(replace(base, orientation=name, origins=_picked(base, "layout")))
    return search.result()


class _Search:
    """The readings that were tried, and which controls the suspect answers rightly under each."""

    def __init__(
        self,
        suspect: PreparedSuspect,
        controls: Controls,
        stated: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> None:
        self._suspect, self._controls, self._stated, self._order = suspect, controls, stated, order
        self._found = [] if stated is None else [(suspect.contract, stated)]
        self._tried = len(self._found)
        self._failure: SuspectError | None = None
        self._late = False
        self._reserve = suspect.seconds_left / 2

    def attempt(self, contract: SuspectContract) -> None:
        """Ask every fourth control, and the others if the reading may be as good as the best so far."""
        if self._suspect.seconds_left < self._reserve:
            self._late = True
            return
        self._tried += 1
        right = np.zeros(len(self._controls.labels), bool)
        screened = np.zeros(len(right), bool)
        screened[::SCREENED] = True
        try:
            right[screened] = self._right(contract, screened)
            if self._found and by_chance(self._best()[1][screened], right[screened]) <= SCREEN_LEVEL:
                return
            right[~screened] = self._right(contract, ~screened)
        except SuspectError as error:
            if not self._suspect.alive:
                raise
            self._failure = error  # a wrong reading may well overflow
        else:
            self._found.append((contract, right))

    def _right(self, contract: SuspectContract, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        answers = reordered(self._suspect.ask(self._controls.inputs[rows], contract).labels, self._order)
        right: NDArray[np.bool_] = answers == self._controls.labels[rows]
        return right

    def _best(self) -> tuple[SuspectContract, NDArray[np.bool_]]:
        return max(self._found, key=lambda pair: int(pair[1].sum()))

    def best(self) -> list[SuspectContract]:
        """Return the contract with the most right answers, or nothing if none could be tried."""
        return [self._best()[0]] if self._found else []

    def result(self) -> Found:
        """Return the stated reading, or the best if it is clearly better, and those that tie with the best."""
        if not self._found:
            raise self._failure or SuspectError("no reading of its contract can be tried", culprit=self._suspect.name)
        contract, best = self._best()
        right = best
        if self._stated is not None and not _clearly_better(best, self._stated, self._tried):
            contract, right = self._suspect.contract, self._stated
        tied = tuple(other for other, found in self._found if other is not contract and _as_good(found, best))
        return Found(contract, right, self._tried, tied, self._late, self._reserve)


def _readings(stated: SuspectContract, suspect: PreparedSuspect, colour: bool) -> list[SuspectContract]:
    """Return every combination of layout, channels and values that the auditor leaves open, each also inverted."""
    own, layouts = suspect.key_contract, stated.alternatives.get("layout", (stated.layout,))
    orders = stated.alternatives.get("channels", (stated.channels,))
    if not stated.is_given("channels") and stated.channels in ("rgb", "bgr") and colour:
        orders = ("rgb", "bgr")
    listed = []
    for layout in layouts:
        for order in orders:
            count = 1 if order == "grey" else 3
            values: tuple[Values, ...] = (stated.values,)
            if not stated.is_given("values") and stated.type not in WHOLE:
                values = tuple(dict.fromkeys((stated.values, *value_readings(count, own))))
            if not stated.is_given("values"):
                values += tuple(replace(one, low=one.high, high=one.low) for one in values)
            for one in values:
                fields = {"layout": layout, "channels": order, "values": one}
                changed = [name for name, value in fields.items() if value != getattr(stated, name)]
                if consistent(fields, stated) and (changed or stated.layout is None):
                    height, width = (
                        stated.height or suspect.key_contract.height,
                        stated.width or suspect.key_contract.width,
                    )
                    picked = _picked(stated, *changed)
                    listed.append(replace(stated, **fields, height=height, width=width, origins=picked))
    return listed


def _picked(contract: SuspectContract, *names: str) -> dict[str, Origin]:
    return {**contract.origins, **dict.fromkeys(names, Origin.CONTROLS)}


def _clearly_better(other: NDArray[np.bool_], stated: NDArray[np.bool_], tried: int) -> bool:
    """Compare two readings on the controls where just one of them is right: a sign test, Bonferroni-corrected."""
    return tried * by_chance(other, stated) <= BETTER_LEVEL


def _as_good(other: NDArray[np.bool_], best: NDArray[np.bool_]) -> bool:
    """Say whether the controls cannot tell a reading from the best: the same sign test, for one pair."""
    return by_chance(best, other) > TIE_LEVEL


def class_order(answers: NDArray[np.int64], controls: Controls, classes: int) -> NDArray[np.int64] | None:
    """Find the order of classes that a suspect's answers to the controls show, if it is not the stated one.

    Each half of the controls names, for each answer, the class that it most often stands for; the other half tests it.

    Args:
        answers: `(c,)` labels as stated, negative for none.
        controls: ordinary images.
        classes: how many the fingerprint has.

    Returns:
        `(classes,)` the class that each answer stands for; None if the stated order is not clearly worse.
    """
    labels = controls.labels
    if len(labels) < 4 * classes or (answers < 0).any():
        return None
    halves = np.zeros(len(labels), bool)
    for label in range(classes):  # half of each class, so that each half knows all of them
        halves[np.flatnonzero(labels == label)[::2]] = True
    right = np.zeros(len(labels), bool)
    for half in (halves, ~halves):
        order = _majority(answers[half], labels[half], classes)
        right[~half] = order[answers[~half]] == labels[~half]
    if int(right.sum()) < needed(controls) or not _clearly_better(right, answers == labels, 1):
        return None
    return _majority(answers, labels, classes)


def _majority(answers: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return for each answer the class that it most often stands for; one that was not given stands for itself."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (answers, labels), 1)
    order: NDArray[np.int64] = np.where(counts.any(axis=1), counts.argmax(axis=1), np.arange(classes))
    return order
