"""A study's rows as tables, pictures and one page; needs neither PyTorch nor the study itself.

rows         one row for each method, suspect and seed, as JSON lines
merit        figures of merit with bootstrap intervals
tables       what became of each kind of suspect, and one method beside another, as Markdown and CSV
plots        suspects as dots, ROC curves and sweeps, each picture as PNG and SVG
summary      the figures, the bars and the attacks that win
page         `study.html`, which holds everything
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpverify.files import write_atomically
from fpverify_generator.report.page import page
from fpverify_generator.report.plots import all_plots
from fpverify_generator.report.rows import Row, check_rows, read_rows, write_rows
from fpverify_generator.report.summary import headline, summary
from fpverify_generator.report.tables import all_tables

__all__ = ["Row", "headline", "read_rows", "write_report", "write_rows"]


def write_report(rows: Sequence[Row], folder: Path, study: Mapping[str, Any]) -> list[Path]:
    """Write tables, plots, the page and the summary of a study.

    Args:
        rows: of one study, at least one suspect of each kind a seed.
        folder: receives `tables/`, `plots/`, `study.html`, `summary.json` and `study.json`.
        study: the study's settings, as JSON values.

    Returns:
        The files that were written.

    Raises:
        StudyError: if the rows are not those of one study, or a seed has no derived or no unrelated suspect.
    """
    check_rows(rows)
    found, tables, plots = summary(rows), all_tables(rows), all_plots(rows)
    files: dict[str, bytes] = {}
    for table in tables:
        files[f"tables/{table.name}.md"] = table.markdown().encode()
        files[f"tables/{table.name}.csv"] = table.csv().encode()
    for name, pictures in plots.items():
        files |= {f"plots/{name}.{kind}": data for kind, data in pictures.items()}
    files["study.html"] = page(
        rows, found, tables, {name: pictures["svg"] for name, pictures in plots.items()}, study
    ).encode()
    files["summary.json"] = (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()
    files["study.json"] = (json.dumps(study, indent=2, allow_nan=False) + "\n").encode()
    written = []
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
        written.append(path)
    return written
