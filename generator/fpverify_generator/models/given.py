"""Models that an owner already has, as null models: files of other people's classifiers of the same task."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from fpverify.text import one_line
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import SourceError
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


def load_given(
    folder: Path,
    data: DataSet,
    source: Source,
    device: str = "cpu",
    log: Callable[[str], None] = lambda _: None,
) -> list[Given]:
    """Load the models of a folder.

    Args:
        folder: files of the kinds that a source may have.
        data: labelled images that none of them need have seen; they pick how each is read.
        source: the owner's model, which may not be among them.
        device: `cpu` or `cuda`.
        log: takes lines about how each is read.

    Returns:
        The models, by name.

    Raises:
        SourceError: if there is none, one cannot be loaded, is right no more often than by chance, is the source, or is
            there twice.
    """
    files = model_files(folder)
    found: list[Given] = []
    for file in files:
        model = load_source(file, data, device, partial(_named, log, file.name))
        digest = model.sha256 or ""
        if _same(model, source, data):
            raise SourceError("is the source itself: no model may have two roles", culprit=file)
        for other in found:
            if _same(model, other.model, data):
                raise SourceError(f"is the same model as {other.name}", culprit=file, hint="take one of them away")
        accuracy = require_better_than_chance(model, data, str(file))
        log(f"{file.name}: accuracy {accuracy:.1%} on {len(data)} images")
        found.append(Given(file.name, digest, accuracy, model))
    return found


def model_files(folder: Path) -> list[Path]:
    """Return a folder's models, by name.

    Raises:
        SourceError: if there is none.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in SOURCES) if folder.is_dir() else []
    if not files:
        raise SourceError(culprit=folder, expected=f"a folder of models ({' or '.join(SOURCES)})", found="none")
    return files


def _same(one: Source, other: Source, data: DataSet) -> bool:
    """Say whether two are one model: files of one digest may keep other weights in files beside them."""
    return one.sha256 == other.sha256 and torch.equal(one.labels(data.inputs), other.labels(data.inputs))


def _named(log: Callable[[str], None], name: str, line: str) -> None:
    log(f"{name}: {line}")
