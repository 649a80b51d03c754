"""The study's tables: what became of each kind of suspect; those that compare methods lie beside this module."""

from collections.abc import Sequence
from statistics import mean, median

from fpverify_generator.categories import CATEGORIES
from fpverify_generator.study_report.comparisons import ablation, methods, verdicts
from fpverify_generator.study_report.rows import Row
from fpverify_generator.study_report.table import (
    NOTHING,
    Table,
    budgets,
    by_method,
    called,
    rejected_in,
    spread,
    unjudged,
)


def all_tables(rows: Sequence[Row]) -> list[Table]:
    """Return every table of a study."""
    return [
        methods(rows, everything=False),
        attacks(rows),
        verdicts(rows),
        unrelated(rows),
        ablation(rows),
        retention(rows),
        methods(rows, everything=True),
    ]


def attacks(rows: Sequence[Row]) -> Table:
    """Return what is left of the main method's fingerprint after each attack, and in unrelated models."""
    most, own = budgets(rows)[-1], [row for row in rows if row.group == "cem"]
    names = dict.fromkeys((row.category or "", row.attack or "") for row in own if row.kind == "derived")
    lines = []
    for category, attack in sorted(names, key=lambda pair: CATEGORIES.index(pair[0])):
        some = [row for row in own if row.attack == attack]
        elsewhere = sum(row.accuracy is None for row in some)
        keeps = f"{sum(row.keeps_accuracy for row in some)} of {len(some)}"
        accuracy = spread([row.accuracy for row in some if row.accuracy is not None], percent=True)
        if elsewhere:
            accuracy = NOTHING if elsewhere == len(some) else accuracy
            keeps = "other classes" if elsewhere == len(some) else f"{keeps}; {elsewhere} with other classes"
        queries = f"{median(row.attack_queries for row in some):.0f}"
        seconds = f"{median(row.attack_seconds for row in some):.1f}"
        lines.append((category, attack, accuracy, keeps, *_fate(some, most), queries, seconds))
    for cell in dict.fromkeys(row.cell or "" for row in own if row.kind == "unrelated"):
        some = [row for row in own if row.cell == cell]
        accuracy = spread([row.accuracy for row in some], percent=True)
        lines.append(("unrelated", cell, accuracy, NOTHING, *_fate(some, most), NOTHING, NOTHING))
    header = ("category", "attack", "accuracy", "keeps it", "retention", "called derived", "queries", "seconds")
    note = f"Minimum / median / maximum over suspects and seeds, at {most} queries; queries and seconds are medians."
    return Table("attacks", "CEM after each attack, and on unrelated models.", note, header, tuple(lines))


def _fate(some: Sequence[Row], queries: str) -> tuple[str, str]:
    return spread([row.scores[queries] for row in some]), f"{called(some, 'derived', queries)} of {len(some)}"


def retention(rows: Sequence[Row]) -> Table:
    """Return the median statistic of each method after each attack."""
    most, own = budgets(rows)[-1], by_method(rows, "cem", "baseline")
    names = dict.fromkeys((row.category or "unrelated", row.attack or row.cell or "") for row in rows)
    order = (*CATEGORIES, "unrelated")
    lines = []
    for _, name in sorted(names, key=lambda pair: order.index(pair[0])):
        cells = []
        for some in own.values():
            values = [row.scores[most] for row in some if (row.attack or row.cell) == name]
            known = [value for value in values if value is not None]
            cells.append(f"{median(known):.2f}" if known else NOTHING)
        lines.append((name, *cells))
    note = f"Median over suspects and seeds at {most} queries; SAC's statistic is a similarity, not a retention."
    return Table("retention", "Every method after every attack.", note, ("suspect", *own), tuple(lines))


def unrelated(rows: Sequence[Row]) -> Table:
    """Return how each method treats each kind of unrelated model."""
    most, lines = budgets(rows)[-1], []
    for name, own in by_method(rows, "cem", "baseline").items():
        for cell in dict.fromkeys(row.cell or "" for row in own if row.kind == "unrelated"):
            some = [row for row in own if row.cell == cell]
            values = [value for row in some if (value := row.scores[most]) is not None]
            figures = (f"{mean(values):.2f}", f"{max(values):.2f}") if values else (NOTHING, NOTHING)
            fate = _level(some, most) if some[0].verdicts else (NOTHING,) * 4
            lines.append((name, cell, str(len(some)), str(unjudged(some, most)), *figures, *fate))
    header = (
        *("method", "unrelated models", "number", "not judged", "mean", "highest"),
        *("p <= 0.05", "derived", "inconclusive", "unrelated"),
    )
    note = (
        f"At {most} queries, over all seeds. The level holds in a group where p <= 0.05 of at most 5 % of its models, "
        "up to two standard errors; the last columns are the verdicts."
    )
    return Table(
        "unrelated", "Unrelated models by group: the level and the verdicts in each.", note, header, tuple(lines)
    )


def _level(some: Sequence[Row], queries: str) -> tuple[str, ...]:
    """Return how often a group's models are rejected as unrelated at the level 0.05, and how often each verdict is."""
    rejected = len(rejected_in(some, queries)) / len(some)
    verdicts = (
        f"{called(some, verdict, queries) / len(some):.1%}" for verdict in ("derived", "inconclusive", "unrelated")
    )
    return (f"{rejected:.1%}", *verdicts)
