"""Vets a fingerprint: an auditor's own independent models answer its keys.

A dishonest owner can make keys that most models answer alike, and write any calibration beside them. Models that the
owner neither made nor knows show such keys. They cannot show keys that were made against one certain model: a
commitment that is older than that model can (`proof`).
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.documents import load
from fpverify.errors import FingerprintError, PanelError, SuspectError
from fpverify.evidence import Evidence, ask_suspect
from fpverify.fingerprint import Fingerprint, canonical, load_fingerprint
from fpverify.result import Judgement, PanelMember, Policy, SuspectInfo, Verdict, Vetting
from fpverify.sandbox.limits import Limits
from fpverify.statistics import binomial_tail, false_positive_bound, rank_p_value
from fpverify.suspects.callables import name_of
from fpverify.suspects.opening import open_suspect
from fpverify.suspects.options import check_contract, load_contract
from fpverify.suspects.probe import load_probe
from fpverify.text import is_digest, one_line
from fpverify.verdict import cut_of, doubted, retained

FORMAT = "fpverify-vetting-1"
"""Names the document of a vetting."""

MAX_BYTES = 2**26
"""Largest document: a model takes a digit for each key."""

SMALLEST = 3
"""Models that a panel must have at least: fewer stop no crude fingerprint."""

ERROR, HONEST = 0.01, 0.001
"""A fingerprint is refused where so many of the panel reach its cut that this has at most the first probability at the
second rate. Of 22 honest fingerprints of development seeds, 1 in 1,000 models of a panel reached the cut."""


GUESSING = 0.01
"""Level at which a panel's model must reject that it guesses the control images."""


def vet(
    fingerprint: Fingerprint | str | os.PathLike[str],
    panel: str | os.PathLike[str] | Iterable[Any],
    *,
    source: Any = None,
    probe: str | os.PathLike[str] | None = None,
    policy: Policy | None = None,
    device: str = "cpu",
    limits: Limits | None = None,
) -> Vetting:
    """Ask independent models a fingerprint's keys, and say whether it is refused.

    Args:
        fingerprint: one that is loaded, or the path of its file.
        panel: a folder of ONNX files, each with its contract in a file of the same name that ends in `.toml` where its
            own file does not say it; or several of folders, files and other suspects, as for `verify`. They must have
            been made without source and suspect.
        source: the fingerprint's source, as for `verify`, which must keep every key; None where it is not at hand.
        probe: a file of ordinary labelled images of the auditor's own, as for `verify`: by these each model shows that
            it works, and its contract is chosen. Without it the fingerprint's control images show it, which are the
            owner's; a fingerprint of format 1 has none.
        policy: by which suspects will be judged; `Policy()` if not given.
        device: `cpu` or `cuda`, on which files run.
        limits: what each model may take; `Limits()` if not given.

    Returns:
        What they answer, and whether the fingerprint is refused. A model that cannot be asked, does not know all of
        the keys' classes, answers ordinary images too seldom rightly, is the source, or is there already does not
        count.

    Raises:
        FingerprintError: if the fingerprint cannot be used.
        PanelError: if fewer than three models count, or there is no such folder.
        SuspectError: if the source cannot be asked.
    """
    policy, loaded = policy or Policy(), _loaded(fingerprint)
    ordinary = None if probe is None else load_probe(probe, loaded.contract, loaded.classes)

    def asked(named: Any) -> "_Asked":
        options = _contract_beside(named)
        with open_suspect(named, device=device, limits=limits) as opened:
            evidence = ask_suspect(opened, loaded, options, ordinary, policy)
        answers, kept = evidence.first.labels, retained(evidence.first.labels, loaded.labels).kept
        return _Asked(evidence.suspect, kept, tuple(answers.tolist()), _unfit(evidence, loaded, kept, policy))

    source_kept = None
    if source is not None:
        found = asked(source)
        if found.suspect.kind == "onnx" and found.suspect.sha256 != loaded.source.sha256:
            raise PanelError(
                "is not the fingerprint's source",
                culprit=found.suspect.name,
                expected=f"SHA-256 {loaded.source.sha256}",
                found=found.suspect.sha256,
            )
        source_kept = found.kept
    members: list[PanelMember] = []
    objects: list[Any] = []
    for named in _listed([panel] if isinstance(panel, str | os.PathLike) else panel):
        name = one_line(os.fspath(named) if isinstance(named, str | os.PathLike) else name_of(named), 200)
        if any(named is other for other in objects):
            members.append(PanelMember(name, None, None, (), "it is there already"))
            continue
        objects.append(named)
        try:
            found = asked(named)
        except SuspectError as error:
            members.append(PanelMember(name, None, None, (), error.reason))
            continue
        identity = identity_of(found.suspect)
        reason = found.reason or _not_independent(identity, loaded, members)
        member = PanelMember(found.suspect.name, identity, found.kept, found.answers, "")
        members.append(replace(member, kept=None, answers=(), left_out=reason) if reason else member)
    return judge_panel(members, loaded, policy, source_kept, tested=ordinary is not None or loaded.backing is not None)


def judge_panel(
    members: Sequence[PanelMember],
    fingerprint: Fingerprint,
    policy: Policy,
    source_kept: int | None = None,
    suspect: "tuple[int, NDArray[np.bool_]] | None" = None,
    *,
    tested: bool = False,
) -> Vetting:
    """Judge a fingerprint by what a panel answered.

    It is refused if more of the panel reaches the cut than honest fingerprints let through: one of up to 10 models, two
    of up to 148, and so on; or if the source loses a key.

    Args:
        members: the panel.
        fingerprint: the keys and their calibration.
        policy: by which suspects are judged.
        source_kept: keys that the source keeps, if it was asked.
        suspect: how many keys a suspect keeps of those whose classes it knows, and `(classes,)` which these are. The
            panel is then judged on the same keys; as for null models, an answer outside these classes counts as kept,
            since nobody knows what the model would answer among them.
        tested: whether the models showed that they work.

    Returns:
        The judgement, with the suspect's p-value by rank among the panel where one is given.

    Raises:
        PanelError: if too few models count, or they were asked another number of keys.
    """
    counted = [member for member in members if member.kept is not None]
    if len(counted) < SMALLEST:
        reasons = "; ".join(f"{Path(one.name).name}: {one.left_out}" for one in members if one.left_out)
        raise PanelError(
            culprit="panel",
            expected=f"at least {SMALLEST} models that count",
            found=f"{len(counted)} of {len(members)}",
            hint=one_line(reasons, 400),
        )
    for member in counted:
        if len(member.answers) != len(fingerprint):
            found = f"{len(member.answers)}"
            raise PanelError(culprit=member.name, expected=f"answers to {len(fingerprint)} keys", found=found)
    known = np.ones(len(fingerprint.classes), bool) if suspect is None else suspect[1]
    counts = known[fingerprint.labels]
    answers, keys = np.array([member.answers for member in counted])[:, counts], int(counts.sum())
    inside = (answers >= 0) & (answers < len(known))
    elsewhere = inside & ~known[np.where(inside, answers, 0)]
    kept = ((answers == fingerprint.labels[counts]) | elsewhere).sum(axis=1).tolist()
    calibration = fingerprint.calibrated_for(known) or fingerprint.calibration
    cut = cut_of(keys, calibration, policy.significance)
    reaching = 0 if cut is None else sum(one >= cut for one in kept)
    refusals = []
    if reaching and binomial_tail(reaching, len(counted), HONEST) <= ERROR:
        refusals.append(f"{reaching} of {len(counted)} models of the panel would be called derived")
    if source_kept is not None and source_kept < len(fingerprint):
        refusals.append(f"its source keeps {source_kept} of {len(fingerprint)} keys only")
    return Vetting(
        fingerprint=fingerprint.sha256,
        queries=keys,
        members=tuple(members),
        cut=cut,
        reaching=reaching,
        source_kept=source_kept,
        bound=false_positive_bound(reaching, len(counted), policy.confidence),
        confidence=policy.confidence,
        refusals=tuple(refusals),
        tested=tested,
        p_value=None if suspect is None else rank_p_value(suspect[0] / keys, [one / keys for one in kept]),
    )


@dataclass(frozen=True)
class _Asked:
    """What a model answered."""

    suspect: SuspectInfo
    kept: int
    answers: tuple[int, ...]
    reason: str


def _unfit(evidence: Evidence, fingerprint: Fingerprint, kept: int, policy: Policy) -> str:
    """Return why a model's answers say nothing of the keys; empty if they do.

    Whoever reaches the cut counts, whatever it answers to control images: these are the owner's, too. So is what the
    source is said to answer to them: a model that guesses does not work, however little that asks.
    """
    unknown, controls = int(np.count_nonzero(~evidence.known[fingerprint.labels])), evidence.controls
    if unknown:
        return f"does not know the classes of {unknown} keys"
    if len(set(evidence.first.labels.tolist())) == 1:
        return "does not work: it gives every key the same label"
    cut = cut_of(len(fingerprint), fingerprint.calibration, policy.significance)
    if cut is not None and kept >= cut:
        return ""
    if controls is not None and not (controls.works and _beats_chance(controls.right, fingerprint)):
        return (
            f"does not work: {controls.right} of {controls.inputs} ordinary images right, {controls.needed} are needed"
        )
    return ""


def _beats_chance(right: int, fingerprint: Fingerprint) -> bool:
    """Say whether so many right answers to control images reject guessing."""
    labels = [] if fingerprint.backing is None else fingerprint.backing.controls.labels.tolist()
    chance = max(labels.count(label) for label in labels) / len(labels)
    return chance < 1 and binomial_tail(right, len(labels), chance) <= GUESSING


def identity_of(suspect: SuspectInfo) -> str | None:
    """Return what tells a model of a panel from others: of a file with all that it reads, or of recorded answers."""
    return suspect.identity or suspect.sha256


def _loaded(fingerprint: Fingerprint | str | os.PathLike[str]) -> Fingerprint:
    return fingerprint if isinstance(fingerprint, Fingerprint) else load_fingerprint(fingerprint)


def _listed(panel: Iterable[Any]) -> Iterator[Any]:
    """Yield each model of a panel: those of a folder by name."""
    if not isinstance(panel, Iterable):
        raise PanelError(culprit="panel", expected="a folder, or a list of models", found=f"{panel!r:.80}")
    for named in panel:
        if not isinstance(named, str | os.PathLike) or Path(named).is_file():
            yield named
            continue
        files = sorted(Path(named).glob("*.onnx")) if Path(named).is_dir() else []
        if not files:
            raise PanelError(culprit=named, expected="a folder with ONNX files", found="none")
        yield from files


def _contract_beside(named: Any) -> Mapping[str, Any]:
    if not isinstance(named, str | os.PathLike):
        return {}
    beside = Path(named).with_suffix(".toml")
    return check_contract(load_contract(beside), str(beside)) if beside.is_file() else {}


def _not_independent(sha256: str | None, fingerprint: Fingerprint, others: Sequence[PanelMember]) -> str:
    if sha256 is None:
        return ""
    if sha256 == fingerprint.source.sha256:
        return "it is the fingerprint's source"
    twins = [other.name for other in others if other.sha256 == sha256]
    return f"the same file as {Path(twins[0]).name}" if twins else ""


def to_json(vetting: Vetting) -> dict[str, Any]:
    """Return a vetting as a document, which `load_vetting` reads; rates are fractions."""
    document = asdict(replace(vetting, p_value=None))
    del document["p_value"]
    return {"format": FORMAT, **document}


def load_vetting(path: str | os.PathLike[str]) -> Vetting:
    """Read a vetting that was recorded. Only who was asked, and what they answered, is used of it later.

    Args:
        path: what `fpverify vet --format json -o FILE` wrote.

    Raises:
        PanelError: if it cannot be read, or is none.
    """
    return load(path, "vetting", _parsed, PanelError, MAX_BYTES)


def _parsed(data: bytes) -> Vetting:
    try:
        document = canonical.loads(data.decode(), "vetting")
    except (UnicodeDecodeError, FingerprintError) as error:
        raise PanelError("not a vetting: no strict JSON") from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise PanelError(where="format", expected=repr(FORMAT), hint="fpverify vet --format json -o FILE writes it")
    document["p_value"] = None
    if set(document) != set(Vetting.__dataclass_fields__):
        raise PanelError("must hold exactly the fields of a vetting", found=f"{', '.join(sorted(document))}"[:300])
    members, keys, kept = document["members"], document["queries"], document["source_kept"]
    if type(keys) is not int or not 1 <= keys < MAX_BYTES or not isinstance(members, list):
        raise PanelError(where="members, queries", expected="a list and a number of keys")
    if kept is not None and (type(kept) is not int or not 0 <= kept <= keys):
        raise PanelError(where="source_kept", expected=f"0 to {keys}")
    if not isinstance(document["fingerprint"], str) or not isinstance(document["tested"], bool):
        raise PanelError(where="fingerprint, tested", expected="a digest, and true or false")
    fields = {**document, "members": tuple(_member(one, keys) for one in members), "refusals": ()}
    return Vetting(**fields)


def _member(content: Any, keys: int) -> PanelMember:
    if not isinstance(content, dict) or set(content) != set(PanelMember.__dataclass_fields__):
        raise PanelError(
            where="members", expected=", ".join(PanelMember.__dataclass_fields__), found=f"{content!r:.200}"
        )
    answers, kept, sha256 = content["answers"], content["kept"], content["sha256"]
    texts = all(isinstance(content[name], str) for name in ("name", "left_out"))
    digest = sha256 is None or is_digest(sha256)
    counts = isinstance(answers, list) and all(type(one) is int and abs(one) < 2**31 for one in answers)
    if not texts or not digest or not counts or not (kept is None or type(kept) is int):
        raise PanelError(where=f"member {content['name']!r:.100}", expected="a name, a digest, a count and answers")
    member = PanelMember(**{**content, "answers": tuple(answers)})
    fits = len(answers) == keys and 0 <= member.kept <= keys if member.kept is not None else not answers
    if not fits or (member.kept is None) == (not member.left_out):
        raise PanelError(
            where=f"member {member.name!r:.100}",
            expected=f"an answer to each of {keys} keys, or the reason why it does not count",
        )
    return member


def require_independent(vetting: Vetting, fingerprint: Fingerprint, sha256: str | None) -> None:
    """Check that a vetting is of a fingerprint, and that a suspect is none of its panel.

    Args:
        vetting: perhaps recorded.
        fingerprint: by which the suspect is judged.
        sha256: the suspect's, of `identity_of`; None where it is no file.

    Raises:
        PanelError: if it is not so.
    """
    if vetting.fingerprint != fingerprint.sha256:
        raise PanelError(
            "another fingerprint was vetted",
            culprit="vetting",
            expected=f"SHA-256 {fingerprint.sha256}",
            found=f"{vetting.fingerprint!r:.80}",
        )
    others: list[PanelMember] = []
    for member in vetting.counted:
        if reason := _not_independent(member.sha256, fingerprint, others):
            raise PanelError(f"does not count: {reason}", culprit=member.name, hint="vet the fingerprint again")
        others.append(member)
    same = [member.name for member in vetting.counted if sha256 is not None and member.sha256 == sha256]
    if same:
        raise PanelError("the suspect is one of the panel", culprit=same[0], hint="take it out of the panel")


def weighed(judgement: Judgement, vetting: Vetting, policy: Policy) -> Judgement:
    """Return a judgement in the light of a panel.

    A refused fingerprint decides nothing. Where the panel is large enough for the policy's significance, a suspect is
    called derived only if its p-value by the panel is as small, too.

    Args:
        judgement: by the fingerprint alone.
        vetting: with the suspect's p-value.
        policy: how sure to be.
    """
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return judgement
    if vetting.refusals:
        return doubted(judgement, f"But the panel refuses the fingerprint: {'; '.join(vetting.refusals)}.")
    if judgement.verdict is Verdict.DERIVED and vetting.decisive_p(policy.significance) > policy.significance:
        return doubted(
            judgement,
            f'But p of "unrelated" by the panel is {vetting.p_value:.3g}: of its {len(vetting.counted)} models, too '
            "many keep as many keys.",
        )
    return judgement
