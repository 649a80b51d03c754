"""Verifications as JUnit's XML, which CI systems show as tests.

Source:
    The schema `junit-10.xsd` of Jenkins' xUnit plugin.
"""

import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from fpverify.reports.as_csv import explained, judged_of
from fpverify.result import NO_VERDICT, Judged, Result, Verdict
from fpverify.text import one_line


def result(result: Result) -> str:
    """Return a verification as a test."""
    return many([judged_of(result)])


def many(judged: Iterable[Judged]) -> str:
    """Return verifications as test cases, a suite for each fingerprint.

    A derived suspect is a failure, an inconclusive one is skipped, and one without a verdict is an error.
    """
    every = list(judged)
    suites = dict.fromkeys(one.fingerprint for one in every)
    body = "".join(_suite(name, [one for one in every if one.fingerprint == name]) for name in suites)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="fpverify"{_counts(every, skipped=False)}>\n{body}</testsuites>\n'
    )


def _suite(name: str, judged: Sequence[Judged]) -> str:
    cases = "".join(_case(one) for one in judged)
    return f"  <testsuite name={_quoted(name or 'no fingerprint')}{_counts(judged)}>\n{cases}  </testsuite>\n"


def _counts(judged: Sequence[Judged], skipped: bool = True) -> str:
    """Return how many there are of each outcome; the element around all suites has no `skipped`."""
    outcomes = [one.outcome for one in judged]
    counted = {
        "tests": len(outcomes),
        "failures": outcomes.count(Verdict.DERIVED),
        "errors": outcomes.count(NO_VERDICT),
        "skipped": outcomes.count(Verdict.INCONCLUSIVE),
    }
    if not skipped:
        del counted["skipped"]
    seconds = sum(one.result.seconds for one in judged if one.result is not None)
    return "".join(f' {name}="{count}"' for name, count in counted.items()) + f' time="{seconds:.3f}"'


def _case(one: Judged) -> str:
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
    return f"{name}>\n      {inside}\n    </testcase>\n"


def _quoted(text: str) -> str:
    return quoteattr(_plain(text))


def _plain(text: str) -> str:
    """Return a text on one line without characters that XML forbids."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", one_line(text, 4000))
