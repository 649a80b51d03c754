"""Commands for commitments: `commit`, `nonce`, `disclose`."""

from pathlib import Path

import click

from fpverify.result import Policy

_COMMITMENT = click.option(
    "--commitment", required=True, type=click.Path(path_type=Path), metavar="FILE", help="What was published."
)
_FINGERPRINT = click.argument("fingerprint", type=click.Path(path_type=Path))


@click.command("commit")
@_FINGERPRINT
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The public file.")
@click.option(
    "--secret",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file for your secret: who loses it can prove nothing, who finds it can guess keys.",
)
@click.option(
    "--significance",
    type=float,
    default=Policy.significance,
    show_default=True,
    metavar="P",
    help='Largest p-value at which "unrelated" is rejected; later verdicts are bound to it.',
)
def commit_command(fingerprint: Path, output: Path, secret: Path, significance: float) -> None:
    """Fix a fingerprint in a public file that reveals no key.

    Publish the file, with a date that others confirm, before suspects appear. Each key can later be shown with what
    proves that it was committed.
    """
    from fpverify.documents import save
    from fpverify.fingerprint import load_fingerprint
    from fpverify.proof import commitment

    whole = load_fingerprint(fingerprint)
    own = commitment.new_secret()
    made = commitment.commit(whole, own, Policy(significance=significance))
    save(own.hex().encode(), secret, "secret", private=True)
    try:
        save(made.to_bytes(), output, "commitment", inputs=(secret, fingerprint))
    except BaseException:
        secret.unlink(missing_ok=True)
        raise
    click.echo(f"commitment   {output}\nsha256       {made.sha256}\nkeys         {len(made.keys)}")
    click.echo(f"secret       {secret}")


@click.command("nonce")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new file for the number.")
def nonce_command(output: Path) -> None:
    """Draw a random number by which keys will be drawn, and print its digest.

    Owner and auditor each make one, when commitment and suspect are fixed. They exchange the digests first, then the
    numbers, so that neither can choose which keys are shown.
    """
    from fpverify.documents import save
    from fpverify.proof import commitment, disclosure

    number = commitment.new_secret().hex()
    save(disclosure.nonce_file(number), output, "nonce", private=True)
    click.echo(f"nonce        {output}\ndigest       {disclosure.nonce_digest(number)}")


@click.command("disclose")
@_FINGERPRINT
@_COMMITMENT
@click.option("--secret", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Your secret.")
@click.option("--keys", type=click.IntRange(min=1), required=True, help="How many keys are shown.")
@click.option("--suspect", required=True, metavar="SHA256", help="SHA-256 of the suspect's file, or what to call it.")
@click.option("--nonce", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Your random number.")
@click.option(
    "--theirs", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The auditor's random number."
)
@click.option("--promised", metavar="DIGEST", help="What the auditor showed of that number before he knew yours.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A fingerprint of these keys.")
def disclose_command(
    fingerprint: Path,
    commitment: Path,
    secret: Path,
    keys: int,
    suspect: str,
    nonce: Path,
    theirs: Path,
    promised: str | None,
    output: Path,
) -> None:
    """Show some of the keys, those that both sides' random numbers draw, with what proves that they were committed."""
    from fpverify.documents import keep
    from fpverify.errors import CommitmentError
    from fpverify.fingerprint import load_fingerprint, save_fingerprint
    from fpverify.proof.commitment import load_commitment
    from fpverify.proof.disclosure import Draw, disclose, load_nonce, load_secret, nonce_digest

    numbers = load_nonce(nonce), load_nonce(theirs)
    if promised is not None and nonce_digest(numbers[1]) != promised:
        raise CommitmentError("the auditor's random number is not the one that he promised", culprit=theirs)
    keep(output, (fingerprint, commitment, secret, nonce, theirs))
    whole = load_fingerprint(fingerprint)
    part = disclose(whole, load_commitment(commitment), load_secret(secret), keys, Draw(suspect, *numbers))
    sha256 = save_fingerprint(part, output)
    click.echo(f"fingerprint  {output}\nsha256       {sha256}\nkeys         {len(part)} of {len(whole)}")
