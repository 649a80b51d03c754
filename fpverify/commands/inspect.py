"""Command `inspect`."""

from pathlib import Path

import click

from fpverify.commands.shared import CLASSES, CONTRACT, FORMAT, contract_options, write
from fpverify.reports import FORMATS


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-f",
    "--fingerprint",
    type=click.Path(path_type=Path),
    help="Say how this fingerprint's keys would be fitted to the model.",
)
@CONTRACT
@CLASSES
@FORMAT
def inspect_command(
    file: Path, fingerprint: Path | None, contract: Path | None, classes: Path | None, style: str
) -> None:
    """Say what a fingerprint holds, or what an ONNX model expects and where each field comes from.

    Nothing is run; the file's content decides which of the two it is, not its name.
    """
    from fpverify.fingerprint import load_fingerprint
    from fpverify.inspection import inspect_file

    known = None if fingerprint is None else load_fingerprint(fingerprint)
    key_contract, names = (None, None) if known is None else (known.contract, known.classes)
    found = inspect_file(file, options=contract_options(contract, classes), key_contract=key_contract, names=names)
    write(FORMATS[style].inspection(found), None)
