"""Options for what an auditor holds against a fingerprint: commitment, signature, timestamp and trust."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpverify.commands.shared import TSA_ROOTS
from fpverify.errors import PolicyError, SignatureError, TimestampError

if TYPE_CHECKING:
    from fpverify.proof.examination import Proof

_OPTIONS = (
    click.option(
        "--commitment",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What the owner published: the fingerprint must be what it commits to.",
    ),
    click.option(
        "--nonce",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Your random number, by which the keys were drawn (fpverify nonce).",
    ),
    click.option("--promised", metavar="DIGEST", help="What the owner showed of his number before he knew yours."),
    click.option(
        "--signature",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The envelope in which the owner signed the commitment, or without one the fingerprint (fpverify sign).",
    ),
    click.option(
        "--trust",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="KEY.pub|POLICY.toml",
        help="Whose signature counts; or a policy that says what a verdict must have. May be repeated.",
    ),
    click.option(
        "--timestamp",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="An authority's reply (RFC 3161) on the commitment, or without one on the fingerprint.",
    ),
    TSA_ROOTS,
    click.option(
        "--released",
        type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"]),
        metavar="DATE",
        help="When the suspect was released, as you know it: 2026-11-27, from 0:00 UTC, or with a time and its zone.",
    ),
)


def proof_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def files_of(given: dict[str, Any]) -> list[Path]:
    """Return the files that the options name."""
    one = [given[name] for name in ("commitment", "nonce", "signature", "timestamp") if given[name] is not None]
    return [*one, *given["trust"], *given["tsa_roots"]]


def require_sense(given: dict[str, Any]) -> None:
    """Refuse options that say nothing without another one.

    Raises:
        PolicyError: if there are any.
    """
    if given["commitment"] is None and (given["nonce"] or given["promised"]):
        raise PolicyError("they say nothing without --commitment", culprit="--nonce, --promised")
    if given["promised"] and not given["nonce"]:
        raise PolicyError("it says nothing without --nonce", culprit="--promised")
    if given["tsa_roots"] and not given["timestamp"]:
        raise PolicyError("they say nothing without --timestamp", culprit="--tsa-roots")


def proof_of(given: dict[str, Any]) -> "Proof | None":
    """Read everything that the auditor holds against the fingerprint; None for nothing."""
    if not any(given[name] for name in ("commitment", "signature", "timestamp", "trust", "tsa_roots", "released")):
        return None
    from fpverify.documents import read_file
    from fpverify.proof.commitment import load_commitment
    from fpverify.proof.draw import load_nonce
    from fpverify.proof.examination import Proof
    from fpverify.proof.trust import load_trust

    def read(name: str, what: str, error: type[SignatureError] | type[TimestampError]) -> bytes | None:
        return None if given[name] is None else read_file(given[name], what, error)

    released: datetime | None = given["released"]
    return Proof(
        commitment=None if given["commitment"] is None else load_commitment(given["commitment"]),
        nonce=None if given["nonce"] is None else load_nonce(given["nonce"]),
        promised=given["promised"],
        signature=read("signature", "envelope", SignatureError),
        timestamp=read("timestamp", "timestamp", TimestampError),
        released=released,
        trust=load_trust(given["trust"], given["tsa_roots"]),
    )
