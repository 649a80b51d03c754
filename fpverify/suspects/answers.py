"""Reads a model's outputs as labels of the fingerprint's classes.

Every output that could be the answer is read. One is reported; the others are alternatives where they say otherwise,
because the file's author chooses which outputs there are.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.sandbox.outputs import Output
from fpverify.suspects.classes import (
    NO_LABEL,
    OUTSIDE,
    REFUSAL,
    Names,
    fold,
    is_numbering,
    listed,
    match_classes,
    match_values,
    renamed_to,
)
from fpverify.text import one_line

BY_NAME = ("names of classes", "scores by class")
"""Readings in which the output itself says which class is meant."""

MIN_VARIED = 20
"""Inputs from which on an output that says the same of all is no answer, where another output says more."""

MAX_PAIRS = 400
"""Pairs of outputs that are tried as the best few classes and the scores of these."""

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


@dataclass(frozen=True)
class OneColumn:
    """One number for each input, of a model with two classes."""

    labels: NDArray[np.int64]
    """`(n,)` 1 above the cut-off, else 0."""
    best: NDArray[np.bool_]
    """`(n, 2)` the class on its side of the cut-off, or both where the number is the cut-off itself."""
    reading: str
    """How it was read, in words."""
    doubt: str
    """What was assumed, for the report; empty if nothing was."""


def read_one_column(numbers: NDArray[np.floating]) -> OneColumn:
    """Read a model's one number for each input as the second of two classes, from a cut-off on.

    Args:
        numbers: `(n,)` finite; probabilities if all lie in [0, 1], otherwise logits.

    Returns:
        The labels, with the cut-off in words.
    """
    cut = 0.5 if ((numbers >= 0) & (numbers <= 1)).all() else 0.0
    what = "probabilities" if cut else "logits"
    doubt = (
        "all numbers of its one column lie in [0, 1]: they are assumed to be probabilities of the second class, with a "
        "cut-off of 0.5; as logits, the cut-off would be 0"
    )
    reading = f"{what} of the second class, from a cut-off of {cut:g} on"
    best = np.stack([numbers <= cut, numbers >= cut], axis=1)
    return OneColumn((numbers > cut).astype(np.int64), best, reading, doubt if cut else "")


@dataclass(frozen=True)
class _Matched:
    """What a suspect's names or numbers mean."""

    labels: NDArray[np.int64]
    unmatched: tuple[str, ...] = ()


@dataclass
class _Read:
    """Readings so far."""

    strong: list[Answers]
    """Of outputs that can be the one answer, as the file orders them."""
    weak: list[list[Answers]]
    """Of outputs that cannot be chosen but could be meant; of each, the readings, the likeliest first."""
    failures: list[tuple[str, str]]
    """Outputs that look like an answer and are none: the name, and what is wrong, a verb first."""


@dataclass(frozen=True)
class _Reader:
    queries: int
    contract: SuspectContract
    names: tuple[str, ...]

    @property
    def columns(self) -> int:
        """How many classes the suspect has, as far as is known before it answers."""
        return len(self.names) if self.contract.classes is None else len(self.contract.classes)

    def every(self, outputs: Sequence[Output]) -> _Read:
        read = _Read([], [], [])
        chosen = [output for output in outputs if self.contract.output in (None, output.name)]
        columns = self._grouped(chosen)
        if columns is not None:
            read.strong.append(columns[0])
        paired = self._ranked(outputs, chosen, read)
        for output in chosen:
            if output.name in paired or (columns is not None and output.name in columns[1]):
                continue
            self._alone(output, read)
        return read

    def _alone(self, output: Output, read: _Read) -> None:
        """Read an output for itself."""
        if output.texts is not None:
            answer = self._texts(output.texts, output.name)
        elif output.columns is not None and output.array is not None:
            # Maps are scores by name, whatever their number.
            if output.array.shape != (self.queries, len(output.columns)) or not output.columns:
                return
            matched = self._match(list(output.columns), once=True)
            answer = self._columns(output.array, matched, output.name, "scores by class")
        else:
            array = self._array(output)
            if array is None:
                return
            answer = self._one(array, output.name, read) if array.ndim == 1 else self._scores(array, output.name, read)
        if answer is not None:
            read.strong.append(answer)

    def _array(self, output: Output) -> NDArray[np.generic] | None:
        """Return an output's numbers without the trailing axes of size 1, which say nothing."""
        array = output.array
        if array is None or output.columns is not None or len(array) != self.queries:
            return None
        return array.reshape([self.queries, *(size for size in array.shape[1:] if size != 1)])

    # --- one label, name or number for each input ---

    def _texts(self, texts: NDArray[np.object_], name: str) -> Answers | None:
        if texts.size != self.queries or len(texts) != self.queries:
            return None
        values, positions = np.unique(texts.ravel().astype(str), return_inverse=True)
        said: list[int | str] = list(values.tolist())
        matched = self._match(said, once=False)
        # A name that was not said may still be known.
        known = self._known(said)
        return self._answers(matched.labels[positions.ravel()], known, name, "names of classes", matched.unmatched)

    def _one(self, array: NDArray[np.generic], name: str, read: _Read) -> Answers | None:
        """Read one number for each input: a label, or the score of the second of two classes."""
        reading, kind, two = self.contract.reading, array.dtype.kind, self.columns == 2
        if kind == "b" and two and reading in (None, "labels"):
            return self._labels(array.astype(np.int64), name)
        if kind in "iu" and reading in (None, "labels"):
            try:
                return self._labels(array, name)
            except SuspectError as error:
                read.failures.append((name, error.reason))
                return None
        if kind != "f":
            return None
        if not np.isfinite(array).all():
            if two or reading == "scores":
                raise SuspectError(NOT_FINITE)
            return None
        numbers = array.astype(np.float64)
        whole = bool((numbers == np.rint(numbers)).all() and (np.abs(numbers) < 2**53).all())
        if whole and reading in (None, "labels") and (not two or reading or ((numbers == 0) | (numbers == 1)).all()):
            try:
                return self._labels(numbers.astype(np.int64), name)
            except SuspectError as error:
                read.failures.append((name, error.reason))
        if two and reading in (None, "scores"):
            column = read_one_column(numbers)
            classes = self.contract.classes
            matched = np.arange(2) if classes is None else match_classes(classes, self.names)
            known, unmatched = np.isin(np.arange(len(self.names)), matched), self._outside(classes, matched)
            answers = self._answers(matched[column.labels], known, name, column.reading, unmatched)
            return replace(answers, best=self._ours(column.best, matched), doubt=_joined(answers.doubt, column.doubt))
        return None

    def _labels(self, array: NDArray[np.generic], name: str) -> Answers:
        values, positions = np.unique(array, return_inverse=True)
        said: list[int | str] = [int(value) for value in values]
        matched = self._match(said, once=False)
        return self._answers(matched.labels[positions.ravel()], self._known(said), name, "labels", matched.unmatched)

    # --- a row of scores for each input ---

    def _scores(self, array: NDArray[np.generic], name: str, read: _Read) -> Answers | None:
        classes = self.contract.classes
        if self.contract.reading not in (None, "scores"):
            return None
        if array.dtype.kind not in "fiub" or array.ndim != 2 or array.shape[1] != self.columns:
            return None
        if self.contract.reading is None and self._is_ranking(array):
            return None
        matched = np.arange(self.columns) if classes is None else match_classes(classes, self.names)
        answers = self._columns(array, _Matched(matched, self._outside(classes, matched)), name, "scores")
        renamed = self.contract.renamed
        if classes is None and renamed and not is_numbering(list(renamed)):
            read.weak.append([answers])
            unnamed = (
                f"gives scores without names, so that {listed(list(renamed))} in --classes cannot be matched with "
                "anything; list the names in the order of its outputs, one on each line"
            )
            read.failures.append((name, unnamed))
            return None
        return answers

    def _columns(self, scores: NDArray[np.generic], matched: _Matched, name: str, how: str) -> Answers:
        if scores.dtype.kind == "b":
            scores = scores.astype(np.uint8)
        if not np.isfinite(scores).all():
            raise SuspectError(NOT_FINITE)
        labels = matched.labels[np.argmax(scores, axis=1)]
        known = np.isin(np.arange(len(self.names)), matched.labels)
        answers = self._answers(labels, known, name, how, matched.unmatched)
        return replace(answers, best=self._ours(scores == scores.max(axis=1, keepdims=True), matched.labels))

    def _ours(self, best: NDArray[np.bool_], matched: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return `(n, classes)` of the fingerprint's classes from `(n, m)` of the suspect's."""
        ours = np.zeros((len(best), len(self.names)), bool)
        inside = matched != OUTSIDE
        ours[:, matched[inside]] = best[:, inside]
        return ours

    def _grouped(self, outputs: list[Output]) -> tuple[Answers, set[str]] | None:
        """Return what outputs of one score each say together, as scikit-learn's ZipMap with columns gives them."""
        if self.contract.reading not in (None, "scores"):
            return None
        found = [(output.name, array) for output in outputs if (array := self._array(output)) is not None]
        single = [(name, array) for name, array in found if array.ndim == 1 and array.dtype.kind == "f"]
        if len(single) < 2:
            return None
        called = Names(self.names)
        titles = renamed_to([name for name, _ in single], self.contract.renamed)
        named = [
            pair for pair, title in zip(single, titles, strict=True) if title and called.place(str(title)) is not None
        ]
        if len(named) >= 2:
            matched = self._match([name for name, _ in named], once=True)
            return self._group(named, matched, "scores by class")
        if len(single) > self.columns:  # a label as a float, beside a column for each class
            single = [
                (name, array) for name, array in single if not ((array == np.rint(array)).all() and array.max() > 1)
            ]
        if len(single) != self.columns:
            return None
        numbers = [int(name[len(name.rstrip("0123456789")) :][-9:] or -1) for name, _ in single]
        if sorted(numbers) == list(range(self.columns)):
            single = [single[numbers.index(place)] for place in range(self.columns)]
        if self.columns == 2 and not np.allclose(np.sum([array for _, array in single], axis=0), 1, atol=1e-3):
            return None  # a probability beside its logit, say
        classes = self.contract.classes
        labels = np.arange(self.columns) if classes is None else match_classes(classes, self.names)
        return self._group(single, _Matched(labels, self._outside(classes, labels)), "scores, an output for each class")

    def _group(
        self, single: list[tuple[str, NDArray[np.generic]]], matched: _Matched, how: str
    ) -> tuple[Answers, set[str]]:
        scores = np.stack([array for _, array in single], axis=1)
        return self._columns(scores, matched, single[0][0], how), {name for name, _ in single}

    # --- the best few classes for each input ---

    def _is_ranking(self, array: NDArray[np.generic]) -> bool:
        """Say whether each row of integers holds each place once, so that they can be ranks as well as scores."""
        return array.dtype.kind in "iu" and bool((np.sort(array, axis=1) == np.arange(array.shape[1])).all())

    def _ranked(self, outputs: Sequence[Output], chosen: list[Output], read: _Read) -> set[str]:
        """Read outputs that list the best few classes; return the names of those that are nothing else."""
        if self.contract.reading not in (None, "top-k"):
            return set()
        arrays = [(output.name, array) for output in outputs if (array := self._few(output)) is not None]
        scores = {name: array for name, array in arrays if array.dtype.kind == "f"}
        eligible, used = {output.name for output in chosen}, set()
        if self.contract.output is None and len(scores) * (len(arrays) - len(scores)) > MAX_PAIRS:
            raise SuspectError(
                f"has {len(arrays)} outputs with several numbers or names for each input, too many to try which belong "
                "together",
                hint='choose one in --contract FILE (output = "…")',
            )
        for name, table in arrays:
            full = table.shape[1] == self.columns
            if name in scores or (full and table.dtype.kind in "iu" and not self._is_ranking(table)):
                continue  # scores themselves
            beside = {other: values for other, values in scores.items() if values.shape == table.shape}
            if name not in eligible:
                beside = {} if full else {other: values for other, values in beside.items() if other in eligible}
                if not beside:
                    continue
            used.add(name)
            if self.contract.reading == "top-k":
                read.strong.append(self._best_of(name, table, None))
                continue
            rows = [values for other, values in scores.items() if other in eligible and values.shape[1] == self.columns]
            if any(_ranks(values, table) for values in rows):
                continue  # it says what the scores say
            # Of a ranking of all classes, unordered scores of the same shape are another answer.
            if beside and not (full and eligible & beside.keys() and not any(map(_is_ordered, beside.values()))):
                used |= self._with_scores(name, table, beside, read)
            else:
                self._without_scores(name, table, full, read)
        return used

    def _with_scores(
        self, name: str, table: NDArray[np.generic], beside: dict[str, NDArray[np.generic]], read: _Read
    ) -> set[str]:
        """Read a list of classes by the scores beside it; return the names of those that are scores of nothing else."""
        ordered = {other: values for other, values in beside.items() if _is_ordered(values)}
        for values in (ordered or beside).values():
            if not np.isfinite(values).all():
                raise SuspectError(NOT_FINITE)
            try:
                read.strong.append(self._best_of(name, table, values))
            except SuspectError as error:
                read.failures.append((name, error.reason))
                return set()
        return set(ordered)

    def _without_scores(self, name: str, table: NDArray[np.generic], full: bool, read: _Read) -> None:
        """Read a list of classes that has no scores beside it: it cannot be chosen, but it could be meant."""
        readings = []
        with contextlib.suppress(SuspectError):  # then it lists no classes
            if all(len(set(row)) == len(row) for row in table.tolist()):
                readings.append(self._best_of(name, table, None))
        if full and table.dtype.kind in "iu":
            labels = np.argmax(table, axis=1)
            classes = self.contract.classes
            matched = np.arange(self.columns) if classes is None else match_classes(classes, self.names)
            readings.append(self._answers(matched[labels], self._known([]), name, "scores", ()))
            either = 'returns numbers that can be scores or ranks: say which in --contract (reading = "…")'
            read.failures.append((name, either))
        if readings:
            read.weak.append(readings)

    def _few(self, output: Output) -> NDArray[np.generic] | None:
        """Return an output's `(n, k)` numbers or texts, if it has more than one for each input."""
        array = output.texts if output.texts is not None else self._array(output)
        if array is None or len(array) != self.queries or array.ndim != 2 or array.shape[1] < 2:
            return None
        return array if array.dtype.kind in "fiuO" else None

    def _best_of(self, name: str, table: NDArray[np.generic], scores: NDArray[np.generic] | None) -> Answers:
        """Return the best of the few classes that a table, or a table beside its scores, names."""
        count = table.shape[1]
        best = np.zeros((self.queries, count), bool)
        best[:, 0] = True
        if scores is not None:
            best = scores == scores.max(axis=1, keepdims=True)
        first = np.argmax(best, axis=1)
        texts = table.dtype.kind == "O"
        values, positions = np.unique(table.astype(str) if texts else table, return_inverse=True)
        said: list[int | str] = [str(value) if texts else int(value) for value in values]
        matched = self._match(said, once=False)
        labels = matched.labels[positions.reshape(table.shape)]
        answers = self._answers(
            labels[np.arange(self.queries), first], self._known(said), name, f"the best of {count}", matched.unmatched
        )
        if scores is None:
            return answers
        ours = np.zeros((self.queries, len(self.names)), bool)
        rows, places = np.nonzero(best & (labels != OUTSIDE))
        ours[rows, labels[rows, places]] = True
        return replace(answers, best=ours)

    # --- what names and numbers mean ---

    def _match(self, values: list[int | str], once: bool) -> _Matched:
        """Match a suspect's names or numbers; `once` if no two of them may be one class."""
        if once and len(set(values)) < len(values):
            raise SuspectError("gives scores of one class twice")
        meant = renamed_to(values, self.contract.renamed)
        if all(isinstance(value, int) for value in meant):
            labels = match_values(
                [int(value) for value in meant if value is not None], self.contract.classes, self.names
            )
            outside = zip(values, labels, strict=True)
            return _Matched(labels, tuple(str(v) for v, label in outside if label == OUTSIDE and v != REFUSAL))
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
        return _Matched(labels, tuple(outside_texts))

    def _known(self, said: list[int | str]) -> NDArray[np.bool_]:
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

    def _outside(self, classes: Sequence[str] | None, matched: NDArray[np.int64]) -> tuple[str, ...]:
        return () if classes is None else tuple(np.array(classes, object)[matched == OUTSIDE])

    def _answers(
        self, labels: NDArray[np.int64], known: NDArray[np.bool_], name: str, how: str, unmatched: tuple[str, ...]
    ) -> Answers:
        return Answers(labels.astype(np.int64), known, name, how, unmatched=unmatched)


def read_answers(outputs: Sequence[Output], queries: int, contract: SuspectContract, names: tuple[str, ...]) -> Answers:
    """Read outputs as labels.

    Every output that could be the answer is read. The one that is reported is, in this order, the best few classes with
    their scores, labels or names, scores by name, and scores; of several, the one with the fewest ties, then the
    file's first. Where the auditor chose an output, only that is read.

    Args:
        outputs: of the suspect, for all inputs.
        queries: how many inputs it was asked.
        contract: the suspect's.
        names: the fingerprint's classes.

    Returns:
        The answers, with the outputs that contradict them.

    Raises:
        SuspectError: if no output is an answer, names match no class, or scores are not finite; the message begins
            with a verb.
    """
    reader = _Reader(queries, contract, names)
    with np.errstate(all="ignore"):  # outputs may hold anything; what is read is checked
        read = reader.every(outputs)
    if not read.strong:
        chosen = [output for output in outputs if contract.output in (None, output.name)]
        raise SuspectError(read.failures[0][1] if read.failures else _nothing(reader, chosen or list(outputs)))
    varied = [answer for answer in read.strong if len(set(answer.labels.tolist())) > 1]
    if varied and queries >= MIN_VARIED:
        read.strong = varied  # a flag or a confidence that is the same for every input answers nothing
    first = min(read.strong, key=lambda answer: (_order(answer), _ties(answer)))
    rest = [answer for answer in read.strong if answer is not first]
    alternatives = [other for answer in rest if (other := _alternative(first, answer)) is not None]
    for readings in read.weak:
        others = [_alternative(first, answer) for answer in readings]
        if others[0] is not None:  # the likeliest reading contradicts; where it agrees, nothing does
            alternatives += [other for other in others if other is not None]
    if first.reading in ("labels", "names of classes"):
        first = _narrowed(first, rest, outputs, reader)
    seen = {answer.output for readings in read.weak for answer in readings}
    unread = [(name, why) for name, why in read.failures if name not in seen]
    skipped = [f"its output {one_line(name, 80)!r} was not read: it {why}" for name, why in unread[:1]]
    doubt = _joined(first.doubt, _left_out(first, names), *skipped)
    missing = [output.missing for output in outputs if output.missing is not None]
    return replace(_open(first, missing[0]) if missing else first, doubt=doubt, alternatives=tuple(alternatives))


def _open(answers: Answers, missing: NDArray[np.bool_]) -> Answers:
    """Return answers that can be any class where one is missing."""
    best = np.zeros((len(answers.labels), len(answers.known)), bool) if answers.best is None else answers.best.copy()
    best[missing] = True
    return replace(answers, labels=np.where(missing, NO_LABEL, answers.labels), best=best)


def _order(answer: Answers) -> int:
    """Return which kind of answer is reported before another."""
    if answer.reading.startswith("the best of"):
        return 0
    return {"labels": 1, "names of classes": 1, "scores by class": 2}.get(answer.reading, 3)


def _ties(answer: Answers) -> int:
    return 0 if answer.best is None else int(np.count_nonzero(answer.best.sum(axis=1) > 1))


def _alternative(first: Answers, other: Answers) -> Alternative | None:
    """Return another output's answers if they contradict the first one's; a tie on either side contradicts nothing."""
    rows = np.arange(len(first.labels))
    labels = np.where(
        _shares(other.best, rows, first.labels) | _shares(first.best, rows, other.labels), first.labels, other.labels
    )
    return None if (labels == first.labels).all() else Alternative(other.output, other.reading, labels)


def _shares(best: NDArray[np.bool_] | None, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each label whether it is among the best."""
    if best is None:
        return np.zeros(len(labels), bool)
    shared: NDArray[np.bool_] = best[rows, np.maximum(labels, 0)] & (labels != OUTSIDE)
    return shared


def _joined(*doubts: str) -> str:
    return "; ".join(doubt for doubt in doubts if doubt)


def _left_out(answers: Answers, names: tuple[str, ...]) -> str:
    """Say which names did not match, if keys are left out for that."""
    missing = [name for name, known in zip(names, answers.known.tolist(), strict=True) if not known]
    if not missing or not answers.unmatched:
        return ""
    return (
        f"none of its classes is called {listed(missing)}, and its {listed(answers.unmatched)} "
        "are no classes of the fingerprint; if some are the same, say so in --classes FILE"
    )


def _narrowed(stated: Answers, beside: list[Answers], outputs: Sequence[Output], reader: _Reader) -> Answers:
    """Return stated labels with what the scores beside them say of the classes that the suspect knows."""
    if reader.contract.classes is not None:
        return stated
    for other in beside:
        if other.reading == "scores by class":
            return replace(stated, known=stated.known & other.known, unmatched=stated.unmatched or other.unmatched)
    shapes = [_shape(output) for output in outputs if _kind(output) == "f"]
    widths = [shape[1] for shape in shapes if len(shape) == 2 and 1 < shape[1] < len(reader.names)]
    if not widths or len(reader.names) in [shape[1] for shape in shapes if len(shape) == 2]:
        return stated
    doubt = f"the suspect gives {widths[0]} numbers beside each label, fewer than the fingerprint has classes: "
    return replace(stated, doubt=f"{doubt}if those are all the classes that it knows, name them (--classes)")


def _shape(output: Output) -> tuple[int, ...]:
    return () if output.array is None else output.array.shape


def _kind(output: Output) -> str:
    return "" if output.array is None else output.array.dtype.kind


def _is_ordered(scores: NDArray[np.generic]) -> bool:
    """Say whether each row falls, or each row rises."""
    steps = np.diff(scores.astype(np.float64), axis=1)
    return bool((steps <= 0).all() or (steps >= 0).all())


def _ranks(scores: NDArray[np.generic], table: NDArray[np.generic]) -> bool:
    """Say whether a table lists the places of scores, the best first, or all of them, the worst first."""
    if table.dtype.kind not in "iu" or table.min() < 0 or table.max() >= scores.shape[1]:
        return False
    ordered = np.take_along_axis(scores, table.astype(np.int64), axis=1)
    if table.shape[1] == scores.shape[1] and (np.diff(ordered, axis=1) >= 0).all():
        return True
    return bool((np.diff(ordered, axis=1) <= 0).all() and (ordered[:, 0] == scores.max(axis=1)).all())


def _nothing(reader: _Reader, outputs: list[Output]) -> str:
    count = reader.columns
    expected = f"labels of shape ({reader.queries},), names, or scores of shape ({reader.queries}, {count})"
    found = ", ".join(f"{one_line(output.name, 80)!r} {_described(output)}" for output in outputs[:8]) or "no output"
    shapes = [_shape(output) for output in outputs if _kind(output) == "f"]
    widths = {shape[1] for shape in shapes if len(shape) == 2 and shape[0] == reader.queries}
    hint = ""
    if reader.contract.classes is None and any(width not in (1, count) for width in widths):
        hint = "; if it has other classes than the fingerprint, name them in --classes FILE"
    elif any(_kind(output) == "f" and math.prod(_shape(output)) == reader.queries for output in outputs):
        hint = "; one number for each input is an answer only where there are two classes"
    return f"must answer with {expected}; found {found}{hint}"


def _described(output: Output) -> str:
    if output.array is not None:
        return f"{output.array.dtype} {output.array.shape}"
    return f"texts {output.texts.shape}" if output.texts is not None else str(output.other)
