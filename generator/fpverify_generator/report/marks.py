"""How pictures mark a suspect: its verdict by shape and by colour, and hollow where the source's accuracy is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpverify_generator.report.rows import KEEPS, Row

INK, FAINT, LINE, BLUE = "#000000", "#767676", "#bbbbbb", "#0072b2"
"""Colours of text and axes, of notes, and of lines that guide the eye; and a blue that is too dark for a dark page."""


@dataclass(frozen=True)
class Mark:
    """How a suspect with one verdict is drawn."""

    shape: str
    """matplotlib's marker."""
    colour: str
    """After Okabe and Ito: told apart by the colour-blind."""


NO_VERDICT = "no verdict"
"""What stands in place of a verdict where there is none."""

MARKS: Mapping[str, Mark] = {
    "derived": Mark("o", "#d55e00"),
    "unrelated": Mark("s", BLUE),
    "inconclusive": Mark("^", "#cc79a7"),
    NO_VERDICT: Mark("x", FAINT),
}
"""Verdict -> its mark."""

WORDS: Mapping[str, str] = {"o": "circle", "s": "square", "^": "triangle", "x": "cross"}
"""Shape -> its name."""


def verdict_of(row: Row, queries: str) -> str:
    """Return a suspect's verdict, or `NO_VERDICT`."""
    return (row.verdicts or {}).get(queries, NO_VERDICT)


def is_hollow(row: Row) -> bool:
    """Say whether a suspect is drawn hollow: an attack has cost it the source's accuracy, or its classes."""
    return row.kind == "derived" and not row.keeps_accuracy


def style_of(verdict: str, hollow: bool) -> dict[str, Any]:
    """Return the settings with which matplotlib draws the suspects of one verdict."""
    mark = MARKS[verdict]
    return {
        "marker": mark.shape,
        "linestyle": "none",
        "color": mark.colour,
        "markerfacecolor": "none" if hollow else mark.colour,
        "markersize": 5,
        "alpha": 0.8,
    }


def draw_legend(figure: Any, rows: Sequence[Row], queries: str, columns: int) -> None:
    """Draw a legend of the marks that these suspects have, above the picture."""
    from matplotlib.lines import Line2D

    there = {verdict_of(row, queries) for row in rows}
    handles = [
        Line2D([], [], label=f"{WORDS[mark.shape]}: {verdict}", **style_of(verdict, hollow=False))
        for verdict, mark in MARKS.items()
        if verdict in there
    ]
    if any(is_hollow(row) for row in rows):
        style = {**style_of("derived", hollow=True), "color": FAINT}
        handles.append(
            Line2D([], [], label=f"hollow: lost {KEEPS * 100:.0f} points of accuracy, or other classes", **style)
        )
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, handletextpad=0.2)


def bare(axes: Any) -> None:
    """Leave out the lines above and right of a picture."""
    axes.spines[["top", "right"]].set_visible(False)
