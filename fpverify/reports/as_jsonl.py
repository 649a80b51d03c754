"""Verifications as JSON lines: an object for each suspect and fingerprint."""

import json
from collections.abc import Iterable

from fpverify.reports.as_csv import judged_of
from fpverify.result import Judged, Result


def result(result: Result) -> str:
    """Return a verification as a line."""
    return many([judged_of(result)])


def many(judged: Iterable[Judged]) -> str:
    """Return verifications as lines: the result as `formats/result-1.schema.json` says, or null and the error."""
    return "".join(line(one) for one in judged)


def line(one: Judged) -> str:
    """Return a verification as a line."""
    document = {
        "suspect": one.suspect,
        "fingerprint": one.fingerprint,
        "outcome": one.outcome,
        "error": one.error or None,
        "result": None if one.result is None else one.result.to_dict(),
    }
    return json.dumps(document, allow_nan=False) + "\n"
