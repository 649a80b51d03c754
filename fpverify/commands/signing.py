"""Commands for signatures and timestamps: `keygen`, `sign`, `check`, `timestamp-request`."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fpverify.commands.shared import TSA_ROOTS
from fpverify.errors import PolicyError, SignatureError, TimestampError

if TYPE_CHECKING:
    from fpverify.proof.trust import Trust

ENVIRONMENT = "FPVERIFY_PASSPHRASE"
"""Environment variable with the passphrase of a private key."""

MAX_PASSPHRASE = 1000
"""Bytes of a passphrase."""


def _passphrase(confirm: bool) -> bytes:
    text = os.environ.get(ENVIRONMENT)
    if text is None:
        try:
            text = str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
        except click.Abort as error:
            raise PolicyError("no passphrase", culprit="passphrase", hint=f"set {ENVIRONMENT}") from error
    found = os.fsencode(text)
    if len(found) > MAX_PASSPHRASE:
        raise PolicyError(culprit="passphrase", expected=f"at most {MAX_PASSPHRASE} bytes")
    return found


@click.command("keygen")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="NAME", help="For NAME.key and NAME.pub."
)
@click.option("--no-passphrase", is_flag=True, help="Leave the private key as it is: whoever finds it can sign.")
def keygen_command(output: Path, no_passphrase: bool) -> None:
    """Draw a key to sign with.

    The private part is encrypted with a passphrase, from a prompt or the environment variable FPVERIFY_PASSPHRASE.
    """
    from fpverify.documents import save
    from fpverify.proof import envelope

    if not output.name.strip(".") or not output.name.isprintable():
        raise PolicyError(culprit="-o", expected="a name, for NAME.key and NAME.pub", found=str(output))
    private, public = (output.with_name(output.name + suffix) for suffix in (".key", ".pub"))
    if os.path.lexists(public):
        raise PolicyError("there is a key already; it is not replaced", culprit=public)
    passphrase = b"" if no_passphrase else _passphrase(confirm=True)
    if not passphrase and not no_passphrase:
        raise PolicyError("an empty passphrase protects nothing", culprit="passphrase", hint="give --no-passphrase")
    secret, shown = envelope.new_key(passphrase)
    save(secret, private, "key", private=True)
    try:
        save(shown, public, "key")
    except BaseException:
        private.unlink(missing_ok=True)
        raise
    click.echo(f"private key  {private}\npublic key   {public}\nid           {envelope.load_public(public).id}")


@click.command("sign")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="NAME.key", help="Your private key.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The signed envelope.")
def sign_command(file: Path, key: Path, output: Path) -> None:
    """Sign a fingerprint, a commitment, a vetting or a verdict (verify --format json).

    The signed statement names the file's digest, and that of the suspect for a verdict, which it holds whole.
    """
    from fpverify.documents import save
    from fpverify.proof import attestation, envelope

    statement = attestation.statement_of(file)
    private = envelope.load_private(key, _passphrase(confirm=False) if envelope.is_encrypted(key) else b"")
    save(envelope.sign(statement, attestation.PAYLOAD_TYPE, private), output, "envelope", inputs=(file, key))
    click.echo(f"envelope     {output}\nsigned by    {envelope.PublicKey(private.public_key()).id}")


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="KEY.pub|POLICY.toml",
    help="Whose signature counts, and which authorities; FILE is an envelope then. May be repeated.",
)
@click.option(
    "--of",
    "subject",
    type=click.Path(path_type=Path),
    metavar="SUBJECT",
    help="The file that it must be about: of a verdict the suspect.",
)
@click.option(
    "--timestamp", type=click.Path(path_type=Path), metavar="TOKEN", help="An authority's reply (RFC 3161) on FILE."
)
@TSA_ROOTS
def check_command(
    file: Path, trust: tuple[Path, ...], subject: Path | None, timestamp: Path | None, tsa_roots: tuple[Path, ...]
) -> None:
    """Check who signed FILE, what it says, and when it was stamped; without network.

    Exit code: 0 if everything holds, 2 if anything does not.
    """
    if not trust and timestamp is None:
        raise PolicyError("give --trust, whose signature counts, or --timestamp", culprit=file)
    if subject is not None and not trust:
        raise PolicyError("it says nothing without --trust", culprit="--of")
    from fpverify.proof.trust import load_trust

    trusted = load_trust(trust, tsa_roots)
    trusted.require_only({"signature", "timestamp"}, "fpverify check", "fpverify verify checks the others")
    if trust and not trusted.keys and timestamp is None:
        raise SignatureError("nothing says whose signature counts", hint="give --trust KEY.pub")
    trusted.demand("timestamp", timestamp is not None, "none was given", "give --timestamp")
    lines = _signature(file, trusted, subject) if trusted.keys else []
    if timestamp is not None:
        lines.append(_timestamp(file, timestamp, trusted))
    elif tsa_roots:
        raise PolicyError("they say nothing without --timestamp", culprit="--tsa-roots")
    click.echo("\n".join(lines))


def _signature(file: Path, trust: "Trust", subject: Path | None) -> list[str]:
    """Say who signed an envelope, and what it says."""
    from fpverify.proof.attestation import read_statement
    from fpverify.proof.envelope import load_envelope

    try:
        statement = read_statement(load_envelope(file, trust.keys))
    except SignatureError as error:
        raise error.about(file) from error
    lines = [f"signed by    {statement.signer}", f"statement    {statement.kind}"]
    if statement.kind == "verdict":
        lines.append(f"verdict      {statement.verdict}")
    lines.append(f"subject      SHA-256 {statement.sha256} ({statement.name})")
    if subject is None:
        return lines
    wanted = {subject: statement.sha256}
    wanted |= {subject.parent / name: sha256 for name, sha256 in statement.external.items()}
    for path, sha256 in wanted.items():
        if (found := _digest(path)) != sha256:
            raise SignatureError(
                "something else was signed", culprit=file, expected=f"SHA-256 {found} ({path.name})", found=sha256
            )
    return [*lines, f"is about     {subject}"]


def _timestamp(file: Path, timestamp: Path, trust: "Trust") -> str:
    """Say when a file was stamped."""
    from fpverify.documents import read_file
    from fpverify.proof.timestamp import MAX_STAMPED, time_of

    if not trust.roots:
        raise TimestampError("nothing says which authorities are trusted", hint="give --tsa-roots PEM")
    token = read_file(timestamp, "timestamp", TimestampError)
    try:
        time = time_of(token, read_file(file, "file", TimestampError, MAX_STAMPED), trust.roots)
    except TimestampError as error:
        raise error.about(timestamp) from error
    return f"stamped at   {time.isoformat(timespec='seconds')}"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise SignatureError(f"cannot read: {reason}", culprit=path) from error


@click.command("timestamp-request")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The request (.tsq).")
def timestamp_request_command(file: Path, output: Path) -> None:
    """Write a request for a timestamp of FILE, a commitment say; any authority (RFC 3161) answers it.

    The request holds the file's SHA-256 and nothing else of it. Send it as the authority says, for instance with
    curl -H 'Content-Type: application/timestamp-query' --data-binary @FILE.tsq ADDRESS -o FILE.tsr.
    """
    from fpverify.documents import read_file, save
    from fpverify.proof.timestamp import MAX_STAMPED, request_for

    save(request_for(read_file(file, "file", TimestampError, MAX_STAMPED)), output, "request", inputs=(file,))
    click.echo(f"request      {output}")
