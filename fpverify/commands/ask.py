"""Command `ask`."""

from pathlib import Path

import click


@click.command("ask")
@click.argument("fingerprint", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The images, as .npz."
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new folder for the same images as PNG files, with answers.csv to fill in.",
)
def ask_command(fingerprint: Path, output: Path, images: Path | None) -> None:
    """Write the images that a suspect must answer, for whoever runs it.

    Keys and control images are mixed, without labels. Judge the answers with `verify ANSWERS -f FINGERPRINT`: a .csv,
    .json or .npz file. Anyone who sees the images can recognise them later: do not give them to a party
    that may warn the thief.
    """
    from fpverify.documents import keep
    from fpverify.fingerprint import load_fingerprint
    from fpverify.questions import questions_of, write_questions

    loaded = load_fingerprint(fingerprint)
    questions = questions_of(loaded)
    keep(output, [fingerprint])
    write_questions(questions, output, images)
    controls = "" if loaded.backing is None else " and the control images"
    click.echo(f"images       {len(questions.names)}: {len(loaded)} keys{controls}, in random order")
    click.echo(f"as .npz      {output}")
    if images is not None:
        click.echo(f"as PNG       {images}, with answers.csv to fill in")
    if not questions.exact:
        click.echo("note         the keys are no 8-bit images; they were rounded, and answers to them may differ")
