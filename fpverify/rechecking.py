"""Judges a suspect again, and compares with a result that was saved."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fpverify.contract import Origin, SuspectContract
from fpverify.correction import correct_one, deciding_p
from fpverify.errors import ResultError
from fpverify.fingerprint import load_fingerprint
from fpverify.result import Judgement, Result
from fpverify.sandbox.limits import Limits
from fpverify.twins import by_twins, ranked
from fpverify.verification import dated, verify


@dataclass(frozen=True)
class Recheck:
    """What is the same, and what is not."""

    again: Result
    """The new result."""
    lines: tuple[str, ...]
    """Each comparison, in words."""
    same: bool
    """Whether verdict and answers are the same."""


def recheck(
    saved: Result, suspect: str | os.PathLike[str] | None = None, fingerprint: str | os.PathLike[str] | None = None
) -> Recheck:
    """Judge a suspect again by the fingerprint, the policy and the contract of a saved result.

    Args:
        saved: of `load_result`.
        suspect: where its file lies now; None for where it lay.
        fingerprint: where its file lies now; None for where it lay.

    Raises:
        ResultError: if the result is of a suspect that is no file, of keys that were asked in turn or of a probe, or
            the files are not the same.
        SuspectError: if the suspect cannot be asked.
        FingerprintError: if the fingerprint cannot be read.
    """
    model, keys = suspect or saved.suspect.path, fingerprint or saved.fingerprint.path
    if saved.suspect.kind not in ("onnx", "recorded") or model is None:
        raise ResultError("its suspect is no file: it cannot be shown to be the same", culprit=saved.suspect.name)
    if keys is None:
        raise ResultError("does not say where its fingerprint lies", hint="give --fingerprint")
    if saved.sequential is not None or saved.probe is not None:
        raise ResultError("keys that were asked in turn, and suspects with a probe, cannot be judged again")
    loaded = load_fingerprint(keys)
    _require_same("fingerprint", saved.fingerprint.sha256, loaded.sha256, keys)
    again = verify(
        loaded,
        Path(model),  # never a text: what a result names is a stranger's word, and no address
        policy=saved.policy,
        contract=given_of(saved.contract),
        limits=Limits() if saved.sandbox is None else Limits(seconds=saved.sandbox.seconds),
        vetting=saved.vetting,
    )
    _require_same("suspect", saved.suspect.sha256 or "", again.suspect.sha256 or "", model)
    compared = list(_compared(saved, again))
    lines = [f"{'same' if was == now else 'OTHER'}  {what}: {now}" + _was(was, now) for what, was, now in compared]
    lines += [f"NOT CHECKED  {what}" for what in _taken(saved)]
    return Recheck(again, tuple(lines), all(was == now for _, was, now in compared))


def _taken(saved: Result) -> Iterator[str]:
    """Yield what is taken from the saved result as it stands."""
    if saved.proof is not None or saved.provenance is not None:
        yield "commitment, signature and timestamp: give them to fpverify verify again"
    if saved.vetting is not None:
        yield "the panel's answers: its models were not asked again"
    if saved.twins is not None:
        yield "what the suspect keeps of the twins' fingerprints: it was not asked these again"


def _was(was: Any, now: Any) -> str:
    return "" if was == now else f" (saved: {was})"


def _compared(saved: Result, again: Result) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is compared: twins, dates and corrections are weighed again, and the panel was."""
    if saved.vetting is not None and again.vetting is not None:
        for name in ("p_value", "reaching", "cut", "refusals"):
            yield f"panel: {name.replace('_', ' ')}", getattr(saved.vetting, name), getattr(again.vetting, name)
    if saved.twins is not None:
        twins = ranked(again.retention, saved.twins.retentions)
        again = replace(again, twins=twins, **_judged(by_twins(again, twins, saved.policy)))
        yield "twins: p value", saved.twins.p_value, twins.p_value
    again = replace(again, **_judged(dated(again, saved.provenance)))
    if saved.correction is not None:
        found = saved.correction
        at_least = max(found.p_value, deciding_p(again))
        again = correct_one(again, at_least, found.method, found.tests)
        yield "corrected p", found.p_value, at_least
    yield "verdict", str(saved.verdict), str(again.verdict)
    for name in ("kept", "queries", "cut", "threshold", "p_value", "q_value"):
        yield name.replace("_", " "), getattr(saved, name), getattr(again, name)
    if len(saved.answers.given) != len(again.answers.given):
        yield "answers", len(saved.answers.given), len(again.answers.given)
        return
    pairs = zip(saved.answers.given, again.answers.given, strict=True)
    yield "answers that differ", 0, sum(was != now for was, now in pairs)
    yield "files beside the suspect", saved.suspect.external, again.suspect.external


def _judged(judgement: Judgement) -> dict[str, Any]:
    return {"verdict": judgement.verdict, "reason": judgement.reason}


def given_of(contract: SuspectContract) -> dict[str, Any]:
    """Return what the auditor said of a contract, as options."""
    said = [name for name, origin in contract.origins.items() if origin is Origin.OPTION]
    options: dict[str, Any] = {}
    for name in said:
        if name == "values":
            values = vars(contract.values)
            options |= {key: _listed(one) for key, one in values.items() if one is not None}
        elif name == "classes" and contract.renamed:
            options["classes"] = dict(contract.renamed)
        elif (value := getattr(contract, name)) is not None:
            options[name] = _listed(value)
    return options


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _require_same(what: str, expected: str, found: str, path: str | os.PathLike[str]) -> None:
    if expected != found:
        raise ResultError(
            f"is another {what} than the result's",
            culprit=os.fspath(path),
            expected=f"SHA-256 {expected}",
            found=found,
        )
