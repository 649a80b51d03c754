"""Results and inspections as text for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fpverify.contract import Origin, SuspectContract
from fpverify.fingerprint import Fingerprint
from fpverify.inspection import InspectedFingerprint, InspectedModel
from fpverify.onnx_format import Value
from fpverify.result import (
    AnswersInfo,
    ControlReport,
    Correction,
    HeldLimits,
    ProbeReport,
    ProofReport,
    Provenance,
    Result,
    SequentialReport,
    Twins,
    Verdict,
    Vetting,
)
from fpverify.sandbox.limits import in_gibibytes
from fpverify.statistics import Interval, Spread
from fpverify.text import one_line

Rows: TypeAlias = Sequence[tuple[str, str]]


def pairs(values: Any) -> str:
    """Return a mapping as "name value, …", sorted."""
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def ranges(stated: Mapping[str, tuple[float, float]]) -> str:
    """Return the ranges in which the training of null models varied, as a fingerprint states them."""
    if not stated:
        return "the fingerprint does not say"
    texts = {name: f"{low:g}" if low == high else f"{low:g} to {high:g}" for name, (low, high) in stated.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in sorted(texts.items()))


def table(rows: Rows) -> str:
    """Return names and texts as lines, the texts aligned."""
    shown = [(" " * (len(name) - len(name.lstrip())) + one_line(name, 40), one_line(text, 2000)) for name, text in rows]
    width = max(len(name) for name, _ in shown)
    return "".join(f"  {name:<{width}}  {text}\n" for name, text in shown)


def contract_rows(contract: SuspectContract) -> Rows:
    """Return what a suspect expects, each field with its origin."""
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
    fields = [(f"  {name}", f"{text} ({origin})") for name, text, origin in texts]
    return [("expects", "(in brackets: where each field comes from)"), *fields]


def _doubt(origin: Origin) -> int:
    return list(Origin).index(origin)


def _open(name: str, contract: SuspectContract) -> str:
    value = getattr(contract, name)
    readings = " or ".join(map(str, contract.alternatives.get(name, ())))
    if value is None:
        return readings or "?"
    return f"{value}, or else {readings}" if readings and name != "channels" else str(value)


def _output(contract: SuspectContract) -> str:
    name = "the one that is an answer" if contract.output is None else repr(contract.output)
    return name if contract.reading is None else f"{name}, read as {contract.reading}"


def _class_list(contract: SuspectContract) -> str:
    if contract.classes is None:
        named = contract.origins["classes"] is Origin.FILE
        return "named by its output" if named else "those of the fingerprint in its order, unless its output names them"
    return f"{len(contract.classes)}: {', '.join(contract.classes[:20])}"


HEADLINES = {
    Verdict.DERIVED: "DERIVED: the suspect's answers fit a copy of the fingerprint's source",
    Verdict.UNRELATED: "UNRELATED: the suspect's answers do not fit a copy of the fingerprint's source",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE: the evidence does not decide",
}
"""The first line of a report."""


SHOWN = {
    Verdict.DERIVED: (
        "It shows: the suspect answers the keys as copies of the source do, and as models like the null models do not.",
        "It does not show how the copy came about, who made it, or when.",
        "It relies on the fingerprint: that its owner made the keys and measured these models honestly.",
    ),
    Verdict.UNRELATED: (
        "It shows: the suspect answers the keys otherwise than nearly all copies that were held out.",
        "It does not show that the suspect owes nothing to the source: a removal attack may have succeeded.",
    ),
    Verdict.INCONCLUSIVE: (
        "It shows neither that the suspect was derived from the source nor that it was not.",
        "Another fingerprint of the source can decide, or the suspect's own classes and preprocessing (--contract).",
    ),
}
"""What a verdict shows and what it does not, a sentence each."""


def result(result: Result) -> str:
    """Return a verification for a person who may have to defend it: a short letter.

    Args:
        result: of `verify`.

    Returns:
        Lines: the verdict and its reason; what was measured; how sure it is; what was assumed; what it shows and does
        not show; how it was done.
    """
    said = [one_line(result.reason), _vetted(result), *(f"Note: {one_line(warning)}." for warning in result.warnings)]
    parts = [
        ("What was measured", table(_measured(result))),
        ("How sure this is", table(_certainty(result))),
        ("What was assumed", table(contract_rows(result.contract))),
        ("What this shows", "".join(f"  {sentence}\n" for sentence in SHOWN[result.verdict])),
        ("How it was done", table(_record(result))),
    ]
    return "\n".join([HEADLINES[result.verdict], *said, "", *(f"{title}\n{text}" for title, text in parts)])


def _vetted(result: Result) -> str:
    """Say in the first lines of a report whether the fingerprint was vetted."""
    vetting = result.vetting
    if vetting is None:
        return "Not vetted: no independent models were asked these keys, so the owner is trusted (fpverify vet)."
    models = f"{len(vetting.counted)} independent models were asked these keys"
    return f"{'Refused' if vetting.refusals else 'Vetted'}: {models}; {_reaching(vetting)}."


def _reaching(vetting: Vetting) -> str:
    if vetting.cut is None:
        return "no number of kept keys is called derived"
    return f"{vetting.reaching or 'none'} of them would be called derived, which takes {vetting.cut} kept keys"


def vetting(vetting: Vetting) -> str:
    """Return a vetting for a person.

    Args:
        vetting: of `vet`.

    Returns:
        Lines: whether the fingerprint is refused, what the panel supports, and each model of it.
    """
    headline = (
        "REFUSED: this fingerprint decides nothing" if vetting.refusals else "NOT REFUSED: see what this supports"
    )
    rows = [
        (Path(member.name).name, member.left_out or f"keeps {member.kept} of {vetting.queries} keys")
        for member in sorted(vetting.members, key=lambda one: -1 if one.kept is None else one.kept, reverse=True)
    ]
    said = [f"Because {reason}." for reason in vetting.refusals]
    supports = [*_panel(vetting), ("fingerprint", f"SHA-256 {vetting.fingerprint}")]
    parts = [("What the panel supports", table(supports)), ("The panel", table(rows))]
    return "\n".join([headline, *said, "", *(f"{title}\n{text}" for title, text in parts)])


def _panel(vetting: Vetting) -> Rows:
    source, bound = vetting.source_kept, f"at most {vetting.bound:.1%} of models like the panel would be called derived"
    p_value = [] if vetting.p_value is None else [('p, "unrelated"', f"{vetting.p_value:.3g}, by rank among the panel")]
    return [
        ("models", f"{len(vetting.counted)} of {len(vetting.members)} count; {_reaching(vetting)}"),
        ("bound", f"{bound} ({vetting.confidence:.4g} confidence)"),
        ("smallest p", f"{vetting.smallest_p:.3g} is the smallest p-value that so many models can give"),
        *p_value,
        ("source", "was not asked" if source is None else f"keeps {source} of {vetting.queries} keys"),
    ]


def _measured(result: Result) -> Rows:
    fingerprint = result.fingerprint
    source = fingerprint.source_accuracy
    return [
        ("suspect", f"keeps {result.kept} of {result.queries} keys ({result.retention:.1%})"),
        *([] if result.sequential is None else [("  asked in turn", _in_turn(result.sequential))]),
        ("cut", _cut(result)),
        ("null models", _models(result.nulls, "unrelated to the source", result.null_spread)),
        ("  most like them", _population(result.null_interval)),
        ("  trained with", ranges(fingerprint.null_ranges)),
        ("  accuracy", _accuracy(fingerprint.null_accuracy)),
        ("surrogates", _models(result.surrogates, "copies of the source that were held out", result.surrogate_spread)),
        *([] if result.surrogate_interval is None else [("  most like them", _population(result.surrogate_interval))]),
        ("  made by", pairs(fingerprint.surrogate_groups) or "the fingerprint does not say"),
        ("  accuracy", _accuracy(fingerprint.surrogate_accuracy)),
        ("source", "accuracy: the fingerprint does not say" if source is None else f"accuracy {source:.1%}"),
        ("answers", _answers(result.answers)),
        *([] if result.probe is None else _probe_rows(result.probe)),
        *([] if result.controls is None else [("controls", _controls(result.controls))]),
    ]


def _in_turn(report: SequentialReport) -> str:
    """Say where asking key by key stopped."""
    text = f"{report.asked} of {report.keys} keys in {report.queries} queries"
    because = {
        "bound": f"the verdict of all keys is another with a probability of at most {report.error:g}",
        "certain": "no answer to the others could change the verdict",
        "all keys": "the verdict was open until then",
        "queries spent": f"no more queries were allowed; of all keys it keeps {report.low} to {report.high}",
    }
    return f"{text}: {because[report.stopped]}"


def _models(count: int, what: str, spread: Spread | None) -> str:
    if spread is None:
        return f"{count} models, {what}"
    keep = f"{spread.low:.1%} to {spread.high:.1%} of the keys, the median {spread.median:.1%}"
    return f"{count} models, {what}: they keep {keep}"


def _accuracy(spread: Spread | None) -> str:
    if spread is None:
        return "the fingerprint does not say"
    return f"{spread.low:.1%} to {spread.high:.1%}, the median {spread.median:.1%}"


def _certainty(result: Result) -> Rows:
    policy = result.policy
    above = f"{result.nulls_above_suspect} of {result.nulls} null models keep as many keys as the suspect"
    below = f"{result.surrogates_below_suspect} of {result.surrogates} held-out surrogates keep as few"
    reach = f"{result.nulls_above_cut} of {result.nulls} null models reach the cut"
    bound = f"At most {result.false_positive_bound:.1%} of models like the nulls would be called derived"
    return [
        ('p, "unrelated"', f"{result.p_value:.3g}. {above}. DERIVED requires {policy.significance:g} or less."),
        ('q, "derived"', f"{result.q_value:.3g}. {below}. UNRELATED requires {policy.derived_significance:g} or less."),
        *([] if result.twins is None else [("  by twins", _twins(result.twins))]),
        *([] if result.correction is None else [("  corrected", _correction(result.correction))]),
        ("false positives", f"{bound} ({policy.confidence:.4g} confidence): {reach}."),
        ("significance", _significance(result)),
    ]


def _twins(found: Twins) -> str:
    return (
        f"{found.p_value:.3g}, for every model that was made without the source: the suspect keeps as much of "
        f"{found.above} of its {found.twins - 1} twins."
    )


def _correction(found: Correction) -> str:
    return f"{found.p_value:.3g} for {found.tests} tests ({found.method}); this value counts for DERIVED."


def _record(result: Result) -> Rows:
    fingerprint, suspect = result.fingerprint, result.suspect
    return [
        ("suspect", suspect.name),
        ("  SHA-256", suspect.sha256 or "none: not a file"),
        ("fingerprint", fingerprint.path or "passed as an object"),
        ("  SHA-256", fingerprint.sha256),
        ("  source", f"SHA-256 {fingerprint.source_sha256}"),
        ("  made by", f"{fingerprint.method}, {fingerprint.keys} keys, format version {fingerprint.format_version}"),
        *([] if result.proof is None else _proof(result.proof)),
        *([] if result.provenance is None else _provenance(result.provenance)),
        *([] if result.vetting is None else [(f"panel: {name}", text) for name, text in _panel(result.vetting)]),
        *([] if result.sandbox is None else [("limits", _limits(result.sandbox))]),
        ("judged with", pairs(result.versions) + (f", {suspect.provider}" if suspect.provider else "")),
        ("judged at", f"{result.judged_at}, in {result.seconds:.2f} s"),
        *([] if result.command is None else [("command", result.command)]),
    ]


def _proof(proof: ProofReport) -> Rows:
    shown = "all keys were shown"
    if proof.shown < proof.committed:
        drawn = "drawn by both sides" if proof.fair else "which nothing shows to be a fair draw"
        shown = f"{proof.shown} of {proof.committed} keys were shown, {drawn}"
    return [
        ("commitment", f"SHA-256 {proof.commitment}"),
        ("  proves", f"inputs, labels, held-out models and policy are those that were committed; {shown}"),
        *([] if proof.drawn_for is None else [("  drawn for", proof.drawn_for)]),
    ]


def _provenance(found: Provenance) -> Rows:
    order = {
        None: "when the suspect was released is not stated",
        True: "before the suspect was released",
        False: "NOT before the suspect was released",
    }[found.older]
    released = "" if found.released_at is None else f" ({found.released_at}, as the auditor states it)"
    signed = [] if found.signer is None else [("signed", f"the {found.of}, by the trusted key {found.signer}")]
    stamped = (
        [] if found.stamped_at is None else [("stamped", f"the {found.of}, {found.stamped_at}: {order}{released}")]
    )
    return [*signed, *stamped]


def _cut(result: Result) -> str:
    rule = f"threshold {result.threshold:.1%}: {result.fingerprint.calibration_rule}"
    if result.cut is None:
        return f'none: no number of kept keys rejects "unrelated" at {result.policy.significance:g} ({rule})'
    return f"{result.cut} keys and more are called derived ({rule}; p at most {result.policy.significance:g})"


def _population(interval: Interval) -> str:
    share = f"{interval.coverage:.0%} of models like these"
    return f"{share} keep {interval.low:.1%} to {interval.high:.1%} (beta-binomial fit)"


def _significance(result: Result) -> str:
    if result.significance_bound is None:
        return f"{result.nulls} null models are too few for a significance of {result.policy.significance:g}."
    return (
        f"{result.nulls} null models support this: p at most {result.policy.significance:g} is a false-positive rate "
        f"of at most {result.significance_bound:.1%} ({result.policy.confidence:.4g} confidence)."
    )


def _answers(answers: AnswersInfo) -> str:
    text = f"{answers.distinct} classes, entropy {answers.entropy_bits:.2f} bits (the keys' labels: "
    text += f"{answers.label_entropy_bits:.2f}), {answers.refusals} refused"
    if answers.left_out:
        text += f", {answers.left_out} keys left out"
    if not answers.asked_again:
        return f"{text}, none asked again"
    return f"{text}, {answers.disagreements} of {answers.asked_again} changed when asked again"


def _controls(report: ControlReport) -> str:
    text = f"{report.right} of {report.inputs} ordinary images right (the source {report.source_accuracy:.0%}; "
    text += f"{report.needed} are needed)"
    text += f"; {report.readings} readings of its input tried" if report.readings > 1 else ""
    return f"{text}; its classes are in another order than stated" if report.reordered else text


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
    memory = "memory not limited" if held.memory is None else f"{in_gibibytes(held.memory)} of memory"
    processor = "" if held.cpu_seconds is None else f", {held.cpu_seconds:g} s of processor time"
    kept = {
        "read your files": held.landlock > 0,
        "write files": held.no_writing or held.fenced,
        "use the network": held.seccomp,
        "start programs": held.seccomp,
    }
    no = [what for what, holds in kept.items() if holds]
    could = [what for what, holds in kept.items() if not holds]
    words = [f"{verb} {_listed(some)}" for verb, some in (("could not", no), ("could", could)) if some]
    copy = "" if held.private_copy else "; it ran from the files themselves, which can have changed during the run"
    return f"own process: {held.seconds:g} s{processor}, {memory}; it {', but '.join(words)}{copy}"


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def inspection(found: InspectedFingerprint | InspectedModel) -> str:
    """Return an inspection for a person.

    Args:
        found: by `inspect_file`.

    Returns:
        Lines.
    """
    if isinstance(found, InspectedFingerprint):
        return f"Fingerprint {one_line(found.path)}\n\n{table(_fingerprint_rows(found.fingerprint, found.bytes))}"
    return f"ONNX model {one_line(found.path)}\n\n{table(_model_rows(found))}"


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
