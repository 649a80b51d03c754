"""Parses and validates the arrays and texts of a reply; their content is untrusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.sandbox.frames import MAX_TEXT, exactly, refuse
from fpverify.text import one_line

MAX_BODY_BYTES = 2**27
"""Bytes of all arrays of a reply: 100 answers of 160,000 double-precision scores."""

MAX_OUTPUTS = 1000
"""Outputs of one model."""

MAX_TEXTS = 2**20
"""Characters of all texts of an output."""

MAX_TABLE = 2**24
"""Characters of an output's texts where each is as long as the longest, as NumPy holds them."""

DTYPES = frozenset(
    np.dtype(name).str
    for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")  # numbers and nothing else
)
"""Element types that an array may have."""


@dataclass(frozen=True)
class Output:
    """What a model returned for all inputs under one name."""

    name: str
    """As the file has it."""
    array: NDArray[Any] | None
    """`(n, …)` numbers; None if the output has none."""
    texts: NDArray[np.object_] | None = None
    """`(n, …)` texts; None if the output has none."""
    columns: tuple[int | str, ...] | None = None
    """Of a sequence of maps: the keys, one for each column of `array`."""
    other: str | None = None
    """What it is instead, in words, if it can be no answer."""
    missing: NDArray[np.bool_] | None = None
    """`(n,)` where there is no answer and any stands in its place; None where nothing is missing."""


def together(answers: Sequence[tuple[Output, ...]]) -> tuple[Output, ...]:
    """Return outputs for all inputs from those for a part of the inputs each.

    Args:
        answers: each with the same outputs.

    Raises:
        SuspectError: if an output has another shape, or is missing, for some of them.
    """
    if len(answers) == 1:
        return answers[0]
    if len({tuple(output.name for output in part) for part in answers}) > 1:
        raise SuspectError("returned other outputs for some inputs")
    return tuple(_joined(parts) for parts in zip(*answers, strict=True))


def _joined(parts: tuple[Output, ...]) -> Output:
    first = parts[0]
    try:
        if first.texts is not None:
            texts = [part.texts for part in parts if part.texts is not None]
            return Output(first.name, None, texts=np.concatenate(texts))
        if first.array is not None:
            arrays = [_ordered(part, first.columns) for part in parts if part.array is not None]
            return Output(first.name, np.concatenate(arrays), columns=first.columns)
    except ValueError as error:
        raise SuspectError("returned arrays of different shapes for single inputs") from error
    return first


def _ordered(part: Output, columns: tuple[int | str, ...] | None) -> NDArray[Any]:
    """Return a part's numbers in the order of the first part's columns.

    Raises:
        SuspectError: if it has other columns.
    """
    if part.array is None or part.columns == columns:
        return np.asarray(part.array)
    if part.columns is None or columns is None or set(part.columns) != set(columns):
        raise SuspectError("names other classes for some inputs than for others")
    return part.array[:, [part.columns.index(name) for name in columns]]


def as_texts(values: Sequence[str]) -> NDArray[np.object_]:
    """Return texts as an array, after a look at their sizes: NumPy holds each as long as the longest.

    Raises:
        SuspectError: if they are too long.
    """
    longest = max(map(len, values), default=0)
    if longest > MAX_TEXT or sum(map(len, values)) > MAX_TEXTS or longest * len(values) > MAX_TABLE:
        raise SuspectError(f"returned {len(values)} texts of up to {longest} characters, which is too much")
    return np.array(values, object)


def read_outputs(stream: IO[bytes], entries: list[Any]) -> tuple[Output, ...]:
    """Read a model's outputs.

    Args:
        stream: what the process writes to; the arrays come next.
        entries: what the reply's header says of each output.

    Returns:
        The outputs.

    Raises:
        EOFError: if the stream ends before they do.
        SuspectError: if they are no outputs, or too many.
    """
    if len(entries) > MAX_OUTPUTS:
        raise SuspectError(f"has {len(entries)} outputs; at most {MAX_OUTPUTS} are read")
    left = MAX_BODY_BYTES
    outputs = []
    for entry in entries:
        output = _read_output(stream, entry, left)
        left -= 0 if output.array is None else output.array.nbytes
        outputs.append(output)
    return tuple(outputs)


def _read_output(stream: IO[bytes], entry: Any, left: int) -> Output:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        refuse("an output has no name")
    name, kind = entry["name"], entry.get("kind")
    if kind == "other" and isinstance(entry.get("what"), str):
        return Output(name, None, other=one_line(entry["what"], 200))
    shape = _shape(entry.get("shape"))
    if kind == "texts":
        texts = entry.get("texts")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            refuse("an output's texts are none")
        if len(texts) != math.prod(shape):
            refuse("an output's texts do not fit its shape")
        longest = max(map(len, texts), default=0)
        if longest > MAX_TEXT or sum(map(len, texts)) > MAX_TEXTS or longest * len(texts) > MAX_TABLE:
            refuse("an output's texts are too long")
        array: NDArray[np.object_] = np.empty(len(texts), np.object_)
        array[:] = texts
        return Output(name, None, texts=array.reshape(shape))
    if kind not in ("array", "maps") or not isinstance(entry.get("dtype"), str) or entry.get("dtype") not in DTYPES:
        refuse("an output is of no known kind")
    numbers = _numbers(stream, entry["dtype"], shape, left)
    return Output(name, numbers, columns=_columns(entry.get("keys"), shape) if kind == "maps" else None)


def _numbers(stream: IO[bytes], name: str, shape: tuple[int, ...], left: int) -> NDArray[Any]:
    dtype = np.dtype(name)
    size = math.prod(shape) * dtype.itemsize
    if size > left:
        refuse(f"its arrays are longer than {MAX_BODY_BYTES} bytes")
    return np.frombuffer(exactly(stream, size), dtype).reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    sound = isinstance(value, list) and 1 <= len(value) <= 16
    if not sound or not all(type(size) is int and 0 <= size < 2**40 for size in value):
        refuse("an output has no shape")
    return tuple(value)


def _columns(keys: Any, shape: tuple[int, ...]) -> tuple[int | str, ...]:
    if not isinstance(keys, list) or not all(type(key) in (int, str) for key in keys) or shape[1:] != (len(keys),):
        refuse("a map's keys do not fit its values")
    if any(type(key) is str and len(key) > MAX_TEXT for key in keys):
        refuse("a map's keys are too long")
    return tuple(keys)
