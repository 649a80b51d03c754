"""Command `scan`."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from fpverify.commands.config import command_line, config_of
from fpverify.commands.progress import Progress, loudness_options
from fpverify.commands.shared import (
    CLASSES,
    CONTRACT,
    CORRECTION,
    DEVICE,
    FAIL_ON,
    FINGERPRINTS,
    MEMORY,
    OUTPUTS,
    REQUIRE_SANDBOX,
    SIGNIFICANCE,
    TIMEOUT,
    contract_options,
    exit_of,
    format_option,
    keep_evidence,
    limits_of,
    method_of,
    write_reports,
)
from fpverify.engines import ENGINES, LOCAL
from fpverify.result import Policy


@click.command("scan")
@click.argument("suspects", nargs=-1, required=True, type=click.Path(path_type=Path))
@FINGERPRINTS
@CORRECTION
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder for results: what was judged before is not asked again.",
)
@click.option("--jobs", type=int, default=min(2, os.cpu_count() or 1), show_default=True, help="Suspects at a time.")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=LOCAL,
    show_default=True,
    help="Where suspects are judged: here, or on the cluster of DASK_SCHEDULER_ADDRESS or RAY_ADDRESS, whose machines "
    "see them and --cache by the same paths.",
)
@SIGNIFICANCE
@format_option()
@OUTPUTS
@FAIL_ON
@DEVICE
@CONTRACT
@CLASSES
@TIMEOUT
@MEMORY
@REQUIRE_SANDBOX
@loudness_options
@click.pass_context
def scan_command(
    context: click.Context,
    /,
    suspects: tuple[Path, ...],
    fingerprints: tuple[Path, ...],
    correction: str,
    cache: Path | None,
    jobs: int,
    engine: str,
    significance: float,
    style: str | None,
    outputs: tuple[Path, ...],
    fail_on: tuple[str, ...],
    device: str,
    contract: Path | None,
    classes: Path | None,
    timeout: float,
    memory: float | None,
    require_sandbox: bool,
) -> NoReturn:
    """Judge many suspects by many fingerprints.

    SUSPECTS are ONNX files, and folders that hold some at any depth. A suspect that cannot be judged is a row with its
    reason. Of many unrelated models some would be called derived by chance, so verdicts are corrected for their number.

    Exit code, the first that holds: 3 one is derived, 2 one has no verdict, 4 one is inconclusive, 0 all are unrelated.
    """
    from fpverify.scanning import scan

    command = command_line(context)
    given = [path for path in (contract, classes) if path is not None]
    keep_evidence(outputs, (*suspects, *fingerprints, *given, *config_of(context)))
    with (
        Progress("looking for suspects") as progress,
        scan(
            suspects,
            fingerprints,
            policy=Policy(significance=significance),
            correction=method_of(correction),
            contract=contract_options(contract, classes),
            limits=limits_of(timeout, memory, sandbox=require_sandbox),
            device=device,
            jobs=jobs,
            cache=cache,
            engine=engine,
            progress=progress.counted,
        ) as found,
    ):
        found.command = command
        write_reports(lambda form: form.many(found), style, outputs)
        code = exit_of(found, fail_on)
    sys.exit(code)
