"""The study's answer: the main method's figures, whether they reach the bars, and the attacks that beat it."""

import math
from collections.abc import Mapping, Sequence

from fpverify_generator.report.merit import MERITS, Estimate, estimate, gap, samples_of
from fpverify_generator.report.rows import Row
from fpverify_generator.report.tables import LEVEL, budgets, by_method, called, rejected_in, rounded, unjudged

BARS: Mapping[str, tuple[float, float]] = {"digits": (1.0, 0.0), "cifar10-small": (0.99, 0.95), "cifar10": (0.99, 0.95)}
"""Study -> the least ROC AUC and the least true-positive rate at 1 % false positives that it has to show."""

MIN_CAUGHT, MAX_ACCUSED, MAX_UNSURE = 0.98, 1 / 300, 0.02
"""Shares of the verdicts: derived models called derived, unrelated ones called derived, and inconclusive of both."""

WIDEST = frozenset({"digits"})
"""Studies that have to show a gap above every baseline's."""


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """Return the main method's figures, whether they reach the study's bars, and the attacks that beat it."""
    (name, main), most = next(iter(by_method(rows, "cem").items())), budgets(rows)[-1]
    samples = samples_of(main, most)
    figures = {label: estimate(samples, merit) for label, merit in MERITS.items()}
    derived = [row for row in main if row.kind == "derived" and row.keeps_accuracy]
    other = [row for row in main if row.kind == "unrelated"]
    beaten = sorted({row.attack or "" for row in derived if (row.verdicts or {}).get(most) != "derived"})
    found: dict[str, object] = {
        "study": rows[0].preset,
        "method": name,
        "seeds": sorted({row.seed for row in rows}),
        "queries": int(most),
        **{label: _numbers(one) for label, one in figures.items()},
        "derived": len(derived),
        "derived called derived": called(derived, "derived", most),
        "derived that lost the accuracy": sum(
            row.kind == "derived" and row.accuracy is not None and not row.keeps_accuracy for row in main
        ),
        "derived with other classes": sum(row.kind == "derived" and row.accuracy is None for row in main),
        "unrelated": len(other),
        "unrelated called derived": called(other, "derived", most),
        "derived inconclusive": called(derived, "inconclusive", most),
        "unrelated inconclusive": called(other, "inconclusive", most),
        "not judged": unjudged(main, most),
        "attacks not called derived at least once": beaten,
    }
    if rows[0].preset in BARS:
        found["bars"] = _reached(rows, figures, most)
    return found


def _reached(rows: Sequence[Row], figures: Mapping[str, Estimate | None], most: str) -> dict[str, bool]:
    """Return each bar of the study and whether it is met; what could not be judged meets none."""
    area, rate = BARS[rows[0].preset]
    bars = {f"ROC AUC at least {area:g}": _value(figures["ROC AUC"]) >= area}
    if rate:
        bars[f"TPR at 1 % FP at least {rate:g}"] = _value(figures["TPR at 1 % FP"]) >= rate
    bars |= _verdicts_reached(rows, most)
    if rows[0].preset in WIDEST:
        # another statistic has another scale: only gaps of retention are compared
        retained = [row for row in rows if row.statistic == "retention"]
        others = by_method(retained, "baseline").values()
        gaps = [_value(estimate(samples_of(own, most), gap)) for own in others]
        if gaps:
            bars["gap above every baseline's"] = _value(figures["gap"]) > max(gaps)
    return bars


def _verdicts_reached(rows: Sequence[Row], most: str) -> dict[str, bool]:
    """Return the bars of the verdicts: the level in each group of unrelated models, and the errors of both kinds."""
    main = next(iter(by_method(rows, "cem").values()))
    derived = [row for row in main if row.kind == "derived" and row.keeps_accuracy]
    other = [row for row in main if row.kind == "unrelated"]
    groups: dict[str, list[Row]] = {}
    for row in other:
        groups.setdefault(row.cell or "", []).append(row)

    def holds(group: Sequence[Row]) -> bool:
        allowed = LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / len(group))
        return len(rejected_in(group, most)) <= allowed * len(group)

    judged = derived + other
    return {
        f"in no group is p at most {LEVEL:g} more often than in {LEVEL:.0%} of its models and two standard errors": all(
            map(holds, groups.values())
        ),
        "unrelated called derived at most 1 in 300": called(other, "derived", most) <= MAX_ACCUSED * len(other),
        "derived called derived at least 98 in 100": called(derived, "derived", most) >= MIN_CAUGHT * len(derived),
        "inconclusive at most 1 in 50": called(judged, "inconclusive", most) <= MAX_UNSURE * len(judged),
    }


def _value(found: Estimate | None) -> float:
    return found.value if found else float("-inf")


def _numbers(found: Estimate | None) -> dict[str, float] | None:
    return {"value": found.value, "low": found.interval.low, "high": found.interval.high} if found else None


def headline(rows: Sequence[Row]) -> str:
    """Return the study's answer in a few lines of text."""
    found = summary(rows)
    seeds = ", ".join(map(str, listed(found["seeds"])))
    lines = [
        f"study        {found['study']}, seeds {seeds}, {found['queries']} queries",
        *(f"{label:<12} {figure(found[label])}" for label in MERITS),
        f"derived      {found['derived called derived']} of {found['derived']} that keep the accuracy called derived",
        f"unrelated    {found['unrelated called derived']} of {found['unrelated']} called derived",
        f"inconclusive {found['derived inconclusive']} of these derived, {found['unrelated inconclusive']} unrelated",
    ]
    lines += [f"bar          {bar}: {'met' if met else 'missed'}" for bar, met in bars_of(found)]
    if beaten := listed(found["attacks not called derived at least once"]):
        lines.append(f"not caught   at least once: {', '.join(map(str, beaten))}")
    return "\n".join(lines)


def listed(value: object) -> list[object]:
    """Return a list of a summary."""
    return list(value) if isinstance(value, list) else []


def bars_of(found: Mapping[str, object]) -> list[tuple[str, bool]]:
    """Return a summary's bars and whether they are met; none where the study has none."""
    bars = found.get("bars")
    return list(bars.items()) if isinstance(bars, dict) else []


def figure(value: object) -> str:
    """Return a summary's figure as text."""
    if not isinstance(value, dict):
        return "not judged"
    return f"{rounded(value['value'])} ({rounded(value['low'])} to {rounded(value['high'])})"
