"""Results and inspections as JSON for programs."""

import json
from dataclasses import asdict
from typing import Any

from fpverify.inspection import FingerprintSummary, OnnxSummary
from fpverify.result import Result

RESULT_FORMAT = "fpverify-result-1"
"""Names the JSON Schema of a verification, `formats/result-1.schema.json`."""


def result(result: Result) -> str:
    """Return a verification as JSON, as `formats/result-1.schema.json` describes.

    Args:
        result: of `verify`.

    Returns:
        One JSON object and a line end; rates are fractions, times are seconds.
    """
    document = asdict(result)
    del document["contract"]["readings"]  # all are settled, or there would be no verdict
    return _document({"format": RESULT_FORMAT, **document})


def inspection(summary: FingerprintSummary | OnnxSummary) -> str:
    """Return an inspection as JSON.

    Args:
        summary: of `inspect_file`.

    Returns:
        One JSON object and a line end; `kind` is `fingerprint` or `onnx`.
    """
    kind = "fingerprint" if isinstance(summary, FingerprintSummary) else "onnx"
    return _document({"kind": kind, **asdict(summary)})


def _document(value: dict[str, Any]) -> str:
    """Return one JSON object and a line end."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
