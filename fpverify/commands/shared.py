"""What several commands share: options, exit codes, and how a report is written."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from fpverify.errors import OutputError
from fpverify.files import write_atomically
from fpverify.reports import FORMATS, Format
from fpverify.result import GRAVITY, NO_VERDICT, SUSPICIOUS, Judged, Policy, Verdict
from fpverify.sandbox.limits import GIBIBYTE, Limits
from fpverify.sandbox.parent import DEVICES

EXIT_UNRELATED = 0
"""The suspect is unrelated; any other command succeeded."""
EXIT_NO_VERDICT = 2
"""Something is wrong with the input or the output; click uses the same code for a wrong command line."""
EXIT_DERIVED = 3
"""The suspect is derived; `vet` refuses the fingerprint."""
EXIT_INCONCLUSIVE = 4
"""The evidence decides neither way."""
EXIT_FORBIDDEN = 5
"""With `--fail-on unrelated`: the suspect is unrelated."""

EXIT_CODES: dict[str, int] = {
    Verdict.UNRELATED: EXIT_UNRELATED,
    Verdict.DERIVED: EXIT_DERIVED,
    Verdict.INCONCLUSIVE: EXIT_INCONCLUSIVE,
}
"""Never 1, with which Python exits on an uncaught exception: a crash must not read as a verdict."""


FORMAT = click.option(
    "--format",
    "style",
    type=click.Choice([name for name, form in FORMATS.items() if form.every]),
    default=next(iter(FORMATS)),
    show_default=True,
    help=f"For {' or for '.join(form.readers for form in FORMATS.values() if form.every)}.",
)

FINGERPRINTS = click.option(
    "-f",
    "--fingerprints",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Fingerprints, or folders with them. May be repeated.",
)
CORRECTION = click.option(
    "--correction",
    type=click.Choice(["holm", "benjamini-hochberg", "none"]),
    default="holm",
    show_default=True,
    help="How the verdicts on several suspects are corrected for their number.",
)


def method_of(correction: str) -> str | None:
    """Return what the option --correction says."""
    return None if correction == "none" else correction


SIGNIFICANCE = click.option(
    "--significance",
    type=float,
    default=Policy.significance,
    show_default=True,
    metavar="P",
    help='Largest p-value at which "unrelated" is rejected.',
)

OUTPUTS = click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report here, not to stdout; its suffix says the format. May be repeated.",
)

FAIL_ON = click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice([*(str(verdict) for verdict in Verdict), SUSPICIOUS, "never"]),
    help="For gates: end with 0 unless the verdict is one of these. May be repeated. 'suspicious' are those that only "
    "the correction for many tests keeps from being derived. No verdict ends with 2, except for 'never'.  "
    "[default: an exit code for each verdict]",
)


def format_option() -> Callable[[Any], Any]:
    """Return the option for the format of a verdict."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(list(FORMATS)),
        help=f"The report's format.  [default: that of the suffix of -o, else {next(iter(FORMATS))}]",
    )


def exit_of(judged: Iterable[Judged], fail_on: tuple[str, ...]) -> int:
    """Return the exit code for rows; a gate that lets suspicious ones through says so on stderr.

    Args:
        judged: the rows.
        fail_on: as for `exit_code`.
    """
    outcomes: set[str] = set()
    rows = suspicious = 0
    for one in judged:  # once: each row is read from the disk
        outcomes.add(one.outcome)
        rows, suspicious = rows + 1, suspicious + one.suspicious
    if suspicious:
        outcomes.add(SUSPICIOUS)
    if suspicious and fail_on and not {SUSPICIOUS, Verdict.INCONCLUSIVE, "never"} & set(fail_on):
        click.echo(
            f"fpverify: {suspicious} of {rows} rows would be derived but for the correction for many tests, and pass: "
            f"--fail-on {SUSPICIOUS} stops at them",
            err=True,
        )
    return exit_code(outcomes, fail_on)


def exit_code(outcomes: Iterable[str], fail_on: Iterable[str]) -> int:
    """Return the exit code for verdicts.

    Args:
        outcomes: each a verdict, `NO_VERDICT`, or `SUSPICIOUS` besides.
        fail_on: the verdicts that are failures; none for all, `never` for nothing at all.

    Returns:
        That of the gravest: derived, no verdict, inconclusive, unrelated.
    """
    failures, found = set(fail_on), set(outcomes)
    if "never" in failures:
        return EXIT_UNRELATED
    if SUSPICIOUS in failures & found:  # each is inconclusive
        failures.add(str(Verdict.INCONCLUSIVE))
    codes = {**EXIT_CODES, NO_VERDICT: EXIT_NO_VERDICT}
    for outcome in GRAVITY:
        if outcome in found and (not failures or outcome in failures or outcome == NO_VERDICT):
            forbidden = outcome == Verdict.UNRELATED and outcome in failures
            return EXIT_FORBIDDEN if forbidden else codes[outcome]
    return EXIT_UNRELATED


def write_reports(
    written: Callable[[Format], str | Iterable[str]],
    style: str | None,
    outputs: tuple[Path, ...],
    rows: bool = False,
) -> None:
    """Write a report in each format that is wanted: to stdout where no file is named.

    Args:
        written: returns it in a format, or its parts.
        style: the format's name; None for that of each file's suffix.
        outputs: the files.
        rows: leave out the formats that are no rows: what one suspect without a verdict has no report in.

    Raises:
        OutputError: if one cannot be written.
    """
    by_suffix = {suffix: form for form in FORMATS.values() for suffix in form.suffixes}
    default = FORMATS[style or next(iter(FORMATS))]
    named = ((default if style else by_suffix.get(one.suffix.lower(), default), one) for one in outputs)
    wanted: list[tuple[Format, Path | None]] = [*named] or [(default, None)]
    for form, output in wanted:
        if form.rows or not rows:
            write(written(form), output)


CONTRACT = click.option(
    "--contract",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the suspect expects, where its file does not say it (TOML or JSON).",
)
CLASSES = click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The suspect's class names: one a line or a JSON list in the order of its outputs, a JSON object from its "
    "names to the fingerprint's, or a Hugging Face config.json.",
)


REQUIRE_SANDBOX = click.option(
    "--require-sandbox",
    is_flag=True,
    help="Judge nothing where the system cannot keep the suspect from your files, the network and other programs.",
)
TIMEOUT = click.option(
    "--timeout",
    type=float,
    default=Limits.seconds,
    show_default=True,
    metavar="S",
    help="Seconds that each model may take.",
)
MEMORY = click.option(
    "--memory",
    type=float,
    metavar="GIB",
    help="Address space that each model may take, in GiB.  [default: 4 and three times the model's size]",
)
DEVICE = click.option(
    "--device", type=click.Choice(DEVICES), default="cpu", show_default=True, help="Where models run."
)

TSA_ROOTS = click.option(
    "--tsa-roots",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PEM",
    help="Certificates of authorities whose timestamps count. May be repeated.",
)


def limits_of(timeout: float, memory: float | None, cpu_time: float | None = None, sandbox: bool = False) -> Limits:
    """Return the limits that options state; memory in GiB, times in seconds."""
    return Limits(seconds=timeout, memory=memory and memory * GIBIBYTE, cpu_seconds=cpu_time, sandbox=sandbox)


def panel_of(named: tuple[Path, ...]) -> list[Any]:
    """Return what `--panel` names: folders and files as they are, and what `module:name` imports."""
    from fpverify.suspects.callables import load_callable
    from fpverify.suspects.opening import is_callable_name

    return [load_callable(str(one)) if is_callable_name(one) else one for one in named]


def contract_options(contract: Path | None, classes: Path | None) -> dict[str, Any]:
    """Return what the files of `--contract` and `--classes` say of a suspect.

    Raises:
        PolicyError: if one cannot be read or makes no sense.
    """
    from fpverify.suspects.options import load_classes, load_contract

    options = {} if contract is None else load_contract(contract)
    return options if classes is None else {**options, **load_classes(classes)}


def keep_evidence(outputs: Iterable[Path], evidence: Iterable[Path]) -> None:
    """Refuse outputs of which one is one of the files that a report is about, or in one of the folders.

    Raises:
        OutputError: if it is, or no file can have this name.
    """
    from fpverify.documents import keep

    named = list(evidence)
    for output in outputs:
        keep(output, (*named, *(file for path in named if path.is_dir() for file in path.rglob("*"))))


def write(text: str | Iterable[str], output: Path | None) -> None:
    """Write a report, or its parts as they come.

    Without a report, an exit code that stands for a verdict must not be returned, so this fails.
    """
    parts = [text] if isinstance(text, str) else text
    if output is not None:
        try:
            write_atomically(output, (part.encode("utf-8", "backslashreplace") for part in parts))
        except OSError as error:
            raise OutputError(f"cannot write the report: {error.strerror or error}", culprit=output) from error
        return
    if sys.stdout is None:
        raise OutputError("stdout is closed: nowhere to write the report", hint="give -o FILE")
    try:
        encoding = sys.stdout.encoding
        for part in parts:
            sys.stdout.write(part.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more when it ends, and would complain about the same again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"cannot write the report: {error}", culprit="stdout") from error
