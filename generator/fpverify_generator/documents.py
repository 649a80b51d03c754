"""Turns documents of JSON or TOML into dataclasses, strictly: no value is converted, no field is ignored."""

from collections.abc import Iterator
from typing import Any

import cattrs
import cattrs.v


class WrongTypeError(TypeError):
    """A value is not of its field's type."""

    def __init__(self, wanted: str, value: object) -> None:
        """State it.

        Args:
            wanted: the type, in words.
            value: what is there instead.
        """
        super().__init__(f"expected {wanted}, found {value!r:.100}")
        self.wanted, self.value = wanted, value


def strictly(value: Any, kind: Any) -> Any:
    """Return a value if it has the type: cattrs would turn "5" into 5, and True into 1."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WrongTypeError(getattr(kind, "__name__", "a number"), value)
    return value


def strict_converter() -> cattrs.Converter:
    """Return a converter that refuses unknown fields and values of another type; a whole number is a float, too."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, str):
        converter.register_structure_hook(kind, strictly)
    converter.register_structure_hook(float, lambda value, _: float(strictly(value, float | int)))
    return converter


def in_words(error: BaseException, kind: type | None) -> str:
    """Return what is wrong with one value, in words."""
    return str(error) if isinstance(error, WrongTypeError) else cattrs.v.format_exception(error, kind)


def faults(error: BaseException, where: str = "") -> Iterator[tuple[str, BaseException]]:
    """Return every fault that a converter found, and its place: fields and keys, with points between them."""
    if isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        placed, others = error.group_exceptions()
        for inner, note in placed:
            step = note.name if isinstance(note, cattrs.AttributeValidationNote) else str(note.index)
            yield from faults(inner, f"{where}.{step}" if where else step)
        for inner in others:
            yield from faults(inner, where)
    else:
        yield where, error
