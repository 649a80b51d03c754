"""Results and inspections as JSON for programs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from fpverify.inspection import InspectedFingerprint, InspectedModel
from fpverify.reports.as_jsonl import line
from fpverify.result import Judged, Result, Vetting
from fpverify.vetting import to_json


def result(result: Result) -> str:
    """Return a verification as JSON, as `formats/result-1.schema.json` describes.

    Args:
        result: of `verify`.

    Returns:
        One JSON object and a line end; rates are fractions, times are seconds.
    """
    return _document(result.to_dict())


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield many verifications as one JSON list, of what `as_jsonl` writes a line for each."""
    before = "[\n"
    for one in judged:
        yield before + line(one).rstrip()
        before = ",\n"
    yield "[\n]\n" if before == "[\n" else "\n]\n"


def inspection(found: InspectedFingerprint | InspectedModel) -> str:
    """Return an inspection as JSON.

    Args:
        found: by `inspect_file`.

    Returns:
        One JSON object and a line end; `kind` is `fingerprint` or `onnx`.
    """
    if isinstance(found, InspectedModel):
        return _document({"kind": "onnx", **asdict(found)})
    fingerprint = found.fingerprint
    return _document(
        {
            "kind": "fingerprint",
            "path": found.path,
            "bytes": found.bytes,
            "sha256": fingerprint.sha256,
            "format_version": fingerprint.format_version,
            "keys": len(fingerprint),
            "classes": fingerprint.classes,
            "contract": asdict(fingerprint.contract),
            "source_sha256": fingerprint.source.sha256,
            "method": fingerprint.method,
            "seeds": fingerprint.seeds,
            "versions": fingerprint.versions,
            "calibration": asdict(fingerprint.calibration),
            "null_ranges": fingerprint.null_ranges,
        }
    )


def vetting(vetting: Vetting) -> str:
    """Return a vetting as JSON, which `verify --vetting` reads."""
    return _document(to_json(vetting))


def _document(value: dict[str, Any]) -> str:
    """Return one JSON object and a line end."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
