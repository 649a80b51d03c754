"""Command `scan`."""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import click

from fpverify.commands.shared import (
    CLASSES,
    CONTRACT,
    DEVICE,
    FAIL_ON,
    FINGERPRINTS,
    MEMORY,
    OUTPUTS,
    SIGNIFICANCE,
    TIMEOUT,
    contract_options,
    exit_code,
    format_option,
    keep_evidence,
    limits_of,
    write_reports,
)
from fpverify.result import Policy

QUIET_SECONDS = 2.0
"""A scan that takes longer shows its progress."""


@click.command("scan")
@click.argument("suspects", nargs=-1, required=True, type=click.Path(path_type=Path))
@FINGERPRINTS
@click.option(
    "--correction",
    type=click.Choice(["holm", "benjamini-hochberg", "none"]),
    default="holm",
    show_default=True,
    help="How verdicts are corrected for their number.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder for results: what was judged before is not asked again.",
)
@click.option("--jobs", type=int, default=min(2, os.cpu_count() or 1), show_default=True, help="Suspects at a time.")
@SIGNIFICANCE
@format_option()
@OUTPUTS
@FAIL_ON
@DEVICE
@CONTRACT
@CLASSES
@TIMEOUT
@MEMORY
def scan_command(
    suspects: tuple[Path, ...],
    fingerprints: tuple[Path, ...],
    correction: str,
    cache: Path | None,
    jobs: int,
    significance: float,
    style: str | None,
    outputs: tuple[Path, ...],
    fail_on: tuple[str, ...],
    device: str,
    contract: Path | None,
    classes: Path | None,
    timeout: float,
    memory: float | None,
) -> NoReturn:
    """Judge many suspects by many fingerprints.

    SUSPECTS are ONNX files, and folders that hold some at any depth. A suspect that cannot be judged is a row with its
    reason. Of many unrelated models some would be called derived by chance, so verdicts are corrected for their number.

    Exit code, the first that holds: 3 one is derived, 2 one has no verdict, 4 one is inconclusive, 0 all are unrelated.
    """
    from fpverify.scanning import scan

    keep_evidence(outputs, (*suspects, *fingerprints, *(path for path in (contract, classes) if path is not None)))
    with scan(
        suspects,
        fingerprints,
        policy=Policy(significance=significance),
        correction=None if correction == "none" else correction,
        contract=contract_options(contract, classes),
        limits=limits_of(timeout, memory),
        device=device,
        jobs=jobs,
        cache=cache,
        progress=_Progress(),
    ) as found:
        write_reports(lambda form: form.many(found), style, outputs)
        code = exit_code({one.outcome for one in found}, fail_on)
    sys.exit(code)


class _Progress:
    """Says on stderr how far a scan is, if somebody looks."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, done: int, suspects: int) -> None:
        if sys.stderr is None or not sys.stderr.isatty() or time.monotonic() - self._began < QUIET_SECONDS:
            return
        left = (time.monotonic() - self._began) / done * (suspects - done)
        end = "\n" if done == suspects else ""
        sys.stderr.write(f"\r{done} of {suspects} suspects, about {left:.0f} s left \033[K{end}")
        sys.stderr.flush()
