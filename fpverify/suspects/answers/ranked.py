"""Outputs that list the best few classes for each input."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.sandbox.outputs import Output
from fpverify.suspects.answers.answer import NOT_FINITE, Answers, Readings
from fpverify.suspects.answers.meaning import Meaning
from fpverify.suspects.answers.single import is_ranking
from fpverify.suspects.classes import OUTSIDE, match_classes

MAX_PAIRS = 400
"""Pairs of outputs that are tried as the best few classes and the scores of these."""


def read_ranked(meaning: Meaning, outputs: Sequence[Output], chosen: list[Output], read: Readings) -> set[str]:
    """Read outputs that list the best few classes; return the names of those that are nothing else."""
    if meaning.contract.reading not in (None, "top-k"):
        return set()
    arrays = [(output.name, array) for output in outputs if (array := meaning.several(output)) is not None]
    scores = {name: array for name, array in arrays if array.dtype.kind == "f"}
    eligible, used = {output.name for output in chosen}, set()
    if meaning.contract.output is None and len(scores) * (len(arrays) - len(scores)) > MAX_PAIRS:
        raise SuspectError(
            f"has {len(arrays)} outputs with several numbers or names for each input, too many to try which belong "
            "together",
            hint='choose one in --contract FILE (output = "…")',
        )
    for name, table in arrays:
        full = table.shape[1] == meaning.columns
        if name in scores or (full and table.dtype.kind in "iu" and not is_ranking(table)):
            continue  # scores themselves
        beside = {other: values for other, values in scores.items() if values.shape == table.shape}
        if name not in eligible:
            beside = {} if full else {other: values for other, values in beside.items() if other in eligible}
            if not beside:
                continue
        used.add(name)
        if meaning.contract.reading == "top-k":
            read.strong.append(_best_of(meaning, name, table, None))
            continue
        rows = [values for other, values in scores.items() if other in eligible and values.shape[1] == meaning.columns]
        if any(_ranks(values, table) for values in rows):
            continue  # it says what the scores say
        # Of a ranking of all classes, unordered scores of the same shape are another answer.
        if beside and not (full and eligible & beside.keys() and not any(map(_is_ordered, beside.values()))):
            used |= _with_scores(meaning, name, table, beside, read)
        else:
            _without_scores(meaning, name, table, full, read)
    return used


def _with_scores(
    meaning: Meaning, name: str, table: NDArray[np.generic], beside: dict[str, NDArray[np.generic]], read: Readings
) -> set[str]:
    """Read a list of classes by the scores beside it; return the names of those that are scores of nothing else."""
    ordered = {other: values for other, values in beside.items() if _is_ordered(values)}
    for values in (ordered or beside).values():
        if not np.isfinite(values).all():
            raise SuspectError(NOT_FINITE)
        try:
            read.strong.append(_best_of(meaning, name, table, values))
        except SuspectError as error:
            read.failures.append((name, error.reason))
            return set()
    return set(ordered)


def _without_scores(meaning: Meaning, name: str, table: NDArray[np.generic], full: bool, read: Readings) -> None:
    """Read a list of classes that has no scores beside it: it cannot be chosen, but it could be meant."""
    readings = []
    with contextlib.suppress(SuspectError):  # then it lists no classes
        if all(len(set(row)) == len(row) for row in table.tolist()):
            readings.append(_best_of(meaning, name, table, None))
    if full and table.dtype.kind in "iu":
        labels = np.argmax(table, axis=1)
        classes = meaning.contract.classes
        matched = np.arange(meaning.columns) if classes is None else match_classes(classes, meaning.names)
        readings.append(meaning.answers(matched[labels], meaning.known([]), name, "scores", ()))
        either = 'returns numbers that can be scores or ranks: say which in --contract (reading = "…")'
        read.failures.append((name, either))
    if readings:
        read.weak.append(readings)


def _best_of(meaning: Meaning, name: str, table: NDArray[np.generic], scores: NDArray[np.generic] | None) -> Answers:
    """Return the best of the few classes that a table, or a table beside its scores, names."""
    count = table.shape[1]
    best = np.zeros((meaning.queries, count), bool)
    best[:, 0] = True
    if scores is not None:
        best = scores == scores.max(axis=1, keepdims=True)
    first = np.argmax(best, axis=1)
    texts = table.dtype.kind == "O"
    values, positions = np.unique(table.astype(str) if texts else table, return_inverse=True)
    said: list[int | str] = [str(value) if texts else int(value) for value in values]
    matched = meaning.match(said, once=False)
    labels = matched.labels[positions.reshape(table.shape)]
    answers = meaning.answers(
        labels[np.arange(meaning.queries), first], meaning.known(said), name, f"the best of {count}", matched.unmatched
    )
    if scores is None:
        return answers
    ours = np.zeros((meaning.queries, len(meaning.names)), bool)
    rows, places = np.nonzero(best & (labels != OUTSIDE))
    ours[rows, labels[rows, places]] = True
    return replace(answers, best=ours)


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
