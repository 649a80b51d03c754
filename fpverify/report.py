"""Results as text for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from fpverify.inspection import FingerprintSummary, OnnxSummary
from fpverify.onnx_format import Value
from fpverify.plaintext import one_line
from fpverify.sandbox.limits import GIBIBYTE, HeldLimits
from fpverify.suspects import Origin, ProbeReport, SuspectContract
from fpverify.verdict import Verdict
from fpverify.verification import Result
from fpverify.weighing import AnswersInfo

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
    document = asdict(result)
    if document["contract"] is not None:
        del document["contract"]["readings"]  # all are settled, or there would be no verdict
    return _json({"format": RESULT_FORMAT, **document})


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
        ("answers", _answers(result.answers)),
        *([] if result.contract is None else _contract_rows(result.contract)),
        *([] if result.probe is None else _probe_rows(result.probe)),
        *([] if result.sandbox is None else [("limits", _limits(result.sandbox))]),
        ("judged with", _pairs(result.versions) + (f", {suspect.provider}" if suspect.provider else "")),
        ("time", f"{result.seconds:.2f} s"),
    ]
    said = [one_line(result.reason), *(f"Note: {one_line(warning)}." for warning in result.warnings)]
    return "\n".join([HEADLINES[result.verdict], *said, "", _table(rows)])


def _answers(answers: AnswersInfo) -> str:
    text = f"{answers.distinct} classes, entropy {answers.entropy_bits:.2f} bits (the keys' labels: "
    text += f"{answers.label_entropy_bits:.2f}), {answers.refusals} refused"
    if answers.left_out:
        text += f", {answers.left_out} keys left out"
    return text if answers.disagreements is None else f"{text}, {answers.disagreements} changed when asked again"


def _contract_rows(contract: SuspectContract) -> Rows:
    """Return what a suspect expects, each field with who says so."""
    size = f"{contract.height or '?'} x {contract.width or '?'} pixels"
    by = contract.origins
    texts = [
        ("input", f"{contract.input!r} of type {contract.type}", by["input"]),
        ("batch", "any" if contract.batch is None else str(contract.batch), by["batch"]),
        ("layout", _open("layout", contract), by["layout"]),
        ("channels", _open("channels", contract), by["channels"]),
        ("size", size, max(by["height"], by["width"], key=_doubt)),
        ("values", str(contract.values), by["values"]),
        ("output", _output(contract), by["output"]),
        ("classes", _class_list(contract), by["classes"]),
    ]
    return [("expects", "and who says so:"), *[(f"  {name}", f"{text} ({origin})") for name, text, origin in texts]]


def _doubt(origin: Origin) -> int:
    return list(Origin).index(origin)


def _open(name: str, contract: SuspectContract) -> str:
    value = getattr(contract, name)
    readings = " or ".join(map(str, contract.readings.get(name, ())))
    if value is None:
        return readings or "?"
    return f"{value}, or else {readings}" if readings and name != "channels" else str(value)


def _output(contract: SuspectContract) -> str:
    name = "the one that is an answer" if contract.output is None else repr(contract.output)
    return name if contract.reading is None else f"{name}, read as {contract.reading}"


def _class_list(contract: SuspectContract) -> str:
    if contract.classes is None:
        return "those of the fingerprint, in its order, or names that the output gives"
    return f"{len(contract.classes)}: {', '.join(contract.classes[:20])}"


def _probe_rows(probe: ProbeReport) -> Rows:
    best = probe.candidates[0].accuracy
    tied = sum(candidate.tied for candidate in probe.candidates)
    found = f"{best:.1%} of {probe.inputs} ordinary inputs right (chance {probe.chance:.1%})"
    rows = [("probe", f"{found}; {tied} of {len(probe.candidates)} readings cannot be told from the best")]
    shown = [candidate for candidate in probe.candidates if candidate.tied] + [
        candidate for candidate in probe.candidates if not candidate.tied
    ][:1]
    for candidate in shown[:8]:
        text = f"{candidate.layout}, {candidate.channels}, values {candidate.values}"
        rows.append(("  tied" if candidate.tied else "  worse", f"{candidate.accuracy:.1%}: {text}"))
    return rows


def _limits(held: HeldLimits) -> str:
    memory = "memory not limited" if held.memory is None else f"{held.memory / GIBIBYTE:g} GiB of memory"
    processor = "" if held.cpu_seconds is None else f", {held.cpu_seconds:g} s of processor time"
    writing = "cannot write files" if held.no_writing else "could write files"
    return f"own process: {held.seconds:g} s{processor}, {memory}; {writing}"


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
    model, survey = summary.model, summary.survey
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opsets.items()))
    noticed = [
        ("training mode", survey.training, "its answers depend on chance or on the other inputs of a batch"),
        ("random", survey.random, "its answers may vary"),
        ("external data", survey.external, "read from beside the model"),
    ]
    return [
        ("SHA-256", f"{summary.sha256} ({summary.bytes} bytes)"),
        ("producer", f"{model.producer} {model.producer_version}".strip() or "not stated"),
        ("IR version", str(model.ir_version)),
        ("operator sets", opsets),
        ("nodes", str(survey.nodes)),
        *[("input", _value(value)) for value in model.inputs],
        *([("with a default", f"{len(model.defaults)} further inputs")] if model.defaults else []),
        *[("output", _value(value)) for value in model.outputs],
        ("classes", "its outputs do not say" if summary.classes is None else str(summary.classes)),
        *[(name, f"{', '.join(found[:8])}: {meaning}") for name, found, meaning in noticed if found],
        *([] if summary.contract is None else _contract_rows(summary.contract)),
        *([] if summary.refusal is None else [("no suspect", f"cannot be judged: {summary.refusal}")]),
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
