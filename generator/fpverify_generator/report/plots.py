"""The study's pictures, each as PNG and as SVG, and narrow for a phone; the same rows give the same bytes."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fpverify_generator.report.curves import auc_against_ensemble, auc_against_epsilon, roc
from fpverify_generator.report.merit import estimate, roc_auc, samples_of
from fpverify_generator.report.rows import Row
from fpverify_generator.report.suspect_plots import lines_of, retention_against_accuracy, retention_by_attack
from fpverify_generator.report.tables import budgets, by_method

Picture = Callable[[Any, Sequence[Row], bool], None]
"""Draws rows on a matplotlib figure, wide or narrow."""

NARROW = 3.6
"""Width of a narrow picture, in inches: as wide as a phone's page, on which its text is then 12 pixels high."""

SETTINGS: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": "medium",
    "svg.fonttype": "none",
    # a name with two dollar signs is a name, and no formula
    "text.parse_math": False,
}
"""matplotlib's, for every picture. Text in an SVG stays text, so that pages can colour it and readers can find it."""


@dataclass(frozen=True)
class Drawing:
    """One picture in every form."""

    png: bytes
    """Wide."""
    svg: bytes
    """Wide."""
    narrow: bytes
    """SVG that is as wide as a phone's page."""


def draw(name: str, picture: Picture, rows: Sequence[Row], wide: tuple[float, float], height: float) -> Drawing:
    """Return a picture in every form.

    Args:
        name: told apart from every other picture's; names within an SVG derive from it.
        picture: draws it.
        rows: what it shows.
        wide: width and height of the wide form, in inches.
        height: of the narrow form, in inches.
    """
    return Drawing(
        png=_drawn(name, "png", picture, rows, wide, wide=True),
        svg=_drawn(name, "svg", picture, rows, wide, wide=True),
        narrow=_drawn(f"{name}-narrow", "svg", picture, rows, (NARROW, height), wide=False),
    )


def _drawn(name: str, kind: str, picture: Picture, rows: Sequence[Row], size: tuple[float, float], wide: bool) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": f"fpverify {name}"}):
        figure = Figure(figsize=size, layout="constrained")
        (FigureCanvasAgg if kind == "png" else FigureCanvasSVG)(figure)
        picture(figure, rows, wide)
        buffer = io.BytesIO()
        metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=110)
    return buffer.getvalue()


def all_plots(rows: Sequence[Row]) -> dict[str, Drawing]:
    """Return every picture that the rows have something for, by name."""
    main = [row for row in rows if row.group == "cem"]
    lines = len(lines_of(main))
    wanted: dict[str, tuple[Picture, Sequence[Row], tuple[float, float], float]] = {
        "retention-by-attack": (retention_by_attack, main, (10, 0.21 * lines + 1.4), 0.32 * lines + 2),
        "retention-against-accuracy": (retention_against_accuracy, main, (10, 4.6), 6.5),
    }
    if estimate(samples_of(main, budgets(rows)[-1]), roc_auc) is not None:
        compared = len(by_method(rows, "cem", "baseline"))
        wanted["roc"] = (roc, rows, (10, 4.6), 6 + 0.2 * compared)
        for group, picture in (("epsilon", auc_against_epsilon), ("ensemble", auc_against_ensemble)):
            if any(row.group == group for row in rows):
                wanted[f"auc-against-{group}"] = (picture, rows, (7.5, 4), 3.8)
    return {name: draw(name, *parts) for name, parts in wanted.items()}
