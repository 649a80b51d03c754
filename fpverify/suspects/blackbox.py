"""Asks any callable, and reads what it returns as labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.plaintext import one_line
from fpverify.suspects.answers import NOT_FINITE, read_one_column

Answer: TypeAlias = Any
"""What a suspect returns: `(n,)` integer labels, -1 for a refusal, or `(n, classes)` real scores, for NumPy to read."""

Suspect: TypeAlias = Callable[[NDArray[np.float32]], Answer]
"""A function of `(n, C, H, W)` float32 inputs."""

REFUSED = -1
"""What a suspect may answer instead of a label, if it does not want to say."""


@dataclass(frozen=True)
class CallableAnswers:
    """What a callable said of each input."""

    labels: NDArray[np.int64]
    """`(n,)` labels in `range(classes)`, or -1 where it refused to answer."""
    best: NDArray[np.bool_] | None
    """`(n, classes)` which classes share the best score, exactly; None if it answered with labels."""
    reading: str
    """How it was read, in words."""
    doubt: str = ""
    """What was assumed, for the report; empty if nothing was."""


def ask(suspect: Suspect, inputs: NDArray[np.float32], classes: int) -> NDArray[np.int64]:
    """Return the labels of `ask_for_answers`, which takes the same arguments."""
    return ask_for_answers(suspect, inputs, classes).labels


def ask_for_answers(suspect: Suspect, inputs: NDArray[np.float32], classes: int) -> CallableAnswers:
    """Ask a suspect.

    Args:
        suspect: the callable.
        inputs: `(n, C, H, W)`; the suspect gets a copy, so that it cannot change the keys.
        classes: how many there are.

    Returns:
        Its answers.

    Raises:
        SuspectError: if it raises an exception, or answers with anything else than labels or finite scores.
    """
    try:
        answer = suspect(inputs.copy())
    except SuspectError:
        raise
    except Exception as error:
        what = one_line(f"{type(error).__name__}: {error}", 300)
        raise SuspectError(f"{name_of(suspect)} raised {what}") from error
    try:
        return read_answer(answer, len(inputs), classes)
    except SuspectError as error:
        raise SuspectError(f"{name_of(suspect)} {error}") from error


def read_answer(answer: Answer, queries: int, classes: int) -> CallableAnswers:
    """Read what a callable returned.

    Args:
        answer: what a suspect returned: `(n,)` integer labels, -1 for a refusal; `(n, classes)` real scores; of two
            classes also `(n,)` or `(n, 1)` floats, or booleans, for the second one.
        queries: inputs that it was asked.
        classes: how many there are.

    Returns:
        The answers; of each row of scores, the first largest.

    Raises:
        SuspectError: if it is neither; the message begins with a verb, for the caller to name the suspect.
    """
    try:
        array = np.asarray(answer)
    except Exception as error:
        raise SuspectError(f"returned what is no array ({one_line(str(error), 200)})") from error
    if classes == 2 and array.shape in ((queries,), (queries, 1)) and array.dtype.kind in "bf":
        return _second_of_two(array.reshape(queries))
    if array.shape == (queries,) and array.dtype.kind in "iu":
        if array.min() < REFUSED or array.max() >= classes:
            raise SuspectError(
                f"must answer labels 0 to {classes - 1}, or -1 to refuse, found {array.min()} to {array.max()}"
            )
        return CallableAnswers(array.astype(np.int64), None, "labels")
    if array.shape == (queries, classes) and array.dtype.kind in "fiu":
        if not np.isfinite(array).all():
            raise SuspectError(NOT_FINITE)
        best = array == array.max(axis=1, keepdims=True)
        return CallableAnswers(np.argmax(array, axis=1).astype(np.int64), best, "scores")
    expected = f"({queries},) integer labels or ({queries}, {classes}) real scores"
    raise SuspectError(f"must answer {expected}, found {array.dtype} of shape {array.shape}")


def _second_of_two(array: NDArray[Any]) -> CallableAnswers:
    if array.dtype.kind == "b":
        return CallableAnswers(array.astype(np.int64), None, "labels")
    if not np.isfinite(array).all():
        raise SuspectError(NOT_FINITE)
    column = read_one_column(array)
    return CallableAnswers(column.labels, column.best, column.reading, column.doubt)


def name_of(suspect: Suspect) -> str:
    """Return what to call a suspect in messages and reports.

    Args:
        suspect: the callable.

    Returns:
        The path of a file, the qualified name of a function, else what `repr` says.
    """
    path = getattr(suspect, "path", None)
    if isinstance(path, str):
        return one_line(path)
    name = getattr(suspect, "__qualname__", None)
    if isinstance(name, str):
        return one_line(f"{getattr(suspect, '__module__', None) or '?'}.{name}")
    return one_line(repr(suspect), 200)
