"""An inspection as a letter."""

import json
from collections.abc import Sequence

from fpverify.fingerprint import Fingerprint
from fpverify.inspection import InspectedFingerprint, InspectedModel
from fpverify.onnx_format import Value
from fpverify.reports.letter import Letter, Rows, Section, contract_rows, pairs, ranges
from fpverify.text import one_line


def letter(found: InspectedFingerprint | InspectedModel) -> Letter:
    """Return an inspection for a person.

    Args:
        found: by `inspect_file`.
    """
    if isinstance(found, InspectedFingerprint):
        rows = _fingerprint_rows(found.fingerprint, found.bytes)
        return Letter(f"Fingerprint {one_line(found.path)}", (), [Section("", rows)])
    return Letter(f"ONNX model {one_line(found.path)}", (), [Section("", _model_rows(found))])


def _fingerprint_rows(fingerprint: Fingerprint, size: int) -> Rows:
    contract, calibration = fingerprint.contract, fingerprint.calibration
    pixels = f"{contract.height} x {contract.width} pixels"
    contracted = f"{contract.layout}, {contract.channels}, {pixels}, values {contract.low:g} to {contract.high:g}"
    normalised = "" if contract.mean is None and contract.std is None else _normalisation(contract.mean, contract.std)
    return [
        ("SHA-256", f"{fingerprint.sha256} ({size} bytes)"),
        ("format version", str(fingerprint.format_version)),
        ("keys", str(len(fingerprint))),
        ("classes", f"{len(fingerprint.classes)}: {', '.join(fingerprint.classes)}"),
        ("inputs", contracted + normalised),
        ("source", f"SHA-256 {fingerprint.source.sha256}"),
        ("threshold", f"{calibration.threshold:.1%} ({calibration.rule})"),
        ("  surrogates", _spread(calibration.surrogates)),
        ("  references", _spread(calibration.references)),
        ("  nulls", _spread(calibration.nulls)),
        ("    trained with", ranges(fingerprint.null_ranges)),
        ("method", json.dumps(fingerprint.method, sort_keys=True)),
        ("seeds", pairs(fingerprint.seeds)),
        ("versions", pairs(fingerprint.versions)),
    ]


def _normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> str:
    return f"; the source then subtracts {mean or 'nothing'} and divides by {std or 'nothing'}"


def _spread(retentions: Sequence[float]) -> str:
    if not retentions:
        return "none"
    return f"{len(retentions)} models keep {min(retentions):.1%} to {max(retentions):.1%} of the keys"


def _model_rows(found: InspectedModel) -> Rows:
    model, survey = found.model, found.survey
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items()))
    noticed = [
        ("training mode", survey.training, "its answers depend on chance or on the other inputs of a batch"),
        ("random", survey.random, "its answers may vary"),
        ("external data", survey.external, "read from beside the model"),
    ]
    return [
        ("SHA-256", f"{found.sha256 or 'not computed: it would take too long'} ({found.bytes} bytes)"),
        ("producer", f"{model.producer} {model.producer_version}".strip() or "not stated"),
        ("IR version", str(model.ir_version)),
        ("operator sets", opsets),
        ("nodes", str(survey.nodes)),
        *[("input", _value(value)) for value in model.inputs],
        *([("with a default", f"{len(model.defaults)} further inputs")] if model.defaults else []),
        *[("output", _value(value)) for value in model.outputs],
        ("classes", "its outputs do not say" if found.classes is None else str(found.classes)),
        *[(name, f"{', '.join(nodes[:8])}: {meaning}") for name, nodes, meaning in noticed if nodes],
        *([] if found.contract is None else contract_rows(found.contract)),
        *([] if found.refusal is None else [("no suspect", f"cannot be judged: {found.refusal}")]),
        *([] if not found.doubt else [("no suspect", f"perhaps: {found.doubt}")]),
        *([("metadata", "that the file holds besides, as its author wrote it:")] if model.metadata else []),
        *[(f"  {key}", value) for key, value in sorted(model.metadata.items())],
    ]


def _value(value: Value) -> str:
    sizes = None if value.shape is None else ", ".join("?" if size is None else str(size) for size in value.shape)
    return f"{value.name}: {value.type}" + ("" if sizes is None else f" ({sizes})")
