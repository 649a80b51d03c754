"""The auditor's command line."""

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fpverify.commands.proof import commit_command, disclose_command, nonce_command
from fpverify.crash import DEBUG, complain, complain_about
from fpverify.errors import FpverifyError, OutputError, PolicyError
from fpverify.files import write_atomically
from fpverify.reports import FORMATS
from fpverify.result import Policy, Verdict
from fpverify.sandbox.limits import GIBIBYTE, Limits
from fpverify.sandbox.parent import DEVICES, Sandbox
from fpverify.version import __version__

if TYPE_CHECKING:
    from fpverify.proof.disclosure import Proof

# What needs NumPy is imported by the commands: the suspect's process gets ready meanwhile, and --help needs none of it.

EXIT_UNRELATED = 0
"""The suspect is unrelated; `inspect` succeeded."""
EXIT_NO_VERDICT = 2
"""Something is wrong with the input or the output; click uses the same code for a wrong command line."""
EXIT_DERIVED = 3
"""The suspect is derived."""
EXIT_INCONCLUSIVE = 4
"""The evidence decides neither way."""

EXIT_CODES = {
    Verdict.UNRELATED: EXIT_UNRELATED,
    Verdict.DERIVED: EXIT_DERIVED,
    Verdict.INCONCLUSIVE: EXIT_INCONCLUSIVE,
}
"""Never 1, with which Python exits on an uncaught exception: a crash must not read as a verdict."""


class _Commands(click.Group):
    """Turns each error, expected or not, into one line on stderr and exit code 2."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        try:
            return super().main(given, *rest, obj=shlex.join(["fpverify", *given]), **extra)
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


_FORMAT = click.option(
    "--format",
    "style",
    type=click.Choice(list(FORMATS)),
    default=next(iter(FORMATS)),
    show_default=True,
    help=f"For {' or for '.join(form.readers for form in FORMATS.values())}.",
)

_CONTRACT = click.option(
    "--contract",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the suspect expects, where its file does not say it (TOML or JSON).",
)
_CLASSES = click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The suspect's class names: one a line or a JSON list in the order of its outputs, a JSON object from its "
    "names to the fingerprint's, or a Hugging Face config.json.",
)


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="fpverify")
@click.option(
    "--debug", is_flag=True, expose_value=False, help=f"Show where an unexpected error arose, as {DEBUG}=1 does."
)
def main() -> None:
    """Was this model derived from ours? Verify suspects against a fingerprint."""


@main.command("verify")
@click.argument("suspect", type=click.Path(path_type=Path))
@click.option(
    "-f", "--fingerprint", required=True, type=click.Path(path_type=Path), help="The source's fingerprint file."
)
@_FORMAT
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the report here, not to stdout.")
@click.option("--device", type=click.Choice(DEVICES), default="cpu", show_default=True, help="Where the suspect runs.")
@click.option(
    "--significance",
    type=float,
    metavar="P",
    help='Largest p-value at which "unrelated" is rejected.  [default: that of --commitment, else '
    f"{Policy.significance}]",
)
@click.option("--ask-twice", is_flag=True, help="Ask each key a second time, in another order; report disagreement.")
@_CONTRACT
@_CLASSES
@click.option(
    "--probe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A few ordinary labelled inputs (.npz with inputs and labels), which pick the preprocessing.",
)
@click.option(
    "--timeout",
    type=float,
    default=Limits.seconds,
    show_default=True,
    metavar="S",
    help="Seconds that the suspect may take.",
)
@click.option(
    "--memory",
    type=float,
    metavar="GIB",
    help="Address space that the suspect may take, in GiB.  [default: 4 and three times the model's size]",
)
@click.option(
    "--cpu-time",
    type=float,
    metavar="S",
    help="Processor seconds that the suspect may take.  [default: --timeout on each thread]",
)
@click.option(
    "--require-sandbox",
    is_flag=True,
    help="Judge nothing where the system cannot keep the suspect from your files, the network and other programs.",
)
@click.option(
    "--commitment",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the owner published: the fingerprint must be what it commits to.",
)
@click.option(
    "--nonce",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your random number, by which the keys were drawn (fpverify nonce).",
)
@click.option("--promised", metavar="DIGEST", help="What the owner showed of his number before he knew yours.")
@click.pass_obj
def verify_command(
    command: str,
    suspect: Path,
    fingerprint: Path,
    style: str,
    output: Path | None,
    device: str,
    significance: float | None,
    ask_twice: bool,
    contract: Path | None,
    classes: Path | None,
    probe: Path | None,
    timeout: float,
    memory: float | None,
    cpu_time: float | None,
    require_sandbox: bool,
    commitment: Path | None,
    nonce: Path | None,
    promised: str | None,
) -> NoReturn:
    """Judge whether a suspect was derived.

    SUSPECT is an ONNX classifier; it is asked the fingerprint's keys, and judged by what it answers. It runs in a
    process of its own within limits, so that a hostile file does no harm. It can also be module:name, a Python function
    or model of your own that asks an API, say; that runs in this process.

    Exit code: 0 unrelated, 3 derived, 4 inconclusive, 2 no verdict.
    """
    if output is not None:
        read = (suspect, fingerprint, contract, classes, probe, commitment, nonce)
        _keep_evidence(output, tuple(path for path in read if path is not None))
    policy = Policy(significance=Policy.significance if significance is None else significance, ask_twice=ask_twice)
    if commitment is None and (nonce or promised):
        raise PolicyError("they say nothing without --commitment", culprit="--nonce, --promised")
    limits = Limits(seconds=timeout, memory=memory and memory * GIBIBYTE, cpu_seconds=cpu_time, sandbox=require_sandbox)
    with Sandbox(limits, device) as sandbox:
        from fpverify.suspects.opening import is_callable_name, open_suspect

        named: Any = suspect
        if is_callable_name(suspect):
            from fpverify.suspects.callables import load_callable

            named = load_callable(str(suspect))
        with open_suspect(named, limits=limits, sandbox=sandbox) as opened:
            from fpverify.verification import verify  # its NumPy is imported while the suspect is being loaded

            options = _options(contract, classes)
            proof = None if commitment is None else _proof(commitment, nonce, promised)
            if proof is not None and significance is None:
                policy = replace(proof.commitment.policy, ask_twice=ask_twice)
            result = verify(fingerprint, opened, policy=policy, contract=options, probe=probe, proof=proof)
        sandbox.stop()
    _write(FORMATS[style].result(replace(result, command=command)), output)
    sys.exit(EXIT_CODES[result.verdict])


@main.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-f",
    "--fingerprint",
    type=click.Path(path_type=Path),
    help="Say how this fingerprint's keys would be fitted to the model.",
)
@_CONTRACT
@_CLASSES
@_FORMAT
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
    found = inspect_file(file, options=_options(contract, classes), key_contract=key_contract, names=names)
    _write(FORMATS[style].inspection(found), None)


def _proof(commitment: Path, nonce: Path | None, promised: str | None) -> "Proof":
    from fpverify.proof.commitment import load_commitment
    from fpverify.proof.disclosure import Proof, load_nonce

    return Proof(load_commitment(commitment), None if nonce is None else load_nonce(nonce), promised)


def _options(contract: Path | None, classes: Path | None) -> dict[str, Any]:
    from fpverify.suspects.options import load_classes, load_contract

    options = {} if contract is None else load_contract(contract)
    return options if classes is None else {**options, **load_classes(classes)}


def _keep_evidence(output: Path, evidence: tuple[Path, ...]) -> None:
    try:
        there = os.stat(output)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no file can have this name"
        raise OutputError(f"cannot write the report: {reason}", culprit=output) from error
    for path in evidence:
        # What cannot be read is complained about by whoever reads it.
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(there, os.stat(path)):
                raise OutputError("the report would overwrite the file that it is about", culprit=output)


def _write(text: str, output: Path | None) -> None:
    """Write a report. Without one, an exit code that stands for a verdict must not be returned, so this fails."""
    if output is not None:
        try:
            write_atomically(output, text.encode())
        except OSError as error:
            raise OutputError(f"cannot write the report: {error.strerror or error}", culprit=output) from error
        return
    if sys.stdout is None:
        raise OutputError("stdout is closed: nowhere to write the report", hint="give -o FILE")
    try:
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more when it ends, and would complain about the same again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"cannot write the report: {error}", culprit="stdout") from error


for _command in (commit_command, nonce_command, disclose_command):
    main.add_command(_command)
