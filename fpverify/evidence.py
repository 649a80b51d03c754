"""Asks a suspect the keys, and gathers everything that it said: what a verdict has to hold under."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.fingerprint import Fingerprint, InputContract
from fpverify.plaintext import one_line
from fpverify.sandbox.limits import HeldLimits
from fpverify.suspects import (
    OnnxSuspect,
    Origin,
    ProbeReport,
    Suspect,
    SuspectContract,
    ask,
    name_of,
    settled,
)
from fpverify.suspects.answers import BY_NAME

if TYPE_CHECKING:
    from fpverify.suspects.probe import Probe


@dataclass(frozen=True)
class SuspectInfo:
    """Which suspect was judged."""

    kind: str
    """`onnx` for a file, `callable` for anything else."""
    name: str
    """The path, or what to call the callable."""
    path: str | None
    """The file; None for a callable."""
    sha256: str | None
    """Of the file, as hexadecimal digits; None for a callable, which cannot be pinned down."""
    external: Mapping[str, str]
    """SHA-256 of each file beside it that it reads, by its location."""
    provider: str | None
    """What ran the file, as ONNX Runtime names it; None for a callable."""


@dataclass(frozen=True)
class Reading:
    """One way to hear the suspect."""

    what: str
    """Which, in words that end a sentence: "when asked again"."""
    labels: NDArray[np.int64]
    """`(n,)` its answers to all keys; negative where they are no class of the fingerprint."""


@dataclass(frozen=True)
class Evidence:
    """What a suspect said."""

    first: Reading
    """The answers that are reported."""
    others: tuple[Reading, ...]
    """Further ones: the verdict must be the same by each."""
    known: NDArray[np.bool_]
    """`(classes,)` which of the fingerprint's classes the suspect can answer with."""
    disagreements: int | None
    """Keys that it answered otherwise when asked again; None if it was not."""
    suspect: SuspectInfo
    """Which suspect it was."""
    contract: SuspectContract | None
    """What it expects; None for a callable."""
    probe: ProbeReport | None
    """What ordinary inputs said of its preprocessing; None without."""
    sandbox: HeldLimits | None
    """Limits that it ran under; None for a callable, which runs in this process."""
    runtime: str | None
    """ONNX Runtime's version; None for a callable."""
    warnings: tuple[str, ...]
    """What a reader of the verdict should know."""


def ask_callable(suspect: Suspect, fingerprint: Fingerprint, twice: bool) -> Evidence:
    """Ask a callable.

    Args:
        suspect: from `(n, C, H, W)` inputs to labels or scores.
        fingerprint: the keys.
        twice: whether to ask again, in the reverse order.

    Returns:
        What it said.

    Raises:
        SuspectError: if it fails, or answers with anything else.
    """
    first = ask(suspect, fingerprint.inputs, len(fingerprint.classes))
    again = ask(suspect, fingerprint.inputs[::-1], len(fingerprint.classes))[::-1] if twice else None
    return Evidence(
        first=Reading("", first),
        others=() if again is None else (Reading("when asked again", again),),
        known=np.ones(len(fingerprint.classes), bool),
        disagreements=None if again is None else int(np.count_nonzero(first != again)),
        suspect=SuspectInfo("callable", name_of(suspect), None, None, {}, None),
        contract=None,
        probe=None,
        sandbox=None,
        runtime=None,
        warnings=(),
    )


def ask_file(
    suspect: OnnxSuspect,
    fingerprint: Fingerprint,
    options: Mapping[str, Any],
    probe: "Probe | None",
    twice: bool,
) -> Evidence:
    """Ask an ONNX file.

    Args:
        suspect: the file in its sandbox, which is loading it.
        fingerprint: the keys.
        options: what the auditor says of its contract.
        probe: ordinary inputs that pick among several readings of its contract; None to take the stated assumptions.
        twice: whether to ask again, in the reverse order.

    Returns:
        What it said, under each contract that the probe cannot tell from the best.

    Raises:
        SuspectError: if it cannot be run within the limits, or what it expects or returns is not clear.
    """
    suspect.prepare(fingerprint.contract, fingerprint.classes, options)
    report = None
    if probe is None:
        contracts = [settled(suspect.path, suspect.contract)]
    else:
        from fpverify.suspects.probe import probe_suspect

        contracts, report = probe_suspect(suspect, probe)
        contracts = [settled(suspect.path, contract) for contract in contracts]
    answers = [suspect.ask(fingerprint.inputs, contract) for contract in contracts]
    others = [
        Reading(f"with {_difference(contracts[0], contract)}, which the probe cannot tell apart", answer.labels)
        for contract, answer in zip(contracts[1:], answers[1:], strict=True)
    ]
    others += [
        Reading(f"by its output {one_line(other.output, 80)!r} ({other.reading})", other.labels)
        for other in answers[0].alternatives
    ]
    disagreements = None
    if twice:
        again = suspect.ask(fingerprint.inputs[::-1], contracts[0]).labels[::-1]
        disagreements = int(np.count_nonzero(again != answers[0].labels))
        others.append(Reading("when asked again", again))
    if len({answer.known.tobytes() for answer in answers}) > 1:
        raise SuspectError(f"{suspect.path}: names other classes under each reading of its contract")
    return Evidence(
        first=Reading("", answers[0].labels),
        others=tuple(others),
        known=answers[0].known,
        disagreements=disagreements,
        suspect=_info(suspect),
        contract=_reported(contracts[0], answers[0].output, answers[0].reading),
        probe=report,
        sandbox=suspect.sandbox.held,
        runtime=suspect.sandbox.runtime,
        warnings=(*_warnings(suspect, contracts[0], fingerprint.contract, twice), *filter(None, [answers[0].doubt])),
    )


def _info(suspect: OnnxSuspect) -> SuspectInfo:
    name = one_line(suspect.path)
    return SuspectInfo("onnx", name, suspect.path, suspect.sha256, suspect.external, suspect.provider)


def _reported(contract: SuspectContract, output: str, reading: str) -> SuspectContract:
    """Return the contract with the output that was in fact read, and how."""
    origins = dict(contract.origins)
    if reading in BY_NAME:
        origins["classes"] = Origin.FILE
    return replace(contract, output=output, reading=reading, origins=origins, readings={})


def _difference(best: SuspectContract, other: SuspectContract) -> str:
    names = ("layout", "channels", "values")
    different = [f"{name} {getattr(other, name)}" for name in names if getattr(best, name) != getattr(other, name)]
    return " and ".join(different)


def _warnings(suspect: OnnxSuspect, contract: SuspectContract, keys: InputContract, twice: bool) -> tuple[str, ...]:
    warnings, survey = [], suspect.file.survey
    ask_again = "" if twice else "; ask twice (--ask-twice)"
    if survey.training:
        left = " and ".join(survey.training)
        warnings.append(
            f"the file leaves {left} in training mode, so its answers depend on chance or on their batch{ask_again}"
        )
    if survey.random:
        warnings.append(
            f"the file draws random numbers ({', '.join(survey.random)}), so its answers may vary{ask_again}"
        )
    size = (contract.height or keys.height, contract.width or keys.width)
    if size != (keys.height, keys.width):
        warnings.append(
            f"the keys were resampled bilinearly from {keys.height}x{keys.width} to {size[0]}x{size[1]} pixels, "
            "which weakens them: a derived model may look unrelated"
        )
    return tuple(warnings)
