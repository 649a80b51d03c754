"""The tables that set one method beside another: figures of merit, verdicts and the parts of CEM."""

from collections import Counter
from collections.abc import Sequence

from fpverify_generator.study_report.merit import MERITS, difference, estimate, paired, roc_auc, samples_of
from fpverify_generator.study_report.rows import Row
from fpverify_generator.study_report.table import NOTHING, Table, budgets, by_method, called, rounded, shown, unjudged


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
        without = sum(str((row.verdicts or {}).get(most)).startswith("no verdict") for row in own)
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
    same_size = by_method(rows, "ablation").get("cem, fewer starts")
    return same_size or next(iter(by_method(rows, "cem").values()))


def _worst(rows: Sequence[Row], queries: str, kind: str) -> str:
    counted = [row for row in rows if row.kind == kind and (kind == "unrelated" or row.keeps_accuracy)]
    known = [score for row in counted if (score := row.scores.get(queries)) is not None]
    if not known:
        return NOTHING
    return f"{min(known) if kind == 'derived' else max(known):.2f}"
