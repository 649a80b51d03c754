"""One table: a title, how to read it, a header and lines; as Markdown and CSV; and what its cells say."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from fpverify_generator.study_report.merit import Estimate
from fpverify_generator.study_report.rows import Row

LEVEL = 0.05
"""The level that is checked in each group of unrelated models."""

NOTHING = "-"
"""A cell for which there is nothing to say."""


@dataclass(frozen=True)
class Table:
    """One table."""

    name: str
    """Of its files."""
    title: str
    """What it shows."""
    note: str
    """How to read it."""
    header: tuple[str, ...]
    """Names of the columns."""
    lines: tuple[tuple[str, ...], ...]
    """Cells as text."""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rows = [self.header, ("---",) * len(self.header), *self.lines]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
        return f"**{self.title}** {self.note}\n\n{body}\n"

    def csv(self) -> str:
        """Return the table as CSV."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *self.lines])
        return buffer.getvalue()


def budgets(rows: Sequence[Row]) -> list[str]:
    """Return the numbers of queries, from few to many."""
    return sorted(rows[0].scores, key=int)


def by_method(rows: Sequence[Row], *groups: str) -> dict[str, list[Row]]:
    """Return the rows of each method of some groups, in the order of their appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.group in groups:
            found.setdefault(row.method, []).append(row)
    return found


def shown(found: Estimate | None) -> str:
    """Return a figure with its interval as text."""
    if found is None:
        return "not judged"
    return f"{rounded(found.value)} ({rounded(found.interval.low)} to {rounded(found.interval.high)})"


def rounded(value: float) -> str:
    """Return a figure of merit to three places, or to as many as keep it apart from 1 and from 0."""
    if abs(value) < 1e-9:  # what subtraction leaves of nothing
        return "0.000"
    for digits in range(3, 7):
        text = f"{value:.{digits}f}"
        if abs(float(text)) not in (0, 1) or float(text) == value:
            break
    return text


def spread(values: Sequence[float | None], percent: bool = False) -> str:
    """Return minimum, median and maximum as text, and how many are not known."""
    known = [value for value in values if value is not None]
    if not known:
        return "not judged"
    cells = (min(known), median(known), max(known))
    text = " / ".join(f"{value:.1%}" if percent else f"{value:.2f}" for value in cells)
    lost = len(values) - len(known)
    return f"{text}; {lost} not judged" if lost else text


def unjudged(rows: Sequence[Row], queries: str) -> int:
    """Return how many suspects have no statistic."""
    return sum(row.scores.get(queries) is None for row in rows)


def called(rows: Sequence[Row], verdict: str, queries: str) -> int:
    """Return how many suspects got a verdict."""
    return sum((row.verdicts or {}).get(queries) == verdict for row in rows)


def rejected_in(rows: Sequence[Row], queries: str) -> list[Row]:
    """Return the suspects whose p-value of "unrelated" is at most 0.05."""
    return [row for row in rows if row.p_value is not None and row.p_value.get(queries, 1.0) <= LEVEL]
