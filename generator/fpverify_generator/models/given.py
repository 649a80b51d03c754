"""Models that an owner already has, as null models: files of other people's classifiers of the same task."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

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
    module: nn.Module
    """From `(n, C, H, W)` to `(n, classes)`, 1 at the model's label and 0 elsewhere."""

    @property
    def group(self) -> str:
        """Return what the fingerprint's file calls it."""
        return f"file {one_line(self.name, 80)}, SHA-256 {self.sha256[:16]}"


class Labels(nn.Module):
    """A classifier that is only asked for labels, as a network."""

    def __init__(self, source: Source, classes: int) -> None:
        super().__init__()
        self.source, self.classes = source, classes

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return one-hot rows."""
        return nn.functional.one_hot(self.source.labels(inputs), self.classes).float().to(inputs.device)


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
    files = sorted(path for path in folder.iterdir() if path.suffix in SOURCES) if folder.is_dir() else []
    if not files:
        raise SourceError(culprit=folder, expected=f"a folder of models ({' or '.join(SOURCES)})", found="none")
    found: dict[str, Given] = {}
    for file in files:
        model = load_source(file, data, device, partial(_named, log, file.name))
        digest = model.sha256 or ""
        if digest == source.sha256:
            raise SourceError("is the source itself: no model may have two roles", culprit=file)
        if digest in found:
            raise SourceError(f"is the same model as {found[digest].name}", culprit=file, hint="take one of them away")
        accuracy = require_better_than_chance(model, data, str(file))
        log(f"{file.name}: accuracy {accuracy:.1%} on {len(data)} images")
        found[digest] = Given(file.name, digest, Labels(model, len(data.classes)))
    return list(found.values())


def _named(log: Callable[[str], None], name: str, line: str) -> None:
    log(f"{name}: {line}")
