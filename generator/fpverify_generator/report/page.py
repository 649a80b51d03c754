"""The study as one page: the answer first, then where it comes from, its words, every picture and every table."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fpverify_generator.categories import CATEGORIES
from fpverify_generator.report.facts import Facts, facts_of, provenance
from fpverify_generator.report.glossary import GLOSSARY
from fpverify_generator.report.marks import BLUE, FAINT, INK, LINE
from fpverify_generator.report.plots import Drawing
from fpverify_generator.report.rows import Row
from fpverify_generator.report.summary import bars_of, figure, listed
from fpverify_generator.report.tables import Table, by_method

CAPTIONS = {
    "retention-by-attack": "What each attack leaves of the fingerprint, and what unrelated models keep of it. A mark "
    "is a suspect, and its shape is the verdict. The attack wins where a mark of a derived model is no circle.",
    "roc": "The further a curve hugs the upper left corner, the better its method tells derived from unrelated models. "
    "Attacks that keep the accuracy.",
    "retention-against-accuracy": "An attack wins where a derived model is no circle and lies right of the dotted "
    "line: it keeps the accuracy and loses the fingerprint.",
    "auc-against-epsilon": "How far keys may move from real images, against how well they tell models apart. Attacks "
    "that keep the accuracy.",
    "auc-against-ensemble": "How many models the owner trains for CEM, against how well its keys tell models apart. "
    "Attacks that keep the accuracy.",
}
"""Picture -> how to read it."""

OWN_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    LINE: "var(--guide)",
    BLUE: "var(--blue)",
    "#ffffff": "none",
}
"""A picture's colour -> the page's, which is another in dark mode."""


def page(
    rows: Sequence[Row],
    found: Mapping[str, object],
    tables: Sequence[Table],
    pictures: Mapping[str, Drawing],
    study: Mapping[str, Any],
) -> str:
    """Return the page, from the template `page.html.j2`; every text in it is escaped.

    Args:
        rows: of one study.
        found: its summary.
        tables: all of them.
        pictures: by name.
        study: its settings.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["split_interval"] = _split_interval
    template = environment.from_string((files(__package__) / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=f"Irremovability study: {rows[0].preset}",
        figure=figure,
        found=found,
        bars=list(bars_of(found)),
        beaten=listed(found["attacks not called derived at least once"]),
        figures=[(label, *_split_interval(figure(found[label]))) for label in ("ROC AUC", "gap", "TPR at 1 % FP")],
        pictures=[
            (name, CAPTIONS[name], [("wide", _inline(one.svg)), ("narrow", _inline(one.narrow))])
            for name, one in pictures.items()
        ],
        missing=[name for name in CAPTIONS if name not in pictures],
        provenance=provenance(rows, study),
        attacks=_attacks(rows, facts_of(study)),
        glossary=GLOSSARY,
        tables=tables,
        made=json.dumps(_made(rows, study), indent=1),
    )


def _inline(svg: bytes) -> Markup:
    """Return our own picture from its tag's attributes on, in the page's colours and on its ground.

    What lies before is for a file that stands alone.
    """
    text = svg.decode().partition("<svg")[2].rstrip()
    for colour, own in OWN_COLOURS.items():
        text = text.replace(f": {colour}", f": {own}")
    return Markup(text)  # noqa: S704


def _attacks(rows: Sequence[Row], facts: Facts) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Return the attacks: category -> what is done -> name and settings of each attack that does it."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {}
    settings = {
        (row.category or "", row.attack): row.configuration.get("attack") for row in rows if row.attack is not None
    }
    for (category, name), text in sorted(settings.items(), key=lambda one: CATEGORIES.index(one[0][0])):
        note = facts.attacks.get(name, "")
        found.setdefault(category, {}).setdefault(note, []).append((name, str(text or "")))
    return found


def _split_interval(cell: str) -> tuple[str, str]:
    """Return a cell's figure and its interval, which is shown below it, smaller; an empty one if there is none."""
    value, bracket, interval = cell.partition(" (")
    return (value, interval.rstrip(")")) if bracket and " to " in interval else (cell, "")


def _made(rows: Sequence[Row], study: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "study": {name: value for name, value in study.items() if name != "facts"},
        "baselines": {name: own[0].configuration.get("baseline") for name, own in by_method(rows, "baseline").items()},
    }
