"""The table of report formats: text, Markdown, HTML, JSON, JSON lines, CSV, SARIF, JUnit.

What a report says stands in `letter`, `of_result`, `of_vetting` and `of_inspection`. `as_text`, `as_markdown` and
`as_html` write such letters; `as_json`, `as_jsonl`, `as_csv`, `as_sarif` and `as_junit` write the results themselves.
A further format is a module with `result` and `many`, for people also `inspection` and `vetting`, and a row here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpverify.inspection import InspectedFingerprint, InspectedModel
    from fpverify.result import Judged, Result, Vetting


@dataclass(frozen=True)
class Format:
    """One format of reports; its module is imported when a report is written."""

    module: str
    """The module that writes it."""
    readers: str
    """Whom it is for, for the help text."""
    suffixes: tuple[str, ...]
    """Of files in this format."""
    every: bool = False
    """Whether inspections and vettings can be written in it, too."""
    rows: bool = False
    """Whether one suspect is a row as several are, and one without a verdict, too."""

    def result(self, result: "Result") -> str:
        """Return a verification in this format.

        Args:
            result: of `verify`.
        """
        text: str = import_module(self.module).result(result)
        return text

    def many(self, judged: "Iterable[Judged]") -> "Iterator[str]":
        """Yield many verifications in this format, in parts of one text.

        For programs each part is made when its verifications are read, so that memory does not grow with their number.

        Args:
            judged: suspects by fingerprints, those without a verdict among them.
        """
        parts: Iterator[str] = import_module(self.module).many(judged)
        return parts

    def inspection(self, found: "InspectedFingerprint | InspectedModel") -> str:
        """Return an inspection in this format.

        Args:
            found: by `inspect_file`.
        """
        text: str = import_module(self.module).inspection(found)
        return text

    def vetting(self, vetting: "Vetting") -> str:
        """Return a vetting in this format.

        Args:
            vetting: of `vet`.
        """
        text: str = import_module(self.module).vetting(vetting)
        return text


def framed(page: str) -> str:
    """Return a page as an element of another page, with a style of its own and without scripts."""
    style = "width: 100%; height: 40rem; border: 1px solid #8888"
    return f'<iframe title="fpverify" sandbox="" style="{style}" srcdoc="{escape(page)}"></iframe>'


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "text": Format("fpverify.reports.as_text", "people", (".txt",), every=True),
        "json": Format("fpverify.reports.as_json", "programs", (".json",), every=True),
        "jsonl": Format("fpverify.reports.as_jsonl", "programs, a line for each suspect", (".jsonl",), rows=True),
        "csv": Format("fpverify.reports.as_csv", "spreadsheets", (".csv",), rows=True),
        "markdown": Format("fpverify.reports.as_markdown", "pull requests", (".md",)),
        "html": Format("fpverify.reports.as_html", "browsers", (".html", ".htm")),
        "sarif": Format("fpverify.reports.as_sarif", "code scanning", (".sarif",), rows=True),
        "junit": Format("fpverify.reports.as_junit", "CI systems", (".xml",), rows=True),
    }
)
"""Formats by name; the first is the default."""
