"""ROC curves of all methods, and figures of merit along a sweep."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fpverify_generator.study_report.comparisons import basis
from fpverify_generator.study_report.merit import MERITS, Scores, estimate, roc_auc, samples_of
from fpverify_generator.study_report.rows import Row
from fpverify_generator.study_report.table import budgets, by_method, rounded

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
