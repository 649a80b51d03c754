"""Asks any callable, and reads what it returns as labels."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.plaintext import one_line

Answer: TypeAlias = Any
"""What a suspect returns: `(n,)` integer labels, -1 for a refusal, or `(n, classes)` real scores, for NumPy to read."""

Suspect: TypeAlias = Callable[[NDArray[np.float32]], Answer]
"""A function of `(n, C, H, W)` float32 inputs."""

REFUSED = -1
"""What a suspect may answer instead of a label, if it does not want to say."""


def ask(suspect: Suspect, inputs: NDArray[np.float32], classes: int) -> NDArray[np.int64]:
    """Ask a suspect for its labels.

    Args:
        suspect: the callable.
        inputs: `(n, C, H, W)`; the suspect gets a copy, so that it cannot change the keys.
        classes: how many there are.

    Returns:
        `(n,)` labels in `range(classes)`, or -1 where it refused to answer.

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
        return read_labels(answer, len(inputs), classes)
    except SuspectError as error:
        raise SuspectError(f"{name_of(suspect)} {error}") from error


def read_labels(answer: Answer, queries: int, classes: int) -> NDArray[np.int64]:
    """Read an answer as labels.

    Args:
        answer: what a suspect returned.
        queries: inputs that it was asked.
        classes: how many there are.

    Returns:
        `(n,)` labels: those given, -1 for a refusal, or of each row of scores the first largest.

    Raises:
        SuspectError: if it is neither; the message begins with a verb, for the caller to name the suspect.
    """
    try:
        array = np.asarray(answer)
    except Exception as error:
        raise SuspectError(f"returned what is no array ({one_line(str(error), 200)})") from error
    if array.shape == (queries,) and array.dtype.kind in "iu":
        if array.min() < REFUSED or array.max() >= classes:
            raise SuspectError(
                f"must answer labels 0 to {classes - 1}, or -1 to refuse, found {array.min()} to {array.max()}"
            )
        return array.astype(np.int64)
    if array.shape == (queries, classes) and array.dtype.kind in "fiu":
        if not np.isfinite(array).all():
            raise SuspectError("returned scores that are not finite: NaN or infinity names no class")
        labels: NDArray[np.int64] = np.argmax(array, axis=1).astype(np.int64)
        return labels
    expected = f"({queries},) integer labels or ({queries}, {classes}) real scores"
    raise SuspectError(f"must answer {expected}, found {array.dtype} of shape {array.shape}")


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
