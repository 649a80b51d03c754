"""Verifications as JUnit's XML, which CI systems show as tests.

Source:
    The schema `junit-10.xsd` of Jenkins' xUnit plugin.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from fpverify.reports.as_csv import explained, judged_of
from fpverify.result import NO_VERDICT, Judged, Result, Verdict
from fpverify.text import one_line


def result(result: Result) -> str:
    """Return a verification as a test."""
    return "".join(many([judged_of(result)]))


@dataclass(frozen=True)
class _Case:
    """A verification as a test case; short, since all are counted before the first is written."""

    outcome: str
    seconds: float
    text: str


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield verifications as test cases, a suite for each fingerprint.

    A derived suspect is a failure, an inconclusive one is skipped, and one without a verdict is an error.
    """
    suites: dict[str, list[_Case]] = {}
    for one in judged:
        suites.setdefault(one.fingerprint, []).append(_case(one))
    counts = _counts([case for cases in suites.values() for case in cases], skipped=False)
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="fpverify"{counts}>\n'
    for name, cases in suites.items():
        yield f"  <testsuite name={_quoted(name or 'no fingerprint')}{_counts(cases)}>\n"
        yield from (case.text for case in cases)
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _counts(cases: Sequence[_Case], skipped: bool = True) -> str:
    """Return how many there are of each outcome; the element around all suites has no `skipped`."""
    outcomes = [case.outcome for case in cases]
    counted = {
        "tests": len(outcomes),
        "failures": outcomes.count(Verdict.DERIVED),
        "errors": outcomes.count(NO_VERDICT),
        "skipped": outcomes.count(Verdict.INCONCLUSIVE),
    }
    if not skipped:
        del counted["skipped"]
    seconds = sum(case.seconds for case in cases)
    return "".join(f' {name}="{count}"' for name, count in counted.items()) + f' time="{seconds:.3f}"'


def _case(one: Judged) -> _Case:
    reason = explained(one)
    seconds = 0.0 if one.result is None else one.result.seconds
    name = f"    <testcase classname={_quoted(one.fingerprint or 'fpverify')} name={_quoted(one.suspect)}"
    name += f' time="{seconds:.3f}"'
    message = _quoted(reason)
    inside = {
        Verdict.DERIVED: f'<failure type="derived" message={message}/>',
        Verdict.INCONCLUSIVE: f"<skipped message={message}/>",
        NO_VERDICT: f'<error type="no verdict" message={message}/>',
        Verdict.UNRELATED: f"<system-out>{escape(_plain(reason))}</system-out>",
    }[one.outcome]
    return _Case(one.outcome, seconds, f"{name}>\n      {inside}\n    </testcase>\n")


def _quoted(text: str) -> str:
    return quoteattr(_plain(text))


def _plain(text: str) -> str:
    """Return a text on one line without characters that XML forbids."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", one_line(text, 4000))
