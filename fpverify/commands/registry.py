"""Commands on a model registry: `registry check`, `registry watch`, `registry promote`."""

import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from fpverify.commands.config import config_of
from fpverify.commands.progress import Progress, loudness_options
from fpverify.commands.shared import (
    CLASSES,
    CONTRACT,
    CORRECTION,
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
from fpverify.errors import RegistryError
from fpverify.result import Policy, Verdict

_URI = click.option(
    "--tracking-uri", metavar="URI", help="Of the MLflow server.  [default: what MLFLOW_TRACKING_URI says]"
)
_ALLOW_CODE = click.option(
    "--allow-code",
    is_flag=True,
    help="Also load models of other flavors than ONNX: that runs their code in this process, without a sandbox.",
)


@click.group("registry")
def registry_group() -> None:
    """Judge models in MLflow's registry.

    \b
    fpverify registry check models:/NAME/VERSION -f fingerprints --tag
    fpverify registry promote NAME/VERSION --to champion --attestation verdict.dsse --trust auditor.pub
    """  # noqa: D301


@registry_group.command("check")
@click.argument("model")
@FINGERPRINTS
@_URI
@click.option("--tag", is_flag=True, help="Write the outcome into tags of the version, and the reports into its run.")
@_ALLOW_CODE
@SIGNIFICANCE
@format_option()
@OUTPUTS
@FAIL_ON
@CORRECTION
@CONTRACT
@CLASSES
@TIMEOUT
@MEMORY
@REQUIRE_SANDBOX
@loudness_options
@click.pass_context
def check_version_command(
    context: click.Context,
    /,
    model: str,
    fingerprints: tuple[Path, ...],
    tracking_uri: str | None,
    tag: bool,
    allow_code: bool,
    significance: float,
    style: str | None,
    outputs: tuple[Path, ...],
    fail_on: tuple[str, ...],
    correction: str,
    contract: Path | None,
    classes: Path | None,
    timeout: float,
    memory: float | None,
    require_sandbox: bool,
) -> NoReturn:
    """Judge one version by fingerprints.

    MODEL is models:/NAME/VERSION or models:/NAME@ALIAS. Its ONNX file runs in the sandbox, as with verify.

    Exit code, the first that holds: 3 derived, 2 no verdict, 4 inconclusive, 0 unrelated by every fingerprint.
    """
    from fpverify.registry import gate
    from fpverify.registry.mlflow import Registry

    given = [path for path in (contract, classes) if path is not None]
    keep_evidence(outputs, (*fingerprints, *given, *config_of(context)))
    loaded, registry = gate.load_fingerprints(fingerprints), Registry(tracking_uri)
    with Progress(f"asking {model}"):
        found = gate.check(
            registry,
            registry.find(model),
            loaded,
            policy=Policy(significance=significance),
            limits=limits_of(timeout, memory, sandbox=require_sandbox),
            contract=contract_options(contract, classes),
            correction=method_of(correction),
            allow_code=allow_code,
        )
    if tag and not gate.publish(registry, found):
        click.echo(f"fpverify: {found.version}: no run made it, so the reports are not kept there", err=True)
    write_reports(lambda form: form.many(found.judged), style, outputs)
    sys.exit(exit_of(found.judged, fail_on))


@registry_group.command("watch")
@FINGERPRINTS
@click.option(
    "--journal",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where it is kept which versions were checked (SQLite).",
)
@_URI
@click.option("--name", help="Only versions of this model.  [default: all models]")
@click.option("--interval", type=float, default=60.0, show_default=True, metavar="S", help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Look once, and end.")
@_ALLOW_CODE
@SIGNIFICANCE
@CORRECTION
@CONTRACT
@CLASSES
@TIMEOUT
@MEMORY
@REQUIRE_SANDBOX
@loudness_options
def watch_command(
    fingerprints: tuple[Path, ...],
    journal: Path,
    tracking_uri: str | None,
    name: str | None,
    interval: float,
    once: bool,
    allow_code: bool,
    significance: float,
    correction: str,
    contract: Path | None,
    classes: Path | None,
    timeout: float,
    memory: float | None,
    require_sandbox: bool,
) -> None:
    """Check every new version, and write the outcome into its tags.

    A version is checked once by the same fingerprints, whatever is restarted or killed. Tags are for people: every user
    of the registry can change them, so promote uses signed verdicts only.
    """
    from fpverify.registry import gate
    from fpverify.registry.mlflow import Registry, Version

    loaded, policy = gate.load_fingerprints(fingerprints), Policy(significance=significance)
    limits, stated = limits_of(timeout, memory, sandbox=require_sandbox), contract_options(contract, classes)
    registry, seen = Registry(tracking_uri), gate.Seen(journal, gate.settings_of(loaded, policy, stated))

    def checked(version: Version) -> gate.Check:
        return gate.check(
            registry,
            version,
            loaded,
            policy=policy,
            limits=limits,
            contract=stated,
            correction=method_of(correction),
            allow_code=allow_code,
        )

    def complain(text: str) -> None:
        click.echo(f"fpverify: {text}; it is tried again", err=True)

    try:
        while True:
            try:
                for found in gate.watch_once(registry, seen, name, checked, complain):
                    click.echo(f"{found.version}: {found.gravest.outcome}")
            except RegistryError as error:  # the server is away for a while
                if once:
                    raise
                complain(str(error))
            if once:
                return
            time.sleep(max(1.0, interval))
    finally:
        seen.close()


@registry_group.command("promote")
@click.argument("model")
@click.option("--to", "alias", required=True, metavar="ALIAS", help="The alias that is moved.")
@click.option(
    "--attestation",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A signed verdict on the version's file (fpverify sign). May be repeated.",
)
@click.option(
    "--trust",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="KEY.pub",
    help="Whose signature counts. May be repeated.",
)
@click.option(
    "-f",
    "--fingerprints",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="By each of which there must be a verdict.  [default: at least one verdict, by any]",
)
@click.option(
    "--accept",
    multiple=True,
    type=click.Choice([str(Verdict.UNRELATED), str(Verdict.INCONCLUSIVE)]),
    default=[str(Verdict.UNRELATED)],
    show_default=True,
    help="Verdicts that are good enough. May be repeated.",
)
@_URI
def promote_command(
    model: str,
    alias: str,
    attestation: tuple[Path, ...],
    trust: tuple[Path, ...],
    fingerprints: tuple[Path, ...],
    accept: tuple[str, ...],
    tracking_uri: str | None,
) -> None:
    """Move an alias to a version, behind signed verdicts alone.

    MODEL is NAME/VERSION. The version's file is downloaded, and its SHA-256 must be the one that the verdict is about.

    Exit code: 0 if the alias was moved; 2 if it was not.
    """
    from fpverify.registry import gate
    from fpverify.registry.mlflow import Registry

    registry = Registry(tracking_uri)
    loaded: Any = gate.load_fingerprints(fingerprints) if fingerprints else None
    version = registry.find(model)
    statements = gate.promote(registry, version, alias, attestation, trust, accept=accept, fingerprints=loaded)
    for one in statements:
        click.echo(f"verdict      {one.verdict}, signed by {one.signer}")
    click.echo(f"alias        {alias} is {version}")
