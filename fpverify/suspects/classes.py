"""Class lists: what a suspect's answers are called, and which of the fingerprint's classes they are."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.text import one_line

METADATA_KEYS = ("classes", "names", "labels", "class_names", "class_labels", "id2label")
"""Metadata entries in which exporters write class names."""

MAX_LIST = 2**20
"""Characters of a metadata entry that is read as a class list."""

NUMBERED = re.compile(r"""(?<!\d)(\d{1,9})\s*:\s*('[^'\\]*'|"[^"\\]*")""")
"""A number and a quoted name, as in Python's `{0: 'cat', 1: 'dog'}`; its time grows with the text's length alone."""

MAX_FOLDED = 1000
"""Characters of a name that is compared in all its spellings; a longer one is compared as it is."""

SEPARATORS = re.compile(r"[\s_-]+")
"""What may stand between the words of a name."""

OUTSIDE = -1
"""The label of an answer that is none of the fingerprint's classes."""

NO_LABEL = 2**31
"""Stands where there is no answer: no class, and no refusal."""

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
        if key.lower() in METADATA_KEYS and len(text) <= MAX_LIST and (names := _names(text)):
            return names
    return None


def _names(text: str) -> tuple[str, ...] | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        # Python's own notation; it is matched, not evaluated: the text is untrusted.
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
    found = Names(fingerprint)
    labels = [OUTSIDE if (label := found.place(name)) is None else label for name in suspect]
    inside = [label for label in labels if label != OUTSIDE]
    if not inside:
        theirs, ours = listed(suspect), listed(fingerprint)
        raise SuspectError(
            f"its classes ({theirs}) and the fingerprint's ({ours}) have no name in common", hint="give --classes"
        )
    if len(set(inside)) < len(inside):
        label = Counter(inside).most_common(1)[0][0]
        both = listed([name for name, other in zip(suspect, labels, strict=True) if other == label])
        raise SuspectError(
            f"two of its classes have the name of one class of the fingerprint ({both})", hint="give --classes"
        )
    return np.array(labels, np.int64)


class Names:
    """Finds names whatever their case, white space, `_` and `-`; a name that is there as it is comes first."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._exact = {name: place for place, name in enumerate(names)}
        self._folded: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            self._folded.setdefault(fold(name), []).append(place)

    def place(self, name: str) -> int | None:
        """Return where a name stands.

        Args:
            name: in any spelling.

        Returns:
            Its position, or None if it is not there.

        Raises:
            SuspectError: if it can be two of the names.
        """
        if name in self._exact:
            return self._exact[name]
        places = self._folded.get(fold(name), [])
        if len(places) > 1:
            both = listed([self._names[place] for place in places])
            raise SuspectError(
                f"names a class {one_line(name, 80)!r}, which can be any of {both}", hint="give --classes"
            )
        return places[0] if places else None

    def together(self) -> tuple[str, ...]:
        """Return the first names that differ in nothing but case, white space, `_` and `-`; empty if there are none."""
        groups = (places for places in self._folded.values() if len(places) > 1)
        return tuple(self._names[place] for place in next(groups, []))


def is_known(name: str, fingerprint: Sequence[str]) -> bool:
    """Say whether a name is one of the fingerprint's classes."""
    return Names(fingerprint).place(name) is not None


def renamed_to(names: Sequence[int | str], renamed: Mapping[str, str]) -> list[int | str | None]:
    """Return what the auditor says that a suspect's names mean.

    Args:
        names: the suspect's: texts, or the numbers that it answers with.
        renamed: from the suspect's names to the fingerprint's; a number as its digits.

    Returns:
        The names as they are if `renamed` has none of them. Otherwise those that it has, renamed; a text that it does
        not have as it is, unless another name is renamed to it; and None for every other one.

    Raises:
        SuspectError: if a name can be two of those in `renamed`.
    """
    keys = list(renamed)
    found = Names(keys)
    places = [found.place(str(name)) for name in names]
    if all(place is None for place in places):
        return list(names)
    taken = set(map(fold, renamed.values()))
    return [
        renamed[keys[place]]
        if place is not None
        else name
        if isinstance(name, str) and fold(name) not in taken
        else None
        for name, place in zip(names, places, strict=True)
    ]


def is_numbering(keys: Sequence[str]) -> bool:
    """Say whether texts are the numbers from 0 on, in any order: an object with such keys is a list."""
    return sorted(keys) == sorted(map(str, range(len(keys))))


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
    known = _numbers(names)
    if REFUSAL in numbers and REFUSAL not in known:
        labels = np.full(len(numbers), OUTSIDE, np.int64)
        said = [number for number in numbers if number != REFUSAL]
        if said:
            labels[np.array(numbers) != REFUSAL] = match_values(said, classes, names)
        return labels
    if classes is not None:
        listed_numbers = _numbers(classes)
        if not all(0 <= number < len(classes) for number in numbers) and listed_numbers.keys() >= set(numbers):
            # Not positions in the list, but names in it.
            return match_classes(classes, names)[[listed_numbers[number] for number in numbers]]
        return _at(numbers, match_classes(classes, names))
    by_name = [known[number] for number in numbers] if known.keys() >= set(numbers) else None
    if by_name is None:
        return _at(numbers, np.arange(len(names), dtype=np.int64))
    # Classes that are themselves called by numbers: where position and name say different things, neither is guessed.
    if by_name != numbers and all(0 <= number < len(names) for number in numbers):
        raise SuspectError(
            "answers with numbers that are names of some classes and places of others", hint="give --classes"
        )
    return np.array(by_name, np.int64)


def _at(numbers: Sequence[int], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    if not all(0 <= number < len(labels) for number in numbers):
        raise SuspectError(
            f"must answer labels 0 to {len(labels) - 1}",
            found=f"{min(numbers)} to {max(numbers)}",
            hint="if its labels do not begin at 0, say what each means in --classes FILE, as a JSON object such as "
            '{"1": "cat", "2": "dog"}',
        )
    return labels[np.array(numbers, np.int64)]


def fold(name: str) -> str:
    """Return a name without what spellings differ in.

    Args:
        name: of a class.

    Returns:
        It in lower case, without white space, `_` and `-`. Between two digits they become one space, and a minus sign
        before a number stays: 1_0 is not 10, and -1 is not 1.
    """
    if len(name) > MAX_FOLDED:
        return name  # normalising may take the square of its length
    text = unicodedata.normalize("NFC", name).strip().casefold()

    def joined(found: re.Match[str]) -> str:
        before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
        if not before:
            return "-" if found.group() == "-" and after.isdigit() else ""
        return " " if before.isdigit() and after.isdigit() else ""

    return SEPARATORS.sub(joined, text)


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, for messages."""
    return one_line(", ".join(names[:5]), 120) + (" …" if len(names) > 5 else "")


def _numbers(names: Sequence[str]) -> dict[int, int]:
    """Return the position of each name that is a whole number, by that number."""
    texts = ((name.strip(), place) for place, name in enumerate(names))
    return {int(text): place for text, place in texts if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text)}
