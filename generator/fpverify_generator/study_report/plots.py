"""The study's pictures, each as PNG and as SVG; the same rows give the same bytes."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fpverify_generator.study_report.merit import MERITS, estimate, roc_auc, samples_of
from fpverify_generator.study_report.rows import Row
from fpverify_generator.study_report.tables import FAMILIES, budgets, by_method

COLOURS = {
    "modification": "#0072b2",
    "retraining": "#56b4e9",
    "extraction": "#009e73",
    "transfer": "#cc79a7",
    "hardening": "#d55e00",
    "adaptive": "#b3361d",
    "inference": "#e69f00",
    "unrelated": "#777777",
}
"""A colour for each family, told apart by the colour-blind (Okabe and Ito)."""

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
        "retention-by-attack": draw(retention_by_attack, main, (9, 0.21 * lines + 1.4)),
        "roc": draw(roc, rows, (7, 5)),
        "retention-against-accuracy": draw(retention_against_accuracy, main, (8, 4.6)),
    }
    if any(row.group == "epsilon" for row in rows):
        found["auc-against-epsilon"] = draw(auc_against_epsilon, rows, (6, 4))
    if any(row.group == "ensemble" for row in rows):
        found["auc-against-ensemble"] = draw(auc_against_ensemble, rows, (6, 4))
    return found


def _bare(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def retention_by_attack(figure: Any, rows: Sequence[Row]) -> None:
    """Draw one line for each attack and each kind of unrelated model, a dot for each suspect."""
    most, axes = budgets(rows)[-1], figure.subplots()
    order = (*FAMILIES, "unrelated")
    names = dict.fromkeys((row.family or "unrelated", row.attack or row.cell or "") for row in rows)
    places = sorted(names, key=lambda pair: order.index(pair[0]), reverse=True)
    for height, (family, name) in enumerate(places):
        some = [row for row in rows if (row.attack or row.cell) == name and row.scores[most] is not None]
        for row in some:
            lost = row.kind == "derived" and not row.keeps_accuracy
            face = "none" if lost else COLOURS[family]
            axes.plot(
                row.scores[most], height, "o", color=COLOURS[family], markerfacecolor=face, alpha=0.7, markersize=4.5
            )
        if not some:
            axes.text(0.01, height, "cannot be judged: no class in common", va="center", fontsize=7, color="#555555")
    for threshold in sorted({row.threshold[most] for row in rows if row.threshold and most in row.threshold}):
        axes.axvline(threshold, color="black", linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(places)), [name for _, name in places], fontsize=7.5)
    for tick, (family, _) in zip(axes.get_yticklabels(), places, strict=True):
        tick.set_color(COLOURS[family])
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.8, len(places) - 0.2)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlabel(
        f"retention over {most} keys (hollow: lost 5 points of accuracy, or other classes; dashed: thresholds)"
    )
    axes.set_title("What each attack leaves of CEM's fingerprint, and what unrelated models keep", fontsize=10)
    _bare(axes)


def roc(figure: Any, rows: Sequence[Row]) -> None:
    """Draw the mean ROC curve over seeds of CEM and of each baseline."""
    most, axes = budgets(rows)[-1], figure.subplots()
    grid = np.linspace(0, 1, 401)
    curves = []
    for name, own in by_method(rows, "cem", "baseline").items():
        samples = samples_of(own, most)
        mean = np.mean([_curve(sample.derived, sample.unrelated, grid) for sample in samples], 0)
        area = float(np.mean([roc_auc(sample.derived, sample.unrelated) for sample in samples]))
        curves.append((own[0].group != "cem", -area, name, mean))
    for number, (baseline, area, name, mean) in enumerate(sorted(curves, key=lambda curve: curve[:3])):
        style: dict[str, Any] = {"linewidth": 3, "color": "#b3361d"}
        if baseline:
            style = {"linewidth": 1.1, "linestyle": ("-", "--", ":")[number % 3]}
        axes.plot(grid, mean, label=f"{name} ({-area:.3f})", **style)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.7)
    axes.set_xlabel("share of unrelated models at or above the threshold (false positives)")
    axes.set_ylabel("share of derived models at or above it")
    axes.set_title(f"ROC curves at {most} queries, attacks that keep the accuracy (area)", fontsize=10)
    axes.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    _bare(axes)


def _curve(derived: np.ndarray, unrelated: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the true-positive rate at each false-positive rate, straight between the steps."""
    thresholds = np.unique(np.concatenate([derived, unrelated]))[::-1]
    false = [0.0, *((unrelated >= threshold).mean() for threshold in thresholds)]
    true = [0.0, *((derived >= threshold).mean() for threshold in thresholds)]
    result: np.ndarray = np.interp(grid, false, true)
    # at no false positives, the curve is what is above every unrelated model
    result[0] = (derived > unrelated.max()).mean()
    return result


def retention_against_accuracy(figure: Any, rows: Sequence[Row]) -> None:
    """Draw each suspect by its accuracy and its retention."""
    most, axes = budgets(rows)[-1], figure.subplots()
    for family in (*FAMILIES, "unrelated"):
        some = [row for row in rows if (row.family or "unrelated") == family]
        judged = [row for row in some if row.accuracy is not None and row.scores[most] is not None]
        points = [(row.accuracy, row.scores[most]) for row in judged]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=COLOURS[family], alpha=0.6, markersize=4, label=family)
    for accuracy in sorted({row.source_accuracy for row in rows}):
        axes.axvline(accuracy - 0.05, color="black", linestyle=":", linewidth=0.8)
        axes.axvline(accuracy, color="black", linewidth=0.8)
    axes.set_xlabel("accuracy on the test split (lines: the source's; dotted: 5 points below)")
    axes.set_ylabel(f"retention over {most} keys")
    axes.set_title("Who loses the fingerprint, and what it costs", fontsize=10)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _bare(axes)


def auc_against_epsilon(figure: Any, rows: Sequence[Row]) -> None:
    """Draw ROC AUC and gap against the keys' radius."""
    _sweep(figure, rows, "epsilon", lambda row: row.epsilon, "epsilon: max-norm radius, fraction of the input range")


def auc_against_ensemble(figure: Any, rows: Sequence[Row]) -> None:
    """Draw ROC AUC and gap against the number of surrogates and references."""
    label = "surrogates, and about as many references, that CEM optimises against"
    _sweep(figure, rows, "ensemble", lambda row: float(row.ensemble), label)


def _sweep(figure: Any, rows: Sequence[Row], group: str, place: Callable[[Row], float], label: str) -> None:
    most, axes = budgets(rows)[-1], figure.subplots()
    points = sorted((place(own[0]), samples_of(own, most)) for own in _swept(rows, group).values())
    for merit, colour in (("ROC AUC", "#b3361d"), ("gap", "#0072b2")):
        found = [estimate(samples, MERITS[merit]) for _, samples in points]
        middle = [one.value for one in found]
        around = [
            [max(0.0, one.value - one.interval.low) for one in found],
            [max(0.0, one.interval.high - one.value) for one in found],
        ]
        axes.errorbar([x for x, _ in points], middle, around, marker="o", capsize=3, color=colour, label=merit)
    axes.axhline(1, color="#bbbbbb", linewidth=0.7)
    axes.set_xlabel(label)
    axes.set_title(f"At {most} queries, attacks that keep the accuracy (bars: 95 %)", fontsize=10)
    axes.legend(frameon=False)
    _bare(axes)


def _swept(rows: Sequence[Row], group: str) -> dict[str, list[Row]]:
    """Return the methods of a sweep with the main one, as it is with the sweep's number of start points."""
    variants = by_method(rows, "ablation")
    main = {name: own for name, own in variants.items() if name == "cem, fewer starts"} or by_method(rows, "cem")
    return {**main, **by_method(rows, group)}
