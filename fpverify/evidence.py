"""Queries the suspect and collects its answers under each interpretation.

Keys are asked among control images in random order, and half of them again, one at a time. So a suspect is found whose
answers depend on the other images of its batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import Origin, SuspectContract
from fpverify.errors import SuspectError
from fpverify.fingerprint import Controls, Fingerprint, InputContract
from fpverify.questions import eight_bit as as_images, restored
from fpverify.result import ControlReport, HeldLimits, Policy, ProbeReport, SuspectInfo
from fpverify.suspects.answers import BY_NAME, Alternative
from fpverify.suspects.classes import NO_LABEL
from fpverify.suspects.controls import Found, class_order, find_reading, needed, reordered
from fpverify.suspects.interface import Suspect
from fpverify.suspects.prepared import PreparedSuspect, settled
from fpverify.text import one_line
from fpverify.verdict import cut_of

if TYPE_CHECKING:
    from fpverify.suspects.probe import Probe


@dataclass(frozen=True)
class Interpretation:
    """The labels of all keys under one interpretation of inputs and outputs."""

    what: str
    """Which, in words that end a sentence: "when asked again"."""
    labels: NDArray[np.int64]
    """`(n,)` its answers to all keys; negative where they are no class of the fingerprint."""


@dataclass(frozen=True)
class Evidence:
    """What a suspect said."""

    first: Interpretation
    """The answers that are reported."""
    others: tuple[Interpretation, ...]
    """Further ones: the verdict must be the same by each."""
    known: NDArray[np.bool_]
    """`(classes,)` which of the fingerprint's classes the suspect can answer with."""
    asked_again: int
    """Keys that were asked a second time."""
    disagreements: int
    """Of these, how many it answered otherwise."""
    unverified: str
    """Why a low retention would not show that it is unrelated, one clause; empty if it would."""
    controls: ControlReport | None
    """What control images said of it; None where the fingerprint holds none."""
    suspect: SuspectInfo
    """Which suspect it was."""
    contract: SuspectContract
    """What it expects and returns."""
    probe: ProbeReport | None
    """What ordinary inputs said of its preprocessing; None without."""
    sandbox: HeldLimits | None
    """Limits that it ran under; None for a callable, which runs in this process."""
    runtime: str | None
    """ONNX Runtime's version; None for a callable."""
    warnings: tuple[str, ...]
    """What a reader of the verdict should know."""


def ask_suspect(
    suspect: Suspect,
    fingerprint: Fingerprint,
    options: Mapping[str, Any],
    probe: "Probe | None",
    policy: Policy,
) -> Evidence:
    """Ask a suspect of any kind.

    Args:
        suspect: open; it may still be loading.
        fingerprint: the keys.
        options: what the auditor says of its contract.
        probe: ordinary inputs that pick among several readings of its contract; None to take what is stated, and to let
            the fingerprint's control images correct it.
        policy: how sure the auditor wants to be: a suspect that reaches the cut as stated is asked in no other way.

    Returns:
        What it said, under each contract that the probe cannot tell from the best.

    Raises:
        SuspectError: if it fails or breaks its limits, or what it expects or returns is not clear.
    """
    asked = PreparedSuspect(suspect, fingerprint.contract, fingerprint.classes, options)
    report, worked, twice = None, None, policy.ask_twice
    if probe is not None:
        from fpverify.suspects.probe import probe_suspect

        contracts, report = probe_suspect(asked, probe)
        contracts = [settled(asked.name, contract) for contract in contracts]
    elif fingerprint.backing is not None:
        worked = _by_controls(asked, fingerprint, fingerprint.backing.controls, policy)
        contracts = [worked.contract]
    else:
        contracts = [settled(asked.name, asked.contract)]
    heard = [worked.heard] if worked else [_heard(asked, fingerprint, contract)[0] for contract in contracts]
    order = worked.order if worked else None
    unverified = worked.unverified if worked else assumed(contracts[0]) or unprepared(suspect)
    first, again = heard[0], _drawn(fingerprint, twice)[: None if suspect.again else 0]
    others = [
        Interpretation(f"with {_difference(contracts[0], contract)}, which the probe cannot tell apart", one.labels)
        for contract, one in zip(contracts[1:], heard[1:], strict=True)
    ]
    others += worked.tied if worked else []
    others += [Interpretation(what, found) for what, found in first.more]
    repeated = first.labels[again]
    if len(again):
        repeated = asked.ask(eight_bit(fingerprint, again), contracts[0], one_at_a_time=True).labels
    if len({one.known.tobytes() for one in heard}) > 1:
        raise SuspectError("names other classes under each reading of its contract", culprit=asked.name)
    others += [*tied(first.labels, first.best, fingerprint.labels), _merged(first.labels, again, repeated)]
    disagreements = int(np.count_nonzero(repeated != first.labels[again]))
    shown = reported(contracts[0], first.output, first.reading)
    if order is not None:
        # What it answers as stated is reported beside what it answers in the order that the controls show.
        stated = Interpretation("", first.labels)
        others = [Interpretation(other.what, reordered(other.labels, order)) for other in others]
        first = replace(first, labels=reordered(stated.labels, order))
        shown = replace(shown, origins={**shown.origins, "classes": Origin.CONTROLS}, classes=None)
    return Evidence(
        first=Interpretation("", first.labels),
        others=tuple(others),
        known=first.known,
        asked_again=len(again),
        disagreements=disagreements,
        unverified=unverified if report is None else "",
        controls=worked.report if worked else None,
        suspect=suspect.info,
        contract=shown,
        probe=report,
        sandbox=suspect.limits,
        runtime=suspect.runtime,
        warnings=(
            *suspect.notes,
            *warnings_of(suspect, contracts[0], fingerprint.contract, twice),
            *filter(None, [first.doubt]),
        ),
    )


@dataclass(frozen=True)
class _Heard:
    """Answers to the keys under one interpretation."""

    labels: NDArray[np.int64]
    best: NDArray[np.bool_] | None
    more: tuple[tuple[str, NDArray[np.int64]], ...]
    known: NDArray[np.bool_]
    output: str
    doubt: str
    reading: str = ""


def _heard(
    suspect: PreparedSuspect, fingerprint: Fingerprint, contract: SuspectContract
) -> tuple[_Heard, NDArray[np.int64]]:
    def asked(inputs: NDArray[np.float32]) -> _Heard:
        found = suspect.ask(inputs, contract)
        more = tuple((further_output(o), o.labels) for o in found.alternatives)
        return _Heard(found.labels, found.best, more, found.known, found.output, found.doubt, found.reading)

    return _mixed(asked, fingerprint)


def _mixed(
    asked: Callable[[NDArray[np.float32]], _Heard], fingerprint: Fingerprint
) -> tuple[_Heard, NDArray[np.int64]]:
    """Ask keys and controls together in random order; return the answers to the keys, and labels of the controls."""
    inputs, keys = fingerprint.inputs, len(fingerprint)
    if fingerprint.backing is not None:
        inputs = np.concatenate([inputs, fingerprint.backing.controls.inputs])
    shuffle = shuffled(len(inputs))
    back = np.argsort(shuffle)
    found = asked(inputs[shuffle])
    labels = found.labels[back]
    best = None if found.best is None else found.best[back][:keys]
    more = tuple((name, other[back][:keys]) for name, other in found.more)
    return replace(found, labels=labels[:keys], best=best, more=more), labels[keys:]


def _drawn(fingerprint: Fingerprint, twice: bool) -> NDArray[np.int64]:
    """Return which keys are asked again, in random order: half of them, or all."""
    count = len(fingerprint) if twice else -(-len(fingerprint) // 2)
    return shuffled(len(fingerprint))[:count]


def shuffled(count: int) -> NDArray[np.int64]:
    """Return 0 to `count` - 1 in random order, drawn by the operating system, so that nobody can predict it."""
    return np.array(SystemRandom().sample(range(count), count), np.int64)


def eight_bit(fingerprint: Fingerprint, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return some keys as 8-bit images, as services take them: a suspect may answer those alone as it does others."""
    return restored(as_images(fingerprint.inputs[rows], fingerprint.contract), fingerprint.contract)


def _merged(labels: NDArray[np.int64], again: NDArray[np.int64], repeated: NDArray[np.int64]) -> Interpretation:
    merged = labels.copy()
    merged[again] = repeated
    return Interpretation(REPEATED, merged)


REPEATED = "by the answers to the keys that were asked again, one at a time"
"""The interpretation by the second answers, where there are some."""


def further_output(alternative: Alternative) -> str:
    """Return what to call an interpretation by a further output of the suspect."""
    name = f"{one_line(alternative.output, 80)!r} ({alternative.reading})"
    return f"by its output {name} (output = in --contract chooses)"


def tied(answers: NDArray[np.int64], best: NDArray[np.bool_] | None, labels: NDArray[np.int64]) -> list[Interpretation]:
    """Return the answers if every tie for the best score fell to the key's label, and if none did.

    Args:
        answers: `(n,)` as they are reported.
        best: `(n, classes)` which classes share the best score; None where there are no scores.
        labels: `(n,)` the keys'.

    Returns:
        Both, or nothing where no score ties.
    """
    if best is None:
        return []
    several = best.sum(axis=1) > 1
    if not several.any():
        return []
    among = several & best[np.arange(len(labels)), labels]
    count = int(np.count_nonzero(among))
    return [
        Interpretation(
            f"if the {count} keys without one best answer counted as kept", np.where(among, labels, answers)
        ),
        Interpretation(
            f"if the {count} keys without one best answer counted as lost",
            np.where(among & (answers == labels), NO_LABEL, answers),
        ),
    ]


@dataclass(frozen=True)
class _Worked:
    """How a suspect works, as the controls show."""

    contract: SuspectContract
    heard: _Heard
    """Its answers to the keys under that contract."""
    report: ControlReport
    order: NDArray[np.int64] | None
    """The class that each of its answers stands for, if the stated order is another."""
    tied: tuple[Interpretation, ...] = ()
    """Its answers under further contracts, which the controls cannot tell from the best."""
    late: bool = False
    """Whether time ran out before all contracts were tried."""

    @property
    def unverified(self) -> str:
        """Say why "unrelated" would not be verified; empty if it is."""
        return not_working(self.report) or (TOO_SLOW if self.late else "")


def _by_controls(suspect: PreparedSuspect, fingerprint: Fingerprint, controls: Controls, policy: Policy) -> _Worked:
    """Find out how a suspect works.

    One that reaches the cut as stated is asked in no other way. Of any other, each contract is tried that the auditor
    leaves open, since a model may answer ordinary images well enough in a way in which it loses the keys.
    """
    contract = suspect.contract
    heard: _Heard | None = None
    stated: NDArray[np.bool_] | None = None
    order: NDArray[np.int64] | None = None
    if all(getattr(contract, name) is not None for name in ("layout", "channels", "height", "width")):
        heard, answers = _heard(suspect, fingerprint, contract)
        if not contract.is_given("classes"):
            order = class_order(answers, controls, len(fingerprint.classes))
        stated = reordered(answers, order) == controls.labels
        if _reaches(reordered(heard.labels, order), heard.known, fingerprint, policy):
            return _Worked(contract, heard, _control_report(stated, controls, 1, order is not None), order)
    found = find_reading(suspect, controls, stated, order, fingerprint.contract.channels == "rgb")
    if heard is None or found.contract is not contract:
        contract = settled(suspect.name, found.contract)
        heard = _heard(suspect, fingerprint, contract)[0]
    report = _control_report(found.right, controls, found.tried, order is not None)
    tied, late = _tied_readings(suspect, fingerprint, policy, contract, heard.known, found, order)
    return _Worked(contract, heard, report, order, tied, late)


TOO_SLOW = (
    "it is too slow for the other readings of its input to be tried in time: state layout, channels, low and high in "
    "--contract, or give more time (--timeout)"
)
"""What a suspect cannot be called unrelated with."""


def _reaches(labels: NDArray[np.int64], known: NDArray[np.bool_], fingerprint: Fingerprint, policy: Policy) -> bool:
    """Say whether answers keep as many keys as the cut, of those that count."""
    counted = known[fingerprint.labels]
    if not counted.any():
        return False
    calibration = fingerprint.calibrated_for(known) or fingerprint.calibration
    cut = cut_of(int(counted.sum()), calibration, policy.significance)
    return cut is not None and int((labels == fingerprint.labels)[counted].sum()) >= cut


def _tied_readings(
    suspect: PreparedSuspect,
    fingerprint: Fingerprint,
    policy: Policy,
    used: SuspectContract,
    known: NDArray[np.bool_],
    found: Found,
    order: NDArray[np.int64] | None,
) -> tuple[tuple[Interpretation, ...], bool]:
    """Return the answers under the tied readings by which the suspect is derived: it may only look unrelated.

    The second value says whether time ran out before all were asked.
    """
    readings: list[Interpretation] = []
    for contract in found.tied:
        if suspect.seconds_left < found.reserve:
            return tuple(readings), True
        try:
            labels = suspect.ask(fingerprint.inputs, contract).labels
        except SuspectError:
            if not suspect.alive:
                raise
            continue  # a wrong reading may well overflow
        if _reaches(reordered(labels, order), known, fingerprint, policy):
            readings.append(
                Interpretation(f"with {_difference(used, contract)}, which controls cannot tell apart", labels)
            )
    return tuple(readings), found.late


def _control_report(right: NDArray[np.bool_], controls: Controls, tried: int, in_other_order: bool) -> ControlReport:
    return ControlReport(
        len(right), int(right.sum()), needed(controls), controls.source_accuracy, tried, in_other_order
    )


def not_working(report: ControlReport) -> str:
    """Say what of control images speaks against "unrelated"; empty if nothing does."""
    if report.works:
        return ""
    under = "as it is asked" if report.readings == 1 else f"under the best of {report.readings} readings of its input"
    return (
        f"it could not be verified: it answers {report.right} of {report.inputs} ordinary images rightly {under}, "
        f"and {report.needed} are needed (the source: {report.source_accuracy:.0%})"
    )


def assumed(contract: SuspectContract) -> str:
    """Return what only the file or an assumption says of a suspect, where nothing shows that it is so."""
    names = ["values", "classes", *(["channels"] if contract.channels != "grey" else [])]
    claimed = [name for name in names if not contract.is_given(name) and contract.origins[name] is not Origin.PROBE]
    if not claimed:
        return ""
    return (
        f"nothing shows that its {' and '.join(claimed)} are as stated, and the fingerprint holds no control images: "
        "settle them with --contract and --classes, or give --probe"
    )


def unprepared(suspect: Suspect) -> str:
    """Say of a suspect that somebody else asked why nothing shows that the images were prepared rightly."""
    if suspect.again:
        return ""
    return "nothing shows that the images were prepared rightly, and the fingerprint holds no control images"


def reported(contract: SuspectContract, output: str, reading: str) -> SuspectContract:
    """Return the contract with the output that was in fact read, and how."""
    origins = dict(contract.origins)
    if reading in BY_NAME:
        origins["classes"] = Origin.FILE
    return replace(contract, output=output, reading=reading, origins=origins, alternatives={})


def _difference(best: SuspectContract, other: SuspectContract) -> str:
    names = ("layout", "channels", "values", "orientation")
    different = [f"{name} {getattr(other, name)}" for name in names if getattr(best, name) != getattr(other, name)]
    return " and ".join(different)


def warnings_of(
    suspect: Suspect, contract: SuspectContract, key_contract: InputContract, twice: bool
) -> tuple[str, ...]:
    """Return what a reader should know of how a suspect was asked."""
    ask_again = "" if twice else "; ask twice (--ask-twice)"
    warnings = [f"{reason}{ask_again}" for reason in suspect.unsteady]
    size = (contract.height or key_contract.height, contract.width or key_contract.width)
    if size != (key_contract.height, key_contract.width):
        warnings.append(
            f"the keys were resampled bilinearly from {key_contract.height}x{key_contract.width} to "
            f"{size[0]}x{size[1]} pixels, which weakens them: a derived model may look unrelated"
        )
    return tuple(warnings)
