"""Results as text for people and as JSON for programs."""

from dataclasses import asdict

from fpverify.plaintext import one_line
from fpverify.result import Result
from fpverify.sandbox.limits import HeldLimits, in_gibibytes
from fpverify.statistics import Interval
from fpverify.suspects import ProbeReport
from fpverify.suspects.controls import ControlReport
from fpverify.tables import Rows, contract_rows, json_text, pairs, ranges, table
from fpverify.verdict import Verdict
from fpverify.weighing import AnswersInfo

RESULT_FORMAT = "fpverify-result-1"
"""Names the JSON Schema of a verification, `formats/result-1.schema.json`."""

HEADLINES = {
    Verdict.DERIVED: "DERIVED: the suspect was made from the fingerprint's source",
    Verdict.UNRELATED: "UNRELATED: the suspect keeps less of the fingerprint than models made from its source",
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
    return json_text({"format": RESULT_FORMAT, **document})


def result_as_text(result: Result) -> str:
    """Return a verification for a person who may have to defend it.

    Args:
        result: of `verify`.

    Returns:
        Lines, the verdict first.
    """
    fingerprint, suspect, policy = result.fingerprint, result.suspect, result.policy
    above = f"{result.nulls_above_suspect} of {result.nulls} null models keep as much"
    below = f"{result.surrogates_below_suspect} of {result.surrogates} held-out surrogates keep as little"
    reach = f"{result.nulls_above_cut} of {result.nulls} null models reach the cut"
    sure = f"{policy.confidence:.4g} confidence"
    rows = [
        ("retention", f"{result.kept} of {result.queries} keys ({result.retention:.1%})"),
        ("cut", _cut(result)),
        ('p, "unrelated"', f"{result.p_value:.3g} ({above}; DERIVED requires {policy.level:g} or less)"),
        ('q, "derived"', f"{result.q_value:.3g} ({below}; UNRELATED requires {policy.derived_level:g} or less)"),
        ("null models", _population(result.null_interval)),
        ("  trained with", ranges(fingerprint.null_ranges)),
        ("surrogates", "none" if result.surrogate_interval is None else _population(result.surrogate_interval)),
        ("false positives", f"at most {result.false_positive_bound:.1%} of models like the nulls ({reach}; {sure})"),
        ("level", _level(result)),
        ("suspect", suspect.name),
        ("  SHA-256", suspect.sha256 or "none: not a file"),
        ("fingerprint", fingerprint.path or "passed as an object"),
        ("  SHA-256", fingerprint.sha256),
        ("  source", f"SHA-256 {fingerprint.source_sha256}"),
        ("  made by", f"{fingerprint.method}, {fingerprint.keys} keys, format version {fingerprint.format_version}"),
        ("answers", _answers(result.answers)),
        *([] if result.contract is None else contract_rows(result.contract)),
        *([] if result.probe is None else _probe_rows(result.probe)),
        *([] if result.controls is None else [("controls", _controls(result.controls))]),
        *([] if result.sandbox is None else [("limits", _limits(result.sandbox))]),
        ("judged with", pairs(result.versions) + (f", {suspect.provider}" if suspect.provider else "")),
        ("time", f"{result.seconds:.2f} s"),
    ]
    said = [one_line(result.reason), *(f"Note: {one_line(warning)}." for warning in result.warnings)]
    return "\n".join([HEADLINES[result.verdict], *said, "", table(rows)])


def _cut(result: Result) -> str:
    rule = f"threshold {result.threshold:.1%}: {result.fingerprint.calibration_rule}"
    if result.cut is None:
        return f'none: no number of kept keys rejects "unrelated" at {result.policy.level:g} ({rule})'
    return f"{result.cut} keys and more are called derived ({rule}; p at most {result.policy.level:g})"


def _population(interval: Interval) -> str:
    return f"{interval.level:.0%} keep {interval.low:.1%} to {interval.high:.1%} (beta-binomial fit)"


def _level(result: Result) -> str:
    if result.level_bound is None:
        return f"{result.nulls} null models are too few for {result.policy.level:g}"
    return (
        f"p at most {result.policy.level:g} is a level of at most {result.level_bound:.1%} with these {result.nulls} "
        f"null models ({result.policy.confidence:.4g} confidence)"
    )


def _answers(answers: AnswersInfo) -> str:
    text = f"{answers.distinct} classes, entropy {answers.entropy_bits:.2f} bits (the keys' labels: "
    text += f"{answers.label_entropy_bits:.2f}), {answers.refusals} refused"
    if answers.left_out:
        text += f", {answers.left_out} keys left out"
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
    copy = (
        "" if held.private_copy else "; it ran from the files themselves, which somebody could have changed meanwhile"
    )
    return f"own process: {held.seconds:g} s{processor}, {memory}; it {', but '.join(words)}{copy}"


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
