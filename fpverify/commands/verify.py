"""Command `verify`."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import click

from fpverify.commands.config import command_line, config_of
from fpverify.commands.dry_run import dry_run as say_what_it_takes
from fpverify.commands.progress import Progress, loudness_options
from fpverify.commands.proofs import files_of, proof_of, proof_options, require_sense
from fpverify.commands.several import broken, each_of, judged_in_turn, require_for_all, require_readable
from fpverify.commands.shared import (
    CLASSES,
    CONTRACT,
    CORRECTION,
    DEVICE,
    FAIL_ON,
    MEMORY,
    OUTPUTS,
    REQUIRE_SANDBOX,
    TIMEOUT,
    contract_options,
    exit_code,
    exit_of,
    format_option,
    keep_evidence,
    limits_of,
    method_of,
    panel_of,
    write_reports,
)
from fpverify.crash import complain
from fpverify.errors import (
    FpverifyError,
    PolicyError,
    SuspectError,
)
from fpverify.result import InTurn, Judged, Policy, Result, Vetting
from fpverify.sandbox.parent import Sandbox
from fpverify.secrets import without_credentials

# What needs NumPy is imported by the command: the suspect's process gets ready meanwhile, and --help needs none of it.


@click.command("verify")
@click.argument("suspects", metavar="SUSPECT...", nargs=-1, required=True)
@click.option(
    "-f", "--fingerprint", required=True, type=click.Path(path_type=Path), help="The source's fingerprint file."
)
@format_option()
@OUTPUTS
@FAIL_ON
@CORRECTION
@DEVICE
@click.option(
    "--significance",
    type=float,
    metavar="P",
    help='Largest p-value at which "unrelated" is rejected.  [default: that of --commitment, else '
    f"{Policy.significance}]",
)
@click.option("--ask-twice", is_flag=True, help="Ask each key a second time, in another order; report disagreement.")
@CONTRACT
@CLASSES
@click.option(
    "--probe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A few ordinary labelled inputs (.npz with inputs and labels), which pick the preprocessing.",
)
@TIMEOUT
@MEMORY
@click.option(
    "--cpu-time",
    type=float,
    metavar="S",
    help="Processor seconds that the suspect may take.  [default: --timeout on each thread]",
)
@REQUIRE_SANDBOX
@proof_options
@click.option(
    "--panel",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR|FILE|module:name",
    help="Your own independent models, as for vet: the suspect is ranked among them, too.",
)
@click.option(
    "--vetting",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What vet --format json wrote; in place of --panel.",
)
@click.option(
    "--twins",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Fingerprints of networks that were trained like the source: the suspect is ranked by all of them.",
)
@click.option(
    "--drawn-by",
    metavar="TEXT",
    help="With --twins: what drew the source among them, such as a number of a public lottery after their list was "
    "stamped.",
)
@click.option(
    "--sequential",
    is_flag=True,
    help="Ask a suspect that is no file key by key, and stop when the verdict is decided.",
)
@click.option(
    "--error",
    type=float,
    metavar="P",
    help=f"With --sequential: largest probability of another verdict than by all keys.  [default: {InTurn.error}]",
)
@click.option(
    "--max-queries",
    type=int,
    metavar="N",
    help="With --sequential: queries in all, control images included.  [default: as many as it takes]",
)
@click.option(
    "--seed",
    metavar="HEX",
    help="With --sequential: ask in the order of an earlier report, which gives its seed.  [default: drawn]",
)
@click.option(
    "--dry-run", is_flag=True, help="Say how many queries an endpoint would get, and what they cost; ask nothing."
)
@loudness_options
@click.pass_context
def verify_command(
    context: click.Context,
    /,
    suspects: tuple[str, ...],
    fingerprint: Path,
    style: str | None,
    outputs: tuple[Path, ...],
    fail_on: tuple[str, ...],
    correction: str,
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
    panel: tuple[Path, ...],
    vetting: Path | None,
    twins: Path | None,
    drawn_by: str | None,
    sequential: bool,
    error: float | None,
    max_queries: int | None,
    seed: str | None,
    dry_run: bool,
    **proofs: Any,
) -> NoReturn:
    """Judge whether a suspect was derived.

    SUSPECT is an ONNX classifier; it is asked the fingerprint's keys, and judged by what it answers. It runs in a
    process of its own within limits, so that a hostile file does no harm. It can also be a folder with such a model, an
    endpoint (endpoint:FILE.toml, v2+https://HOST/v2/models/NAME, mlflow+https://HOST/invocations), a file of recorded
    answers (.csv, .json, .npz), or module:name, a Python function or model of your own; that runs in this process.

    Of several suspects, and of the .onnx files in a folder, each is a row; one that cannot be judged is a row with its
    reason. Their verdicts are corrected for their number (--correction).

    Exit code: 0 unrelated, 3 derived, 4 inconclusive, 2 no verdict; of several the first that holds of 3, 2, 4, 0.
    """
    command = command_line(context)
    if outputs:
        read = (*map(Path, suspects), fingerprint, contract, classes, probe, vetting, twins)
        named_files = (path for path in read if path is not None)
        beside = (path for one in suspects for path in _beside(one))
        keep_evidence(outputs, (*named_files, *beside, *files_of(proofs), *panel, *config_of(context)))
    policy = Policy(significance=Policy.significance if significance is None else significance, ask_twice=ask_twice)
    require_sense(proofs)
    if panel and vetting is not None:
        raise PolicyError("one stands in place of the other", culprit="--panel, --vetting")
    in_turn = _in_turn_of(sequential, error, max_queries, seed)
    if dry_run:
        if outputs or style:
            raise PolicyError("a dry run writes no report", culprit="--dry-run", hint="leave -o and --format out")
        say_what_it_takes(suspects, fingerprint, policy, in_turn)
    limits = limits_of(timeout, memory, cpu_time, require_sandbox)
    vetted: Any = vetting
    options, proof = cache(lambda: contract_options(contract, classes)), cache(lambda: proof_of(proofs))
    if panel:
        vetted = _asked_panel(panel, fingerprint, proof(), policy, device, limits)

    def judge(suspect: str) -> Result:
        with Sandbox(limits, device) as sandbox:
            from fpverify.suspects.opening import is_callable_name, open_suspect

            named: Any = suspect
            if is_callable_name(suspect):
                from fpverify.suspects.callables import load_callable

                named = load_callable(suspect)
            with open_suspect(named, limits=limits, sandbox=sandbox) as opened:
                from fpverify.verification import (  # its NumPy is imported while the suspect is being loaded
                    policy_of,
                    verify,
                )

                stated, shown = options(), proof()
                chosen = policy if significance is not None else replace(policy_of(shown), ask_twice=ask_twice)
                result = verify(
                    fingerprint,
                    opened,
                    policy=chosen,
                    contract=stated,
                    probe=probe,
                    proof=shown,
                    vetting=vetted,
                    in_turn=in_turn,
                    twins=twins,
                    drawn_by=drawn_by,
                )
            sandbox.stop()
        return replace(result, command=command)

    closed: list[tuple[str, str]] = []
    names = list(dict.fromkeys(name for one in suspects for name in each_of(one, closed)))
    if len(suspects) == len(names) == 1:
        _judge_one(suspects[0], fingerprint, judge, style, outputs, fail_on)
    options(), proof()
    require_for_all(sequential, proofs["released"])
    require_readable(fingerprint, probe, vetting, twins)
    from fpverify.correction import corrected

    judged = corrected(judged_in_turn(names, fingerprint, judge), method_of(correction))
    judged += [Judged(path, str(fingerprint), None, why) for path, why in closed]
    write_reports(lambda form: form.many(judged), style, outputs)
    sys.exit(exit_of(judged, fail_on))


def _in_turn_of(sequential: bool, error: float | None, max_queries: int | None, seed: str | None) -> InTurn | None:
    """Return when to stop asking; None to ask all keys at once."""
    if sequential:
        return InTurn(InTurn.error if error is None else error, max_queries, seed)
    if (error, max_queries, seed) != (None, None, None):
        raise PolicyError("they say nothing without --sequential", culprit="--error, --max-queries, --seed")
    return None


def _asked_panel(
    panel: tuple[Path, ...], fingerprint: Path, proof: Any, policy: Policy, device: str, limits: Any
) -> Vetting:
    """Ask a panel; what is wrong with the commitment costs no query."""
    from fpverify.fingerprint import load_fingerprint
    from fpverify.vetting import vet

    if proof is not None and proof.commitment is not None:
        from fpverify.proof.disclosure import check

        check(load_fingerprint(fingerprint), proof.commitment)
    with Progress("asking the panel"):
        return vet(fingerprint, panel_of(panel), policy=policy, device=device, limits=limits)


def _judge_one(
    suspect: str,
    fingerprint: Path,
    judge: Callable[[str], Result],
    style: str | None,
    outputs: tuple[Path, ...],
    fail_on: tuple[str, ...],
) -> NoReturn:
    """Judge one suspect and report; one that cannot be judged is a row in the formats that have rows."""
    try:
        with Progress(f"asking {without_credentials(suspect)}"):
            result = judge(suspect)
    except SuspectError as error:
        from fpverify.fingerprint import load_fingerprint

        load_fingerprint(fingerprint)  # the suspect was opened first: what is wrong with this stays an error
        row = broken(suspect, fingerprint, error)
        write_reports(lambda form: form.many([row]), style, outputs, rows=True)
        complain(str(error))
        sys.exit(exit_code([row.outcome], fail_on))
    write_reports(lambda form: form.result(result), style, outputs)
    sys.exit(exit_code([str(result.verdict)], fail_on))


def _beside(suspect: str) -> list[Path]:
    """Return the files that belong to an endpoint or a callable: description, journal and certificates, or module."""
    from fpverify.suspects.opening import is_callable_name, is_endpoint

    if is_callable_name(suspect):
        from fpverify.suspects.callables import module_file

        return [file for file in [module_file(suspect)] if file is not None]
    if not is_endpoint(suspect):
        return []
    from fpverify.suspects.endpoints.description import load_endpoint

    try:
        found = load_endpoint(suspect)
    except FpverifyError:
        return []  # who opens it says what is wrong
    named = (suspect.removeprefix("endpoint:"), found.journal, found.authority)
    return [Path(one) for one in named if one is not None]
