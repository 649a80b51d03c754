"""A commitment: a public file that fixes a fingerprint and reveals no key (`formats/commitment-1.md`).

An owner publishes it, with a date that others confirm, before a suspect appears. Later each key can be shown with a
salt that proves that it was committed then; keys that are not shown stay secret.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fpverify.documents import load, strict_json
from fpverify.errors import CommitmentError, PolicyError
from fpverify.fingerprint import Calibration, Controls, Fingerprint, canonical
from fpverify.fingerprint.encoding import describe
from fpverify.result import Policy
from fpverify.text import is_digest

FORMAT = "fpverify-commitment-1"
"""Names the format."""

SECRET_BYTES = 32
"""Of the owner's secret, from which all salts are made."""

FIELDS = {"format", "fingerprint", "source", "details", "controls", "policy", "keys"}
"""What a file holds, no more and no less."""


@dataclass(frozen=True)
class Commitment:
    """What an owner committed to."""

    fingerprint: str
    """SHA-256 of the fingerprint's file, as hexadecimal digits, like all that follow."""
    source: str
    """SHA-256 of the source model's file."""
    details: str
    """Digest of everything that the file says but keys, answers and images: `details_digest`."""
    controls: str
    """Digest of the control images: `controls_digest`."""
    policy: Policy
    """By which suspects are judged: the level is chosen before there is one."""
    keys: tuple[str, ...]
    """Digest of each key with its label and the held-out models' answers to it: `key_digest`."""

    def to_bytes(self) -> bytes:
        """Return the file: canonical JSON."""
        document = {**asdict(self), "format": FORMAT}
        return canonical.dumps(document, "commitment").encode("ascii")

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the file, its identity: what a timestamp and a disclosure name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def commit(fingerprint: Fingerprint, secret: bytes, policy: Policy | None = None) -> Commitment:
    """Commit to a fingerprint.

    Args:
        fingerprint: of format 2 or later.
        secret: 32 random bytes, which the owner keeps.
        policy: by which suspects are to be judged; `Policy()` if not given.

    Returns:
        What is published.

    Raises:
        CommitmentError: if it is a part of another, or holds no answers of held-out models, by which a part of it could
            be calibrated.
    """
    backing = backing_of(fingerprint)
    if "disclosure" in fingerprint.method:
        raise CommitmentError("the fingerprint is a part of another one", hint="commit to the whole")
    return Commitment(
        fingerprint=fingerprint.sha256,
        source=fingerprint.source.sha256,
        details=details_digest(details_of(fingerprint, fingerprint.calibration), salt(secret, "details")),
        controls=controls_digest(backing.controls, salt(secret, "controls")),
        policy=policy or Policy(),
        keys=tuple(key_digest(fingerprint, row, row, salt(secret, f"key {row}")) for row in range(len(fingerprint))),
    )


def backing_of(fingerprint: Fingerprint) -> Any:
    """Return the answers of the held-out models and the control images.

    Raises:
        CommitmentError: if the fingerprint holds none.
    """
    if fingerprint.backing is None:
        raise CommitmentError(
            "a fingerprint of format 1 holds no answers of held-out models, and a part of its keys has no calibration",
            hint="build it again",
        )
    return fingerprint.backing


def salt(secret: bytes, what: str) -> bytes:
    """Return the salt of one digest; it says nothing of the secret or of other salts.

    Args:
        secret: the owner's.
        what: `details`, `controls`, or `key` and its number in the fingerprint.
    """
    return hmac.digest(secret, b"fpverify/salt/1\0" + what.encode("ascii"), "sha256")


def key_digest(fingerprint: Fingerprint, row: int, number: int, salt: bytes) -> str:
    """Return the digest of one key with its label and what each held-out model answers to it.

    Args:
        fingerprint: that holds the key.
        row: where it lies there.
        number: where it lay in the fingerprint that was committed.
        salt: 32 bytes.
    """
    answers = backing_of(fingerprint).answers[:, row]
    content = [
        b"fpverify/key/1\0",
        salt,
        number.to_bytes(4, "big"),
        int(fingerprint.labels[row]).to_bytes(4, "big"),
        len(answers).to_bytes(4, "big"),
        answers.astype(">i2").tobytes(),
        fingerprint.inputs[row].astype("<f4").tobytes(),
    ]
    return hashlib.sha256(b"".join(content)).hexdigest()


def controls_digest(controls: Controls, salt: bytes) -> str:
    """Return the digest of control images with their labels."""
    content = [
        b"fpverify/controls/1\0",
        salt,
        len(controls.labels).to_bytes(4, "big"),
        np.asarray(controls.labels).astype(">u4").tobytes(),
        controls.inputs.astype("<f4").tobytes(),
    ]
    return hashlib.sha256(b"".join(content)).hexdigest()


def details_of(fingerprint: Fingerprint, calibration: Calibration) -> dict[str, Any]:
    """Return everything that a fingerprint's file says but its keys, its answers and its images.

    Args:
        fingerprint: the whole, or a part.
        calibration: of the whole.
    """
    details = describe(fingerprint)
    method = {name: value for name, value in details["method"].items() if name != "disclosure"}
    del details["format_version"]  # a part may hold 8-bit images alone
    return {**details, "method": method, "calibration": asdict(calibration)}


def details_digest(details: Mapping[str, Any], salt: bytes) -> str:
    """Return the digest of `details_of`."""
    text = canonical.dumps(details, "details").encode("ascii")
    return hashlib.sha256(b"fpverify/details/1\0" + salt + text).hexdigest()


def new_secret() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(SECRET_BYTES)


def parse(data: bytes) -> Commitment:
    """Read a commitment.

    Args:
        data: a whole file.

    Raises:
        CommitmentError: if these are not exactly the bytes that a commitment has.
    """
    document = strict_json(data, "commitment", CommitmentError)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise CommitmentError(where="format", expected=repr(FORMAT), found=f"{found!r:.100}")
    if set(document) != FIELDS:
        raise CommitmentError(
            f"must hold exactly {', '.join(sorted(FIELDS))}", found=f"{', '.join(sorted(document))}"[:200]
        )
    for name in ("fingerprint", "source", "details", "controls"):
        require_digest(document[name], name)
    keys = document["keys"]
    if not isinstance(keys, list) or not keys:
        raise CommitmentError(where="keys", expected="a list of digests", found=f"{keys!r:.100}")
    for number, key in enumerate(keys):
        require_digest(key, f"key {number}")
    policy = document["policy"]
    if not isinstance(policy, dict) or set(policy) != set(asdict(Policy())):
        raise CommitmentError(where="policy", expected=", ".join(asdict(Policy())), found=f"{policy!r:.200}")
    try:
        judged_by = Policy(**policy)
    except PolicyError as error:
        raise CommitmentError(str(error)) from error
    plain = {name: document[name] for name in ("fingerprint", "source", "details", "controls")}
    found = Commitment(**plain, policy=judged_by, keys=tuple(keys))
    if found.to_bytes() != data:
        raise CommitmentError("not in canonical form: the same content has other bytes than its format prescribes")
    return found


def require_digest(value: Any, where: str) -> None:
    """Check that a value is 64 lower-case hexadecimal digits.

    Raises:
        CommitmentError: if it is not.
    """
    if not is_digest(value):
        raise CommitmentError(where=where, expected="64 lower-case hexadecimal digits", found=f"{value!r:.100}")


def load_commitment(path: str | os.PathLike[str]) -> Commitment:
    """Read a commitment's file.

    Raises:
        CommitmentError: if it cannot be read, or is none.
    """
    return load(path, "commitment", parse, CommitmentError)
