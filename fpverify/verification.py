"""Judges one suspect by one fingerprint."""

import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from fpverify.contract import Origin, SuspectContract
from fpverify.errors import (
    CommitmentError,
    FingerprintError,
    PolicyError,
    SignatureError,
    SuspectError,
    TimestampError,
)
from fpverify.evidence import Evidence, ask_suspect
from fpverify.fingerprint import Fingerprint, HeldOut, load_fingerprint
from fpverify.in_turn import ask_in_turn
from fpverify.result import (
    AnswersInfo,
    FingerprintInfo,
    InTurn,
    Judgement,
    Policy,
    Provenance,
    Result,
    SuspectInfo,
    Verdict,
    Vetting,
)
from fpverify.sandbox.limits import Limits
from fpverify.statistics import Spread, spread_of
from fpverify.suspects.interface import Suspect
from fpverify.suspects.opening import open_suspect
from fpverify.suspects.options import check_contract
from fpverify.twins import by_twins, load_twins, others_among, rank_among, require_drawn
from fpverify.verdict import doubted
from fpverify.version import __version__
from fpverify.vetting import identity_of, judge_panel, load_vetting, require_independent, weighed
from fpverify.weighing import weigh

if TYPE_CHECKING:
    from fpverify.proof.examination import Examined, Proof
    from fpverify.suspects.probe import Probe


def verify(
    fingerprint: Fingerprint | str | os.PathLike[str],
    suspect: Any,
    *,
    policy: Policy | None = None,
    device: str = "cpu",
    limits: Limits | None = None,
    contract: Mapping[str, Any] | None = None,
    probe: tuple[Any, Any] | str | os.PathLike[str] | None = None,
    proof: "Proof | None" = None,
    vetting: Vetting | str | os.PathLike[str] | None = None,
    in_turn: InTurn | None = None,
    twins: Iterable[Fingerprint] | str | os.PathLike[str] | None = None,
    drawn_by: str | None = None,
) -> Result:
    """Judge whether a suspect was derived from a fingerprint's source.

    Args:
        fingerprint: one that is loaded, or the path of its file.
        suspect: the path of an ONNX file, which runs in a process of its own; the path of recorded answers to the
            images of `fpverify ask`, `.csv`, `.json` or `.npz`; a callable from `(n, C, H, W)` float32
            inputs to `(n,)` labels (-1 for a refusal) or names, or `(n, classes)` scores; an object with
            `predict_proba` or `predict`; or what `open_suspect` yields.
        policy: how sure to be; `Policy()` if not given.
        device: `cpu` or `cuda`, on which an ONNX file runs.
        limits: what an ONNX file may take; `Limits()` if not given.
        contract: what is known of its input and output: the fields of a contract file.
        probe: ordinary inputs, as `(inputs, labels)` or the path of an `.npz` file; they pick among
            the readings of its contract that its file leaves open.
        proof: what the fingerprint must keep to: a commitment, whose policy is used where none is given, a signature,
            a timestamp, and what the auditor demands.
        vetting: what independent models answer to the keys, of `vet`, or the path of its document. A suspect is then
            ranked among them, too, and a refused fingerprint decides nothing.
        in_turn: when to stop asking a suspect that is no file; None to ask all keys.
        twins: fingerprints of networks that were trained like the source, this one among them, or their folder.
        drawn_by: what drew the source among the twins in their folder, and nobody knew when their list was stamped.

    Returns:
        The verdict with its evidence.

    Raises:
        FingerprintError: if the fingerprint cannot be used.
        CommitmentError: if it is not what was committed; nothing is asked then.
        SignatureError: if no trusted key signed it.
        TimestampError: if the timestamp is of something else, or its authority is not trusted.
        TrustError: if a trust policy demands what was not given.
        PanelError: if the vetting is of another fingerprint, or the suspect is one of its panel.
        SuspectError: if the suspect cannot be asked or understood, or breaks its limits.
        PolicyError: if the contract or the probe makes no sense.
    """
    policy = policy or policy_of(proof)
    options = check_contract(contract or {}, "contract")
    # Before anything else: a file's process gets ready while the fingerprint is being read.
    with open_suspect(suspect, device=device, limits=limits) as opened:
        return _judge(opened, fingerprint, policy, options, probe, proof, vetting, in_turn, twins, drawn_by)


def verify_each(
    fingerprints: Iterable[Fingerprint | str | os.PathLike[str]],
    suspect: Any,
    *,
    policy: Policy | None = None,
    device: str = "cpu",
    limits: Limits | None = None,
    contract: Mapping[str, Any] | None = None,
    probe: tuple[Any, Any] | str | os.PathLike[str] | None = None,
) -> Iterator[Result | SuspectError]:
    """Judge one suspect by several fingerprints, loading it once.

    Args:
        fingerprints: those of several sources, say; one that is read when its turn comes may be a path.
        suspect: as for `verify`.
        policy: as for `verify`.
        device: as for `verify`.
        limits: for all fingerprints together.
        contract: as for `verify`.
        probe: as for `verify`.

    Yields:
        For each fingerprint, what `verify` returns; or the error that it raises over the suspect (it may know no class
        of one fingerprint and all of the next).

    Raises:
        FingerprintError: if a fingerprint cannot be used.
        SuspectError: if the suspect is no model that can be read.
        PolicyError: if the contract or the probe makes no sense.
    """
    policy = policy or Policy()
    options = check_contract(contract or {}, "contract")
    with open_suspect(suspect, device=device, limits=limits) as opened:
        for fingerprint in fingerprints:
            try:
                yield _judge(opened, fingerprint, policy, options, probe)
            except SuspectError as error:
                yield error


def _judge(
    suspect: Suspect,
    fingerprint: Fingerprint | str | os.PathLike[str],
    policy: Policy,
    options: Mapping[str, Any],
    probe: tuple[Any, Any] | str | os.PathLike[str] | None,
    proof: "Proof | None" = None,
    vetting: Vetting | str | os.PathLike[str] | None = None,
    in_turn: InTurn | None = None,
    twins: Iterable[Fingerprint] | str | os.PathLike[str] | None = None,
    drawn_by: str | None = None,
) -> Result:
    began = time.perf_counter()
    path = None if isinstance(fingerprint, Fingerprint) else os.fspath(fingerprint)
    loaded = fingerprint if isinstance(fingerprint, Fingerprint) else _load(fingerprint)
    panel = load_vetting(vetting) if isinstance(vetting, str | os.PathLike) else vetting
    if panel is not None:
        suspect.prepare()
        require_independent(panel, loaded, identity_of(suspect.info))
    examined = None
    if proof is not None:
        try:
            examined = _examined(loaded, proof, suspect, policy, panel)
        except (CommitmentError, SignatureError, TimestampError) as error:
            raise error.about(path or "the fingerprint") from error
    if twins is not None and (in_turn is not None or probe is not None):
        raise PolicyError(
            "twins are asked all keys, as their suspect is without them: leave --sequential and --probe out",
            culprit="twins",
        )
    others, drawn = _twins_of(twins, loaded, drawn_by)
    sequential = ranked = None
    if in_turn is None:
        evidence = ask_suspect(suspect, loaded, options, None if probe is None else _probe(probe, loaded), policy)
        judgement, retention, answers = weigh(evidence, loaded, policy)
        kept = _fewest_kept(evidence, loaded)
    elif probe is not None:
        raise PolicyError("a probe is for files, and files are not asked in turn", culprit="probe")
    else:
        heard = ask_in_turn(suspect, loaded, options, policy, in_turn)
        evidence, judgement, retention, answers = heard.evidence, heard.judgement, heard.retention, heard.answers
        sequential, kept = heard.report, heard.report.low
    if panel is not None:
        answered = kept, evidence.known
        panel = judge_panel(panel.members, loaded, policy, panel.source_kept, answered, tested=panel.tested)
        judgement = weighed(judgement, panel, policy)
    if others is not None:
        ranked = rank_among(suspect, retention.rate, others, options, policy, drawn)
        judgement = by_twins(judgement, ranked, policy)
    judgement = dated(judgement, None if examined is None else examined.provenance)
    return Result(
        **vars(judgement),
        retention=retention.rate,
        kept=retention.kept,
        queries=retention.queries,
        threshold=loaded.calibration.threshold,
        policy=policy,
        fingerprint=_describe_fingerprint(loaded, path),
        proof=None if examined is None else examined.proof,
        provenance=None if examined is None else examined.provenance,
        twins=ranked,
        correction=None,
        vetting=panel,
        suspect=evidence.suspect,
        answers=answers,
        sequential=sequential,
        contract=evidence.contract,
        probe=evidence.probe,
        controls=evidence.controls,
        sandbox=evidence.sandbox,
        warnings=(
            *_parts(loaded, proof),
            *(() if examined is None else examined.doubts),
            *_private(loaded),
            *_itself(loaded, evidence.suspect),
            *_warnings(evidence, answers, judgement.verdict),
        ),
        versions=_versions(evidence.runtime),
        judged_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - began,
        command=None,
    )


def _twins_of(
    twins: Iterable[Fingerprint] | str | os.PathLike[str] | None, fingerprint: Fingerprint, drawn_by: str | None
) -> tuple[list[Fingerprint] | None, tuple[str, str] | None]:
    """Return the other twins, and by what the source was drawn among them; nothing is asked."""
    if isinstance(twins, str | os.PathLike):
        every = load_twins(twins)
        others = others_among(every, fingerprint)
        return others, None if drawn_by is None else (require_drawn(twins, every, fingerprint, drawn_by), drawn_by)
    if drawn_by is not None:
        raise PolicyError("it is for a folder of twins with their list", culprit="drawn_by")
    return None if twins is None else others_among(twins, fingerprint), None


def dated(judgement: Judgement, provenance: Provenance | None) -> Judgement:
    """Return a judgement in the light of dates: keys that may have been made against the suspect accuse nobody."""
    if judgement.verdict is not Verdict.DERIVED or provenance is None or provenance.older is not False:
        return judgement
    return doubted(judgement, "But the keys may have been made against it: their timestamp is not older than it.")


def _fewest_kept(evidence: Evidence, fingerprint: Fingerprint) -> int:
    """Return the fewest keys of known classes that a suspect keeps under any interpretation of its answers."""
    counted = evidence.known[fingerprint.labels]
    readings = (evidence.first, *evidence.others)
    return min(int((one.labels == fingerprint.labels)[counted].sum()) for one in readings)


def policy_of(proof: "Proof | None") -> Policy:
    """Return the policy where the auditor states none: the one that the owner committed to, if there is one.

    Raises:
        PolicyError: if that accuses more easily than the auditor's own would, saying what to state to accept it.
    """
    own = Policy()
    if proof is None or proof.commitment is None:
        return own
    committed = proof.commitment.policy
    if committed.significance > own.significance:
        raise PolicyError(
            "the owner committed to a policy that accuses more easily than yours",
            culprit="policy",
            expected=f"a significance of at most {own.significance:g}",
            found=f"{committed.significance:g}",
            hint=f"give --significance {committed.significance:g} if you accept it",
        )
    if committed.confidence < own.confidence or committed.min_keys < own.min_keys:
        raise PolicyError(
            "the owner committed to a policy that accuses more easily than yours",
            culprit="policy",
            expected=_settings(own),
            found=_settings(committed),
        )
    return committed


def _examined(
    fingerprint: Fingerprint, proof: "Proof", suspect: Suspect, policy: Policy, vetting: Vetting | None
) -> "Examined":
    """Check everything that the auditor holds, before anything is asked."""
    from fpverify.proof.examination import examine

    if proof.commitment is not None:
        committed = replace(proof.commitment.policy, ask_twice=policy.ask_twice)
        if committed != policy:
            raise PolicyError(
                "suspects are judged as the owner committed to",
                culprit="policy",
                expected=_settings(committed),
                found=_settings(policy),
            )
    suspect.prepare()
    return examine(fingerprint, proof, suspect.info.identity, vetting)


def _settings(policy: Policy) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(policy).items() if name != "ask_twice")


def _load(path: str | os.PathLike[str]) -> Fingerprint:
    """Load a fingerprint; a file that is none is named as what it is."""
    try:
        return load_fingerprint(path)
    except FingerprintError as error:
        from fpverify.onnx_format.wrong_files import what_is

        named = what_is(path, "fingerprint")
        if named is None:
            raise
        raise FingerprintError(f"no fingerprint: {named}", culprit=os.fspath(path)) from error


def _probe(probe: tuple[Any, Any] | str | os.PathLike[str], fingerprint: Fingerprint) -> "Probe":
    from fpverify.suspects.probe import load_probe, make_probe

    if isinstance(probe, str | os.PathLike):
        return load_probe(probe, fingerprint.contract, fingerprint.classes)
    inputs, labels = probe
    return make_probe(inputs, labels, fingerprint.contract, fingerprint.classes, "probe")


def _parts(fingerprint: Fingerprint, proof: "Proof | None") -> tuple[str, ...]:
    """Say of a part of a fingerprint that nothing shows what it is a part of."""
    if "disclosure" not in fingerprint.method or (proof is not None and proof.commitment is not None):
        return ()
    return ("the fingerprint is a part of another one, and nothing shows that it was committed: give --commitment",)


def _itself(fingerprint: Fingerprint, suspect: SuspectInfo) -> tuple[str, ...]:
    """Say where a suspect is no copy but the source."""
    if suspect.identity != fingerprint.source.sha256:
        return ()
    return ("the suspect is the source's own file: it has the SHA-256 that the fingerprint names",)


def _private(fingerprint: Fingerprint) -> tuple[str, ...]:
    """Say for which models a fingerprint is no evidence, where its owner states that nobody else has the images."""
    if fingerprint.method.get("private_images") is not True:
        return ()
    return (
        "the owner states that nobody else has the images that the source learnt, and no null model learnt from them: "
        "p and the false-positive rate do not hold for a model that learnt from these images without the source",
    )


def _warnings(evidence: Evidence, answers: AnswersInfo, verdict: Verdict) -> tuple[str, ...]:
    warnings = list(evidence.warnings)
    if answers.left_out:
        warnings.append(
            f"{answers.left_out} keys were left out, because the suspect does not know their class; "
            "the null models were asked all keys"
        )
    if answers.refusals:
        warnings.append(
            f"{answers.refusals} keys were refused, or answered with a class that the fingerprint does not have"
        )
    if answers.disagreements:
        warnings.append(f"{answers.disagreements} keys were answered differently when they were asked again")
    if evidence.sandbox is not None and evidence.sandbox.memory is None:
        warnings.append("the suspect's process ran without a memory limit, which this platform or device does not hold")
    if evidence.unverified and verdict is not Verdict.DERIVED and (assumed := _assumed(evidence.contract)):
        warnings.append(
            f"the suspect's {assumed}: assumed; if the assumption is wrong, any model appears unrelated: "
            "settle it with --contract, --classes or --probe"
        )
    return tuple(warnings)


def _assumed(contract: SuspectContract) -> str:
    """Return the assumptions that a false "unrelated" could rest on; a false "derived" cannot rest on one."""
    shown = {
        "channels": str(contract.channels),
        "values": str(contract.values),
        "classes": "those of the fingerprint, in its order",
    }
    names = [name for name in shown if contract.origins[name] is Origin.ASSUMPTION]
    return " and ".join(f"{name} ({shown[name]})" for name in names)


def _describe_fingerprint(fingerprint: Fingerprint, path: str | None) -> FingerprintInfo:
    backing = fingerprint.backing
    models = () if backing is None else backing.models
    return FingerprintInfo(
        sha256=fingerprint.sha256,
        path=path,
        format_version=fingerprint.format_version,
        keys=len(fingerprint),
        classes=len(fingerprint.classes),
        source_sha256=fingerprint.source.sha256,
        method=fingerprint.method["name"],
        calibration_rule=fingerprint.calibration.rule,
        null_ranges=fingerprint.null_ranges,
        surrogate_groups=dict(Counter(model.group for model in models if model.role == "surrogate")),
        surrogate_accuracy=_accuracies(models, "surrogate"),
        null_accuracy=_accuracies(models, "null"),
        source_accuracy=None if backing is None else backing.controls.source_accuracy,
    )


def _accuracies(models: Sequence[HeldOut], role: str) -> Spread | None:
    known = [model.accuracy for model in models if model.role == role]
    return spread_of(known) if known else None


def _versions(runtime: str | None) -> dict[str, str]:
    versions = {"fpverify": __version__, "numpy": np.__version__, "python": platform.python_version()}
    return versions if runtime is None else {**versions, "onnxruntime": runtime}
