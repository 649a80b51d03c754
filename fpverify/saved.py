"""Results that were saved as JSON: read back strictly, so that they can be shown in another format, or judged again."""

import json
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from fpverify.documents import load
from fpverify.errors import ResultError
from fpverify.result import NOT_ASKED, RESULT_FORMAT, Judged, Result
from fpverify.text import one_line

MAX_NUMBER = 1e300
"""Size of a number in a result; NaN and infinity are beyond it."""

MAX_BYTES = 2**26
"""Largest file: a result with the answers of a thousand models of a panel takes a megabyte."""

MAX_MANY = 2**30
"""Largest file with the rows of several suspects."""


def load_result(path: str | os.PathLike[str]) -> Result:
    """Read a result that `verify --format json` wrote.

    Args:
        path: the file.

    Returns:
        The result.

    Raises:
        ResultError: if it cannot be read, is none, or is of another version.
    """
    return load(path, "result", parse_result, ResultError, MAX_BYTES)


def parse_result(data: bytes) -> Result:
    """Read a result from JSON.

    Raises:
        ResultError: naming the field that is wrong.
    """
    document = _json(data)
    if isinstance(document, list):
        raise ResultError(
            "holds several verdicts", hint="take the 'result' of one row, or show all with fpverify report"
        )
    return result_from(document)


ROW = ("suspect", "fingerprint", "outcome", "error", "result")
"""Fields of a row."""


def load_judged(path: str | os.PathLike[str]) -> list[Judged] | Result:
    """Read what `verify` or `scan` wrote with `--format json` or `jsonl`: one result, or rows.

    Raises:
        ResultError: if it cannot be read, is none, or is of another version.
    """
    return load(path, "result", _parse_judged, ResultError, MAX_MANY)


def _parse_judged(data: bytes) -> list[Judged] | Result:
    lines = data.splitlines() if data.startswith(b'{"suspect"') else []
    if len(lines) > 1 and all(line.startswith(b'{"suspect"') for line in lines):  # JSON lines
        document: Any = [_json(line) for line in lines]
    else:
        document = _json(data)
    if isinstance(document, dict) and set(document) == set(ROW):
        document = [document]
    if not isinstance(document, list):
        return result_from(document)
    found = []
    for number, row in enumerate(document, 1):
        if not isinstance(row, dict) or set(row) != set(ROW):
            raise ResultError(where=f"row {number}", expected=f"an object with {', '.join(ROW)}")
        texts = [row["suspect"], row["fingerprint"], row["error"] or ""]
        if not all(isinstance(text, str) for text in texts):
            raise ResultError(where=f"row {number}", expected="texts as suspect, fingerprint and error")
        result = None if row["result"] is None else result_from(row["result"])
        one = Judged(texts[0], texts[1], result, texts[2])
        if one.outcome != row["outcome"]:
            raise ResultError(where=f"row {number}", expected=f"the outcome '{one.outcome}'")
        found.append(one)
    return found


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ResultError(f"not a result: no JSON ({one_line(str(error), 100)})") from error


def result_from(document: Any) -> Result:
    """Return a result from what `Result.to_dict` gave.

    Raises:
        ResultError: naming the field that is wrong.
    """
    if not isinstance(document, dict) or document.get("format") != RESULT_FORMAT:
        raise ResultError(where="format", expected=f"'{RESULT_FORMAT}'", hint="fpverify verify --format json writes it")
    found: Result = structured(Result, {name: value for name, value in document.items() if name != "format"}, "")
    _require_sense(found)
    return found


def _require_sense(found: Result) -> None:
    """Check what a report relies on."""
    given, classes = found.answers.given, found.fingerprint.classes
    shares = {"retention": found.retention, "threshold": found.threshold, "p_value": found.p_value}
    for name, value in {**shares, "q_value": found.q_value}.items():
        _require(0 <= value <= 1, name, "a number from 0 to 1", value)
    _require(
        1 <= found.queries <= found.fingerprint.keys and 0 <= found.kept <= found.queries,
        "kept",
        "0 to queries",
        found.kept,
    )
    right = len(given) == found.fingerprint.keys and all(NOT_ASKED <= label < classes for label in given)
    _require(right, "answers.given", f"a class for each of {found.fingerprint.keys} keys", f"{len(given)} values")
    _require(
        set(found.contract.origins) >= ORIGINS, "contract.origins", "an origin for each field", found.contract.origins
    )
    _require(found.probe is None or len(found.probe.candidates) > 0, "probe.candidates", "at least one", [])
    stopped = None if found.sequential is None else found.sequential.stopped
    _require(stopped in (None, *STOPPED), "sequential.stopped", f"one of {', '.join(STOPPED)}", stopped)


STOPPED = ("bound", "certain", "all keys", "queries spent")
"""Why asking key by key can stop."""

ORIGINS = {"input", "batch", "layout", "channels", "height", "width", "values", "output", "classes"}
"""The fields of a contract whose origin a report names."""


def structured(kind: Any, value: Any, where: str) -> Any:
    """Return JSON values as a dataclass, or what else a field's type says.

    Args:
        kind: a type: a dataclass, an enumeration, a tuple, a mapping, a union or a plain one.
        value: JSON.
        where: the field's name, for the error.

    Raises:
        ResultError: if the value is none of that type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return structured(next(one for one in arguments if one is not type(None)), value, where)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(value, dict), where, "an object", value)
        return {
            structured(arguments[0], name, where): structured(arguments[1], one, f"{where}.{name}")
            for name, one in value.items()
        }
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        names = [str(one.value) for one in kind]
        _require(value in names, where, f"one of {', '.join(names)}", value)
        return kind(value)
    if kind is float:
        _require(type(value) in (int, float) and abs(value) <= MAX_NUMBER, where, "a number", value)
        return float(value)
    _require(type(value) is kind, where, {int: "an integer", str: "a text", bool: "true or false"}[kind], value)
    return value


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _require(isinstance(value, list | tuple), where, "a list", value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    _require(len(arguments) == len(value), where, f"a list of {len(arguments)}", value)
    pairs = zip(arguments, value, strict=True)
    return tuple(structured(kind, one, f"{where}[{number}]") for number, (kind, one) in enumerate(pairs))


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), where or "result", "an object", value)
    hints, known = typing.get_type_hints(kind), fields(kind)
    inside = f"{where}." if where else ""
    # what is left out of a document is empty, such as the readings that were open before the verdict
    empty = {one.name for one in known if one.default_factory is dict or one.default is None}
    missing = [one.name for one in known if one.name not in value and one.name not in empty]
    unknown = [str(name) for name in value if name not in {one.name for one in known}]
    if missing or unknown:
        names = ", ".join([*(f"no {name}" for name in missing), *(f"an unknown {name}" for name in unknown)])
        raise ResultError(where=where or "result", expected="the fields of format 1", found=one_line(names, 200))
    return kind(**{name: structured(hints[name], one, f"{inside}{name}") for name, one in value.items()})


def _require(holds: bool, where: str, expected: str, found: Any) -> None:
    if not holds:
        raise ResultError(where=where, expected=expected, found=one_line(repr(found), 80))
