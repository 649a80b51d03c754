"""Results as text for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from fpverify.inspection import FingerprintSummary, OnnxSummary
from fpverify.onnx_proto import Value
from fpverify.plaintext import one_line
from fpverify.verdict import Verdict
from fpverify.verify import Result

RESULT_FORMAT = "fpverify-result-1"
"""Names the JSON Schema of a verification, `formats/result-1.schema.json`."""

Rows: TypeAlias = Sequence[tuple[str, str]]

HEADLINES = {
    Verdict.DERIVED: "DERIVED: the suspect was made from the fingerprint's source",
    Verdict.UNRELATED: "UNRELATED: the suspect keeps too little of the fingerprint to be called derived",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE: the evidence decides neither way",
}
"""The first line of a report."""


def result_as_json(result: Result) -> str:
    """Return a verification as JSON, as `formats/result-1.schema.json` describes.

    Args:
        result: of `verify`.

    Returns:
        One JSON object and a line end; rates are fractions, times are seconds.
    """
    return _json({"format": RESULT_FORMAT, **asdict(result)})


def result_as_text(result: Result) -> str:
    """Return a verification for a person who may have to defend it.

    Args:
        result: of `verify`.

    Returns:
        Lines, the verdict first.
    """
    interval, fingerprint, suspect = result.interval, result.fingerprint, result.suspect
    above = f"{result.nulls_above_suspect} of {result.nulls} unrelated models keep as much"
    false = f"{result.nulls_above_threshold} of {result.nulls} unrelated models reach the threshold"
    rows = [
        ("retention", f"{result.kept} of {result.queries} keys ({result.retention:.1%})"),
        ("interval", f"{interval.low:.1%} to {interval.high:.1%} (Clopper-Pearson, {interval.level:.4g} confidence)"),
        ("threshold", f"{result.threshold:.1%} ({fingerprint.calibration_rule})"),
        ("p-value", f"{result.p_value:.3g} ({above}; at most {result.policy.level:g} is required)"),
        ("false positives", f"at most {result.false_positive_bound:.1%} ({false}; {interval.level:.4g} confidence)"),
        ("suspect", suspect.name),
        ("  SHA-256", suspect.sha256 or "none: not a file"),
        ("fingerprint", fingerprint.path or "passed as an object"),
        ("  SHA-256", fingerprint.sha256),
        ("  source", f"SHA-256 {fingerprint.source_sha256}"),
        ("  made by", f"{fingerprint.method}, {fingerprint.keys} keys, format version {fingerprint.format_version}"),
        ("judged with", _pairs(result.versions) + (f", {suspect.provider}" if suspect.provider else "")),
        ("time", f"{result.seconds:.2f} s"),
    ]
    return f"{HEADLINES[result.verdict]}\n{one_line(result.reason)}\n\n{_table(rows)}"


def summary_as_json(summary: FingerprintSummary | OnnxSummary) -> str:
    """Return an inspection as JSON.

    Args:
        summary: of `inspect_file`.

    Returns:
        One JSON object and a line end; `kind` is `fingerprint` or `onnx`.
    """
    kind = "fingerprint" if isinstance(summary, FingerprintSummary) else "onnx"
    return _json({"kind": kind, **asdict(summary)})


def summary_as_text(summary: FingerprintSummary | OnnxSummary) -> str:
    """Return an inspection for a person.

    Args:
        summary: of `inspect_file`.

    Returns:
        Lines.
    """
    if isinstance(summary, FingerprintSummary):
        return f"Fingerprint {one_line(summary.path)}\n\n{_table(_fingerprint_rows(summary))}"
    return f"ONNX model {one_line(summary.path)}\n\n{_table(_onnx_rows(summary))}"


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
        ("method", json.dumps(summary.method, sort_keys=True)),
        ("seeds", _pairs(summary.seeds)),
        ("versions", _pairs(summary.versions)),
    ]


def _normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> str:
    return f"; the source then subtracts {mean or 'nothing'} and divides by {std or 'nothing'}"


def _spread(retentions: Sequence[float]) -> str:
    if not retentions:
        return "none"
    return f"{len(retentions)} models keep {min(retentions):.1%} to {max(retentions):.1%} of the keys"


def _onnx_rows(summary: OnnxSummary) -> Rows:
    model = summary.model
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items()))
    return [
        ("SHA-256", f"{summary.sha256} ({summary.bytes} bytes)"),
        ("producer", f"{model.producer} {model.producer_version}".strip() or "not stated"),
        ("IR version", str(model.ir_version)),
        ("operator sets", opsets),
        *[("input", _value(value)) for value in model.inputs],
        *([("with a default", f"{len(model.defaults)} further inputs")] if model.defaults else []),
        *[("output", _value(value)) for value in model.outputs],
        ("classes", "its outputs do not say" if summary.classes is None else str(summary.classes)),
        *[(f"  {key}", value) for key, value in sorted(model.metadata.items())],
    ]


def _value(value: Value) -> str:
    sizes = None if value.shape is None else ", ".join("?" if size is None else str(size) for size in value.shape)
    return f"{value.name}: {value.type}" + ("" if sizes is None else f" ({sizes})")


def _pairs(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _table(rows: Rows) -> str:
    shown = [(" " * (len(name) - len(name.lstrip())) + one_line(name, 40), one_line(text, 2000)) for name, text in rows]
    width = max(len(name) for name, _ in shown)
    return "".join(f"  {name:<{width}}  {text}\n" for name, text in shown)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
