"""The pictures in which each suspect is one mark: its retention by attack, and against its accuracy."""

from collections.abc import Sequence
from typing import Any

from fpverify_generator.categories import CATEGORIES
from fpverify_generator.report.marks import FAINT, INK, LINE, bare, draw_legend, is_hollow, style_of, verdict_of
from fpverify_generator.report.rows import KEEPS, Row
from fpverify_generator.report.tables import budgets

NOWHERE = -0.1
"""Where a suspect without a statistic stands, left of a retention of 0."""


def lines_of(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return category and name of each attack and of each group of unrelated models, in the order of tables."""
    order = (*CATEGORIES, "unrelated")
    names = dict.fromkeys((row.category or "unrelated", row.attack or row.cell or "") for row in rows)
    return sorted(names, key=lambda pair: order.index(pair[0]))


def retention_by_attack(figure: Any, rows: Sequence[Row], wide: bool) -> None:
    """Draw one line for each attack and each group of unrelated models, a mark for each suspect.

    Args:
        figure: of matplotlib.
        rows: of the main method.
        wide: whether names stand beside the lines; else they stand above them.
    """
    most, axes, places = budgets(rows)[-1], figure.subplots(), lines_of(rows)
    for height, (_, name) in enumerate(places):
        _marks(axes, [row for row in rows if (row.attack or row.cell) == name], most, height)
    for cut in sorted({row.cut[most] for row in rows if row.cut and most in row.cut}):
        axes.axvline(cut, color=INK, linestyle="--", linewidth=0.8)
    axes.axvline(NOWHERE / 2, color=LINE, linewidth=0.6)
    _name(axes, places, wide)
    axes.set_xticks([NOWHERE, 0, 0.25, 0.5, 0.75, 1], ["none", "0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlim(2 * NOWHERE, 1.02)
    axes.set_ylim(len(places) - (0.2 if wide else 0.6), -0.8)
    axes.grid(axis="y", color=LINE, alpha=0.4)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"retention: share of {most} keys that are kept{' ' if wide else chr(10)}(dashed: cuts)")
    draw_legend(figure, rows, most, 5 if wide else 1)
    bare(axes)


def _marks(axes: Any, rows: Sequence[Row], queries: str, height: int) -> None:
    for verdict, hollow in dict.fromkeys((verdict_of(row, queries), is_hollow(row)) for row in rows):
        some = [row for row in rows if (verdict_of(row, queries), is_hollow(row)) == (verdict, hollow)]
        scores = [row.scores[queries] for row in some]
        values = [NOWHERE if score is None else score for score in scores]
        axes.plot(values, [height] * len(values), **style_of(verdict, hollow))


def _name(axes: Any, places: Sequence[tuple[str, str]], wide: bool) -> None:
    """Name each line, and each category where it begins."""
    if wide:
        axes.set_yticks(range(len(places)), [name for _, name in places])
    else:
        axes.set_yticks(range(len(places)), [""] * len(places))
        axes.tick_params(axis="y", length=0)
        for height, (_, name) in enumerate(places):
            axes.text(2 * NOWHERE + 0.015, height - 0.5, name, va="center", color=INK)
    categories = [category for category, _ in places]
    for category in dict.fromkeys(categories):
        first = categories.index(category)
        middle = first + (categories.count(category) - 1) / 2
        place = {"x": 1.03, "y": middle} if wide else {"x": 1.02, "y": first - 0.5, "ha": "right"}
        axes.text(s=category, va="center", color=INK, fontweight="bold", **place)
        if first:
            axes.axhline(first - (0.5 if wide else 0.8), color=FAINT, linewidth=0.6)


def retention_against_accuracy(figure: Any, rows: Sequence[Row], wide: bool) -> None:
    """Draw each suspect by its accuracy and its retention: derived ones, and beside or below them unrelated ones.

    Args:
        figure: of matplotlib.
        rows: of the main method.
        wide: whether the two parts stand side by side.
    """
    most = budgets(rows)[-1]
    parts = figure.subplots(1, 2, sharex=True, sharey=True) if wide else figure.subplots(2, 1, sharex=True, sharey=True)
    shown = [row for row in rows if row.accuracy is not None and row.scores[most] is not None]
    for axes, kind in zip(parts, ("derived", "unrelated"), strict=True):
        own = [row for row in shown if row.kind == kind]
        for verdict, hollow in dict.fromkeys((verdict_of(row, most), is_hollow(row)) for row in own):
            some = [row for row in own if (verdict_of(row, most), is_hollow(row)) == (verdict, hollow)]
            axes.plot([row.accuracy for row in some], [row.scores[most] for row in some], **style_of(verdict, hollow))
        for accuracy in sorted({row.source_accuracy for row in rows}):
            axes.axvline(accuracy - KEEPS, color=INK, linestyle=":", linewidth=0.8)
            axes.axvline(accuracy, color=INK, linewidth=0.8)
        axes.set_title(f"models that are {kind}", color=INK)
        axes.set_ylim(-0.02, 1.02)
        bare(axes)
    figure.supxlabel("accuracy on test images (line: the source's;\ndotted: 5 points below)", fontsize="medium")
    figure.supylabel(f"retention over {most} keys", fontsize="medium")
    draw_legend(figure, shown, most, 5 if wide else 1)
