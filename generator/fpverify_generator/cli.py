"""The owner's command line: `build` makes a fingerprint; `demo`, `attack` and `study` put it to the test."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fpverify.errors import FpverifyError
from fpverify.text import one_line
from fpverify_generator import __version__
from fpverify_generator.options import (
    CACHE,
    DEVICE,
    FAMILY,
    JOBS,
    OUTPUT,
    PRESET,
    RECIPE,
    SEED,
    SIZE,
    SOURCE_CONTRACT,
    SOURCE_WEIGHTS,
    WEIGHTS,
    contract_of,
    preset_of,
    require_source,
    seconds,
    sized,
    trained,
)

if TYPE_CHECKING:
    pass

NO_RESULT = 2
"""Exit code of a run that could not do its job; 1 would be a crash."""

DEBUG = "FPVERIFY_DEBUG"
"""Environment variable that has the meaning of `--debug`."""


class _Errors(click.Group):
    """Turns each error, expected or not, into one line on stderr and exit code 2."""

    def main(self, *args: Any, **settings: Any) -> Any:
        if sys.stdout is None or sys.stderr is None:
            # what the system opens next would get its number, and be written to by whoever prints
            _fail("standard output or standard error is closed; redirect it to /dev/null instead")
        debug = os.environ.get(DEBUG, "") not in ("", "0")
        try:
            return super().main(*args, **settings)
        except SystemExit as stop:
            # click's own exit code for an interrupt or a closed pipe
            if stop.code != 1:
                raise
            _fail("interrupted, or the output was closed")
        except click.exceptions.Exit:
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence
            _fail(_describe(error), error if debug else None)

    def invoke(self, ctx: click.Context) -> Any:
        debug = bool(ctx.params.get("debug"))
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort) as error:
            message = "interrupted; finished work stays in the cache, and the same command goes on from there"
            _fail(message, error if debug else None)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            _fail(_describe(error), error if debug else None)


def _describe(error: Exception) -> str:
    """Say in one line what went wrong."""
    if isinstance(error, FpverifyError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return "out of memory: give fewer or smaller images, or a smaller --preset"
    first = (str(error).strip().splitlines() or [""])[0]
    name = type(error).__name__
    return f"unexpected {name}{f': {first:.300}' if first else ''}; for its traceback: fpverify-generator --debug ..."


def _fail(message: str, error: BaseException | None = None) -> NoReturn:
    """Say why there is no result, after the traceback if an error is given, and exit with code 2."""
    with contextlib.suppress(Exception):
        if error is not None:
            click.echo("".join(traceback.format_exception(error)), err=True)
        click.echo(f"fpverify-generator: error: {one_line(message, 2000)}", err=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # Python would try again when it ends, complain, and exit with another code.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(NO_RESULT)


def _progress() -> Callable[[str], None]:
    began = time.perf_counter()
    return lambda line: click.echo(f"[{time.perf_counter() - began:5.1f} s] {line}", err=True)


@click.group(cls=_Errors)
@click.version_option(__version__, prog_name="fpverify-generator")
@click.option("--debug", is_flag=True, envvar=DEBUG, help="Show the traceback of an error too.")
def main(debug: bool) -> None:
    """Make the fingerprint of an image classifier, for fpverify to verify; and put it to the test."""


@main.command()
@sized
@OUTPUT
@click.option(
    "--weak-models", is_flag=True, help="Go on where the preset's networks are much less accurate than the source."
)
@click.option(
    "--budget",
    type=seconds,
    metavar="8h|90min|600s",
    help="Time that the build may take: pools that take longer by estimate are made smaller, and what that costs is "
    "said.",
)
@CACHE
def build(
    data: str,
    source_file: Path | None,
    source_weights: Path | None,
    source_contract: Path | None,
    size: tuple[int, int] | None,
    unseen: str | None,
    query_data: str | None,
    surrogate_models: Path | None,
    reference_models: Path | None,
    null_models: Path | None,
    output: Path,
    weak_models: bool,
    budget: float | None,
    device: str,
    seed: int,
    cache: Path | None,
    jobs: int | None,
    **sizes: Any,
) -> None:
    """Build the fingerprint of a source model.

    Without --source, a source is trained on the data and written beside the fingerprint as .source.onnx.
    """
    # PyTorch takes seconds to load: only a command that trains pays for it.
    from fpverify_generator.commands import build_command
    from fpverify_generator.models.given import Folders
    from fpverify_generator.run.context import open_run

    folders = Folders(surrogate_models, reference_models, null_models)
    require_source(unseen, source_file)
    wanted, contract = preset_of(**sizes), contract_of(source_contract)
    work = open_run(cache or output.with_name(output.name + ".cache"), seed, device, jobs, log=_progress())
    click.echo(
        build_command(
            data,
            source_file,
            output,
            wanted,
            work,
            contract,
            weak_models,
            size,
            unseen,
            folders,
            budget,
            source_weights,
            query_data,
        )
    )


@main.command()
@sized
def plan(
    data: str,
    source_file: Path | None,
    source_weights: Path | None,
    source_contract: Path | None,
    size: tuple[int, int] | None,
    unseen: str | None,
    query_data: str | None,
    surrogate_models: Path | None,
    reference_models: Path | None,
    null_models: Path | None,
    device: str,
    seed: int,
    jobs: int | None,
    **sizes: Any,
) -> None:
    """Say what `build` would train and about how long it would take; nothing is trained or written."""
    import tempfile

    from fpverify_generator.commands import plan_command
    from fpverify_generator.models.given import Folders
    from fpverify_generator.run.context import open_run

    folders = Folders(surrogate_models, reference_models, null_models)
    require_source(unseen, source_file)
    wanted, contract = preset_of(**sizes), contract_of(source_contract)
    with tempfile.TemporaryDirectory() as folder:
        work = open_run(folder, seed, device, jobs, log=_progress())
        plan = plan_command(
            data, source_file, wanted, work, contract, size, unseen, folders, source_weights, query_data
        )
        click.echo(plan)


@main.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for all results.")
@DEVICE
@SEED
@PRESET
@CACHE
@JOBS
def demo(out: Path, device: str, seed: int, preset: str, cache: Path | None, jobs: int | None) -> None:
    """Fingerprint a classifier of handwritten digits, steal it in many ways, and judge every suspect."""
    from fpverify_generator.commands import demo_command
    from fpverify_generator.presets import load_preset
    from fpverify_generator.run.context import open_run

    work = open_run(cache or out / "cache", seed, device, jobs, log=_progress())
    click.echo(demo_command(out, load_preset(preset), work))


@main.command()
def attacks() -> None:
    """List every removal attack: its name, its category and its configuration."""
    from fpverify_generator.attack_command import list_attacks

    click.echo(list_attacks())


@main.command()
@click.argument("name")
@click.option(
    "--source",
    "source_file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE|FILE.py:NAME",
    help="What is stolen: .pt2 (torch.export) or a function of a Python file, with its weights; .onnx as a black box.",
)
@SOURCE_WEIGHTS
@SOURCE_CONTRACT
@SIZE
@click.option("--data", required=True, metavar="digits|NPZ|IMAGEFOLDER", help="The attacker's labelled images.")
@OUTPUT
@click.option("--budget", type=click.IntRange(min=1), help="Queries that the source answers at most.")
@click.option(
    "--preset",
    help="Gives the attacker's networks and recipe, as for `build`.  [default: the first for images of this size]",
)
@RECIPE
@FAMILY
@WEIGHTS
@DEVICE
@SEED
@CACHE
def attack(
    name: str,
    source_file: Path,
    source_weights: Path | None,
    source_contract: Path | None,
    size: tuple[int, int] | None,
    data: str,
    output: Path,
    budget: int | None,
    preset: str | None,
    recipe: Path | None,
    family: str | None,
    weights: tuple[Path, ...],
    device: str,
    seed: int,
    cache: Path | None,
) -> None:
    """Steal a source by the removal attack NAME, and export the surrogate as ONNX; `attacks` lists the names."""
    from fpverify_generator.attack_command import attack_command
    from fpverify_generator.presets import load_preset
    from fpverify_generator.run.context import open_run

    if preset is None and (recipe or family or weights):
        raise click.UsageError("--recipe, --family and --weights change a preset: give --preset too")
    wanted = None if preset is None else load_preset(preset, recipe, family, weights)
    folder = cache or output.with_name(output.name + ".cache")
    work = open_run(folder, seed, device, 1, log=_progress())
    contract = contract_of(source_contract)
    click.echo(attack_command(name, source_file, data, output, budget, wanted, work, contract, size, source_weights))


@main.command()
@click.argument("fingerprint", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="digits|NPZ|IMAGEFOLDER",
    help="The images of which it was made: those of --unseen, where `build` had some.",
)
@OUTPUT
@SEED
@SIZE
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="The folder that `build` used.")
def starts(
    fingerprint: Path, data: str, output: Path, seed: int, size: tuple[int, int] | None, cache: Path | None
) -> None:
    """Write the ordinary images from which the keys of FINGERPRINT started, for `fpverify report --starts`."""
    from fpverify_generator.commands import starts_command
    from fpverify_generator.run.context import open_run

    work = open_run(cache or output.with_name(output.name + ".cache"), seed, log=_progress())
    click.echo(starts_command(fingerprint, data, output, work, size))


@main.command()
@click.option(
    "--data",
    required=True,
    metavar="digits|NPZ|IMAGEFOLDER",
    help="Labelled images of the task: yours, or public ones.",
)
@click.option(
    "--models",
    "count",
    type=click.IntRange(min=3),
    default=19,
    show_default=True,
    help="How many: 19 give a p-value of 0.05 at least, 49 one of 0.02, 99 one of 0.01.",
)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder.")
@trained
def panel(
    data: str,
    count: int,
    output: Path,
    size: tuple[int, int] | None,
    device: str,
    seed: int,
    cache: Path | None,
    jobs: int | None,
    **sizes: Any,
) -> None:
    """Train independent models, for `fpverify vet --panel`.

    Their recipes vary as those of a fingerprint's null models do. Train some on the kind of data that the fingerprint's
    owner has: mistakes that only models of such data share are seen by no others.
    """
    from fpverify_generator.commands import panel_command
    from fpverify_generator.run.context import open_run

    wanted = preset_of(**sizes)
    work = open_run(cache or output.with_name(output.name + ".cache"), seed, device, jobs, log=_progress())
    click.echo(panel_command(data, count, output, wanted, work, size))


@main.command()
@click.option("--data", required=True, metavar="digits|NPZ|IMAGEFOLDER", help="The owner's labelled images.")
@click.option(
    "--twins",
    "count",
    type=click.IntRange(min=3),
    default=20,
    show_default=True,
    help="How many: 20 give a p-value of 0.05 at least, 50 one of 0.02.",
)
@click.option(
    "--source",
    "source_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A source that is published already, as for `build`; the others are then trained like it as far as the preset "
    "is its recipe.",
)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder.")
@SOURCE_CONTRACT
@trained
def twins(
    data: str,
    count: int,
    source_file: Path | None,
    output: Path,
    source_contract: Path | None,
    size: tuple[int, int] | None,
    device: str,
    seed: int,
    cache: Path | None,
    jobs: int | None,
    **sizes: Any,
) -> None:
    """Train networks alike, and fingerprint each: for disputes (`fpverify verify --twins`).

    Publish one of them, chosen by a draw that is not yours.
    """
    from fpverify_generator.commands import twins_command
    from fpverify_generator.run.context import open_run

    wanted, contract = preset_of(**sizes), contract_of(source_contract)
    work = open_run(cache or output.with_name(output.name + ".cache"), seed, device, jobs, log=_progress())
    click.echo(twins_command(data, count, output, wanted, work, source_file, contract, size))


@main.command()
@click.option(
    "--preset",
    required=True,
    help="Size of the study: smoke, digits, cifar10-small, cifar10, backbone or backbone-frozen.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="For all but smoke and digits: the folder with train/CLASS/*.jpg and test/CLASS/*.jpg.",
)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--seed", "seeds", type=click.IntRange(min=0), multiple=True, help="May be repeated.  [default: the preset's]"
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask", "ray"]),
    default="local",
    show_default=True,
    help="Where the work is done; a cluster must share the output's folder.",
)
@click.option("--verdicts-only", is_flag=True, help="Leave out baselines and variants: the method's verdicts alone.")
@DEVICE
@CACHE
@JOBS
def study(
    preset: str,
    data: Path | None,
    output: Path,
    seeds: tuple[int, ...],
    engine: str,
    verdicts_only: bool,
    device: str,
    cache: Path | None,
    jobs: int | None,
) -> None:
    """Run every removal attack against every fingerprint; a killed study that is started again resumes."""
    from fpverify_generator.commands import study_command
    from fpverify_generator.run.context import open_run

    work = open_run(cache or output / "cache", 0, device, jobs, engine, _progress())  # type: ignore[arg-type]
    click.echo(study_command(preset, seeds, data, output, work, verdicts_only))


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def report(folder: Path) -> None:
    """Make the report of a study anew, from rows.jsonl and study.json in FOLDER; nothing is trained or judged."""
    from fpverify_generator.report import remake_report

    click.echo(remake_report(folder))
