"""Models that an owner already has, from files: surrogates, references and null models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fpverify.text import one_line
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import SourceError
from fpverify_generator.models.ensembles import LabelModel
from fpverify_generator.models.source import SOURCES, Source, load_source, require_better_than_chance


@dataclass(frozen=True)
class Given:
    """A model from a file."""

    name: str
    """The file's."""
    sha256: str
    """Its digest."""
    accuracy: float
    """On the images by which it was loaded."""
    model: Source
    """It is asked for labels alone; one that is none of the owner's classes is -1."""

    @property
    def group(self) -> str:
        """Return what the fingerprint's file calls it."""
        return f"file {one_line(self.name, 80)}, SHA-256 {self.sha256[:16]}"


@dataclass(frozen=True)
class Folders:
    """Folders of an owner's models, by what they are for; None for none."""

    surrogates: Path | None = None
    """Models that were made from the source."""
    references: Path | None = None
    """Models of the same task that were made without it."""
    nulls: Path | None = None
    """The like, for the p-value alone."""


NO_FOLDERS = Folders()
"""Of an owner who has no models but the source."""


@dataclass(frozen=True)
class GivenModels:
    """An owner's models, by what they are for; none is there twice."""

    surrogates: tuple[Given, ...] = ()
    references: tuple[Given, ...] = ()
    nulls: tuple[Given, ...] = ()


class FromFile(LabelModel):
    """A model from a file as a member of an ensemble that is asked for labels."""

    def __init__(self, given: Given) -> None:
        """Take a model."""
        super().__init__()
        self.given = given

    def labels(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return its labels."""
        return self.given.model.labels(inputs)

    def extra_repr(self) -> str:
        """Return what tells it from others."""
        return self.given.group


def parted_by_use(given: Sequence[Given]) -> dict[str, list[Given]]:
    """Return models by role: those with weights serve CEM, the others choose and calibrate in turn."""
    answering = [one for one in given if one.model.module is None]
    return {
        "cem": [one for one in given if one.model.module is not None],
        "selection": answering[::2],
        "calibration": answering[1::2],
    }


def as_network(given: Given) -> nn.Module:
    """Return a model as a member of an ensemble: with its weights where its file holds them."""
    return FromFile(given) if given.model.module is None else given.model.module


def load_given(
    folders: Folders,
    data: DataSet,
    source: Source,
    device: str = "cpu",
    log: Callable[[str], None] = lambda _: None,
) -> GivenModels:
    """Load the models of an owner's folders.

    Args:
        folders: files of the kinds that a source may have.
        data: labelled images that none of them need have seen; they pick how each is read.
        source: the owner's model, which may not be among them.
        device: `cpu` or `cuda`.
        log: takes lines about how each is read.

    Returns:
        The models, in each folder by name.

    Raises:
        SourceError: if a folder holds none, one cannot be loaded, is right no more often than by chance, is the source,
            or is there twice.
    """
    found: list[Given] = []
    pools: dict[str, tuple[Given, ...]] = {}
    for role, folder in vars(folders).items():
        pools[role] = ()
        for file in [] if folder is None else model_files(folder):
            model = load_source(file, data, device, partial(_named, log, file.name))
            if _same(model, source, data):
                raise SourceError("is the source itself: no model may have two roles", culprit=file)
            for other in found:
                if _same(model, other.model, data):
                    raise SourceError(f"is the same model as {other.name}", culprit=file, hint="take one of them away")
            accuracy = require_better_than_chance(model, data, str(file))
            log(f"{file.name}: accuracy {accuracy:.1%} on {len(data)} images")
            found.append(Given(file.name, model.sha256 or "", accuracy, model))
            pools[role] += (found[-1],)
    return GivenModels(**pools)


def model_files(folder: Path) -> list[Path]:
    """Return a folder's models, by name.

    Raises:
        SourceError: if there is none.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SOURCES) if folder.is_dir() else []
    if not files:
        raise SourceError(culprit=folder, expected=f"a folder of models ({' or '.join(SOURCES)})", found="none")
    return files


def _same(one: Source, other: Source, data: DataSet) -> bool:
    """Say whether two are one model: files of one digest may keep other weights in files beside them.

    A file that holds all of its weights is one model however it is read: the source has a contract that pools have not.
    """
    if one.sha256 != other.sha256:
        return False
    return not (one.beside or other.beside) or torch.equal(one.labels(data.inputs), other.labels(data.inputs))


def _named(log: Callable[[str], None], name: str, line: str) -> None:
    log(f"{name}: {line}")
