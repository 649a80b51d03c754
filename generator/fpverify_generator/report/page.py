"""The study as one page: the answer first, then every picture and table, then how it was made."""

import json
from collections.abc import Mapping, Sequence
from html import escape

from fpverify_generator.report.rows import Row
from fpverify_generator.report.summary import bars_of, figure, listed
from fpverify_generator.report.tables import Table, by_method

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 80rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; line-height: 1.25; border-bottom: 1px solid var(--line); }
.answer { font-size: 1.1rem; background: var(--soft); border-radius: .5rem; padding: .75rem 1.25rem; }
.answer p { margin: .5rem 0; } .answer ul { margin: .5rem 0; padding-left: 1.25rem; }
.missed, .met { font-weight: 700; color: #fff; border-radius: .25rem; padding: 0 .4rem; }
.missed { background: #b3261e; } .met { background: #0a6b43; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .8rem; }
th, td { text-align: left; padding: .25rem .45rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { vertical-align: bottom; } td { white-space: nowrap; font-variant-numeric: tabular-nums; }
td:first-child, th:first-child { position: sticky; left: 0; background: Canvas; }
small { display: block; font-size: .68rem; opacity: .75; }
figure { margin: 1.5rem 0; background: #fff; color: #444; border-radius: .5rem; padding: .5rem; }
figure svg { max-width: 100%; height: auto; display: block; } figcaption { font-size: .85rem; }
pre { overflow-x: auto; background: var(--soft); padding: .75rem; font-size: .78rem; }
@media (max-width: 40rem) { body { padding: .75rem; } figure svg { max-width: none; width: 40rem; } }
"""

CAPTIONS = {
    "retention-by-attack": "A dot is a suspect; right of the dashed line are those that are called derived.",
    "roc": "The further a curve hugs the upper left corner, the better its method tells derived from unrelated models.",
    "retention-against-accuracy": "An attack beats the method where a coloured dot lies low, right of the dotted line.",
    "auc-against-epsilon": "How far keys may move from real images, against how well they tell models apart.",
    "auc-against-ensemble": "How many models the owner trains for CEM, against how well its keys tell models apart.",
}
"""Picture -> how to read it."""


def page(
    rows: Sequence[Row], found: Mapping[str, object], tables: Sequence[Table], pictures: Mapping[str, bytes]
) -> str:
    """Return the page.

    Args:
        rows: of one study.
        found: its summary.
        tables: all of them.
        pictures: name -> SVG.
    """
    title = f"Irremovability study: {escape(rows[0].preset)}"
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        _answer(found),
    ]
    parts += [_picture(name, pictures[name].decode()) for name in CAPTIONS if name in pictures]
    missing = [name for name in CAPTIONS if name not in pictures]
    if missing:
        parts.append(f"<p>Not drawn, since this study has no suspects for it: {escape(', '.join(missing))}.</p>")
    parts += [_table(table) for table in tables]
    parts.append(_made(rows))
    return "\n".join([*parts, "</body></html>", ""])


def _answer(found: Mapping[str, object]) -> str:
    caught, accused = (f"{found[f'{kind} called derived']} of {found[kind]}" for kind in ("derived", "unrelated"))
    lines = [
        f"ROC AUC <b>{figure(found['ROC AUC'])}</b>, gap <b>{figure(found['gap'])}</b>, true-positive rate at 1 % "
        f"false positives <b>{figure(found['TPR at 1 % FP'])}</b>: {found['queries']} queries, attacks that keep the "
        "accuracy within 5 points, mean over seeds, 95 % bootstrap interval over models.",
        f"<b>{caught}</b> derived suspects that keep the accuracy are called derived; <b>{accused}</b> unrelated ones "
        f"are. Counted apart: {found['derived that lost the accuracy']} derived that lost the accuracy, "
        f"{found['derived with other classes']} that know other classes; not judged: {found['not judged']}.",
    ]
    beaten = listed(found["attacks not called derived at least once"])
    names = escape(", ".join(map(str, beaten))) if beaten else "none"
    last = f"<p>Attacks that keep the accuracy and were not called derived at least once: <b>{names}</b>.</p>"
    return '<div class="answer">' + "".join(f"<p>{line}</p>" for line in lines) + _bars(found) + last + "</div>"


def _bars(found: Mapping[str, object]) -> str:
    words = [
        f'<li>{escape(bar)}: <span class="{word}">{word}</span></li>'
        for bar, met in bars_of(found)
        for word in ("met" if met else "missed",)
    ]
    return f"<ul>{''.join(words)}</ul>" if words else "<p>No bar is set for this study.</p>"


def _picture(name: str, svg: str) -> str:
    caption = escape(CAPTIONS[name])
    # what lies before the tag is for a file that stands alone
    drawn = svg.partition("<svg")[2].rstrip()
    return (
        f'<figure id="{name}"><div class="scroll"><svg role="img" aria-label="{caption}"{drawn}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in line) + "</tr>" for line in table.lines)
    return (
        f'<h2 id="{table.name}">{escape(table.title.rstrip("."))}</h2><p>{escape(table.note)}</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cell(text: str) -> str:
    """Return a cell; an interval goes below its figure, smaller."""
    value, bracket, interval = text.partition(" (")
    if bracket and " to " in interval:
        return f"{escape(value)}<small>{escape(interval.rstrip(')'))}</small>"
    return escape(text)


def _made(rows: Sequence[Row]) -> str:
    configured = rows[0].configuration.get("study")
    made = {
        "rows": len(rows),
        "methods": len({row.method for row in rows}),
        "suspects": len({(row.seed, row.suspect) for row in rows}),
        "seeds": sorted({row.seed for row in rows}),
        "device": sorted({row.device for row in rows}),
        "versions": _unlike([row.versions for row in rows]),
        "study": configured,
        "baselines": {name: own[0].configuration.get("baseline") for name, own in by_method(rows, "baseline").items()},
        "attacks": {row.attack: row.configuration.get("attack") for row in rows if row.attack},
    }
    text = escape(json.dumps(made, indent=1))
    return f"<h2>How it was made</h2><p>Every row is in <code>rows.jsonl</code>.</p><pre>{text}</pre>"


def _unlike(found: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]] | Mapping[str, str]:
    """Return the one mapping, or all that there are where parts were made with unlike versions."""
    apart: list[Mapping[str, str]] = []
    for one in found:
        if one not in apart:
            apart.append(one)
    return apart[0] if len(apart) == 1 else apart
