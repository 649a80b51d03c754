"""What a suspect's numbers and names mean among the fingerprint's classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.sandbox.outputs import Output
from fpverify.suspects.answers.answer import Answers
from fpverify.suspects.classes import (
    OUTSIDE,
    REFUSAL,
    Names,
    fold,
    listed,
    match_classes,
    match_values,
    renamed_to,
)


@dataclass(frozen=True)
class Matched:
    """What a suspect's names or numbers mean."""

    labels: NDArray[np.int64]
    """`(m,)` the fingerprint's class of each, `OUTSIDE` where there is none."""
    unmatched: tuple[str, ...] = ()
    """Those that are no class of the fingerprint."""


@dataclass(frozen=True)
class Meaning:
    """How a suspect's numbers and names are understood."""

    queries: int
    """How many inputs it was asked."""
    contract: SuspectContract
    """The suspect's."""
    names: tuple[str, ...]
    """The fingerprint's classes."""

    @property
    def columns(self) -> int:
        """How many classes the suspect has, as far as is known before it answers."""
        return len(self.names) if self.contract.classes is None else len(self.contract.classes)

    def numbers(self, output: Output) -> NDArray[np.generic] | None:
        """Return an output's numbers without the trailing axes of size 1, which say nothing."""
        array = output.array
        if array is None or output.columns is not None or len(array) != self.queries:
            return None
        return array.reshape([self.queries, *(size for size in array.shape[1:] if size != 1)])

    def several(self, output: Output) -> NDArray[np.generic] | None:
        """Return an output's `(n, k)` numbers or texts, if it has more than one for each input."""
        array = output.texts if output.texts is not None else self.numbers(output)
        if array is None or len(array) != self.queries or array.ndim != 2 or array.shape[1] < 2:
            return None
        return array if array.dtype.kind in "fiuO" else None

    def match(self, values: list[int | str], once: bool) -> Matched:
        """Match a suspect's names or numbers; `once` if no two of them may be one class."""
        if once and len(set(values)) < len(values):
            raise SuspectError("gives scores of one class twice")
        meant = renamed_to(values, self.contract.renamed)
        if all(isinstance(value, int) for value in meant):
            labels = match_values(
                [int(value) for value in meant if value is not None], self.contract.classes, self.names
            )
            outside = zip(values, labels, strict=True)
            return Matched(labels, tuple(str(v) for v, label in outside if label == OUTSIDE and v != REFUSAL))
        called = Names(self.names)
        places = [None if value is None else called.place(str(value)) for value in meant]
        inside = [place for place in places if place is not None]
        if not inside or (once and len(set(inside)) < len(inside)):
            match_classes(
                [str(value) if new is None else str(new) for value, new in zip(values, meant, strict=True)], self.names
            )
            theirs, ours = listed([str(value) for value in values]), listed(self.names)
            raise SuspectError(f"its classes ({theirs}) and the fingerprint's ({ours}) have no name in common")
        labels = np.array([OUTSIDE if place is None else place for place in places], np.int64)
        refused = str(REFUSAL)
        outside_texts = (str(v) for v, place in zip(values, places, strict=True) if place is None and str(v) != refused)
        return Matched(labels, tuple(outside_texts))

    def known(self, said: list[int | str]) -> NDArray[np.bool_]:
        """Return which classes a suspect knows that answers with single labels or names."""
        if self.contract.classes is not None:
            return np.isin(np.arange(len(self.names)), match_classes(self.contract.classes, self.names))
        renamed = self.contract.renamed
        keys = set(map(fold, renamed))
        if renamed and said and all(fold(str(name)) in keys for name in said if name != REFUSAL):
            # The auditor's object has every name that was said: it is the whole list.
            called = Names(self.names)
            places = [place for name in renamed.values() if (place := called.place(name)) is not None]
            return np.isin(np.arange(len(self.names)), places)
        return np.ones(len(self.names), bool)

    def outside(self, classes: Sequence[str] | None, matched: NDArray[np.int64]) -> tuple[str, ...]:
        """Return the suspect's classes that are none of the fingerprint's."""
        return () if classes is None else tuple(np.array(classes, object)[matched == OUTSIDE])

    def in_our_order(self, best: NDArray[np.bool_], matched: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return `(n, classes)` of the fingerprint's classes from `(n, m)` of the suspect's."""
        ours = np.zeros((len(best), len(self.names)), bool)
        inside = matched != OUTSIDE
        ours[:, matched[inside]] = best[:, inside]
        return ours

    def answers(
        self, labels: NDArray[np.int64], known: NDArray[np.bool_], name: str, how: str, unmatched: tuple[str, ...]
    ) -> Answers:
        """Return what was read of one output."""
        return Answers(labels.astype(np.int64), known, name, how, unmatched=unmatched)
