"""Command `vet`."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from fpverify.commands.progress import Progress, loudness_options
from fpverify.commands.shared import (
    DEVICE,
    EXIT_DERIVED,
    EXIT_UNRELATED,
    FORMAT,
    MEMORY,
    TIMEOUT,
    keep_evidence,
    limits_of,
    panel_of,
    write,
)
from fpverify.reports import FORMATS
from fpverify.result import Policy


@click.command("vet")
@click.argument("fingerprint", type=click.Path(path_type=Path))
@click.option(
    "--panel",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR|FILE|module:name",
    help="Your own models, made without the source; NAME.toml beside NAME.onnx is its contract. May be repeated.",
)
@click.option(
    "--probe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ordinary labelled images of your own (.npz with inputs and labels), by which each model shows that it works.",
)
@click.option("--source", type=click.Path(path_type=Path), metavar="FILE", help="The source, which must keep all keys.")
@click.option(
    "--significance",
    type=float,
    default=Policy.significance,
    show_default=True,
    metavar="P",
    help='Largest p-value at which "unrelated" will be rejected.',
)
@FORMAT
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the report here; verify --vetting reads JSON."
)
@DEVICE
@TIMEOUT
@MEMORY
@loudness_options
def vet_command(
    fingerprint: Path,
    panel: tuple[Path, ...],
    probe: Path | None,
    source: Path | None,
    significance: float,
    style: str,
    output: Path | None,
    device: str,
    timeout: float,
    memory: float | None,
) -> NoReturn:
    """Ask your own independent models the keys of a fingerprint.

    A fingerprint whose keys they keep convicts anybody, and is refused. With 3 models that is all that is shown; with
    49 or more, verdicts at the default significance rest on a p-value of your own, too.

    Exit code: 0 not refused, 3 refused, 2 nothing was decided.
    """
    from fpverify.vetting import vet

    if output is not None:
        keep_evidence([output], (fingerprint, *(path for path in (source, probe) if path is not None), *panel))
    policy, limits = Policy(significance=significance), limits_of(timeout, memory)
    with Progress("asking the panel"):
        found = vet(
            fingerprint, panel_of(panel), source=source, probe=probe, policy=policy, device=device, limits=limits
        )
    write(FORMATS[style].vetting(found), output)
    sys.exit(EXIT_DERIVED if found.refusals else EXIT_UNRELATED)
