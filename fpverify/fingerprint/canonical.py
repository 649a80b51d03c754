"""JSON with one spelling per value, read strictly: the same content gives the same bytes."""

import json
from typing import Any, NoReturn

from fpverify.errors import FingerprintError


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


def loads(text: str, where: str) -> Any:
    """Read JSON without NaN, infinity or a key given twice.

    Args:
        text: what should be JSON.
        where: its name, for the error.

    Returns:
        The value.

    Raises:
        FingerprintError: if it is no such JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise FingerprintError(f"{where} is nested too deeply") from error
    except ValueError as error:
        raise FingerprintError(f"{where} is not JSON that a fingerprint may hold: {error}") from error


def normalised(value: Any, where: str) -> Any:
    """Return a value as it reads back from JSON: a deep copy, with tuples as lists.

    Args:
        value: JSON values.
        where: its name, for the error.

    Returns:
        The copy.

    Raises:
        FingerprintError: if it cannot be written or read back.
    """
    return loads(dumps(value, where), where)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.100} is given twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
