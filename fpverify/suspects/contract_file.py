"""Reads what an auditor says of a suspect: contract files (TOML or JSON), class lists."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fpverify.errors import PolicyError
from fpverify.files import regular_file_size
from fpverify.plaintext import one_line
from fpverify.suspects.contract import CHANNEL_ORDERS, LAYOUTS, READINGS

LARGEST_FILE = 2**24
"""Bytes of a contract file or a class list."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 2**16


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e30


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) in (1, 3) and all(map(_is_number, value))


def _is_divisors(value: Any) -> bool:
    return _is_numbers(value) and all(number > 0 for number in value)


def _is_names(value: Any) -> bool:
    names = isinstance(value, list | tuple) and len(value) >= 2 and all(isinstance(name, str) for name in value)
    return names and len(set(value)) == len(value)


def _is_renaming(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "input": (_is_text, "a name"),
    "layout": (lambda value: value in LAYOUTS, f"one of {', '.join(LAYOUTS)}"),
    "channels": (lambda value: value in CHANNEL_ORDERS, f"one of {', '.join(CHANNEL_ORDERS)}"),
    "height": (_is_size, "pixels, 1 to 65536"),
    "width": (_is_size, "pixels, 1 to 65536"),
    "low": (_is_number, "a number"),
    "high": (_is_number, "a number"),
    "mean": (_is_numbers, "a list of one or three numbers"),
    "std": (_is_divisors, "a list of one or three numbers above 0"),
    "output": (_is_text, "a name"),
    "reading": (lambda value: value in READINGS, f"one of {', '.join(READINGS)}"),
    "classes": (_is_names, "a list of at least two different names"),
    "renamed": (_is_renaming, "a table from the suspect's names to the fingerprint's"),
}
"""What a contract file may say, the check of each, and what it expects."""


def check_contract(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check what an auditor says.

    Args:
        options: fields of `FIELDS`.
        where: it was said, for errors.

    Returns:
        A copy, its lists as tuples.

    Raises:
        PolicyError: if a field is unknown or makes no sense.
    """
    for name, value in options.items():
        if name not in FIELDS:
            raise PolicyError(f"{where}: unknown field {name!r:.80}; known are {', '.join(FIELDS)}")
        sound, expected = FIELDS[name]
        if not sound(value):
            raise PolicyError(f"{where}: {name} must be {expected}, found {value!r:.100}")
    if options.get("low", 0.0) >= options.get("high", 1.0):
        raise PolicyError(f"{where}: low must be below high; both are needed unless the range is within 0 to 1")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def load_contract(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a contract file.

    Args:
        path: TOML, or JSON if the name ends in `.json`.

    Returns:
        Its fields, checked.

    Raises:
        PolicyError: if it cannot be read or used.
    """
    import tomllib  # most suspects come without a contract file

    text = _read(path)
    try:
        content = json.loads(text) if Path(path).suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: neither TOML nor, as *.json, JSON: {one_line(str(error), 200)}") from error
    if not isinstance(content, dict):
        raise PolicyError(f'{path}: must hold fields such as layout = "NCHW", found {type(content).__name__}')
    return check_contract(content, os.fspath(path))


def load_classes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a list of class names in the order of the suspect's outputs.

    Args:
        path: one name on each line, a JSON list, or, where the suspect has other names, a JSON object from its names
            to the fingerprint's.

    Returns:
        The fields `classes` and, of an object, `renamed`.

    Raises:
        PolicyError: if it cannot be read, or holds fewer than two names, or one twice.
    """
    text = _read(path)
    names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PolicyError(f"{path}: no JSON list of names: {one_line(str(error), 200)}") from error
    if isinstance(names, dict):
        return check_contract({"classes": list(names.values()), "renamed": names}, os.fspath(path))
    return check_contract({"classes": names}, os.fspath(path))


def _read(path: str | os.PathLike[str]) -> str:
    try:
        size = regular_file_size(path)
        if size > LARGEST_FILE:
            raise PolicyError(f"{path}: {size} bytes, at most {LARGEST_FILE} are expected")
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise PolicyError(f"{path}: cannot read it: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: must be UTF-8 text: {error.reason} at byte {error.start}") from error
