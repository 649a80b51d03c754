"""The auditor's command line: which commands there are, and how each ends."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fpverify.commands.ask import ask_command
from fpverify.commands.config import load_config, name_variables
from fpverify.commands.inspect import inspect_command
from fpverify.commands.progress import loudness_options
from fpverify.commands.proof import commit_command, disclose_command, nonce_command
from fpverify.commands.registry import registry_group
from fpverify.commands.report import recheck_command, report_command
from fpverify.commands.scan import scan_command
from fpverify.commands.shared import EXIT_NO_VERDICT
from fpverify.commands.signing import check_command, keygen_command, sign_command, timestamp_request_command
from fpverify.commands.verify import verify_command
from fpverify.commands.vetting import vet_command
from fpverify.crash import DEBUG, complain, complain_about
from fpverify.errors import FpverifyError
from fpverify.secrets import without_credentials
from fpverify.version import __version__

PREFIX = "FPVERIFY"
"""How environment variables begin that stand for options."""


class _Commands(click.Group):
    """Turns each error, expected or not, into one line on stderr and exit code 2."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        try:
            command = shlex.join(["fpverify", *map(without_credentials, given)])
            return super().main(given, *rest, obj=command, auto_envvar_prefix=PREFIX, **extra)
        except SystemExit as end:
            # click itself exits with 1 on an interruption and on a broken pipe.
            if end.code == 1:
                sys.exit(EXIT_NO_VERDICT)
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
            complain_about(error)
            sys.exit(EXIT_NO_VERDICT)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except FpverifyError as error:
            complain(str(error))
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
            complain_about(error)
        sys.exit(EXIT_NO_VERDICT)


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="fpverify")
@click.option(
    "--debug", is_flag=True, expose_value=False, help=f"Show where an unexpected error arose, as {DEBUG}=1 does."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Options from a TOML file, or from [tool.fpverify] of a pyproject.toml. A file that is not named is not read.",
)
@loudness_options
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Was this model derived from ours? Verify suspects against a fingerprint.

    \b
    fpverify verify suspect.onnx -f fingerprint.safetensors
    fpverify verify suspect.onnx -f fingerprint.safetensors -o report.html -o result.json
    fpverify scan models -f fingerprints --fail-on derived --fail-on suspicious
    """  # noqa: D301
    if config is not None:
        context.default_map = load_config(config, main)


for _command in (
    verify_command,
    scan_command,
    report_command,
    recheck_command,
    registry_group,
    inspect_command,
    vet_command,
    ask_command,
    commit_command,
    nonce_command,
    disclose_command,
    keygen_command,
    sign_command,
    check_command,
    timestamp_request_command,
):
    main.add_command(_command)
name_variables(main, PREFIX)
