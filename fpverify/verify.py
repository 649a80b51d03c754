"""Judges one suspect by one fingerprint."""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fpverify.errors import SuspectError
from fpverify.fingerprint import FORMAT_VERSION, Fingerprint, load_fingerprint
from fpverify.plaintext import one_line
from fpverify.retention import retained
from fpverify.statistics import Interval
from fpverify.suspects import OnnxSuspect, Suspect, ask, load_onnx, name_of
from fpverify.verdict import Policy, Verdict, judge
from fpverify.version import __version__


@dataclass(frozen=True)
class FingerprintInfo:
    """Which fingerprint was used."""

    sha256: str
    """Of the file, its identity, as hexadecimal digits."""
    path: str | None
    """The file; None if a `Fingerprint` was passed."""
    format_version: int
    """Of the file."""
    keys: int
    """How many it holds."""
    classes: int
    """How many classes its labels come from."""
    source_sha256: str
    """Of the source model's file, as hexadecimal digits."""
    method: str
    """Name of the method that made it."""
    calibration_rule: str
    """How the threshold was chosen, in words."""


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
    provider: str | None
    """What ran the file, as ONNX Runtime names it; None for a callable."""


@dataclass(frozen=True)
class Result:
    """A verdict with everything that it rests on."""

    verdict: Verdict
    """The conclusion."""
    reason: str
    """Why, in one sentence."""
    retention: float
    """Share of keys that the suspect answers as the fingerprint says, a fraction in [0, 1]."""
    kept: int
    """Keys answered so."""
    queries: int
    """Keys asked."""
    threshold: float
    """Retention from which the fingerprint calls a suspect derived, a fraction in (0, 1]."""
    interval: Interval
    """Clopper-Pearson interval of the retention over keys like these."""
    p_value: float
    """Of "unrelated", by rank among the null models: `(1 + nulls_above_suspect) / (nulls + 1)`."""
    nulls: int
    """Null models in the calibration."""
    nulls_above_suspect: int
    """Null models that keep as much as the suspect, or more."""
    nulls_above_threshold: int
    """Null models that reach the threshold."""
    false_positive_bound: float
    """Upper bound on the rate at which unrelated models reach the threshold, at the policy's interval level."""
    policy: Policy
    """How sure the auditor wanted to be."""
    fingerprint: FingerprintInfo
    """Which fingerprint was used."""
    suspect: SuspectInfo
    """Which suspect was judged."""
    versions: Mapping[str, str]
    """Of the programs that took part in judging."""
    seconds: float
    """Wall time of loading, asking and judging."""


def verify(
    fingerprint: Fingerprint | str | os.PathLike[str],
    suspect: Suspect | str | os.PathLike[str],
    *,
    policy: Policy | None = None,
    device: str = "cpu",
) -> Result:
    """Judge whether a suspect was derived from a fingerprint's source.

    Args:
        fingerprint: one that is loaded, or the path of its file.
        suspect: the path of an ONNX file, or anything callable from `(n, C, H, W)` float32 inputs to `(n,)` integer
            labels or `(n, classes)` scores.
        policy: how sure to be; `Policy()` if not given.
        device: `cpu` or `cuda`, on which an ONNX file runs.

    Returns:
        The verdict with its evidence.

    Raises:
        FingerprintError: if the fingerprint cannot be used.
        SuspectError: if the suspect cannot be asked or understood.
    """
    began = time.perf_counter()
    policy = policy or Policy()
    fingerprint_path = None if isinstance(fingerprint, Fingerprint) else os.fspath(fingerprint)
    loaded = fingerprint if isinstance(fingerprint, Fingerprint) else load_fingerprint(fingerprint)
    asked = _callable(suspect, device, len(loaded.classes))
    retention = retained(ask(asked, loaded.inputs, len(loaded.classes)), loaded.labels)
    threshold = loaded.calibration.threshold
    judgement = judge(retention, threshold, loaded.calibration.nulls, policy)
    return Result(
        **vars(judgement),
        retention=retention.rate,
        kept=retention.kept,
        queries=retention.queries,
        threshold=threshold,
        policy=policy,
        fingerprint=_describe_fingerprint(loaded, fingerprint_path),
        suspect=_describe_suspect(asked),
        versions=_versions(asked),
        seconds=time.perf_counter() - began,
    )


def _callable(suspect: Suspect | str | os.PathLike[str], device: str, classes: int) -> Suspect:
    if isinstance(suspect, str | os.PathLike):
        return load_onnx(suspect, device=device, classes=classes)
    if not callable(suspect):
        raise SuspectError(f"a suspect must be a path or a callable, found {one_line(repr(suspect), 100)}")
    return suspect


def _describe_fingerprint(fingerprint: Fingerprint, path: str | None) -> FingerprintInfo:
    return FingerprintInfo(
        sha256=fingerprint.sha256,
        path=path,
        format_version=FORMAT_VERSION,
        keys=len(fingerprint),
        classes=len(fingerprint.classes),
        source_sha256=fingerprint.source.sha256,
        method=fingerprint.method["name"],
        calibration_rule=fingerprint.calibration.rule,
    )


def _describe_suspect(suspect: Suspect) -> SuspectInfo:
    if isinstance(suspect, OnnxSuspect):
        return SuspectInfo("onnx", name_of(suspect), suspect.path, suspect.sha256, suspect.provider)
    return SuspectInfo("callable", name_of(suspect), None, None, None)


def _versions(suspect: Suspect) -> dict[str, str]:
    versions = {"fpverify": __version__, "numpy": np.__version__, "python": platform.python_version()}
    runtime = getattr(suspect, "runtime", None)
    return versions if runtime is None else {**versions, "onnxruntime": str(runtime)}
