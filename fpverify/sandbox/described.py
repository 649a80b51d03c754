"""Says, in the suspect's process, what a model returned: arrays, texts or maps, and no more than may be sent."""

from typing import Any

import numpy as np

MAX_REPLY_BYTES = 2**27
"""Bytes of all outputs that are sent; of those that do not fit the shape alone."""

MAX_TEXT = 1000
"""Characters of one text that are sent."""

MAX_TEXTS = 2**20
"""Characters of all texts of an output."""


def rows_of(answer: Any, asked: int, kept: int) -> Any:
    """Return an output's rows without the padding; what has no rows, as it is."""
    if isinstance(answer, list):
        return answer[:kept] if len(answer) == asked else answer
    if not hasattr(answer, "dtype"):
        return answer
    if asked == 1 and (answer.ndim == 0 or answer.shape[0] != 1):
        answer = answer[None]  # a model for one image may leave its batch out
    return answer[:kept] if answer.ndim and answer.shape[0] == asked else answer


def describe(name: str, parts: list[Any], left: int) -> tuple[dict[str, Any], Any]:
    """Return an output's entry in the reply, and its array if it has one that fits into the bytes left."""
    entry: dict[str, Any] = {"name": name}
    if all(isinstance(part, list) for part in parts):
        rows = [row for part in parts for row in part]
        if rows and all(isinstance(row, dict) for row in rows):
            return describe_maps(entry, rows, left)
        return other(entry, "sequence")
    if not all(isinstance(part, np.ndarray) for part in parts):
        return other(entry, type(parts[0]).__name__)
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1 or any(part.ndim == 0 for part in parts):
        if len(parts) > 1 and len(shapes) > 1:
            return other(entry, f"shapes that change between batches, {' and '.join(map(str, sorted(shapes)[:2]))}")
        return other(entry, "one number for all inputs")
    if sum(part.nbytes for part in parts) > left:
        return other(entry, f"an array of shape {(sum(map(len, parts)), *parts[0].shape[1:])}: too large for an answer")
    array = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if array.dtype == object or array.dtype.kind in "US":
        texts = [str(value)[:MAX_TEXT] for value in array.ravel()[:MAX_TEXTS].tolist()]
        if array.size > MAX_TEXTS or sum(map(len, texts)) > MAX_TEXTS:
            return other(entry, f"{array.size} texts, too long for an answer")
        return {**entry, "kind": "texts", "shape": list(array.shape), "texts": texts}, None
    return {**entry, "kind": "array", "dtype": array.dtype.str, "shape": list(array.shape)}, array


def describe_maps(entry: dict[str, Any], rows: list[dict[Any, Any]], left: int) -> tuple[dict[str, Any], Any]:
    """Return a sequence of maps, as scikit-learn's classifiers answer, as one matrix and the names of its columns."""
    keys = list(rows[0])
    if any(list(row) != keys for row in rows):
        return other(entry, "maps whose keys change between inputs")
    if sum(len(str(key)) + 4 for key in keys) > MAX_TEXTS or len(keys) * len(rows) * 8 > left:
        return other(entry, f"maps of {len(keys)} classes, too large for an answer")
    matrix = np.array([list(row.values()) for row in rows], np.float64).reshape(len(rows), len(keys))
    shown = [key if isinstance(key, int) else str(key)[:MAX_TEXT] for key in keys]
    return {**entry, "kind": "maps", "keys": shown, "dtype": matrix.dtype.str, "shape": list(matrix.shape)}, matrix


def other(entry: dict[str, Any], what: str) -> tuple[dict[str, Any], None]:
    """Return the entry of an output that is no answer."""
    return {**entry, "kind": "other", "what": what[:MAX_TEXT]}, None
