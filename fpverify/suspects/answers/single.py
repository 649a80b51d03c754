"""One output that is the answer by itself: a label, a name or a row of scores for each input."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.sandbox.outputs import Output
from fpverify.suspects.answers.answer import NOT_FINITE, Answers, Readings, joined
from fpverify.suspects.answers.meaning import Matched, Meaning
from fpverify.suspects.classes import is_numbering, listed, match_classes


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


def read_alone(meaning: Meaning, output: Output, read: Readings) -> None:
    """Read an output for itself."""
    if output.texts is not None:
        answer = _texts(meaning, output.texts, output.name)
    elif output.columns is not None and output.array is not None:
        # Maps are scores by name, whatever their number.
        if output.array.shape != (meaning.queries, len(output.columns)) or not output.columns:
            return
        matched = meaning.match(list(output.columns), once=True)
        answer = read_columns(meaning, output.array, matched, output.name, "scores by class")
    else:
        array = meaning.numbers(output)
        if array is None:
            return
        answer = (
            _one(meaning, array, output.name, read) if array.ndim == 1 else _scores(meaning, array, output.name, read)
        )
    if answer is not None:
        read.strong.append(answer)


def _texts(meaning: Meaning, texts: NDArray[np.object_], name: str) -> Answers | None:
    if texts.size != meaning.queries or len(texts) != meaning.queries:
        return None
    values, positions = np.unique(texts.ravel().astype(str), return_inverse=True)
    said: list[int | str] = list(values.tolist())
    matched = meaning.match(said, once=False)
    # A name that was not said may still be known.
    known = meaning.known(said)
    return meaning.answers(matched.labels[positions.ravel()], known, name, "names of classes", matched.unmatched)


def _one(meaning: Meaning, array: NDArray[np.generic], name: str, read: Readings) -> Answers | None:
    """Read one number for each input: a label, or the score of the second of two classes."""
    reading, kind, two = meaning.contract.reading, array.dtype.kind, meaning.columns == 2
    if kind == "b" and two and reading in (None, "labels"):
        return _labels(meaning, array.astype(np.int64), name)
    if kind in "iu" and reading in (None, "labels"):
        try:
            return _labels(meaning, array, name)
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
            return _labels(meaning, numbers.astype(np.int64), name)
        except SuspectError as error:
            read.failures.append((name, error.reason))
    if two and reading in (None, "scores"):
        column = read_one_column(numbers)
        classes = meaning.contract.classes
        matched = np.arange(2) if classes is None else match_classes(classes, meaning.names)
        known, unmatched = np.isin(np.arange(len(meaning.names)), matched), meaning.outside(classes, matched)
        answers = meaning.answers(matched[column.labels], known, name, column.reading, unmatched)
        return replace(
            answers, best=meaning.in_our_order(column.best, matched), doubt=joined(answers.doubt, column.doubt)
        )
    return None


def _labels(meaning: Meaning, array: NDArray[np.generic], name: str) -> Answers:
    values, positions = np.unique(array, return_inverse=True)
    said: list[int | str] = [int(value) for value in values]
    matched = meaning.match(said, once=False)
    return meaning.answers(matched.labels[positions.ravel()], meaning.known(said), name, "labels", matched.unmatched)


def _scores(meaning: Meaning, array: NDArray[np.generic], name: str, read: Readings) -> Answers | None:
    classes = meaning.contract.classes
    if meaning.contract.reading not in (None, "scores"):
        return None
    if array.dtype.kind not in "fiub" or array.ndim != 2 or array.shape[1] != meaning.columns:
        return None
    if meaning.contract.reading is None and is_ranking(array):
        return None
    matched = np.arange(meaning.columns) if classes is None else match_classes(classes, meaning.names)
    answers = read_columns(meaning, array, Matched(matched, meaning.outside(classes, matched)), name, "scores")
    renamed = meaning.contract.renamed
    if classes is None and renamed and not is_numbering(list(renamed)):
        read.weak.append([answers])
        unnamed = (
            f"gives scores without names, so that {listed(list(renamed))} in --classes cannot be matched with "
            "anything; list the names in the order of its outputs, one on each line"
        )
        read.failures.append((name, unnamed))
        return None
    return answers


def read_columns(meaning: Meaning, scores: NDArray[np.generic], matched: Matched, name: str, how: str) -> Answers:
    """Read a row of scores for each input, or a column of each class."""
    if scores.dtype.kind == "b":
        scores = scores.astype(np.uint8)
    if not np.isfinite(scores).all():
        raise SuspectError(NOT_FINITE)
    labels = matched.labels[np.argmax(scores, axis=1)]
    known = np.isin(np.arange(len(meaning.names)), matched.labels)
    answers = meaning.answers(labels, known, name, how, matched.unmatched)
    return replace(answers, best=meaning.in_our_order(scores == scores.max(axis=1, keepdims=True), matched.labels))


def is_ranking(array: NDArray[np.generic]) -> bool:
    """Say whether each row of integers holds each place once, so that they can be ranks as well as scores."""
    return array.dtype.kind in "iu" and bool((np.sort(array, axis=1) == np.arange(array.shape[1])).all())
