"""A disclosure: a part of a fingerprint's keys, with what proves that they were committed, drawn by both sides.

The part is a fingerprint like any other; its `method.disclosure` holds the salts, and how the keys were drawn.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from fpverify.documents import read_file
from fpverify.errors import CommitmentError, FingerprintError
from fpverify.fingerprint import Backing, Calibration, Fingerprint
from fpverify.fingerprint.model import kept_by_role
from fpverify.proof.commitment import (
    Commitment,
    backing_of,
    controls_digest,
    details_digest,
    details_of,
    key_digest,
    require_digest,
    salt,
)
from fpverify.proof.draw import Draw, order_of
from fpverify.text import is_digest


def disclose(fingerprint: Fingerprint, commitment: Commitment, secret: bytes, shown: Draw | int) -> Fingerprint:
    """Return a part of a fingerprint that proves that it was committed.

    Args:
        fingerprint: the whole.
        commitment: to it.
        secret: the owner's, with which the commitment was made.
        shown: the draw of the keys that are shown; or how many of the first are, which nobody drew.

    Returns:
        A fingerprint of these keys, in the order of the draw. Its calibration says what the held-out models keep of
        them; its threshold is that of the whole.

    Raises:
        CommitmentError: if the commitment is to another fingerprint, or was made with another secret.
    """
    require_same("commits to another fingerprint", fingerprint.sha256, commitment.fingerprint)
    total, draw = len(fingerprint), None if isinstance(shown, int) else shown
    count = shown if isinstance(shown, int) else shown.keys
    if not 1 <= count <= total:
        raise CommitmentError(f"{count} keys cannot be shown of {total}")
    rows = list(range(total) if draw is None else order_of(draw, commitment.sha256, total))[:count]
    part = _part(fingerprint, rows)
    method = {
        **fingerprint.method,
        "disclosure": {
            "commitment": commitment.sha256,
            "rows": rows,
            "salts": {
                "keys": [salt(secret, f"key {row}").hex() for row in rows],
                "details": salt(secret, "details").hex(),
                "controls": salt(secret, "controls").hex(),
            },
            "calibration": asdict(fingerprint.calibration),
            "draw": None if draw is None else asdict(draw),
        },
    }
    found = replace(part, method=method)
    check(found, commitment)
    return found


def _part(fingerprint: Fingerprint, rows: Sequence[int]) -> Fingerprint:
    backing, index = backing_of(fingerprint), np.array(rows)
    labels = fingerprint.labels[index]
    shown = Backing(backing.models, backing.answers[:, index], backing.controls)
    kept = kept_by_role(shown, labels, np.ones(len(fingerprint.classes), bool))
    return replace(
        fingerprint,
        inputs=fingerprint.inputs[index],
        labels=labels,
        calibration=replace(
            fingerprint.calibration, surrogates=kept["surrogate"], references=kept["reference"], nulls=kept["null"]
        ),
        backing=shown,
    )


@dataclass(frozen=True)
class Checked:
    """What a commitment proves of a fingerprint."""

    commitment: str
    """SHA-256 of the commitment's file, as hexadecimal digits."""
    keys: int
    """How many keys were committed."""
    disclosed: int
    """How many of them the fingerprint shows."""
    draw: Draw | None
    """How they were drawn; None if all are shown, or the owner chose them."""


def check(fingerprint: Fingerprint, commitment: Commitment) -> Checked:
    """Check that a fingerprint, or a part of it, is what was committed; nothing is asked.

    Args:
        fingerprint: the whole, or what `disclose` returned.
        commitment: the owner's, of which the auditor knows from elsewhere.

    Returns:
        What is proved.

    Raises:
        CommitmentError: at the first thing that is not as it was committed.
    """
    if "disclosure" not in fingerprint.method:
        require_same("the fingerprint is not the one that was committed", commitment.fingerprint, fingerprint.sha256)
        require_same("the source is not the one that was committed", commitment.source, fingerprint.source.sha256)
        require_same("another number of keys was committed", str(len(commitment.keys)), str(len(fingerprint)))
        return Checked(commitment.sha256, len(fingerprint), len(fingerprint), None)
    shown = _read(fingerprint.method["disclosure"], len(fingerprint))
    require_same("the keys belong to another commitment", commitment.sha256, shown.commitment)
    require_same("the source is not the one that was committed", commitment.source, fingerprint.source.sha256)
    total = len(commitment.keys)
    if len(set(shown.rows)) < len(shown.rows) or not all(0 <= row < total for row in shown.rows):
        raise CommitmentError(where="disclosure: rows", expected=f"different numbers from 0 to {total - 1}")
    _require_committed(fingerprint, shown, commitment)
    if shown.draw is not None:
        require_same("another number of keys is shown than was drawn", str(shown.draw.keys), str(len(shown.rows)))
        if order_of(shown.draw, commitment.sha256, total)[: len(shown.rows)] != shown.rows:
            raise CommitmentError("the keys are not those that both random numbers draw")
    return Checked(commitment.sha256, total, len(shown.rows), shown.draw)


def require_same(problem: str, expected: str, found: str) -> None:
    """Check that two texts are one.

    Raises:
        CommitmentError: with the problem, if they are not.
    """
    if expected != found:
        raise CommitmentError(problem, expected=expected, found=f"{found:.100}")


def _require_committed(fingerprint: Fingerprint, shown: "_Shown", commitment: Commitment) -> None:
    if details_digest(details_of(fingerprint, shown.calibration), shown.details) != commitment.details:
        raise CommitmentError("classes, contract, models, calibration or settings are not as they were committed")
    if controls_digest(backing_of(fingerprint).controls, shown.controls) != commitment.controls:
        raise CommitmentError("the control images are not those that were committed")
    for place, (row, one) in enumerate(zip(shown.rows, shown.keys, strict=True)):
        if key_digest(fingerprint, place, row, one) != commitment.keys[row]:
            raise CommitmentError(f"key {row} is not as it was committed: its input, its label or an answer differs")
    ours, whole = fingerprint.calibration, shown.calibration
    if (ours.threshold, ours.rule) != (whole.threshold, whole.rule):
        raise CommitmentError("the threshold is not the one that was committed")


@dataclass(frozen=True)
class _Shown:
    """The content of `method.disclosure`."""

    commitment: str
    rows: list[int]
    keys: list[bytes]
    details: bytes
    controls: bytes
    calibration: Calibration
    draw: Draw | None


def _read(value: Any, keys: int) -> _Shown:
    _require_fields(value, ("commitment", "rows", "salts", "calibration", "draw"), "disclosure")
    require_digest(value["commitment"], "disclosure: commitment")
    rows, salts, draw = value["rows"], value["salts"], value["draw"]
    if not isinstance(rows, list) or len(rows) != keys or not all(type(row) is int for row in rows):
        raise CommitmentError("disclosure: rows", expected=f"{keys} numbers, one for each key")
    _require_fields(salts, ("keys", "details", "controls"), "disclosure: salts")
    listed = salts["keys"]
    if not isinstance(listed, list) or len(listed) != keys:
        raise CommitmentError("disclosure: salts", expected=f"{keys}, one for each key")
    for one in (*listed, salts["details"], salts["controls"]):
        require_digest(one, "disclosure: salt")
    _require_fields(value["calibration"], tuple(field.name for field in fields(Calibration)), "disclosure: calibration")
    drawn = None
    if draw is not None:
        _require_fields(draw, tuple(field.name for field in fields(Draw)), "disclosure: draw")
        drawn = Draw(**draw)
    try:
        calibration = Calibration(**value["calibration"])
    except FingerprintError as error:
        raise CommitmentError(f"disclosure: {error}") from error
    read = [bytes.fromhex(one) for one in listed]
    return _Shown(
        value["commitment"],
        rows,
        read,
        bytes.fromhex(salts["details"]),
        bytes.fromhex(salts["controls"]),
        calibration,
        drawn,
    )


def _require_fields(value: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise CommitmentError(where=where, expected=f"exactly {', '.join(names)}", found=f"{value!r:.100}")


def load_secret(path: str | os.PathLike[str]) -> bytes:
    """Return the secret of a file that `fpverify commit` wrote.

    Raises:
        CommitmentError: if it cannot be read, or is none.
    """
    text = read_file(path, "secret", CommitmentError).decode("ascii", "replace").strip()
    if not is_digest(text):  # never shown, whatever it is
        raise CommitmentError("not a secret", culprit=os.fspath(path), expected="64 lower-case hexadecimal digits")
    return bytes.fromhex(text)
