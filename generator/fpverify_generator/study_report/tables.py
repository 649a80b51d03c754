"""The study's tables: each a title, how to read it, a header and lines; written as Markdown and CSV."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from fpverify_generator.study_report.merit import MERITS, Estimate, difference, estimate, samples_of
from fpverify_generator.study_report.rows import Row

NOTHING = "-"
"""A cell for which there is nothing to say."""

FAMILIES = ("modification", "retraining", "extraction", "transfer", "hardening", "adaptive", "inference")
"""The order of families of attacks."""


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


def _shown(found: Estimate, digits: int = 3) -> str:
    return f"{found.value:.{digits}f} ({found.interval.low:.{digits}f} to {found.interval.high:.{digits}f})"


def methods(rows: Sequence[Row], everything: bool) -> Table:
    """Return each method's figures of merit at each number of queries."""
    counts = budgets(rows)
    header = ["method", *(f"{merit}, {count} queries" for merit in MERITS for count in counts)]
    lines = []
    for name, own in by_method(rows, "cem", "baseline").items():
        cells = [
            _shown(estimate(samples_of(own, count, everything), merit)) for merit in MERITS.values() for count in counts
        ]
        lines.append((name, *cells))
    which = "all attacks that could be judged" if everything else "attacks that keep the accuracy within 5 points"
    (main,) = by_method(rows, "cem").values()
    fewest = min(Counter(row.seed for row in main if row.kind == "unrelated").values())
    note = "Mean over seeds, with the 95 % bootstrap interval over models; gap: lowest derived minus highest unrelated."
    if fewest < 100:
        note += f" With {fewest} unrelated models a seed, 1 % of false positives is none."
    name = "methods-all-attacks" if everything else "methods"
    return Table(name, f"Methods over {which}.", note, tuple(header), tuple(lines))


def _spread(values: Sequence[float | None], percent: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "not judged"
    cells = (min(known), median(known), max(known))
    text = " / ".join(f"{value:.1%}" if percent else f"{value:.2f}" for value in cells)
    lost = len(values) - len(known)
    return f"{text}; {lost} not judged" if lost else text


def _called(rows: Sequence[Row], verdict: str, queries: str) -> int:
    return sum((row.verdicts or {}).get(queries) == verdict for row in rows)


def attacks(rows: Sequence[Row]) -> Table:
    """Return what is left of the main method's fingerprint after each attack, and in unrelated models."""
    most, own = budgets(rows)[-1], [row for row in rows if row.group == "cem"]
    names = dict.fromkeys((row.family or "", row.attack or "") for row in own if row.kind == "derived")
    lines = []
    for family, attack in sorted(names, key=lambda pair: FAMILIES.index(pair[0])):
        some = [row for row in own if row.attack == attack]
        keeps = sum(row.keeps_accuracy for row in some)
        known = "other classes" if some[0].accuracy is None else f"{keeps} of {len(some)}"
        accuracy = NOTHING if some[0].accuracy is None else _spread([row.accuracy for row in some], percent=True)
        lines.append(
            (
                family,
                attack,
                accuracy,
                known,
                _spread([row.scores[most] for row in some]),
                f"{_called(some, 'derived', most)} of {len(some)}",
                f"{median(row.attack_queries for row in some):.0f}",
                f"{median(row.attack_seconds for row in some):.1f}",
            )
        )
    for cell in dict.fromkeys(row.cell or "" for row in own if row.kind == "unrelated"):
        some = [row for row in own if row.cell == cell]
        called = f"{_called(some, 'derived', most)} of {len(some)}"
        accuracy = _spread([row.accuracy for row in some], percent=True)
        lines.append(
            (
                "unrelated",
                cell,
                accuracy,
                NOTHING,
                _spread([row.scores[most] for row in some]),
                called,
                NOTHING,
                NOTHING,
            )
        )
    header = ("family", "attack", "accuracy", "keeps it", "retention", "called derived", "queries", "seconds")
    note = f"Minimum / median / maximum over suspects and seeds, at {most} queries; queries and seconds are medians."
    return Table("attacks", "CEM after each attack, and on unrelated models.", note, header, tuple(lines))


def retention(rows: Sequence[Row]) -> Table:
    """Return the median statistic of each method after each attack."""
    most, own = budgets(rows)[-1], by_method(rows, "cem", "baseline")
    names = dict.fromkeys((row.family or "unrelated", row.attack or row.cell or "") for row in rows)
    order = (*FAMILIES, "unrelated")
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
            accused = f"{_called(some, 'derived', most) / len(some):.1%}" if some[0].verdicts else NOTHING
            lines.append(
                (name, cell, str(len(some)), f"{sum(values) / len(values):.2f}", f"{max(values):.2f}", accused)
            )
    header = ("method", "unrelated models", "number", "mean", "highest", "called derived")
    note = f"At {most} queries, over all seeds. The last column is the false-positive rate of the verdict."
    return Table("unrelated", "Unrelated models by what they share with the source.", note, header, tuple(lines))


def ablation(rows: Sequence[Row]) -> Table:
    """Return each variant of CEM against the main one."""
    most = budgets(rows)[-1]
    (main,) = by_method(rows, "cem").values()
    variants = by_method(rows, "ablation", "epsilon", "ensemble")
    same_size = next((own for name, own in variants.items() if name == "cem, fewer starts"), main)
    base, lines = samples_of(same_size, most), []
    for name, own in {"cem": main, **variants}.items():
        if any(row.scores.get(most) is None for row in own if row.kind == "unrelated"):
            continue
        samples = samples_of(own, most)
        cells = [_shown(estimate(samples, merit)) for label, merit in MERITS.items() if label != "TPR at 0 FP"]
        compared: list[str] = [NOTHING, NOTHING]
        if own is not same_size:
            compared = [_shown(difference(samples, base, MERITS[label])) for label in ("ROC AUC", "gap")]
        lines.append((name, *cells, *compared))
    header = ("variant", "ROC AUC", "gap", "TPR at 1 % FP", "change of ROC AUC", "change of gap")
    against = "the main method from as many start points" if same_size is not main else "the main method"
    note = f"At {most} queries, attacks that keep the accuracy; changes are against {against}, same models resampled."
    return Table("ablation", "What each part of the method moves.", note, header, tuple(lines))


def verdicts(rows: Sequence[Row]) -> Table:
    """Return what the verifier said, by method."""
    most, lines = budgets(rows)[-1], []
    share: Callable[[Sequence[Row], str], str] = lambda some, verdict: f"{_called(some, verdict, most)} of {len(some)}"  # noqa: E731
    for name, own in by_method(rows, "cem", "baseline").items():
        if own[0].verdicts is None:
            continue
        derived = [row for row in own if row.kind == "derived" and row.keeps_accuracy]
        other = [row for row in own if row.kind == "unrelated"]
        without = sum(str((row.verdicts or {}).get(most)).startswith("no verdict") for row in own)
        cells = (share(some, verdict) for some in (derived, other) for verdict in ("derived", "inconclusive"))
        lines.append((name, *cells, str(without)))
    header = (
        "method",
        "derived called derived",
        "derived inconclusive",
        "unrelated called derived",
        "unrelated inconclusive",
        "no verdict",
    )
    note = f"At {most} queries; derived: attacks that keep the accuracy. A false verdict may come once in twenty."
    return Table("verdicts", "Verdicts.", note, header, tuple(lines))
