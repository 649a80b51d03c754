"""The draw of the keys that are shown: by a random number of the owner, and one of the auditor.

Each side first shows a digest of its number, so that neither can choose it when it knows the other. The digest also
covers what is drawn from: the commitment, the suspect and how many keys are shown. An owner who could still choose any
of these would choose the keys: he needs about 88 tries to find 20 keys of which an innocent suspect keeps 13, if it
keeps 40 of all 100.
"""

import hashlib
import os
from dataclasses import asdict, dataclass

from fpverify.documents import load, strict_json
from fpverify.errors import CommitmentError
from fpverify.fingerprint import canonical
from fpverify.proof.commitment import require_digest
from fpverify.sequential import hashed_order

NONCE_FORMAT = "fpverify-nonce-1"
"""Names the format of a nonce's file."""

MAX_KEYS = 2**32 - 1
"""Keys that a draw can show."""


@dataclass(frozen=True)
class Nonce:
    """One side's random number, with what it is for."""

    number: str
    """64 hexadecimal digits."""
    commitment: str
    """SHA-256 of the commitment's file, as hexadecimal digits."""
    suspect: str
    """The suspect's identity, as `SuspectInfo.identity` gives it, or what both sides call it."""
    keys: int
    """How many keys are shown."""

    def __post_init__(self) -> None:
        require_digest(self.number, "nonce")
        require_digest(self.commitment, "nonce: commitment")
        _require_drawable(self.suspect, self.keys)

    @property
    def digest(self) -> str:
        """Return what a side shows before it shows its number."""
        numbers = bytes.fromhex(self.number) + bytes.fromhex(self.commitment) + self.keys.to_bytes(4, "big")
        return hashlib.sha256(b"fpverify/nonce/1\0" + numbers + self.suspect.encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return its file."""
        return canonical.dumps({"format": NONCE_FORMAT, **asdict(self)}, "nonce").encode("ascii")


@dataclass(frozen=True)
class Draw:
    """What decides which keys are shown, and in which order."""

    suspect: str
    """The suspect's identity, as `SuspectInfo.identity` gives it, or what both sides call it."""
    keys: int
    """How many keys are shown."""
    owner: str
    """The owner's random number, 64 hexadecimal digits."""
    auditor: str
    """The auditor's."""

    def __post_init__(self) -> None:
        require_digest(self.owner, "the owner's nonce")
        require_digest(self.auditor, "the auditor's nonce")
        _require_drawable(self.suspect, self.keys)


def draw_of(owner: Nonce, auditor: Nonce) -> Draw:
    """Return the draw of two random numbers.

    Raises:
        CommitmentError: if they are for different commitments, suspects or numbers of keys.
    """
    for name in ("commitment", "suspect", "keys"):
        ours, theirs = getattr(owner, name), getattr(auditor, name)
        if ours != theirs:
            raise CommitmentError(
                "both sides' random numbers are for different things", where=name, expected=str(ours), found=str(theirs)
            )
    return Draw(owner.suspect, owner.keys, owner.number, auditor.number)


def order_of(draw: Draw, commitment: str, total: int) -> list[int]:
    """Return the numbers of all keys, in the order in which they are shown.

    Args:
        draw: both random numbers, and the suspect.
        commitment: SHA-256 of the commitment's file, as hexadecimal digits.
        total: how many keys were committed.
    """
    require_digest(commitment, "commitment")
    numbers = bytes.fromhex(commitment) + bytes.fromhex(draw.owner) + bytes.fromhex(draw.auditor)
    drawn_from = numbers + draw.keys.to_bytes(4, "big") + draw.suspect.encode()
    seed = hashlib.sha256(b"fpverify/draw/1\0" + drawn_from).digest()
    return hashed_order(b"fpverify/order/1\0" + seed, total)


def parse_nonce(data: bytes) -> Nonce:
    """Read the file of a random number.

    Raises:
        CommitmentError: if these are not exactly the bytes of one.
    """
    document = strict_json(data, "nonce", CommitmentError)
    fields = set(document) if isinstance(document, dict) else set()
    if fields != {"format", *Nonce.__dataclass_fields__} or document["format"] != NONCE_FORMAT:
        raise CommitmentError("not a nonce", expected=f"what fpverify nonce writes, of format {NONCE_FORMAT}")
    found = Nonce(**{name: value for name, value in document.items() if name != "format"})
    if found.to_bytes() != data:
        raise CommitmentError("not a nonce in canonical form: the same content has other bytes")
    return found


def load_nonce(path: str | os.PathLike[str]) -> Nonce:
    """Return the random number of a file that `fpverify nonce` wrote.

    Raises:
        CommitmentError: if it cannot be read, or is none.
    """
    return load(path, "nonce", parse_nonce, CommitmentError)


def _require_drawable(suspect: str, keys: int) -> None:
    if type(keys) is not int or not 1 <= keys <= MAX_KEYS:
        raise CommitmentError(where="number of keys", expected="an integer of at least 1", found=f"{keys!r:.40}")
    try:
        if not isinstance(suspect, str) or not suspect:
            raise ValueError
        suspect.encode()
    except ValueError as error:
        raise CommitmentError(where="the suspect's name", expected="a text in UTF-8") from error
