"""What reports and inspections share: tables of names and texts, JSON, and how a suspect's contract is shown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from fpverify.plaintext import one_line
from fpverify.suspects import Origin, SuspectContract

Rows: TypeAlias = Sequence[tuple[str, str]]


def pairs(values: Any) -> str:
    """Return a mapping as "name value, …", sorted."""
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def ranges(stated: Mapping[str, tuple[float, float]]) -> str:
    """Return the ranges in which the training of null models varied, as a fingerprint states them."""
    if not stated:
        return "the fingerprint does not say"
    texts = {name: f"{low:g}" if low == high else f"{low:g} to {high:g}" for name, (low, high) in stated.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in sorted(texts.items()))


def table(rows: Rows) -> str:
    """Return names and texts as lines, the texts aligned."""
    shown = [(" " * (len(name) - len(name.lstrip())) + one_line(name, 40), one_line(text, 2000)) for name, text in rows]
    width = max(len(name) for name, _ in shown)
    return "".join(f"  {name:<{width}}  {text}\n" for name, text in shown)


def json_text(value: dict[str, Any]) -> str:
    """Return one JSON object and a line end."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


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
    readings = " or ".join(map(str, contract.readings.get(name, ())))
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
