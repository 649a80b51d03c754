"""What a report says, whatever its format: a headline, sentences, and sections of names and texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fpverify.contract import Origin, SuspectContract

Rows: TypeAlias = Sequence[tuple[str, str]]
"""Names and texts; a name that begins with spaces belongs to the one above."""


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str
    """Its heading."""
    rows: Rows = ()
    """Names with texts."""
    sentences: Sequence[str] = ()
    """Sentences in place of rows."""


@dataclass(frozen=True)
class Letter:
    """A report."""

    headline: str
    """What it says, in one line."""
    said: Sequence[str]
    """The sentences that belong to it."""
    sections: Sequence[Section]
    """Everything that it rests on."""


def pairs(values: Any) -> str:
    """Return a mapping as "name value, …", sorted."""
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def ranges(stated: Mapping[str, tuple[float, float]]) -> str:
    """Return the ranges in which the training of null models varied, as a fingerprint states them."""
    if not stated:
        return "the fingerprint does not say"
    texts = {name: f"{low:g}" if low == high else f"{low:g} to {high:g}" for name, (low, high) in stated.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in sorted(texts.items()))


def contract_rows(contract: SuspectContract) -> Rows:
    """Return what a suspect expects, each field with its origin."""
    size = f"{contract.height or '?'} x {contract.width or '?'} pixels"
    by = contract.origins
    texts = [
        ("input", f"{contract.input!r} of type {contract.type}", by["input"]),
        ("batch", "any" if contract.batch is None else str(contract.batch), by["batch"]),
        ("layout", _open("layout", contract), by["layout"]),
        ("channels", _open("channels", contract), by["channels"]),
        ("size", size, max(by["height"], by["width"], key=_doubt)),
        ("values", str(contract.values), by["values"]),
        ("output", _output(contract), by["output"]),
        ("classes", _class_list(contract), by["classes"]),
    ]
    fields = [(f"  {name}", f"{text} ({origin})") for name, text, origin in texts]
    return [("expects", "(in brackets: where each field comes from)"), *fields]


def _doubt(origin: Origin) -> int:
    return list(Origin).index(origin)


def _open(name: str, contract: SuspectContract) -> str:
    value = getattr(contract, name)
    readings = " or ".join(map(str, contract.alternatives.get(name, ())))
    if value is None:
        return readings or "?"
    return f"{value}, or else {readings}" if readings and name != "channels" else str(value)


def _output(contract: SuspectContract) -> str:
    name = "the one that is an answer" if contract.output is None else repr(contract.output)
    return name if contract.reading is None else f"{name}, read as {contract.reading}"


def _class_list(contract: SuspectContract) -> str:
    if contract.classes is None:
        named = contract.origins["classes"] is Origin.FILE
        return "named by its output" if named else "those of the fingerprint in its order, unless its output names them"
    return f"{len(contract.classes)}: {', '.join(contract.classes[:20])}"
