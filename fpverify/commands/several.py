"""Several suspects of one command: which there are, and a row for each."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fpverify.commands.progress import Progress
from fpverify.errors import (
    CommitmentError,
    FingerprintError,
    FpverifyError,
    OutputError,
    PolicyError,
    SignatureError,
    TimestampError,
    TrustError,
)
from fpverify.result import Judged, Result
from fpverify.secrets import without_credentials

_FOR_ALL = (CommitmentError, FingerprintError, OutputError, SignatureError, TimestampError, TrustError)
"""What is wrong for one of several suspects is wrong for all of them, and no row."""


def require_for_all(sequential: bool, released: Any) -> None:
    """Refuse options that several suspects cannot share."""
    if sequential:
        raise PolicyError("verdicts that stop early cannot be corrected for several suspects", culprit="--sequential")
    if released is not None:
        raise PolicyError("it is the date of one suspect", culprit="--released")


def each_of(suspect: str, closed: list[tuple[str, str]]) -> list[str]:
    """Return what is judged of a suspect: itself, or all of a folder with several files that are suspects.

    Args:
        suspect: as it is named.
        closed: takes what was not entered in such a folder, with the reason.
    """
    if not os.path.isdir(suspect):
        return [suspect]
    from fpverify.scanning import SUFFIXES, found_in
    from fpverify.suspects.folders import model_in

    left_out: list[tuple[str, str]] = []
    files = list(found_in([suspect], SUFFIXES, left_out))
    if len(files) < 2:
        return [suspect]
    closed += left_out
    model = model_in(suspect)  # as a model's folder it has class names beside that file, and is one suspect
    return files if model is None else [suspect, *(file for file in files if file != model)]


def require_readable(fingerprint: Path, probe: Path | None, vetting: Path | None, twins: Path | None) -> None:
    """Read what holds for all of several suspects: a fault in it must not become a row for each."""
    from fpverify.fingerprint import load_fingerprint
    from fpverify.suspects.probe import load_probe
    from fpverify.twins import load_twins
    from fpverify.vetting import load_vetting, require_independent

    loaded = load_fingerprint(fingerprint)
    shown = loaded.method.get("disclosure")
    if isinstance(shown, dict) and shown.get("draw") is not None:
        raise PolicyError("its keys were drawn for one suspect", culprit=fingerprint)
    if probe is not None:
        load_probe(probe, loaded.contract, loaded.classes)
    if twins is not None:
        load_twins(twins)
    if vetting is not None:
        require_independent(load_vetting(vetting), loaded, None)


def judged_in_turn(names: Sequence[str], fingerprint: Path, judge: Callable[[str], Result]) -> list[Judged]:
    """Judge several suspects, one after another."""
    judged = []
    with Progress(f"{len(names)} suspects") as progress:
        for done, name in enumerate(names, 1):
            try:
                judged.append(Judged(without_credentials(name), str(fingerprint), judge(name)))
            except _FOR_ALL:
                raise
            except FpverifyError as error:
                judged.append(broken(name, fingerprint, error))
            progress.counted(done, len(names))
    return judged


def broken(suspect: str, fingerprint: Path, error: FpverifyError) -> Judged:
    """Return the row of a suspect without a verdict."""
    from fpverify.scanning import reason_beside

    shown = without_credentials(suspect)
    return Judged(shown, str(fingerprint), None, reason_beside(suspect, error).replace(suspect, shown))
