"""Verifications as CSV: a line for each suspect and fingerprint."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from fpverify.reports.of_result import limits_of
from fpverify.result import Judged, Result
from fpverify.text import one_line

COLUMNS = (
    "suspect",
    "suspect_sha256",
    "fingerprint",
    "fingerprint_sha256",
    "outcome",
    "kept",
    "queries",
    "retention",
    "cut",
    "p_value",
    "corrected_p_value",
    "q_value",
    "reason",
    "notes",
)
"""Names of the columns; `outcome` is a verdict or `no verdict`, `reason` says why, and `notes` what limits it."""


def result(result: Result) -> str:
    """Return a verification as a header and a line."""
    return "".join(many([judged_of(result)]))


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield verifications as a header, and a line for each."""
    yield _line(COLUMNS)
    for one in judged:
        yield _line([_harmless(value) for value in record(one).values()])


def _line(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def judged_of(result: Result) -> Judged:
    """Return a verification as one of many."""
    return Judged(result.suspect.name, result.fingerprint.path or result.fingerprint.sha256, result)


def record(one: Judged) -> dict[str, Any]:
    """Return the columns of a verification; rates are fractions, None where there is no verdict."""
    result = one.result
    known: dict[str, Any] = dict.fromkeys(COLUMNS)
    known |= {"suspect": one.suspect, "fingerprint": one.fingerprint, "outcome": one.outcome, "reason": one.error}
    if result is None:
        return known
    return known | {
        "suspect_sha256": result.suspect.sha256,
        "fingerprint_sha256": result.fingerprint.sha256,
        "kept": result.kept,
        "queries": result.queries,
        "retention": result.retention,
        "cut": result.cut,
        "p_value": result.p_value,
        "corrected_p_value": None if result.correction is None else result.correction.p_value,
        "q_value": result.q_value,
        "reason": result.reason,
        "notes": notes_of(one),
    }


def notes_of(one: Judged) -> str:
    """Return what a verdict rests on and what limits it, as sentences; empty without one."""
    return "" if one.result is None else " ".join(limits_of(one.result))


def explained(one: Judged) -> str:
    """Return why there is this verdict, or none, and what limits it."""
    reason = one.error if one.result is None else one.result.reason
    return " ".join(filter(None, [reason, notes_of(one)]))


def _harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: names are those of a stranger's files."""
    if not isinstance(value, str):
        return value
    text = one_line(value, 4000)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
