"""Picks among several readings of a suspect's contract by its accuracy on a few ordinary inputs.

The inputs are no keys, and the accuracy says nothing about where the suspect comes from, so that choosing by it does
not favour any verdict.
"""

import os
import zipfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import Origin, SuspectContract
from fpverify.errors import PolicyError, SuspectError
from fpverify.fingerprint import InputContract
from fpverify.result import Candidate, ProbeReport
from fpverify.statistics import binomial_tail, by_chance
from fpverify.suspects.derive import candidates
from fpverify.suspects.prepared import PreparedSuspect
from fpverify.text import one_line

TIE_LEVEL = 0.05
"""Candidates tie unless a two-sided sign test on the inputs where they differ rejects that they are as good."""

CHANCE_LEVEL = 0.01
"""A suspect is near chance unless its best accuracy rejects guessing at this level, corrected for the candidates."""


@dataclass(frozen=True)
class Probe:
    """Ordinary labelled inputs."""

    inputs: NDArray[np.float32]
    """`(n, C, H, W)` as the fingerprint's contract says."""
    labels: NDArray[np.int64]
    """`(n,)` labels of the fingerprint's classes."""


def load_probe(path: str | os.PathLike[str], key_contract: InputContract, classes: tuple[str, ...]) -> Probe:
    """Read ordinary inputs.

    Args:
        path: an `.npz` file with `inputs` `(n, C, H, W)`, floats in the fingerprint's range or uint8 from 0 to 255, and
            `labels` `(n,)`, numbers of the fingerprint's classes.
        key_contract: the fingerprint's contract.
        classes: its classes.

    Returns:
        The probe.

    Raises:
        PolicyError: if the file cannot be read or does not fit.
    """
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            if not {"inputs", "labels"} <= set(getattr(content, "files", ())):
                raise PolicyError("must be an .npz file with the arrays inputs and labels", culprit=path)
            inputs, labels = content["inputs"], content["labels"]
    except PolicyError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PolicyError(f"cannot read the probe: {one_line(str(error), 200)}", culprit=path) from error
    return make_probe(inputs, labels, key_contract, classes, os.fspath(path))


def make_probe(inputs: Any, labels: Any, key_contract: InputContract, classes: tuple[str, ...], where: str) -> Probe:
    """Check ordinary inputs; the arguments are those of `load_probe`, `where` names them in errors."""
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    expected = ", ".join(map(str, key_contract.shape))
    if inputs.ndim != 4 or inputs.shape[1:] != key_contract.shape or len(inputs) == 0:
        raise PolicyError(f"inputs must have the shape (n, {expected})", culprit=where, found=inputs.shape)
    if inputs.dtype == np.uint8:
        inputs = key_contract.low + inputs / 255.0 * (key_contract.high - key_contract.low)
    if inputs.dtype.kind != "f" or not np.isfinite(inputs).all():
        raise PolicyError(culprit=where, where="inputs", expected="finite floats or uint8", found=inputs.dtype)
    inputs = inputs.astype(np.float32)
    slack = 1e-5 * (key_contract.high - key_contract.low)
    if inputs.min() < key_contract.low - slack or inputs.max() > key_contract.high + slack:
        found = f"{inputs.min():g} to {inputs.max():g}"
        raise PolicyError(
            f"inputs must lie in [{key_contract.low:g}, {key_contract.high:g}] as the keys do",
            culprit=where,
            found=found,
        )
    if labels.dtype.kind not in "iu" or labels.shape != (len(inputs),):
        raise PolicyError(
            culprit=where,
            where="labels",
            expected=f"{len(inputs)} integers",
            found=f"{labels.dtype} of shape {labels.shape}",
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise PolicyError(
            culprit=where,
            where="labels",
            expected=f"0 to {len(classes) - 1}",
            found=f"{labels.min()} to {labels.max()}",
        )
    return Probe(inputs, labels.astype(np.int64))


def probe_suspect(suspect: PreparedSuspect, probe: Probe) -> tuple[list[SuspectContract], ProbeReport]:
    """Ask a suspect ordinary inputs under each reading of its contract.

    Args:
        suspect: loaded.
        probe: ordinary inputs.

    Returns:
        The contracts that the probe cannot tell apart, the best first, and what was found.

    Raises:
        SuspectError: if it answers under no reading, or under none better than by chance.
    """
    tried: list[tuple[SuspectContract, NDArray[np.bool_]]] = []
    failure: SuspectError | None = None
    for fields in candidates(suspect.contract):
        origins = {**suspect.contract.origins, **dict.fromkeys(fields, Origin.PROBE)}
        contract = replace(suspect.contract, **fields, origins=origins)
        try:
            tried.append((contract, suspect.ask(probe.inputs, contract).labels == probe.labels))
        except SuspectError as error:
            if not suspect.alive:
                raise
            failure = error  # a wrong reading may well overflow
    if not tried:
        raise failure or SuspectError("no reading of its contract can be tried", culprit=suspect.name)
    tried.sort(key=lambda pair: -int(pair[1].sum()))
    chance = float(np.bincount(probe.labels).max() / len(probe.labels))
    best = tried[0][1]
    _must_beat_chance(suspect, int(best.sum()), len(best), chance, len(tried))
    ties = [_tied(best, right) for _, right in tried]
    report = ProbeReport(
        len(best),
        chance,
        tuple(_candidate(contract, right, tied) for (contract, right), tied in zip(tried, ties, strict=True)),
    )
    return [contract for (contract, _), tied in zip(tried, ties, strict=True) if tied], report


def _candidate(contract: SuspectContract, right: NDArray[np.bool_], tied: bool) -> Candidate:
    return Candidate(contract.layout, contract.channels, str(contract.values), float(right.mean()), tied)


def _tied(best: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Say whether the inputs cannot tell a reading from the best: a two-sided sign test."""
    return 2 * by_chance(best, other) > TIE_LEVEL


def _must_beat_chance(suspect: PreparedSuspect, right: int, queries: int, chance: float, tried: int) -> None:
    if chance >= 1 or tried * binomial_tail(right, queries, chance) > CHANCE_LEVEL:
        raise SuspectError(
            f"near chance on ordinary inputs under all {tried} readings of its contract (at best {right} of {queries} "
            f"right, chance is {chance:.0%}): it could not be verified",
            culprit=suspect.name,
            hint="give its preprocessing or classes in --contract FILE, or more inputs",
        )
