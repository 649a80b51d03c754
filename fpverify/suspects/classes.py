"""Class lists: what a suspect's answers are called, and which of the fingerprint's classes they are."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.plaintext import one_line

METADATA_KEYS = ("classes", "names", "labels", "class_names", "class_labels", "id2label")
"""Metadata entries in which exporters write class names."""

LONGEST = 2**20
"""Characters of a metadata entry that is read as a class list."""

NUMBERED = re.compile(r"""(\d+)\s*:\s*('[^'\\]*'|"[^"\\]*")""")
"""A number and a quoted name, as in Python's `{0: 'cat', 1: 'dog'}`."""

OUTSIDE = -1
"""The label of an answer that is none of the fingerprint's classes."""

REFUSAL = -1
"""The number by which a suspect that answers labels refuses, unless a class is called so."""


def classes_in_metadata(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the class names that a model's metadata holds.

    Args:
        metadata: free entries; a list of names, or a map from numbers to names, as JSON or as Python writes it, or
            names with commas between.

    Returns:
        The names in the order of the outputs, or None if there are none.
    """
    for key, text in sorted(metadata.items()):
        if key.lower() in METADATA_KEYS and len(text) <= LONGEST and (names := _names(text)):
            return names
    return None


def _names(text: str) -> tuple[str, ...] | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        # Python's own notation; it is matched, not evaluated: the text is a stranger's.
        pairs = {key: name[1:-1] for key, name in NUMBERED.findall(text)}
        value = pairs or [part.strip() for part in text.split(",")]
    if isinstance(value, dict):
        if set(value) != {str(number) for number in range(len(value))}:
            return None
        value = [value[str(number)] for number in range(len(value))]
    sound = isinstance(value, list) and len(value) >= 2 and all(type(name) in (str, int) for name in value)
    names = tuple(map(str, value)) if sound else ()
    return names if names and len(set(names)) == len(names) else None


def match_classes(suspect: Sequence[str], fingerprint: Sequence[str]) -> NDArray[np.int64]:
    """Match class names.

    Args:
        suspect: `(m,)` names in the suspect's order.
        fingerprint: `(k,)` names in the fingerprint's order.

    Returns:
        `(m,)` the fingerprint's label of each of the suspect's classes, `OUTSIDE` where it has none.

    Raises:
        SuspectError: if the lists have nothing in common, or two names fall together.
    """
    known = _folded(fingerprint)
    labels = [known.get(_fold(name), OUTSIDE) for name in suspect]
    inside = [label for label in labels if label != OUTSIDE]
    if not inside:
        theirs, ours = _listed(suspect), _listed(fingerprint)
        raise SuspectError(
            f"its classes ({theirs}) and the fingerprint's ({ours}) have no name in common; give --classes"
        )
    if len(set(inside)) < len(inside):
        raise SuspectError("two of its classes have the name of one class of the fingerprint; give --classes")
    return np.array(labels, np.int64)


def is_known(name: str, fingerprint: Sequence[str]) -> bool:
    """Say whether a name is one of the fingerprint's classes."""
    return _fold(name) in _folded(fingerprint)


def match_values(values: Sequence[int | str], classes: Sequence[str] | None, names: Sequence[str]) -> NDArray[np.int64]:
    """Match the values by which a model names classes: names, or numbers.

    Args:
        values: the different values, as in a label output or in the keys of a map.
        classes: the suspect's own class list, if known, which numbers then count in.
        names: the fingerprint's classes.

    Returns:
        The fingerprint's label of each value, `OUTSIDE` where it has none or is `REFUSAL`.

    Raises:
        SuspectError: if a number can mean two classes, or lies outside every list.
    """
    if any(isinstance(value, str) for value in values):
        return match_classes([str(value) for value in values], names)
    numbers = [int(value) for value in values]
    if REFUSAL in numbers and str(REFUSAL) not in _folded(names):
        labels = np.full(len(numbers), OUTSIDE, np.int64)
        said = [number for number in numbers if number != REFUSAL]
        if said:
            labels[np.array(numbers) != REFUSAL] = match_values(said, classes, names)
        return labels
    if classes is not None:
        return _at(numbers, match_classes(classes, names))
    known = _folded(names)
    by_name = [known[str(number)] for number in numbers] if all(str(number) in known for number in numbers) else None
    if by_name is None:
        return _at(numbers, np.arange(len(names), dtype=np.int64))
    # Classes that are themselves called by numbers: where position and name say different things, neither is guessed.
    if by_name != numbers and all(0 <= number < len(names) for number in numbers):
        raise SuspectError("answers with numbers that are names of some classes and places of others; give --classes")
    return np.array(by_name, np.int64)


def _at(numbers: Sequence[int], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    if not all(0 <= number < len(labels) for number in numbers):
        raise SuspectError(_out_of_range(numbers, len(labels)))
    return labels[np.array(numbers, np.int64)]


def _out_of_range(numbers: Sequence[int], count: int) -> str:
    return f"must answer labels 0 to {count - 1}, found {min(numbers)} to {max(numbers)}"


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()


def _folded(names: Sequence[str]) -> dict[str, int]:
    return {_fold(name): label for label, name in enumerate(names)}


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names[:5]), 120) + (" …" if len(names) > 5 else "")
