"""The table of report formats: `as_text`, `as_json`.

A further format is a module with `result`, `inspection` and `vetting`, and a row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpverify.inspection import InspectedFingerprint, InspectedModel
    from fpverify.result import Result, Vetting


@dataclass(frozen=True)
class Format:
    """One format of reports; its module is imported when a report is written."""

    module: str
    """The module that writes it."""
    readers: str
    """Whom it is for, for the help text."""

    def result(self, result: "Result") -> str:
        """Return a verification in this format.

        Args:
            result: of `verify`.
        """
        text: str = import_module(self.module).result(result)
        return text

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


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "text": Format("fpverify.reports.as_text", "people"),
        "json": Format("fpverify.reports.as_json", "programs"),
    }
)
"""Formats by name; the first is the default."""
