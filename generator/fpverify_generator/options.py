"""Options that several commands of the owner's command line share."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fpverify_generator.presets import Preset

DEVICE = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random step."
)
PRESET = click.option(
    "--preset",
    default="digits",
    show_default=True,
    help="Sizes and settings: digits, quick, cifar10-small, cifar10, backbone, backbone-frozen, or a TOML file of "
    "one's own.",
)
RECIPE = click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="TOML file: how networks are trained, in place of the preset's recipe.",
)
FAMILY = click.option(
    "--family",
    metavar="NAME|FILE.py:NAME|timm:NAME,…",
    help="Architectures: small, residual-small, residual, efficientnet-lite; a Family in a Python file of one's own; "
    "or one to four networks of timm.",
)
WEIGHTS = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="What a network of timm begins with: .safetensors or a state_dict. May be repeated, in their order.",
)
SOURCE_CONTRACT = click.option(
    "--source-contract",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the source expects, where its file does not say it (TOML or JSON), as for `fpverify verify --contract`.",
)
SOURCE_WEIGHTS = click.option(
    "--source-weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights of a source that is FILE.py:NAME: .safetensors or a state_dict.",
)
OUTPUT = click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
CACHE = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of finished work, from which a killed run resumes.  [default: beside the output]",
)

JOBS = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that train at the same time.  [default: one a core, with CUDA one a GPU]",
)


def contract_of(path: Path | None) -> dict[str, Any]:
    """Return what the file of --source-contract says; nothing without one."""
    from fpverify.suspects.options import load_contract

    return {} if path is None else load_contract(path)


def seconds(text: str) -> float:
    """Read a time: `8h`, `90min` or `30s`."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(h|min|s)", text.strip().lower())
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{text!r} is no time; expected 8h, 90min or 600s, say")
    return float(found[1]) * {"h": 3600, "min": 60, "s": 1}[found[2]]


def size_of(text: str) -> tuple[int, int]:
    """Read a height and a width in pixels: `224x320`, or `224` for a square."""
    parts = text.lower().split("x")
    sizes = [int(part) for part in parts if re.fullmatch("[0-9]{1,5}", part)]
    if len(sizes) != len(parts) or len(sizes) > 2 or not all(0 < size < 2**16 for size in sizes):
        raise click.BadParameter(f"{text!r} is no size; expected 224x320 (height x width), say, or 224 for a square")
    return sizes[0], sizes[-1]


SIZE = click.option(
    "--size",
    type=size_of,
    metavar="HEIGHTxWIDTH",
    help="Bring the images of a folder to this size: scaled, then cut around their middle.",
)


NETWORKS = (DEVICE, SEED, PRESET, RECIPE, FAMILY, WEIGHTS, JOBS)
"""Options that say which networks are trained, and where."""


def _with(command: Callable[..., None], *options: Callable[..., Any]) -> Callable[..., None]:
    """Give a command options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def sized(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what is built."""
    options = (
        click.option("--data", required=True, metavar="digits|NPZ|IMAGEFOLDER", help="The owner's labelled images."),
        click.option(
            "--source",
            "source_file",
            type=click.Path(path_type=Path),
            metavar="FILE|FILE.py:NAME",
            help="The owner's model: .pt2 (torch.export), .onnx as a label oracle, or what a function of a Python file "
            "makes. Without it, one is trained.",
        ),
        SOURCE_WEIGHTS,
        SOURCE_CONTRACT,
        SIZE,
        click.option(
            "--unseen",
            metavar="NPZ|IMAGEFOLDER",
            help="Labelled images of the same classes that the source never learnt: keys start from them, and "
            "simulated attackers have them.",
        ),
        click.option(
            "--query-data",
            metavar="NPZ|IMAGEFOLDER",
            help="Images without labels, such as public ones: some simulated attackers have these alone, with the "
            "source's answers.",
        ),
        click.option(
            "--private-images",
            is_flag=True,
            default=None,
            help="State that nobody else has the images that the source learnt: no model is trained on them. The "
            "fingerprint is then no evidence against a model that learnt from them without the source.",
        ),
        click.option(
            "--surrogate-models",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Models that were made from the source, as surrogates beside those that are trained.",
        ),
        click.option(
            "--reference-models",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Models of others for the same classes, as references beside those that are trained.",
        ),
        click.option(
            "--null-models",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Models of others for the same classes (.onnx or .pt2), as null models beside those that are trained.",
        ),
        click.option(
            "--surrogates", type=click.IntRange(min=0), help="Surrogates in all; half for CEM, the rest held out."
        ),
        click.option("--references", type=click.IntRange(min=0), help="References in all, shared out likewise."),
        click.option("--nulls", type=click.IntRange(min=0), help="Null models, for the p-value."),
        click.option("--keys", type=click.IntRange(min=1), help="Inputs in the fingerprint."),
        *NETWORKS,
    )
    return _with(command, *options)


def trained(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what trains networks on images, and can be resumed."""
    return _with(command, SIZE, *NETWORKS, CACHE)


def preset_of(
    preset: str, recipe: Path | None, family: str | None, weights: tuple[Path, ...], **sizes: int | None
) -> "Preset":
    """Return the preset that the options name and change."""
    from fpverify_generator.presets import load_preset, split_roles

    given: dict[str, Any] = {name: value for name, value in sizes.items() if value is not None}
    for pool in ("surrogates", "references"):
        if pool in given:
            given[pool] = split_roles(given[pool])
    return replace(load_preset(preset, recipe, family, weights), **given)


def require_source(unseen: str | None, source_file: Path | None) -> None:
    """Refuse --unseen without a source that never learnt it."""
    if unseen is not None and source_file is None:
        raise click.UsageError("--unseen says what a given source never learnt: give --source too")
