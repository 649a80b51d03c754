"""The study's pictures, each as PNG and as SVG; the same rows give the same bytes."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from fpverify_generator.categories import CATEGORIES
from fpverify_generator.study_report.curves import auc_against_ensemble, auc_against_epsilon, bare, roc
from fpverify_generator.study_report.merit import estimate, roc_auc, samples_of
from fpverify_generator.study_report.rows import KEEPS, Row
from fpverify_generator.study_report.table import budgets

COLOURS = {
    "modification": "#0072b2",
    "retraining": "#56b4e9",
    "extraction": "#009e73",
    "transfer": "#cc79a7",
    "hardening": "#d55e00",
    "adaptive": "#000000",
    "inference": "#e69f00",
    "unrelated": "#777777",
}
"""A colour for each category, told apart by the colour-blind (Okabe and Ito)."""

Picture = Callable[[Any, Sequence[Row]], None]
"""Draws on a matplotlib figure."""


def draw(picture: Picture, rows: Sequence[Row], size: tuple[float, float]) -> dict[str, bytes]:
    """Return a picture as `png` and `svg`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    found = {}
    with matplotlib.rc_context({"svg.hashsalt": "fpverify", "font.size": 9, "svg.fonttype": "path"}):
        for kind, canvas in (("png", FigureCanvasAgg), ("svg", FigureCanvasSVG)):
            figure = Figure(figsize=size, layout="constrained")
            canvas(figure)
            picture(figure, rows)
            buffer = io.BytesIO()
            metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            figure.savefig(buffer, format=kind, metadata=metadata, dpi=110)
            found[kind] = buffer.getvalue()
    return found


def all_plots(rows: Sequence[Row]) -> dict[str, dict[str, bytes]]:
    """Return every picture that the rows have something for, by name."""
    main = [row for row in rows if row.group == "cem"]
    lines = len({row.attack or row.cell for row in main})
    found = {
        "retention-by-attack": draw(retention_by_attack, main, (10, 0.21 * lines + 1.4)),
        "retention-against-accuracy": draw(retention_against_accuracy, main, (8, 4.6)),
    }
    if estimate(samples_of(main, budgets(rows)[-1]), roc_auc) is None:
        return found
    found["roc"] = draw(roc, rows, (10, 4.6))
    for group, picture in (("epsilon", auc_against_epsilon), ("ensemble", auc_against_ensemble)):
        if any(row.group == group for row in rows):
            found[f"auc-against-{group}"] = draw(picture, rows, (7.5, 4))
    return found


def retention_by_attack(figure: Any, rows: Sequence[Row]) -> None:
    """Draw one line for each attack and each kind of unrelated model, a dot for each suspect."""
    most, axes = budgets(rows)[-1], figure.subplots()
    order = (*CATEGORIES, "unrelated")
    names = dict.fromkeys((row.category or "unrelated", row.attack or row.cell or "") for row in rows)
    places = sorted(names, key=lambda pair: order.index(pair[0]))
    for height, (category, name) in enumerate(places):
        some = [row for row in rows if (row.attack or row.cell) == name and row.scores[most] is not None]
        for kept in (True, False):
            values = [row.scores[most] for row in some if kept == (row.kind == "unrelated" or row.keeps_accuracy)]
            face = COLOURS[category] if kept else "none"
            style = {"color": COLOURS[category], "markerfacecolor": face, "alpha": 0.7, "markersize": 4.5}
            axes.plot(values, [height] * len(values), "o", **style)
        if not some:
            axes.text(0.0, height, "could not be judged", va="center", fontsize=7, color="#555555")
    _categories(axes, [category for category, _ in places])
    for cut in sorted({row.cut[most] for row in rows if row.cut and most in row.cut}):
        axes.axvline(cut, color="black", linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(places)), [name for _, name in places], fontsize=7.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(len(places) - 0.2, -0.8)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    lost = f"hollow: lost {KEEPS * 100:.0f} points of accuracy, or other classes"
    axes.set_xlabel(f"retention over {most} keys ({lost}; dashed: cuts)")
    axes.set_title("What each attack leaves of CEM's fingerprint, and what unrelated models keep", fontsize=10)
    bare(axes)


def _categories(axes: Any, categories: Sequence[str]) -> None:
    """Name each category beside its lines, and part it from the next."""
    for category in dict.fromkeys(categories):
        first, count = categories.index(category), categories.count(category)
        middle = first + (count - 1) / 2
        axes.text(1.03, middle, category, color=COLOURS[category], va="center", fontsize=8, fontweight="bold")
        if first:
            axes.axhline(first - 0.5, color="#cccccc", linewidth=0.6)


def retention_against_accuracy(figure: Any, rows: Sequence[Row]) -> None:
    """Draw each suspect by its accuracy and its retention."""
    most, axes = budgets(rows)[-1], figure.subplots()
    for category in ("unrelated", *CATEGORIES):
        some = [row for row in rows if (row.category or "unrelated") == category]
        points = [
            (row.accuracy, row.scores[most])
            for row in some
            if row.accuracy is not None and row.scores[most] is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=COLOURS[category], alpha=0.6, markersize=4, label=category)
    for accuracy in sorted({row.source_accuracy for row in rows}):
        axes.axvline(accuracy - KEEPS, color="black", linestyle=":", linewidth=0.8)
        axes.axvline(accuracy, color="black", linewidth=0.8)
    axes.set_xlabel("accuracy on the test split (lines: the source's; dotted: 5 points below)")
    axes.set_ylabel(f"retention over {most} keys")
    axes.set_title("Who loses the fingerprint, and what it costs", fontsize=10)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    bare(axes)
