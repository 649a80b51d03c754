"""Reads a model's outputs as labels of the fingerprint's classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.plaintext import one_line
from fpverify.sandbox.replies import Output
from fpverify.suspects.classes import OUTSIDE, is_known, match_classes, match_values
from fpverify.suspects.contract import SuspectContract

BY_NAME = ("names of classes", "scores by class")
"""Readings in which the output itself says which class is meant."""


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


@dataclass(frozen=True)
class _Reader:
    queries: int
    contract: SuspectContract
    names: tuple[str, ...]

    def read(self, output: Output) -> Answers | None:
        """Return what an output says, or None if it is no answer."""
        if output.texts is not None:
            return self._texts(output)
        if output.array is None or len(output.array) != self.queries:
            return None
        # Trailing axes of size 1 say nothing.
        array = output.array.reshape([self.queries, *(size for size in output.array.shape[1:] if size != 1)])
        if output.columns is not None:
            # Maps are scores by name, whatever their number.
            matrix = output.array.reshape(self.queries, -1)
            columns = [self._ours(column) for column in output.columns]
            return self._columns(matrix, match_values(columns, None, self.names), output.name, "scores by class")
        if array.ndim == 1 and self.contract.reading in (None, "labels"):
            return self._labels(array, output.name)
        return self._scores(array, output.name) if self.contract.reading in (None, "scores") else None

    def _texts(self, output: Output) -> Answers | None:
        texts = output.texts
        if texts is None or texts.size != self.queries or len(texts) != self.queries:
            return None
        values, positions = np.unique(texts.ravel().astype(str), return_inverse=True)
        ours = [str(self._ours(value)) for value in values.tolist()]
        # Two names of theirs may be one of ours, which a list must not say.
        found = {name: match_classes([name], self.names)[0] for name in ours if is_known(name, self.names)}
        if not found:
            match_classes(ours, self.names)  # which says what is wrong
        labels = np.array([found.get(name, OUTSIDE) for name in ours], np.int64)[positions.ravel()]
        # A name that was not said may still be known.
        return self._answers(labels, self._known_by_list(), output.name, "names of classes")

    def _ours(self, name: int | str) -> int | str:
        """Return what the auditor says that one of the suspect's names means."""
        return self.contract.renamed.get(name, name) if isinstance(name, str) else name

    def _labels(self, array: NDArray[np.generic], name: str) -> Answers | None:
        if array.dtype.kind not in "iu":
            return None
        values, positions = np.unique(array, return_inverse=True)
        labels = match_values([int(value) for value in values], self.contract.classes, self.names)[positions.ravel()]
        return self._answers(labels, self._known_by_list(), name, "labels")

    def _scores(self, array: NDArray[np.generic], name: str) -> Answers | None:
        classes = self.contract.classes
        columns = len(self.names) if classes is None else len(classes)
        if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != columns:
            return None
        if array.dtype.kind in "iu" and (np.sort(array, axis=1) == np.arange(columns)).all():
            raise SuspectError('returns numbers that can be scores or ranks: say which in --contract (reading = "…")')
        matched = np.arange(columns) if classes is None else match_classes(classes, self.names)
        return self._columns(array, matched, name, "scores")

    def _columns(self, scores: NDArray[np.generic], matched: NDArray[np.int64], name: str, how: str) -> Answers:
        if not np.isfinite(scores).all():
            raise SuspectError("returned scores that are not finite: NaN or infinity names no class")
        known = np.isin(np.arange(len(self.names)), matched)
        return self._answers(matched[np.argmax(scores, axis=1)], known, name, how)

    def _known_by_list(self) -> NDArray[np.bool_]:
        if self.contract.classes is None:
            return np.ones(len(self.names), bool)
        return np.isin(np.arange(len(self.names)), match_classes(self.contract.classes, self.names))

    def _answers(self, labels: NDArray[np.int64], known: NDArray[np.bool_], name: str, how: str) -> Answers:
        return Answers(labels.astype(np.int64), known, name, how)

    def top(self, indices: Output, values: Output | None) -> Answers | None:
        """Return the best of the few classes that a pair of outputs, or one alone, names."""
        array = indices.array
        if array is None or array.ndim != 2 or len(array) != self.queries or array.dtype.kind not in "iu":
            return None
        first = np.zeros(self.queries, np.int64)
        if values is not None and values.array is not None:
            if not np.isfinite(values.array).all():
                raise SuspectError("returned scores that are not finite: NaN or infinity names no class")
            first = np.argmax(values.array, axis=1)
        best = self._labels(array[np.arange(self.queries), first], indices.name)
        return None if best is None else Answers(best.labels, best.known, best.output, f"the best of {array.shape[1]}")


def read_answers(outputs: Sequence[Output], queries: int, contract: SuspectContract, names: tuple[str, ...]) -> Answers:
    """Read outputs as labels.

    Labels that a model states are its answer, whatever scores lie beside them. Several outputs of one kind are read if
    all say the same of every input; otherwise which to believe is not ours to guess.

    Args:
        outputs: of the suspect, for all inputs.
        queries: how many inputs it was asked.
        contract: the suspect's.
        names: the fingerprint's classes.

    Returns:
        The answers.

    Raises:
        SuspectError: if no output is an answer, several contradict each other, or scores are not finite; the message
            begins with a verb.
    """
    reader = _Reader(queries, contract, names)
    chosen = [output for output in outputs if contract.output in (None, output.name)]
    few = _few(reader, chosen)
    read = [few] if few is not None else [answer for output in chosen if (answer := reader.read(output)) is not None]
    stated = [answer for answer in read if answer.reading in ("labels", "names of classes")]
    every, read = read, stated or read
    if not read:
        raise SuspectError(_nothing(reader, chosen or list(outputs)))
    first = read[0] if not stated else _narrowed(stated[0], every, chosen, reader)
    for second in read[1:]:
        differ = int(np.count_nonzero(first.labels != second.labels))
        if differ:
            both = f"{one_line(first.output, 80)!r} and {one_line(second.output, 80)!r}"
            raise SuspectError(
                f"has outputs {both} that can both be its answer and differ for {differ} of {queries} inputs; "
                'choose one in --contract FILE (output = "…")'
            )
    return first


def _narrowed(stated: Answers, every: list[Answers], outputs: Sequence[Output], reader: _Reader) -> Answers:
    """Return stated labels with what the scores beside them say of the classes that the suspect knows."""
    if reader.contract.classes is not None:
        return stated
    for beside in every:
        if beside.reading == "scores by class":
            return replace(stated, known=stated.known & beside.known)
    shapes = [_shape(output) for output in outputs if _kind(output) == "f"]
    widths = [shape[1] for shape in shapes if len(shape) == 2 and 1 < shape[1] < len(reader.names)]
    if not widths:
        return stated
    doubt = f"the suspect gives {widths[0]} numbers beside each label, fewer than the fingerprint has classes: "
    return replace(stated, doubt=f"{doubt}if those are all the classes that it knows, name them (--classes)")


def _few(reader: _Reader, outputs: list[Output]) -> Answers | None:
    """Return the answer of a model that returns the best few classes: their numbers beside their scores."""
    if reader.contract.reading == "top-k":
        return next((answer for output in outputs if (answer := reader.top(output, None)) is not None), None)
    if reader.contract.reading is not None:
        return None
    arrays = [output for output in outputs if output.array is not None and output.array.ndim == 2]
    for indices in arrays:
        for values in arrays:
            shapes = (_shape(indices), _shape(values))
            if _kind(indices) in "iu" and _kind(values) == "f" and shapes[0] == shapes[1] and shapes[0][1] > 1:
                return reader.top(indices, values)
    return None


def _shape(output: Output) -> tuple[int, ...]:
    return () if output.array is None else output.array.shape


def _kind(output: Output) -> str:
    return "" if output.array is None else output.array.dtype.kind


def _nothing(reader: _Reader, outputs: list[Output]) -> str:
    count = len(reader.names) if reader.contract.classes is None else len(reader.contract.classes)
    expected = f"labels of shape ({reader.queries},), names, or scores of shape ({reader.queries}, {count})"
    found = ", ".join(f"{one_line(output.name, 80)!r} {_described(output)}" for output in outputs[:8]) or "no output"
    shapes = [_shape(output) for output in outputs if _kind(output) == "f"]
    widths = {shape[1] for shape in shapes if len(shape) == 2 and shape[0] == reader.queries}
    hint = ""
    if reader.contract.classes is None and any(width not in (1, count) for width in widths):
        hint = "; if it has other classes than the fingerprint, name them in --classes FILE"
    return f"must answer with {expected}; found {found}{hint}"


def _described(output: Output) -> str:
    if output.array is not None:
        return f"{output.array.dtype} {output.array.shape}"
    return f"texts {output.texts.shape}" if output.texts is not None else str(output.other)
