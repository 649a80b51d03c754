"""What asking an endpoint would take."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from fpverify.commands.shared import EXIT_NO_VERDICT
from fpverify.errors import PolicyError
from fpverify.result import InTurn, Policy
from fpverify.secrets import without_credentials


def dry_run(suspects: Sequence[str], fingerprint: Path, policy: Policy, in_turn: InTurn | None) -> NoReturn:
    """Say what asking an endpoint would take; that is no verdict, and the exit code says so."""
    from fpverify.fingerprint import load_fingerprint
    from fpverify.suspects.endpoints.description import load_endpoint
    from fpverify.suspects.opening import is_endpoint

    if len(suspects) > 1:
        raise PolicyError("it is for one endpoint at a time", culprit="--dry-run", found=f"{len(suspects)} suspects")
    if not is_endpoint(suspects[0]):
        raise PolicyError(
            culprit="--dry-run",
            expected="an endpoint: endpoint:FILE.toml, v2+https://… or mlflow+https://…",
            found=without_credentials(suspects[0]),
        )
    endpoint, loaded = load_endpoint(suspects[0]), load_fingerprint(fingerprint)
    controls = 0 if loaded.backing is None else len(loaded.backing.controls.labels)
    again = len(loaded) if policy.ask_twice else 0 if in_turn is not None else -(-len(loaded) // 2)
    queries, bound = len(loaded) + controls + again, "at least"
    if in_turn is not None:
        queries, bound = min(queries, in_turn.max_queries or queries), "at most"
    click.echo(
        f"No verdict: a dry run asks nothing.\n\n  queries  {queries} {bound}: {len(loaded)} keys, "
        f"{controls} control images, {again} keys a second time, one at a time"
    )
    if in_turn is not None:
        click.echo("           fewer, as soon as the verdict is decided (--sequential)")
    if endpoint.queries is not None and endpoint.queries < queries:
        click.echo(f"           queries = {endpoint.queries} allows fewer: it would end without a verdict")
    if endpoint.type == "v2":
        click.echo("           more, if the control images show that the stated preprocessing is wrong")
    if endpoint.price is not None:
        click.echo(f"  cost     {queries * endpoint.price:g}")
    sys.exit(EXIT_NO_VERDICT)
