"""A study's rows as tables, pictures and one page; needs neither PyTorch nor the study itself.

rows         one row for each method, suspect and seed, as JSON lines
merit        figures of merit with bootstrap intervals
tables       what became of each kind of suspect, and one method beside another, as Markdown and CSV
marks        a shape and a colour for each verdict
suspect_plots, curves
             pictures with a mark for each suspect; ROC curves and sweeps
plots        each picture as PNG and SVG, wide and narrow
claims       the table of false claims
summary      the figures, the bars and the attacks that win
facts        where the figures come from: data, source, machine, command
glossary     the page's words
page         `study.html`, which holds everything
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpverify.files import write_atomically
from fpverify_generator.errors import StudyError
from fpverify_generator.report.claims import claims_table, read_claims
from fpverify_generator.report.facts import read_study
from fpverify_generator.report.page import page
from fpverify_generator.report.plots import all_plots
from fpverify_generator.report.rows import Row, check_rows, read_rows, settings_digest, write_rows
from fpverify_generator.report.summary import headline, summary
from fpverify_generator.report.tables import all_tables

__all__ = ["Row", "headline", "read_rows", "remake_report", "write_report", "write_rows"]


CLAIMS = "false-claims.json"
"""A study's file of false claims."""


def write_report(
    rows: Sequence[Row], folder: Path, study: Mapping[str, Any], claims: Sequence[Mapping[str, Any]] = ()
) -> list[Path]:
    """Write tables, plots, the page and the summary of a study.

    Args:
        rows: of one study, at least one suspect of each kind a seed.
        folder: receives `tables/`, `plots/`, `study.html`, `summary.json` and `study.json`.
        study: what `study.json` holds: the study's settings and facts, as JSON values.
        claims: what `false-claims.json` holds; none where the study made no false claims.

    Returns:
        The files that were written.

    Raises:
        StudyError: if the rows are not those of one study, a seed has no derived or no unrelated suspect, or a fact
            does not fit.
    """
    check_rows(rows)
    if {row.study for row in rows} - {"", settings_digest(study)}:
        raise StudyError("were made with other settings than study.json says", culprit="rows")
    found, tables, plots = summary(rows), all_tables(rows), all_plots(rows)
    tables += [claims_table(claims)] if claims else []
    files: dict[str, bytes] = {}
    for table in tables:
        files[f"tables/{table.name}.md"] = table.markdown().encode()
        files[f"tables/{table.name}.csv"] = table.csv().encode()
    for name, drawing in plots.items():
        files |= {f"plots/{name}.png": drawing.png, f"plots/{name}.svg": drawing.svg}
    files["study.html"] = page(rows, found, tables, plots, study).encode()
    files["summary.json"] = (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()
    files["study.json"] = (json.dumps(study, indent=2, allow_nan=False) + "\n").encode()
    written = []
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
        written.append(path)
    return written


def remake_report(folder: Path) -> str:
    """Write the report of a finished study anew, from its `rows.jsonl` and `study.json`; returns its headline.

    Raises:
        StudyError: if either cannot be read or is not of a study.
    """
    rows = read_rows(folder / "rows.jsonl")
    claims = folder / CLAIMS
    write_report(rows, folder, read_study(folder / "study.json"), read_claims(claims) if claims.is_file() else ())
    return f"{headline(rows)}\nreport       {folder / 'study.html'}"
