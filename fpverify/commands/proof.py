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
@click.argument("commitment", type=click.Path(path_type=Path))
@click.option("--suspect", required=True, metavar="FILE|NAME", help="The suspect's file, or what both sides call it.")
@click.option("--keys", type=click.IntRange(min=1), required=True, help="How many keys are to be shown.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new file for the number.")
def nonce_command(commitment: Path, suspect: str, keys: int, output: Path) -> None:
    """Draw a random number by which keys of a COMMITMENT will be drawn, and print its digest.

    Owner and auditor each make one, for the same commitment, suspect and number of keys. They exchange the digests
    first, then the files, so that neither can choose which keys are shown. Of a file the number names the SHA-256, or
    that of all its files where it has weights in others.
    """
    from fpverify.documents import save
    from fpverify.errors import CommitmentError
    from fpverify.proof.commitment import load_commitment, new_secret
    from fpverify.proof.draw import Nonce

    committed = load_commitment(commitment)
    least, most = committed.policy.min_keys, len(committed.keys)
    if not least <= keys <= most:
        expected = f"{least} to {most}: fewer decide nothing, and no more were committed"
        raise CommitmentError(culprit="--keys", expected=expected, found=keys)
    made = Nonce(new_secret().hex(), committed.sha256, _identity(suspect), keys)
    save(made.to_bytes(), output, "nonce", private=True)
    click.echo(f"nonce        {output}\nsuspect      {made.suspect}\nkeys         {keys}\ndigest       {made.digest}")


def _identity(suspect: str) -> str:
    """Return what identifies a suspect: of a file its digest, else what it is called."""
    if not Path(suspect).exists():
        return suspect
    from fpverify.suspects.opening import open_suspect

    with open_suspect(Path(suspect)) as opened:
        opened.prepare()
        return opened.info.identity or suspect


@click.command("disclose")
@_FINGERPRINT
@_COMMITMENT
@click.option("--secret", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Your secret.")
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
    nonce: Path,
    theirs: Path,
    promised: str | None,
    output: Path,
) -> None:
    """Show some of the keys, those that both sides' random numbers draw, with what proves that they were committed."""
    from fpverify.documents import keep
    from fpverify.errors import CommitmentError
    from fpverify.fingerprint import load_fingerprint, save_fingerprint
    from fpverify.proof.commitment import load_commitment, require_digest
    from fpverify.proof.disclosure import disclose, load_secret, require_same
    from fpverify.proof.draw import draw_of, load_nonce

    ours, other, committed = load_nonce(nonce), load_nonce(theirs), load_commitment(commitment)
    if promised is not None:
        require_digest(promised, "what the auditor promised")
    if promised is not None and other.digest != promised:
        raise CommitmentError("the auditor's random number is not the one that he promised", culprit=theirs)
    require_same("your random number is for another commitment", committed.sha256, ours.commitment)
    keep(output, (fingerprint, commitment, secret, nonce, theirs))
    whole = load_fingerprint(fingerprint)
    part = disclose(whole, committed, load_secret(secret), draw_of(ours, other))
    sha256 = save_fingerprint(part, output)
    click.echo(f"fingerprint  {output}\nsha256       {sha256}\nkeys         {len(part)} of {len(whole)}")
