"""The study's tables: what became of each kind of suspect; those that compare methods lie beside this module."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from fpverify_generator.categories import CATEGORIES
from fpverify_generator.report.merit import MERITS, Estimate, difference, estimate, paired, roc_auc, samples_of
from fpverify_generator.report.rows import FEWER_STARTS, Row

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


def methods(rows: Sequence[Row], everything: bool) -> Table:
    """Return each method's figures of merit at each number of queries."""
    counts = budgets(rows)
    header = ["method", *(f"{merit}, {count} queries" for merit in MERITS for count in counts), "not judged"]
    lines = []
    for name, own in by_method(rows, "cem", "baseline").items():
        samples = {count: samples_of(own, count, everything) for count in counts}
        cells = [shown(estimate(samples[count], merit)) for merit in MERITS.values() for count in counts]
        lines.append((name, *cells, str(unjudged(own, counts[-1]))))
    which = "all attacks that could be judged" if everything else "attacks that keep the accuracy within 5 points"
    (main,) = by_method(rows, "cem").values()
    note = (
        "Mean over seeds, with the 95 % bootstrap interval over models; gap: lowest derived minus highest unrelated. "
        "No resample holds a model worse than the worst one seen, so a gap's interval reaches only upwards, and an "
        "area of 1 has none. A gap says little where all models keep nearly all keys, or none: read it with the area."
    )
    fewest = min(Counter(row.seed for row in main if row.kind == "unrelated").values())
    if fewest < 100:
        note += f" With {fewest} unrelated models a seed, 1 % of false positives is none."
    name = "methods-all-attacks" if everything else "methods"
    return Table(name, f"Methods over {which}.", note, tuple(header), tuple(lines))


def verdicts(rows: Sequence[Row]) -> Table:
    """Return what the verifier said, by method."""
    most, lines = budgets(rows)[-1], []
    for name, own in by_method(rows, "cem", "baseline").items():
        area = estimate(samples_of(own, most), roc_auc)
        shape = rounded(area.value) if area else "not judged"
        if own[0].verdicts is None:
            lines.append((name, *[NOTHING] * 6, shape))
            continue
        derived = [row for row in own if row.kind == "derived" and row.keeps_accuracy]
        other = [row for row in own if row.kind == "unrelated"]
        said = (
            f"{called(some, verdict, most)} of {len(some)}"
            for some, verdict in (
                (derived, "derived"),
                (derived, "inconclusive"),
                (derived, "unrelated"),
                (other, "derived"),
                (other, "inconclusive"),
            )
        )
        without = sum(most in (row.no_verdict or {}) for row in own)
        lines.append((name, *said, str(without), shape))
    header = (
        "method",
        "derived called derived",
        "derived inconclusive",
        "derived missed",
        "unrelated called derived",
        "unrelated inconclusive",
        "no verdict",
        "ROC AUC",
    )
    note = (
        f"At {most} queries; derived: attacks that keep the accuracy; no verdict: of all suspects. A false verdict may "
        "come once in twenty. A method that compares scores gives no verdict."
    )
    return Table("verdicts", "Verdicts.", note, header, tuple(lines))


def ablation(rows: Sequence[Row]) -> Table:
    """Return each variant of CEM against the main one."""
    most = budgets(rows)[-1]
    (main,) = by_method(rows, "cem").values()
    variants = by_method(rows, "ablation", "epsilon", "ensemble")
    base = basis(rows)
    lines = []
    for name, own in {main[0].method: main, **variants}.items():
        samples = samples_of(own, most)
        cells = [shown(estimate(samples, merit)) for label, merit in MERITS.items() if label != "TPR at 0 FP"]
        worst = [_worst(own, most, kind) for kind in ("derived", "unrelated")]
        compared = [NOTHING] * 3
        if own[0].method != base[0].method:
            pair = paired(own, base, most)
            compared = [shown(difference(*pair, MERITS[label])) for label in ("ROC AUC", "gap", "TPR at 1 % FP")]
        lines.append((name, *cells, *worst, *compared))
    header = ("variant", "ROC AUC", "gap", "TPR at 1 % FP", "lowest derived", "highest unrelated")
    changes = ("change of ROC AUC", "change of gap", "change of TPR")
    against = "the main method" if base[0].group == "cem" else "the main method from as many start points"
    note = (
        f"At {most} queries, attacks that keep the accuracy; lowest and highest over all seeds; changes are against "
        f"{against}, over the suspects that both judged, same models resampled."
    )
    return Table("ablation", "What each part of the method moves.", note, (*header, *changes), tuple(lines))


def basis(rows: Sequence[Row]) -> list[Row]:
    """Return what variants are compared with: the main method, from as many start points as they have."""
    same_size = by_method(rows, "ablation").get(FEWER_STARTS)
    return same_size or next(iter(by_method(rows, "cem").values()))


def _worst(rows: Sequence[Row], queries: str, kind: str) -> str:
    counted = [row for row in rows if row.kind == kind and (kind == "unrelated" or row.keeps_accuracy)]
    known = [score for row in counted if (score := row.scores.get(queries)) is not None]
    if not known:
        return NOTHING
    return f"{min(known) if kind == 'derived' else max(known):.2f}"


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
        other_classes = sum(row.accuracy is None for row in some)
        keeps = f"{sum(row.keeps_accuracy for row in some)} of {len(some)}"
        accuracy = spread([row.accuracy for row in some if row.accuracy is not None], percent=True)
        if other_classes:
            accuracy = NOTHING if other_classes == len(some) else accuracy
            keeps = "other classes" if other_classes == len(some) else f"{keeps}; {other_classes} with other classes"
        queries = f"{median(row.attack_queries for row in some):.0f}"
        seconds = f"{median(row.attack_seconds for row in some):.1f}"
        lines.append((attack, category, accuracy, keeps, *_fate(some, most), queries, seconds))
    for cell in dict.fromkeys(row.cell or "" for row in own if row.kind == "unrelated"):
        some = [row for row in own if row.cell == cell]
        accuracy = spread([row.accuracy for row in some], percent=True)
        lines.append((cell, "unrelated", accuracy, NOTHING, *_fate(some, most), NOTHING, NOTHING))
    header = ("attack", "category", "accuracy", "keeps it", "retention", "called derived", "queries", "seconds")
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
            fate = _level(some, most) if some[0].verdicts is not None else (NOTHING,) * 4
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
