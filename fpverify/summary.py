"""Inspections as text for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from fpverify.inspection import FingerprintSummary, OnnxSummary
from fpverify.onnx_format import Value
from fpverify.plaintext import one_line
from fpverify.tables import Rows, contract_rows, json_text, pairs, ranges, table


def summary_as_json(summary: FingerprintSummary | OnnxSummary) -> str:
    """Return an inspection as JSON.

    Args:
        summary: of `inspect_file`.

    Returns:
        One JSON object and a line end; `kind` is `fingerprint` or `onnx`.
    """
    kind = "fingerprint" if isinstance(summary, FingerprintSummary) else "onnx"
    return json_text({"kind": kind, **asdict(summary)})


def summary_as_text(summary: FingerprintSummary | OnnxSummary) -> str:
    """Return an inspection for a person.

    Args:
        summary: of `inspect_file`.

    Returns:
        Lines.
    """
    if isinstance(summary, FingerprintSummary):
        return f"Fingerprint {one_line(summary.path)}\n\n{table(_fingerprint_rows(summary))}"
    return f"ONNX model {one_line(summary.path)}\n\n{table(_onnx_rows(summary))}"


def _fingerprint_rows(summary: FingerprintSummary) -> Rows:
    contract, calibration = summary.contract, summary.calibration
    size = f"{contract.height} x {contract.width} pixels"
    contracted = f"{contract.layout}, {contract.channels}, {size}, values {contract.low:g} to {contract.high:g}"
    normalised = "" if contract.mean is None and contract.std is None else _normalisation(contract.mean, contract.std)
    return [
        ("SHA-256", f"{summary.sha256} ({summary.bytes} bytes)"),
        ("format version", str(summary.format_version)),
        ("keys", str(summary.keys)),
        ("classes", f"{len(summary.classes)}: {', '.join(summary.classes)}"),
        ("inputs", contracted + normalised),
        ("source", f"SHA-256 {summary.source_sha256}"),
        ("threshold", f"{calibration.threshold:.1%} ({calibration.rule})"),
        ("  surrogates", _spread(calibration.surrogates)),
        ("  references", _spread(calibration.references)),
        ("  nulls", _spread(calibration.nulls)),
        ("    trained with", ranges(summary.null_ranges)),
        ("method", json.dumps(summary.method, sort_keys=True)),
        ("seeds", pairs(summary.seeds)),
        ("versions", pairs(summary.versions)),
    ]


def _normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> str:
    return f"; the source then subtracts {mean or 'nothing'} and divides by {std or 'nothing'}"


def _spread(retentions: Sequence[float]) -> str:
    if not retentions:
        return "none"
    return f"{len(retentions)} models keep {min(retentions):.1%} to {max(retentions):.1%} of the keys"


def _onnx_rows(summary: OnnxSummary) -> Rows:
    model, survey = summary.model, summary.survey
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items()))
    noticed = [
        ("training mode", survey.training, "its answers depend on chance or on the other inputs of a batch"),
        ("random", survey.random, "its answers may vary"),
        ("external data", survey.external, "read from beside the model"),
    ]
    return [
        ("SHA-256", f"{summary.sha256 or 'not computed: it would take too long'} ({summary.bytes} bytes)"),
        ("producer", f"{model.producer} {model.producer_version}".strip() or "not stated"),
        ("IR version", str(model.ir_version)),
        ("operator sets", opsets),
        ("nodes", str(survey.nodes)),
        *[("input", _value(value)) for value in model.inputs],
        *([("with a default", f"{len(model.defaults)} further inputs")] if model.defaults else []),
        *[("output", _value(value)) for value in model.outputs],
        ("classes", "its outputs do not say" if summary.classes is None else str(summary.classes)),
        *[(name, f"{', '.join(found[:8])}: {meaning}") for name, found, meaning in noticed if found],
        *([] if summary.contract is None else contract_rows(summary.contract)),
        *([] if summary.refusal is None else [("no suspect", f"cannot be judged: {summary.refusal}")]),
        *([] if not summary.doubt else [("no suspect", f"perhaps: {summary.doubt}")]),
        *([("metadata", "that the file holds besides, as its author wrote it:")] if model.metadata else []),
        *[(f"  {key}", value) for key, value in sorted(model.metadata.items())],
    ]


def _value(value: Value) -> str:
    sizes = None if value.shape is None else ", ".join("?" if size is None else str(size) for size in value.shape)
    return f"{value.name}: {value.type}" + ("" if sizes is None else f" ({sizes})")
