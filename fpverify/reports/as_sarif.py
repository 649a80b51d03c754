"""Verifications as SARIF 2.1.0, which code scanning services show.

Source:
    OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from fpverify.reports.as_csv import explained, judged_of, record
from fpverify.result import NO_VERDICT, Judged, Result, Verdict
from fpverify.text import one_line
from fpverify.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
"""The format's JSON Schema."""

RULES = {
    Verdict.DERIVED.value: ("error", "The model's answers fit a copy of the fingerprint's source."),
    Verdict.INCONCLUSIVE.value: ("warning", "The evidence does not decide whether the model is a copy."),
    NO_VERDICT: ("warning", "The model could not be judged, so nothing is shown about it."),
    Verdict.UNRELATED.value: ("none", "The model's answers do not fit a copy of the fingerprint's source."),
}
"""Outcome -> level of a finding, and what it means."""


def result(result: Result) -> str:
    """Return a verification as a run."""
    return "".join(many([judged_of(result)]))


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield verifications as the findings of one run."""
    names = list(RULES)
    driver = {
        "name": "fpverify",
        "semanticVersion": __version__,
        "rules": [
            {
                "id": _rule(name),
                "shortDescription": {"text": text},
                "defaultConfiguration": {"level": level},
            }
            for name, (level, text) in RULES.items()
        ],
    }
    run = {"tool": {"driver": driver}, "results": [_finding(one, names.index(one.outcome)) for one in judged]}
    yield json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _finding(one: Judged, rule: int) -> dict[str, Any]:
    level = RULES[one.outcome][0]
    return {
        "ruleId": _rule(one.outcome),
        "ruleIndex": rule,
        "level": level,
        "kind": "fail" if level != "none" else "pass",
        "message": {"text": one_line(f"{one.outcome}: {explained(one)}", 4000)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(one.suspect)}}}],
        "properties": {name: value for name, value in record(one).items() if value is not None},
    }


def _uri(path: str) -> str:
    """Return a path as a part of an address; what is no Unicode in it is escaped byte by byte."""
    return quote(path.replace("\\", "/").encode("utf-8", "surrogatepass"))


def _rule(outcome: str) -> str:
    return f"fpverify/{outcome.replace(' ', '-')}"
