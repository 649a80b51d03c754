"""A demo as a table for the terminal, as JSON and as a picture."""

import io
import json
from dataclasses import asdict

from fpverify_generator.demo import Demo, Suspect

COLOURS = {"derived": "#b3361d", "unrelated": "#2b6ca3"}


def as_table(demo: Demo) -> str:
    """Return the demo's table and summary as text."""
    width = max(len(row.attack) for row in demo.suspects)
    lines = [f"{'suspect':<{width}}  {'kind':<9}  accuracy  retention  p, unrelated  q, derived  verdict"]
    lines += [_row(row, width) for row in sorted(demo.suspects, key=lambda row: (row.kind, -row.retention))]
    derived = [row for row in demo.suspects if row.kind == "derived"]
    unrelated = [row for row in demo.suspects if row.kind == "unrelated"]
    caught = sum(row.verdict == "derived" for row in derived)
    accused = sum(row.verdict == "derived" for row in unrelated)
    lines += [
        "",
        f"source         accuracy {float(demo.source['accuracy']):.1%} on the test images",
        f"threshold      {demo.threshold:.3f}, from held-out models; no suspect took part",
        f"derived        {caught} of {len(derived)} called derived; lowest retention {demo.lowest_derived:.2f}",
        f"unrelated      {accused} of {len(unrelated)} called derived; highest retention {demo.highest_unrelated:.2f}",
        f"ROC AUC        {demo.roc_auc:.4f}",
        f"seed {demo.seed}, {demo.seconds:.0f} s"
        + (f", {demo.trained_before} steps taken from an earlier run" if demo.trained_before else ""),
    ]
    return "\n".join(lines)


def _row(row: Suspect, width: int) -> str:
    return (
        f"{row.attack:<{width}}  {row.kind:<9}  {row.accuracy:8.1%}  {row.retention:9.2f}"
        f"  {row.p_value:12.3f}  {row.q_value:10.3f}  {row.verdict}"
    )


def as_json(demo: Demo) -> str:
    """Return the demo as JSON."""
    return json.dumps(asdict(demo), indent=2, allow_nan=False) + "\n"


def as_picture(demo: Demo) -> bytes:
    """Return a PNG: each suspect's retention, and the threshold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = sorted(demo.suspects, key=lambda row: (row.kind == "derived", row.retention))
    figure = Figure(figsize=(9, 0.24 * len(rows) + 1.6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    for height, row in enumerate(rows):
        axes.plot(row.retention, height, "o", color=COLOURS[row.kind])
    axes.axvline(demo.threshold, color="black", linestyle="--", linewidth=1)
    axes.text(demo.threshold, len(rows) - 0.2, f" threshold {demo.threshold:.2f}", va="bottom", fontsize=9)
    axes.set_yticks(range(len(rows)), [row.attack for row in rows], fontsize=8)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(COLOURS[row.kind])
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.8, len(rows) + 0.8)
    axes.set_xlabel("retention: share of keys answered as the fingerprint says")
    axes.set_title(f"Derived (red) and unrelated (blue) suspects, seed {demo.seed}: ROC AUC {demo.roc_auc:.3f}")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()
