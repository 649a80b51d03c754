"""Command `verify`."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fpverify.commands.shared import (
    CLASSES,
    CONTRACT,
    DEVICE,
    EXIT_NO_VERDICT,
    FAIL_ON,
    MEMORY,
    OUTPUTS,
    TIMEOUT,
    TSA_ROOTS,
    contract_options,
    exit_code,
    format_option,
    keep_evidence,
    limits_of,
    panel_of,
    write_reports,
)
from fpverify.errors import PolicyError, SignatureError, TimestampError
from fpverify.result import InTurn, Policy
from fpverify.sandbox.parent import Sandbox

if TYPE_CHECKING:
    from fpverify.proof.examination import Proof

# What needs NumPy is imported by the command: the suspect's process gets ready meanwhile, and --help needs none of it.


@click.command("verify")
@click.argument("suspect")
@click.option(
    "-f", "--fingerprint", required=True, type=click.Path(path_type=Path), help="The source's fingerprint file."
)
@format_option()
@OUTPUTS
@FAIL_ON
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
@click.option(
    "--signature",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The envelope in which the owner signed the commitment, or without one the fingerprint (fpverify sign).",
)
@click.option(
    "--trust",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="KEY.pub|POLICY.toml",
    help="Whose signature counts; or a policy that says what a verdict must have. May be repeated.",
)
@click.option(
    "--timestamp",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An authority's reply (RFC 3161) on the commitment, or without one on the fingerprint.",
)
@TSA_ROOTS
@click.option(
    "--released",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"]),
    metavar="DATE",
    help="When the suspect was released, as you know it: 2026-11-27, from 0:00 UTC, or with a time and its zone.",
)
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
    "--dry-run", is_flag=True, help="Say how many queries an endpoint would get, and what they cost; ask nothing."
)
@click.pass_obj
def verify_command(
    command: str,
    suspect: str,
    fingerprint: Path,
    style: str | None,
    outputs: tuple[Path, ...],
    fail_on: tuple[str, ...],
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
    signature: Path | None,
    trust: tuple[Path, ...],
    timestamp: Path | None,
    tsa_roots: tuple[Path, ...],
    released: datetime | None,
    panel: tuple[Path, ...],
    vetting: Path | None,
    twins: Path | None,
    sequential: bool,
    error: float | None,
    max_queries: int | None,
    dry_run: bool,
) -> NoReturn:
    """Judge whether a suspect was derived.

    SUSPECT is an ONNX classifier; it is asked the fingerprint's keys, and judged by what it answers. It runs in a
    process of its own within limits, so that a hostile file does no harm. It can also be a folder with such a model, an
    endpoint (endpoint:FILE.toml, v2+https://HOST/v2/models/NAME, mlflow+https://HOST/invocations), a file of recorded
    answers (.csv, .json, .npz), or module:name, a Python function or model of your own; that runs in this process.

    Exit code: 0 unrelated, 3 derived, 4 inconclusive, 2 no verdict.
    """
    if outputs:
        read = (
            Path(suspect),
            fingerprint,
            contract,
            classes,
            probe,
            commitment,
            nonce,
            vetting,
            signature,
            timestamp,
            twins,
        )
        named_files = (path for path in read if path is not None)
        keep_evidence(outputs, (*named_files, *_beside(suspect), *trust, *tsa_roots, *panel))
    policy = Policy(significance=Policy.significance if significance is None else significance, ask_twice=ask_twice)
    if commitment is None and (nonce or promised):
        raise PolicyError("they say nothing without --commitment", culprit="--nonce, --promised")
    if panel and vetting is not None:
        raise PolicyError("one stands in place of the other", culprit="--panel, --vetting")
    if not sequential and (error is not None or max_queries is not None):
        raise PolicyError("they say nothing without --sequential", culprit="--error, --max-queries")
    in_turn = InTurn(InTurn.error if error is None else error, max_queries) if sequential else None
    if dry_run:
        _dry_run(suspect, fingerprint, policy)
    limits = limits_of(timeout, memory, cpu_time, require_sandbox)
    vetted: Any = vetting
    if panel:
        from fpverify.vetting import vet

        vetted = vet(fingerprint, panel_of(panel), policy=policy, device=device, limits=limits)
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

            options = contract_options(contract, classes)
            proof = None
            if commitment or signature or timestamp or trust or tsa_roots or released:
                proof = _proof(commitment, nonce, promised, signature, trust, timestamp, tsa_roots, released)
            if significance is None:
                policy = replace(policy_of(proof), ask_twice=ask_twice)
            result = verify(
                fingerprint,
                opened,
                policy=policy,
                contract=options,
                probe=probe,
                proof=proof,
                vetting=vetted,
                in_turn=in_turn,
                twins=twins,
            )
        sandbox.stop()
    result = replace(result, command=_without_credentials(command, suspect))
    write_reports(lambda form: form.result(result), style, outputs)
    sys.exit(exit_code([str(result.verdict)], fail_on))


def _without_credentials(command: str, suspect: str) -> str:
    """Return the command line without what may be a credential: also the query of an address is left out."""
    from fpverify.secrets import redacted

    address, mark, _ = suspect.partition("?")
    return redacted(command.replace(suspect, f"{address}?…") if mark and "+http" in address else command)


def _beside(suspect: str) -> list[Path]:
    """Return the files that belong to an endpoint: its description, its journal and its certificates."""
    from fpverify.suspects.opening import is_endpoint

    if not is_endpoint(suspect):
        return []
    from fpverify.suspects.endpoint import load_endpoint

    found = load_endpoint(suspect)
    named = (suspect.removeprefix("endpoint:"), found.journal, found.authority)
    return [Path(one) for one in named if one is not None]


def _dry_run(suspect: str, fingerprint: Path, policy: Policy) -> NoReturn:
    """Say what asking an endpoint would take; that is no verdict, and the exit code says so."""
    from fpverify.fingerprint import load_fingerprint
    from fpverify.suspects.endpoint import load_endpoint

    endpoint, loaded = load_endpoint(suspect), load_fingerprint(fingerprint)
    controls = 0 if loaded.backing is None else len(loaded.backing.controls.labels)
    again = len(loaded) if policy.ask_twice else -(-len(loaded) // 2)
    queries = len(loaded) + controls + again
    click.echo(
        f"No verdict: a dry run asks nothing.\n\n  queries  {queries} at least: {len(loaded)} keys, "
        f"{controls} control images, {again} keys a second time, one at a time"
    )
    if endpoint.type == "v2":
        click.echo("           more, if the control images show that the stated preprocessing is wrong")
    if endpoint.price is not None:
        click.echo(f"  cost     {queries * endpoint.price:g}")
    sys.exit(EXIT_NO_VERDICT)


def _proof(
    commitment: Path | None,
    nonce: Path | None,
    promised: str | None,
    signature: Path | None,
    trust: tuple[Path, ...],
    timestamp: Path | None,
    tsa_roots: tuple[Path, ...],
    released: datetime | None,
) -> "Proof":
    """Read everything that the auditor holds against the fingerprint."""
    from fpverify.documents import read_file
    from fpverify.proof.commitment import load_commitment
    from fpverify.proof.disclosure import load_nonce
    from fpverify.proof.examination import Proof
    from fpverify.proof.trust import load_trust

    return Proof(
        commitment=None if commitment is None else load_commitment(commitment),
        nonce=None if nonce is None else load_nonce(nonce),
        promised=promised,
        signature=None if signature is None else read_file(signature, "envelope", SignatureError),
        timestamp=None if timestamp is None else read_file(timestamp, "timestamp", TimestampError),
        released=released,
        trust=load_trust(trust, tsa_roots),
    )
