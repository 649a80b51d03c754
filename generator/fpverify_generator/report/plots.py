"""The study's pictures, each as PNG and as SVG; the same rows give the same bytes."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fpverify_generator.categories import CATEGORIES
from fpverify_generator.report.merit import MERITS, Scores, estimate, roc_auc, samples_of
from fpverify_generator.report.rows import KEEPS, Row
from fpverify_generator.report.tables import basis, budgets, by_method, rounded

MAIN = "#b3361d"
"""Colour of the main method."""
OTHERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#000000", "#8c6d1f")
"""Colours of the best baselines, told apart by the colour-blind (after Okabe and Ito); the others are grey."""
ZOOM = 0.1
"""False-positive rate up to which the ROC curves are shown again, larger."""


def bare(axes: Any) -> None:
    """Leave out the lines above and right of a picture."""
    axes.spines[["top", "right"]].set_visible(False)


def roc(figure: Any, rows: Sequence[Row]) -> None:
    """Draw the mean ROC curve over seeds of CEM and of each baseline, whole and where false positives are few."""
    most, (whole, few) = budgets(rows)[-1], figure.subplots(1, 2, sharey=True)
    grid = np.unique(np.concatenate([np.linspace(0, ZOOM, 401), np.linspace(0, 1, 401)]))
    curves = []
    for name, own in by_method(rows, "cem", "baseline").items():
        samples = samples_of(own, most)
        if estimate(samples, roc_auc) is None:
            continue
        mean = np.mean([_curve(sample.derived, sample.unrelated, grid) for sample in samples], 0)
        area = float(np.mean([roc_auc(sample.derived, sample.unrelated) for sample in samples]))
        curves.append((own[0].group != "cem", -area, name, mean))
    for number, (baseline, area, name, mean) in enumerate(sorted(curves, key=lambda curve: curve[:3])):
        style: dict[str, Any] = {"linewidth": 3, "color": MAIN, "zorder": 3}
        if baseline:
            colour = OTHERS[number - 1] if number <= len(OTHERS) else "#999999"
            style = {"linewidth": 1.2, "color": colour, "linestyle": ("-", "--", "-.", ":")[number % 4]}
        for axes in (whole, few):
            axes.plot(grid, mean, label=f"{name} ({rounded(-area)})", **style)
    whole.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.7)
    few.axvline(0.01, color="#bbbbbb", linewidth=0.7)
    few.set_xlim(-0.001, ZOOM)
    few.set_title("the same up to a tenth (line: 1 %)", fontsize=9)
    whole.set_title("all false-positive rates", fontsize=9)
    whole.set_ylabel("derived models at or above the threshold")
    figure.supxlabel("share of unrelated models at or above the threshold (false positives)", fontsize=9)
    figure.suptitle(f"ROC curves at {most} queries, attacks that keep the accuracy (area)", fontsize=10)
    few.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    bare(whole)
    bare(few)


def _curve(derived: Scores, unrelated: Scores, grid: Scores) -> Scores:
    """Return the true-positive rate at each false-positive rate, straight between the steps."""
    thresholds = np.unique(np.concatenate([derived, unrelated]))[::-1]
    false = [0.0, *((unrelated >= threshold).mean() for threshold in thresholds)]
    true = [0.0, *((derived >= threshold).mean() for threshold in thresholds)]
    result: Scores = np.interp(grid, false, true)
    # at no false positives, the curve is what is above every unrelated model
    result[0] = (derived > unrelated.max()).mean()
    return result


def auc_against_epsilon(figure: Any, rows: Sequence[Row]) -> None:
    """Draw ROC AUC and gap against the keys' radius."""
    _sweep(figure, rows, "epsilon", lambda row: row.epsilon, "epsilon: max-norm radius, fraction of the input range")


def auc_against_ensemble(figure: Any, rows: Sequence[Row]) -> None:
    """Draw ROC AUC and gap against the number of surrogates and references."""
    label = "surrogates, and about as many references, that CEM optimises against"
    _sweep(figure, rows, "ensemble", lambda row: float(row.ensemble), label)


def _sweep(figure: Any, rows: Sequence[Row], group: str, place: Callable[[Row], float], label: str) -> None:
    most, axes = budgets(rows)[-1], figure.subplots()
    swept = sorted([basis(rows), *by_method(rows, group).values()], key=lambda own: place(own[0]))
    for merit, colour in (("ROC AUC", MAIN), ("gap", OTHERS[0])):
        found = [(place(own[0]), estimate(samples_of(own, most), MERITS[merit])) for own in swept]
        known = [(x, one) for x, one in found if one is not None]
        middle = [one.value for _, one in known]
        around = [
            [max(0.0, one.value - one.interval.low) for _, one in known],
            [max(0.0, one.interval.high - one.value) for _, one in known],
        ]
        axes.errorbar([x for x, _ in known], middle, around, marker="o", capsize=3, color=colour, label=merit)
    axes.axhline(1, color="#bbbbbb", linewidth=0.7)
    axes.axhline(0, color="#bbbbbb", linewidth=0.7)
    axes.set_xlabel(label)
    axes.set_title(f"ROC AUC and gap at {most} queries, attacks that keep the accuracy (bars: 95 %)", fontsize=9)
    figure.legend(loc="outside right center", frameon=False)
    bare(axes)


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
    axes.set_title("Retention against accuracy", fontsize=10)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    bare(axes)
