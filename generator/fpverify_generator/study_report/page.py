"""The study as one page: the answer first, then every table and picture, then how it was made."""

import json
from collections.abc import Mapping, Sequence
from html import escape

from fpverify_generator.study_report.merit import MERITS, Estimate, estimate, samples_of
from fpverify_generator.study_report.rows import Row
from fpverify_generator.study_report.tables import Table, budgets, by_method

BARS: Mapping[str, tuple[float, float]] = {"digits": (1.0, 0.0), "cifar10-small": (0.99, 0.95), "cifar10": (0.99, 0.95)}
"""Study -> the least ROC AUC and the least true-positive rate at 1 % false positives that it has to show."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 75rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.answer { font-size: 1.15rem; background: var(--soft); border-radius: .5rem; padding: .5rem 1.25rem; }
.missed { color: #c0341d; font-weight: 700; } .met { color: #0a7f4f; font-weight: 700; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .82rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { position: sticky; top: 0; background: Canvas; } td + td { font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; background: #fff; border-radius: .5rem; padding: .5rem; }
figure svg { max-width: 100%; height: auto; display: block; } figcaption { color: #444; font-size: .85rem; }
pre { overflow-x: auto; background: var(--soft); padding: .75rem; font-size: .78rem; }
"""

CAPTIONS = {
    "retention-by-attack": "A dot is a suspect; derived ones should lie right of the dashed threshold, others left.",
    "roc": "The further a curve hugs the upper left corner, the better its method tells derived from unrelated models.",
    "retention-against-accuracy": "An attack beats the method where a coloured dot lies low, right of the dotted line.",
    "auc-against-epsilon": "How far keys may move from real images, against how well they tell models apart.",
    "auc-against-ensemble": "How many models the owner trains for CEM, against how well its keys tell models apart.",
}
"""Picture -> how to read it."""


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
        "derived called derived": sum((row.verdicts or {}).get(most) == "derived" for row in derived),
        "unrelated": len(other),
        "unrelated called derived": sum((row.verdicts or {}).get(most) == "derived" for row in other),
        "attacks not called derived at least once": beaten,
    }
    if rows[0].preset in BARS:
        area, rate = BARS[rows[0].preset]
        found["bars"] = {
            f"ROC AUC at least {area:g}": figures["ROC AUC"].value >= area,
            **({f"TPR at 1 % FP at least {rate:g}": figures["TPR at 1 % FP"].value >= rate} if rate else {}),
        }
    return found


def _numbers(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.interval.low, "high": found.interval.high}


def headline(rows: Sequence[Row]) -> str:
    """Return the study's answer in a few lines of text."""
    found = summary(rows)
    seeds = ", ".join(map(str, _list(found["seeds"])))
    lines = [
        f"study        {found['study']}, seeds {seeds}, {found['queries']} queries",
        *(f"{label:<12} {_figure(found[label])}" for label in MERITS),
        f"derived      {found['derived called derived']} of {found['derived']} that keep the accuracy called derived",
        f"unrelated    {found['unrelated called derived']} of {found['unrelated']} called derived",
    ]
    lines += [f"bar          {bar}: {'met' if met else 'missed'}" for bar, met in _bars(found)]
    if beaten := _list(found["attacks not called derived at least once"]):
        lines.append(f"not caught   at least once: {', '.join(map(str, beaten))}")
    return "\n".join(lines)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _bars(found: Mapping[str, object]) -> list[tuple[str, bool]]:
    bars = found.get("bars")
    return list(bars.items()) if isinstance(bars, dict) else []


def _figure(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"


def page(rows: Sequence[Row], tables: Sequence[Table], pictures: Mapping[str, bytes]) -> str:
    """Return the page.

    Args:
        rows: of one study.
        tables: all of them.
        pictures: name -> SVG.
    """
    found = summary(rows)
    title = f"Irremovability study: {escape(rows[0].preset)}"
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        _answer(found),
    ]
    for name, svg in pictures.items():
        image = svg.decode().partition("<svg")
        parts.append(f'<figure id="{name}"><svg{image[2]}<figcaption>{escape(CAPTIONS[name])}</figcaption></figure>')
    missing = [name for name in CAPTIONS if name not in pictures]
    if missing:
        parts.append(f"<p>Not drawn, since this study has no rows for it: {escape(', '.join(missing))}.</p>")
    parts += [_table(table) for table in tables]
    parts.append(_made(rows))
    return "\n".join([*parts, "</body></html>", ""])


def _answer(found: Mapping[str, object]) -> str:
    caught, accused = (f"{found[f'{kind} called derived']} of {found[kind]}" for kind in ("derived", "unrelated"))
    lines = [
        f"ROC AUC <b>{_figure(found['ROC AUC'])}</b>, gap <b>{_figure(found['gap'])}</b>, true-positive rate at 1 % "
        f"false positives <b>{_figure(found['TPR at 1 % FP'])}</b>: {found['queries']} queries, attacks that keep the "
        "accuracy within 5 points, mean over seeds, 95 % bootstrap interval over models.",
        f"{caught} derived suspects that keep the accuracy are called derived; {accused} unrelated ones are.",
    ]
    for bar, met in _bars(found):
        lines.append(f'{escape(bar)}: <span class="{"met" if met else "missed"}">{"met" if met else "missed"}</span>')
    beaten = _list(found["attacks not called derived at least once"])
    names = escape(", ".join(map(str, beaten))) if beaten else "none"
    lines.append(f"Attacks that keep the accuracy and were not called derived at least once: <b>{names}</b>.")
    return '<div class="answer">' + "".join(f"<p>{line}</p>" for line in lines) + "</div>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in table.lines)
    return (
        f'<h2 id="{table.name}">{escape(table.title)}</h2><p>{escape(table.note)}</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _made(rows: Sequence[Row]) -> str:
    first = rows[0]
    made = {
        "rows": len(rows),
        "seeds": sorted({row.seed for row in rows}),
        "device": first.device,
        "versions": first.versions,
        "study": first.configuration.get("study"),
    }
    text = escape(json.dumps(made, indent=1))
    return f"<h2>How it was made</h2><p>Every row is in <code>rows.jsonl</code>.</p><pre>{text}</pre>"
