"""Verifications as JSON lines: an object for each suspect and fingerprint."""

import json
from collections.abc import Iterable, Iterator

from fpverify.reports.as_csv import judged_of
from fpverify.result import Judged, Result


def result(result: Result) -> str:
    """Return a verification as a line."""
    return line(judged_of(result))


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield verifications as lines: the result as `formats/result-1.schema.json` says, or null and the error."""
    return map(line, judged)


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
