"""A verification as a letter, and many of them."""

from collections import Counter
from collections.abc import Iterable

from fpverify.reports.letter import Letter, Rows, Section, contract_rows, pairs, ranges
from fpverify.reports.of_vetting import UNTESTED, panel_rows, reaching
from fpverify.result import (
    NO_VERDICT,
    SUSPICIOUS,
    AnswersInfo,
    ControlReport,
    Correction,
    EndpointInfo,
    HeldLimits,
    Judged,
    ProbeReport,
    ProofReport,
    Provenance,
    Result,
    SequentialReport,
    Twins,
    Verdict,
)
from fpverify.sandbox.limits import in_gibibytes
from fpverify.statistics import Interval, Spread
from fpverify.text import one_line

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


def letter(result: Result) -> Letter:
    """Return a verification for a person who may have to defend it.

    Args:
        result: of `verify`.

    Returns:
        The verdict and its reason; what was measured; how sure it is; what was assumed; what it shows and does not
        show; how it was done.
    """
    return Letter(
        HEADLINES[result.verdict],
        [
            one_line(result.reason),
            _vetted(result),
            KEYS,
            *(f"Note: {one_line(warning)}." for warning in result.warnings),
        ],
        [
            Section("What was measured", _measured(result)),
            Section("How sure this is", _certainty(result)),
            Section("What was assumed", contract_rows(result.contract)),
            Section("What this shows", sentences=_shown(result)),
            Section("How it was done", _record(result)),
        ],
    )


TITLES = {
    "derived": "Derived",
    SUSPICIOUS: "To look at: they keep enough keys, but p is too large for so many tests",
    "inconclusive": "Inconclusive",
    NO_VERDICT: "No verdict",
    "unrelated": "Unrelated",
}
"""Headings of the parts of a report on many suspects, in their order."""


NOTES = 10
"""Notes on rows that are shown above many of them, the commonest first."""


def letter_of_many(judged: Iterable[Judged]) -> Letter:
    """Return many verifications: how many there are of each verdict, and each in a line.

    Args:
        judged: suspects by fingerprints; each is looked at once.
    """
    outcomes: Counter[str] = Counter()
    rows: dict[str, list[tuple[str, str]]] = {kind: [] for kind in TITLES}
    suspects, fingerprints, corrections = set(), set(), set()
    backings: Counter[str] = Counter()
    newer = False
    broken: dict[tuple[str, str], None] = {}
    notes: Counter[str] = Counter()
    for one in judged:
        outcomes[one.outcome] += 1
        if one.result is None:
            broken[row_of(one)] = None  # once: it is so for every fingerprint
        else:
            rows[kind_of(one)].append(row_of(one))
        suspects.add(one.suspect)
        fingerprints.add(one.fingerprint)
        if one.result is not None:
            said_of = [_vetted(one.result), *_certified(one.result.proof, one.result.provenance)]
            backings.update(dict.fromkeys(said_of, 1))
            newer = newer or may_be_newer(one.result)
            notes.update(set(one.result.warnings))
            found = one.result.correction
            corrections |= set() if found is None else {(found.method, found.tests)}
    rows[NO_VERDICT] = list(broken)
    counts = [f"{outcomes[name]} {name}" for name in ("derived", "inconclusive", "unrelated", NO_VERDICT)]
    said = [f"Corrected for {_number(tests, 'test')} ({method})." for method, tests in sorted(corrections)]
    said += [text for text, _ in backings.most_common(NOTES)] or [NOT_VETTED]
    said += [NOT_OLDER] if newer else []
    said += [f"Note ({_number(count, 'row')}): {one_line(note)}." for note, count in notes.most_common(NOTES)]
    if len(notes) > NOTES:
        said.append(f"{_number(len(notes) - NOTES, 'further note')}: see the JSON format.")
    if rows[SUSPICIOUS]:
        said.append(SHORTLIST)
    if outcomes[NO_VERDICT]:
        said.append("A suspect without a verdict is not shown to be unrelated.")
    return Letter(
        f"{_number(len(suspects), 'suspect')} by {_number(len(fingerprints), 'fingerprint')}: {', '.join(counts)}",
        said,
        [Section(TITLES[kind], found) for kind, found in rows.items() if found],
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def kind_of(one: Judged) -> str:
    """Return the verdict, or `SUSPICIOUS` where nothing but the number of tests speaks against "derived"."""
    return SUSPICIOUS if one.suspicious else one.outcome


def row_of(one: Judged) -> tuple[str, str]:
    """Return a verification as a row: kept keys, and suspect, p and q, fingerprint."""
    result = one.result
    if result is None:
        return "-", f"{one.suspect}: {one.error}"
    corrected = "" if result.correction is None else f" (corrected {result.correction.p_value:.3g})"
    found = f"p {result.p_value:.3g}{corrected}, q {result.q_value:.3g}"
    return f"keeps {result.kept} of {result.queries}", f"{one.suspect}: {found}; by {one.fingerprint}"


SHORTLIST = (
    "Some suspects keep enough keys, but the null models are too few to call any derived among so many tests. That is "
    "a list of models to look at, and no accusation: judge each by a second fingerprint of its source."
)
"""What a report says where the correction leaves no suspect derived that would be by itself."""

KEYS = (
    "Keys are images that the source answers wrongly in a way that its copies repeat. "
    "To keep a key is to give that answer."
)
"""What the first numbers of a report are about."""

NOT_VETTED = "Not vetted: no independent models were asked these keys, so the owner is trusted (fpverify vet)."
"""What a report says without a vetting."""


NOT_OLDER = (
    "Nothing shows that the keys are older than the suspect, so they may have been made against it: "
    "that takes a timestamp on a commitment, and the date of the suspect's release (fpverify commit, --timestamp)."
)
"""What a report on a derived suspect says without an older timestamp."""


def _shown(result: Result) -> tuple[str, ...]:
    """Return what a verdict shows and what it does not."""
    return (*SHOWN[result.verdict], *([NOT_OLDER] if may_be_newer(result) else ()))


def may_be_newer(result: Result) -> bool:
    """Say whether nothing shows that the keys of a verdict that accuses are older than the suspect."""
    return result.verdict is Verdict.DERIVED and (result.provenance is None or result.provenance.older is not True)


def _vetted(result: Result) -> str:
    """Say in the first lines of a report whether the fingerprint was vetted."""
    vetting = result.vetting
    if vetting is None:
        return NOT_VETTED
    models = f"{len(vetting.counted)} independent models were asked these keys"
    untested = "" if vetting.tested else f" But {UNTESTED}."
    return f"{'Refused' if vetting.refusals else 'Vetted'}: {models}; {reaching(vetting)}.{untested}"


def limits_of(result: Result) -> list[str]:
    """Return what a verdict rests on beside its own figures, a sentence each, for formats that show little more."""
    return [
        _vetted(result),
        *_certified(result.proof, result.provenance),
        *([NOT_OLDER] if may_be_newer(result) else []),
        *(f"Note: {one_line(warning)}." for warning in result.warnings),
    ]


def _certified(proof: ProofReport | None, provenance: Provenance | None) -> list[str]:
    """Say of many verdicts what was committed and signed, and when it was stamped."""
    rows = [*([] if proof is None else _proof(proof)[:1]), *([] if provenance is None else _provenance(provenance))]
    return [f"{name.strip().capitalize()}: {text}." for name, text in rows]


def _measured(result: Result) -> Rows:
    fingerprint = result.fingerprint
    source = fingerprint.source_accuracy
    return [
        ("suspect", f"keeps {result.kept} of {result.queries} keys ({result.retention:.1%})"),
        *([] if result.sequential is None else [("  asked in turn", _in_turn(result.sequential))]),
        *([] if result.sequential is None else [("  order from seed", result.sequential.seed)]),
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
    policy, turn = result.policy, result.sequential
    who, least, most = "the suspect", "", ""
    if turn is not None and turn.asked < turn.keys:
        who, least, most = "a suspect that keeps the fewest keys that are possible", "at most ", " as the most possible"
    above = f"{result.nulls_above_suspect} of {result.nulls} null models keep as many keys as {who}"
    below = f"{result.surrogates_below_suspect} of {result.surrogates} held-out surrogates keep as few{most}"
    reach = f"{result.nulls_above_cut} of {result.nulls} null models reach the cut"
    bound = f"At most {result.false_positive_bound:.1%} of models like the nulls would be called derived"
    return [
        ('p, "unrelated"', f"{least}{result.p_value:.3g}. {above}. DERIVED requires {_level(result)}."),
        (
            'q, "derived"',
            f"{least}{result.q_value:.3g}. {below}. UNRELATED requires {policy.derived_significance:g} or less.",
        ),
        *([] if result.twins is None else [("  by twins", _twins(result.twins))]),
        *([] if result.correction is None else [("  corrected", _correction(result.correction))]),
        ("false positives", f"{bound} ({policy.confidence:.4g} confidence): {reach}."),
        ("significance", _significance(result)),
    ]


def _level(result: Result) -> str:
    """Say which p-value is required, with what stopping before all keys may add to the level."""
    error = 0.0 if result.sequential is None else result.sequential.error
    stopped = f"; with the error of stopping, the level is {result.policy.significance + error:g}" if error else ""
    return f"{result.policy.significance:g} or less{stopped}"


def _twins(found: Twins) -> str:
    return (
        f"{found.p_value:.3g}, for every model that was made without the source: the suspect keeps as much of "
        f"{found.above} of its {found.twins - 1} twins. {_twins_hold(found)}"
    )


def _twins_hold(found: Twins) -> str:
    """Say on what a rank among twins rests."""
    if found.listed is None:
        return (
            "It holds if all were made alike, and fixed before it was drawn which is published; the owner states that."
        )
    return (
        f"The source was drawn among them by {one_line(str(found.drawn_by), 80)!r}. It holds if their list (SHA-256 "
        f"{found.listed}) is older than that, or if all were made alike."
    )


def _correction(found: Correction) -> str:
    return f"{found.p_value:.3g} for {found.tests} tests ({found.method}); this value counts for DERIVED."


def _record(result: Result) -> Rows:
    fingerprint, suspect = result.fingerprint, result.suspect
    return [
        ("suspect", suspect.name),
        ("  SHA-256", suspect.sha256 or "none: not a file"),
        *([] if suspect.endpoint is None else _endpoint(suspect.endpoint)),
        ("fingerprint", fingerprint.path or "passed as an object"),
        ("  SHA-256", fingerprint.sha256),
        ("  source", f"SHA-256 {fingerprint.source_sha256}"),
        ("  made by", f"{fingerprint.method}, {fingerprint.keys} keys, format version {fingerprint.format_version}"),
        *([] if result.proof is None else _proof(result.proof)),
        *([] if result.provenance is None else _provenance(result.provenance)),
        *([] if result.vetting is None else [(f"panel: {name}", text) for name, text in panel_rows(result.vetting)]),
        *([] if result.sandbox is None else [("limits", _limits(result.sandbox))]),
        ("judged with", pairs(result.versions) + (f", {suspect.provider}" if suspect.provider else "")),
        ("judged at", f"{result.judged_at}, in {result.seconds:.2f} s"),
        *([] if result.command is None else [("command", result.command)]),
    ]


def _endpoint(found: EndpointInfo) -> Rows:
    states = f"{found.model or 'no name'}, version {found.version}" if found.version else found.model or "no name"
    times = f", {found.first} to {found.last}" if found.first else ""
    return [
        ("  the server states", f"{states} (asked as {found.type})"),
        *([] if found.certificate is None else [("  TLS certificate", f"SHA-256 {found.certificate}")]),
        ("  asked", f"{found.images} images in {found.requests} requests{times}"),
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
