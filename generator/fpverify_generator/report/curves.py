"""The pictures that compare methods: ROC curves, and sweeps over one setting."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fpverify_generator.report.marks import BLUE, FAINT, INK, LINE, bare
from fpverify_generator.report.merit import MERITS, Scores, estimate, roc_auc, samples_of
from fpverify_generator.report.rows import Row
from fpverify_generator.report.tables import basis, budgets, by_method, rounded

MAIN = "#d55e00"
"""Colour of the main method."""
OTHERS = (BLUE, "#e69f00", "#009e73", "#cc79a7", "#56b4e9", INK, "#8c6d1f")
"""Colours of the best baselines, told apart by the colour-blind (after Okabe and Ito); the others are grey."""
ZOOM = 0.1
"""False-positive rate up to which the ROC curves are shown again, larger."""


def roc(figure: Any, rows: Sequence[Row], wide: bool) -> None:
    """Draw the mean ROC curve over seeds of CEM and of each baseline, whole and where false positives are few.

    Args:
        figure: of matplotlib.
        rows: of every method.
        wide: whether the two parts stand side by side; else one stands below the other, and the legend last.
    """
    most = budgets(rows)[-1]
    whole, few = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
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
            colour = OTHERS[number - 1] if number <= len(OTHERS) else FAINT
            style = {"linewidth": 1.2, "color": colour, "linestyle": ("-", "--", "-.", ":")[number % 4]}
        for axes in (whole, few):
            axes.plot(grid, mean, label=f"{name} ({rounded(-area)})", **style)
    whole.plot([0, 1], [0, 1], color=LINE, linewidth=0.7)
    few.axvline(0.01, color=LINE, linewidth=0.7)
    few.set_xlim(-0.001, ZOOM)
    few.set_title("the same up to a tenth (line: 1 %)")
    whole.set_title("all false-positive rates")
    figure.supylabel("derived models found", fontsize="medium")
    for axes in (whole, few) if wide else (few,):
        axes.set_xlabel("unrelated models accused (false positives)")
    handles, labels = few.get_legend_handles_labels()
    place = "outside right center" if wide else "outside lower left"
    figure.legend(handles, labels, loc=place, frameon=False, title=f"area at {most} queries", alignment="left")
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


def auc_against_epsilon(figure: Any, rows: Sequence[Row], wide: bool) -> None:
    """Draw ROC AUC and gap against the keys' radius; the same for both widths but for the legend's place."""
    label = "epsilon: max-norm radius,\nfraction of the input range"
    _sweep(figure, rows, "epsilon", lambda row: row.epsilon, label, wide)


def auc_against_ensemble(figure: Any, rows: Sequence[Row], wide: bool) -> None:
    """Draw ROC AUC and gap against the number of surrogates and references."""
    label = "surrogates, and about as many references,\nthat CEM optimises against"
    _sweep(figure, rows, "ensemble", lambda row: float(row.ensemble), label, wide)


def _sweep(figure: Any, rows: Sequence[Row], group: str, place: Callable[[Row], float], label: str, wide: bool) -> None:
    most, axes = budgets(rows)[-1], figure.subplots()
    swept = sorted([basis(rows), *by_method(rows, group).values()], key=lambda own: place(own[0]))
    for merit, colour, shape in (("ROC AUC", MAIN, "o"), ("gap", OTHERS[0], "s")):
        found = [(place(own[0]), estimate(samples_of(own, most), MERITS[merit])) for own in swept]
        known = [(x, one) for x, one in found if one is not None]
        middle = [one.value for _, one in known]
        around = [
            [max(0.0, one.value - one.interval.low) for _, one in known],
            [max(0.0, one.interval.high - one.value) for _, one in known],
        ]
        axes.errorbar([x for x, _ in known], middle, around, marker=shape, capsize=3, color=colour, label=merit)
    axes.axhline(1, color=LINE, linewidth=0.7)
    axes.axhline(0, color=LINE, linewidth=0.7)
    axes.set_xlabel(label)
    axes.set_title(f"at {most} queries (bars: 95 %)")
    figure.legend(loc="outside right center" if wide else "outside lower left", ncols=1 if wide else 2, frameon=False)
    bare(axes)
