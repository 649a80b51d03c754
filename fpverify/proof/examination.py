"""Everything that an auditor holds against a fingerprint, checked before the suspect is asked anything."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fpverify.errors import CommitmentError, PolicyError, SignatureError, TimestampError
from fpverify.fingerprint import Fingerprint
from fpverify.fingerprint.encoding import serialise
from fpverify.proof.attestation import read_statement
from fpverify.proof.commitment import Commitment, require_digest
from fpverify.proof.disclosure import check, require_same
from fpverify.proof.draw import Draw, Nonce
from fpverify.proof.envelope import opened
from fpverify.proof.timestamp import time_of
from fpverify.proof.trust import Trust
from fpverify.result import ProofReport, Provenance, Vetting


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Proof:
    """What an auditor holds against a fingerprint."""

    commitment: Commitment | None = None
    """The owner's, of which the auditor knows from elsewhere, such as a public place with a date; None without one."""
    nonce: Nonce | None = None
    """The auditor's own random number; None where no keys were drawn."""
    promised: str | None = None
    """What the owner showed of his before he knew it: its `Nonce.digest`."""
    signature: bytes | None = None
    """The envelope in which the owner signed the commitment, or without one the fingerprint."""
    timestamp: bytes | None = None
    """An authority's reply on the commitment, or without one on the fingerprint."""
    released: datetime | None = None
    """When the suspect was released, as the auditor states it."""
    trust: Trust = field(default_factory=Trust)
    """Whom and what the auditor trusts."""

    def __post_init__(self) -> None:
        if self.promised is not None:
            require_digest(self.promised, "what the owner promised")
        if self.released is not None:
            if not isinstance(self.released, datetime):
                raise PolicyError(where="released", expected="a datetime", found=type(self.released).__name__)
            try:
                utc = self.released.replace(tzinfo=self.released.tzinfo or UTC).astimezone(UTC)
            except OverflowError as error:
                raise PolicyError(where="released", expected="a date", found=str(self.released)) from error
            if utc > now():
                raise PolicyError(where="released", expected="a date that is past", found=f"{utc:%Y-%m-%d}")
            object.__setattr__(self, "released", utc)


@dataclass(frozen=True)
class Examined:
    """What is proved of a fingerprint, and what is not."""

    proof: ProofReport | None
    """What the commitment proves; None without one."""
    provenance: Provenance | None
    """Who signed, and when it was stamped; None without signature and timestamp."""
    doubts: tuple[str, ...]
    """Warnings."""


def examine(fingerprint: Fingerprint, proof: Proof, suspect: str | None, vetting: Vetting | None = None) -> Examined:
    """Check a fingerprint against what an auditor holds; nothing is asked.

    Args:
        fingerprint: the whole, or a part of it.
        proof: what the auditor holds, and demands.
        suspect: its `SuspectInfo.identity`; None if it is no model's file.
        vetting: what independent models say of the fingerprint.

    Returns:
        What is proved.

    Raises:
        CommitmentError: at the first thing that is not as it was committed, promised or drawn.
        SignatureError: if no trusted key signed it, or something else was signed.
        TimestampError: if the timestamp is of something else, or of an authority that is not trusted.
        TrustError: if the trust policy demands what was not given.
    """
    trust, doubts, committed = proof.trust, [], None
    trust.demand("commitment", proof.commitment is not None, "none was given", "give --commitment")
    counted, panel = 0 if vetting is None else len(vetting.counted), f"{trust.panel} models that count"
    found = "none was given" if vetting is None else f"expected {panel}, found {counted}"
    trust.demand("vetting", counted >= trust.panel, found, f"give --panel or --vetting with {panel}")
    if proof.commitment is not None:
        committed, doubt = _committed(fingerprint, proof, proof.commitment, suspect)
        doubts.append(doubt)
        trust.demand("commitment", committed.fair, doubt, "let both sides draw which keys are shown")
    trust.demand("signature", proof.signature is not None, "none was given", "give --signature")
    signer = None if proof.signature is None else _signer(fingerprint, proof, proof.signature)
    trust.demand("timestamp", proof.timestamp is not None, "none was given", "give --timestamp")
    time = None if proof.timestamp is None else _time(fingerprint, proof, proof.timestamp)
    released = proof.released
    if released is not None and time is None:
        raise PolicyError("says nothing without --timestamp", culprit="--released")
    older = None if time is None or released is None else time < released
    if time is not None and older is None:
        doubts.append("nothing says that the timestamp is older than the suspect: give its release (--released)")
    if older is False:
        doubts.append("the timestamp is not older than the suspect, so the keys may have been made against it")
    trust.demand("timestamp", bool(older), doubts[-1] if doubts else "", "it must be older than the suspect's release")
    provenance = None
    if signer is not None or time is not None:
        provenance = Provenance(
            of="fingerprint" if proof.commitment is None else "commitment",
            signer=signer,
            stamped_at=None if time is None else time.isoformat(timespec="seconds"),
            released_at=None if released is None else released.isoformat(timespec="seconds"),
            older=older,
        )
    return Examined(committed, provenance, tuple(filter(None, doubts)))


def _committed(
    fingerprint: Fingerprint, proof: Proof, commitment: Commitment, suspect: str | None
) -> tuple[ProofReport, str]:
    found = check(fingerprint, commitment)
    draw, doubt = found.draw, ""
    if draw is None:
        if proof.nonce is not None:
            raise CommitmentError(
                "no keys were drawn: no random number decided which are shown", hint="leave --nonce out"
            )
        if found.disclosed < found.keys:
            doubt = f"the owner chose which {found.disclosed} of {found.keys} keys to show"
    else:
        doubt = _doubt(draw, proof, commitment.sha256)
        if suspect is not None:
            require_same("the keys were drawn for another suspect", suspect, draw.suspect)
    report = ProofReport(
        commitment=found.commitment,
        committed=found.keys,
        shown=found.disclosed,
        drawn_for=None if draw is None else draw.suspect,
        fair=not doubt,
    )
    return report, doubt


def _doubt(draw: Draw, proof: Proof, commitment: str) -> str:
    """Return why a draw may not have been fair; nothing if it was."""
    ours = proof.nonce
    if ours is None:
        return "nothing shows that the keys were drawn by both sides: give your own random number (--nonce)"
    if ours.number != draw.auditor:
        raise CommitmentError("the keys were not drawn with your random number")
    require_same("your random number is for another commitment", ours.commitment, commitment)
    require_same("the keys were drawn for another suspect than your random number", ours.suspect, draw.suspect)
    require_same("another number of keys is shown than you agreed to", str(ours.keys), str(draw.keys))
    if proof.promised is None:
        return "the owner may have chosen his random number when he knew yours: give what he showed before (--promised)"
    theirs = replace(ours, number=draw.owner).digest
    require_same("the owner's random number is not the one that he promised", proof.promised, theirs)
    return ""


def _signer(fingerprint: Fingerprint, proof: Proof, signature: bytes) -> str:
    """Return the key that signed the commitment, or without one the fingerprint."""
    if not proof.trust.keys:
        raise SignatureError("nothing says whose signature counts", hint="give --trust KEY.pub")
    try:
        statement = read_statement(opened(signature, proof.trust.keys))
    except SignatureError as error:
        raise error.about("signature") from error
    kind, sha256 = "fingerprint", fingerprint.sha256
    if proof.commitment is not None:
        kind, sha256 = "commitment", proof.commitment.sha256
    if (statement.kind, statement.sha256) != (kind, sha256):
        raise SignatureError(
            "something else was signed",
            culprit="signature",
            expected=f"the {kind} with SHA-256 {sha256}",
            found=f"the {statement.kind} with {statement.sha256!r:.70}",
        )
    return statement.signer


def _time(fingerprint: Fingerprint, proof: Proof, timestamp: bytes) -> datetime:
    """Return when an authority saw the commitment, or without one the fingerprint."""
    if not proof.trust.roots:
        raise TimestampError("nothing says which authorities are trusted", hint="give --tsa-roots PEM")
    data = serialise(fingerprint) if proof.commitment is None else proof.commitment.to_bytes()
    try:
        return time_of(timestamp, data, proof.trust.roots)
    except TimestampError as error:
        raise error.about("timestamp") from error
