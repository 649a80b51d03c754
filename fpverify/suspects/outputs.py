"""Which of a model's outputs is its answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.plaintext import one_line


def choose_output(
    path: str, names: Sequence[str], answers: Sequence[Any], queries: int, classes: int | None
) -> NDArray[Any]:
    """Return the one output that holds labels or scores.

    Args:
        path: the file, for errors.
        names: of the outputs.
        answers: what ONNX Runtime returned for each: arrays, or lists where the output is a sequence.
        queries: inputs that it was asked.
        classes: how many there are, or None if unknown.

    Returns:
        `(n,)` labels or `(n, classes)` scores.

    Raises:
        SuspectError: if no output fits, or more than one: which to believe is not ours to guess.
    """
    fitting = [number for number, answer in enumerate(answers) if _fits(answer, queries, classes)]
    if len(fitting) == 1:
        answer: NDArray[Any] = answers[fitting[0]]
        return answer
    columns = "classes" if classes is None else classes
    expected = f"one output with ({queries},) integer labels or ({queries}, {columns}) scores"
    found = ", ".join(_shown(names[number], answers[number]) for number in fitting or range(len(answers)))
    raise SuspectError(f"{path}: must have {expected}, found {len(fitting)}: {found}")


def _fits(answer: Any, queries: int, classes: int | None) -> bool:
    if not isinstance(answer, np.ndarray) or answer.ndim not in (1, 2) or len(answer) != queries:
        return False
    if answer.ndim == 1:
        return answer.dtype.kind in "iu"
    return answer.dtype.kind == "f" and classes in (None, answer.shape[1])


def _shown(name: str, answer: Any) -> str:
    what = f"{answer.dtype} {answer.shape}" if isinstance(answer, np.ndarray) else type(answer).__name__
    return f"{one_line(name, 80)!r} {what}"
