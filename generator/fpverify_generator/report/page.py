"""The study as one page: the answer first, then every picture and table, then how it was made."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fpverify_generator.report.rows import Row
from fpverify_generator.report.summary import bars_of, figure, listed
from fpverify_generator.report.tables import Table, by_method

CAPTIONS = {
    "retention-by-attack": "A dot is a suspect; right of the dashed line are those that are called derived.",
    "roc": "The further a curve hugs the upper left corner, the better its method tells derived from unrelated models.",
    "retention-against-accuracy": "An attack beats the method where a coloured dot lies low, right of the dotted line.",
    "auc-against-epsilon": "How far keys may move from real images, against how well they tell models apart.",
    "auc-against-ensemble": "How many models the owner trains for CEM, against how well its keys tell models apart.",
}
"""Picture -> how to read it."""


def page(
    rows: Sequence[Row],
    found: Mapping[str, object],
    tables: Sequence[Table],
    pictures: Mapping[str, bytes],
    study: Mapping[str, Any],
) -> str:
    """Return the page, from the template `page.html.j2`; every text in it is escaped.

    Args:
        rows: of one study.
        found: its summary.
        tables: all of them.
        pictures: name -> SVG.
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
        pictures=[(name, CAPTIONS[name], _drawn(pictures[name])) for name in CAPTIONS if name in pictures],
        missing=[name for name in CAPTIONS if name not in pictures],
        tables=tables,
        made=json.dumps(_made(rows, study), indent=1),
    )


def _drawn(svg: bytes) -> Markup:
    """Return our own picture from its tag's attributes on; what lies before is for a file that stands alone."""
    return Markup(svg.decode().partition("<svg")[2].rstrip())  # noqa: S704


def _split_interval(cell: str) -> tuple[str, str]:
    """Return a cell's figure and its interval, which is shown below it, smaller; an empty one if there is none."""
    value, bracket, interval = cell.partition(" (")
    return (value, interval.rstrip(")")) if bracket and " to " in interval else (cell, "")


def _made(rows: Sequence[Row], study: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "methods": len({row.method for row in rows}),
        "suspects": len({(row.seed, row.suspect) for row in rows}),
        "seeds": sorted({row.seed for row in rows}),
        "device": sorted({row.device for row in rows}),
        "versions": _unlike([row.versions for row in rows]),
        "study": study,
        "baselines": {name: own[0].configuration.get("baseline") for name, own in by_method(rows, "baseline").items()},
        "attacks": {row.attack: row.configuration.get("attack") for row in rows if row.attack},
    }


def _unlike(found: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]] | Mapping[str, str]:
    """Return the one mapping, or all that there are where parts were made with unlike versions."""
    apart: list[Mapping[str, str]] = []
    for one in found:
        if one not in apart:
            apart.append(one)
    return apart[0] if len(apart) == 1 else apart
