"""JSON with one spelling per value, read strictly: the same content gives the same bytes."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from fpverify.errors import FingerprintError

MAX_NESTING = 32
"""How many objects and lists may stand within each other in the metadata."""


def dumps(value: Any, where: str) -> str:
    """Write JSON: ASCII, keys sorted, no spaces, numbers as Python's shortest form that reads back the same.

    Args:
        value: JSON values; tuples are written as lists.
        where: its name, for the error.

    Returns:
        The text.

    Raises:
        FingerprintError: if it holds NaN, infinity or what is no JSON value.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise FingerprintError(f"{where} is nested too deeply") from error
    except (TypeError, ValueError) as error:
        raise FingerprintError(f"{where} must hold finite JSON values only: {error}") from error


def loads(text: str, where: str, nesting: int = MAX_NESTING) -> Any:
    """Read JSON without NaN, infinity or a key given twice.

    Args:
        text: what should be JSON.
        where: its name, for the error.
        nesting: how many objects and lists may stand within each other.

    Returns:
        The value.

    Raises:
        FingerprintError: if it is no such JSON.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise FingerprintError(f"{where} is nested too deeply") from error
    except ValueError as error:
        raise FingerprintError(f"{where} is not JSON that a fingerprint may hold: {error}") from error
    if _deeper_than(nesting, value):
        raise FingerprintError(f"{where} is nested too deeply: more than {nesting} levels")
    return value


def normalised(value: Any, where: str) -> Any:
    """Return a part of the metadata as it reads back from JSON: a deep copy, with tuples as lists.

    Args:
        value: JSON values.
        where: its name, for the error.

    Returns:
        The copy.

    Raises:
        FingerprintError: if it cannot be written or read back.
    """
    return loads(dumps(value, where), where, MAX_NESTING - 1)  # the metadata around it is a level, too


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r:.100} is given twice")
        found[name] = value
    return found


def _deeper_than(limit: int, value: Any) -> bool:
    # Level by level and not by recursion, which is what deep nesting would break, here and in whatever walks it later.
    level = [value]
    for _ in range(limit):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
    return bool(level)


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
