"""Commands on saved results: `report`, `recheck`."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from fpverify.commands.progress import Progress, loudness_options
from fpverify.commands.shared import EXIT_CODES, EXIT_NO_VERDICT, OUTPUTS, format_option, keep_evidence, write_reports
from fpverify.errors import PolicyError, ResultError


@click.command("report")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-f",
    "--fingerprint",
    type=click.Path(path_type=Path),
    help="By which it was judged: an HTML report then shows the keys.",
)
@click.option(
    "--starts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The images from which the keys were made, if the owner shows them (fpverify-generator starts): an HTML "
    "report then shows them beside the keys. Needs --fingerprint.",
)
@format_option()
@OUTPUTS
def report_command(
    result: Path, fingerprint: Path | None, starts: Path | None, style: str | None, outputs: tuple[Path, ...]
) -> None:
    """Write a saved verdict in another format.

    RESULT is what `verify` or `scan` wrote with `--format json`, for one suspect or several. Nothing is asked again,
    and nothing is checked: `recheck` does that.
    """
    from fpverify.reports import FORMATS, Format
    from fpverify.saved import load_judged

    if starts is not None and fingerprint is None:
        raise PolicyError("they say nothing without --fingerprint", culprit="--starts")
    keep_evidence(outputs, (result, *(path for path in (fingerprint, starts) if path is not None)))
    found = load_judged(result)
    if isinstance(found, list):
        if fingerprint is not None:
            raise PolicyError("keys are shown for one suspect", culprit="--fingerprint", found=f"{len(found)} rows")
        rows = found
        write_reports(lambda form: form.many(rows), style, outputs)
        return
    loaded: Any = None
    images: Any = None
    if fingerprint is not None:
        from fpverify.fingerprint import load_fingerprint

        loaded = load_fingerprint(fingerprint)
    if starts is not None:
        from fpverify.starts import load_starts

        images = load_starts(starts, loaded)

    def written(form: Format) -> str:
        if loaded is not None and form is FORMATS["html"]:
            from fpverify.reports import as_html

            return as_html.result(found, loaded, images)
        return form.result(found)

    write_reports(written, style, outputs)


@click.command("recheck")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--suspect", type=click.Path(path_type=Path), help="Where it lies now.  [default: where it lay]")
@click.option(
    "-f", "--fingerprint", type=click.Path(path_type=Path), help="Where it lies now.  [default: where it lay]"
)
@loudness_options
def recheck_command(result: Path, suspect: Path | None, fingerprint: Path | None) -> NoReturn:
    """Judge a suspect again, and say whether verdict and answers are those of a saved result.

    RESULT is what `verify --format json` wrote. The files must be the same, byte by byte; policy and contract are those
    of the result. Panels, twins and corrections are weighed again by what the result holds of them; commitments,
    signatures and timestamps are not checked.

    Exit code: that of the verdict (0, 3 or 4) if everything is the same; 2 if anything is not.
    """
    from fpverify.rechecking import recheck
    from fpverify.saved import load_result

    saved = load_result(result)
    with Progress("asking again"):
        found = recheck(saved, suspect, fingerprint)
    for line in found.lines:
        click.echo(line)
    if not found.same:
        raise ResultError("judged again, it is not the same", culprit=result)
    sys.exit(EXIT_CODES.get(saved.verdict, EXIT_NO_VERDICT))
