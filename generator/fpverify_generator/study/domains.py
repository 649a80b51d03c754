"""A study's images: the owner's half, the attacker's, a test split, and another domain for attackers without any."""

from dataclasses import dataclass
from pathlib import Path

import torch

from fpverify_generator.data.dataset import DataSet, split
from fpverify_generator.data.images import class_folders, read_images as load_images
from fpverify_generator.data.load import halves
from fpverify_generator.data.textures import textures
from fpverify_generator.errors import StudyError
from fpverify_generator.run.seeds import derive_seed, generator_for
from fpverify_generator.study.presets import StudyPreset


@dataclass(frozen=True)
class Domain:
    """A study's images; no image is in two of the first three parts."""

    owner: DataSet
    """The owner's half."""
    attacker: DataSet
    """The attacker's half."""
    test: DataSet
    """For accuracies alone."""
    foreign: DataSet
    """Rendered textures, for attackers who have none of the owner's domain."""


def load_domain(preset: StudyPreset, data: Path | None, seed: int, kept: Path | None = None) -> Domain:
    """Load a study's images.

    Args:
        preset: which, and how many.
        data: for `cifar10`, the folder with `train/CLASS/*.jpg` and `test/CLASS/*.jpg`.
        seed: of the run.
        kept: folder where many images are kept in a file; None to hold them in memory.

    Returns:
        The images.

    Raises:
        StudyError: if the folder is not given or not such a folder.
        DataError: if its images cannot be read.
    """
    if preset.domain == "digits":
        owner, attacker, test = halves(seed)
    else:
        if data is None:
            raise StudyError("--data is missing: give the folder that holds train/CLASS/*.jpg and test/CLASS/*.jpg")
        train = read_images(data / "train", preset.images, seed, preset.side, kept)
        owner, attacker = split(train, (0.5, 0.5), seed, "halves")
        test = read_images(data / "test", preset.tests, seed, preset.side, kept)
    shape = (owner.inputs.shape[1], owner.inputs.shape[2], owner.inputs.shape[3])
    return Domain(owner, attacker, test, textures(preset.foreign, shape, derive_seed(seed, "foreign")))


def read_images(folder: Path, count: int, seed: int, side: int = 0, kept: Path | None = None) -> DataSet:
    """Read a folder with one folder of images per class, by the rules of `fpverify_generator.data.images`.

    Args:
        folder: the folder.
        count: how many images to draw, as many of each class; 0 for all.
        seed: of the draw.
        side: pixels a side to which images are scaled; 0 to leave them as they are.
        kept: folder where many images are kept in a file; None to hold them in memory.

    Raises:
        StudyError: if there is no such folder.
        DataError: if a file in it is no image of that size.
    """
    if not folder.is_dir():
        raise StudyError(
            culprit=folder, expected="one folder of images per class", hint="unpack the data set and give its folder"
        )
    draw = generator_for(seed, "images", folder.name)
    files: list[Path] = []
    labels: list[int] = []
    folders = class_folders(folder)
    for label, entry in enumerate(folders):
        chosen = torch.randperm(len(entry.files), generator=draw)[: count // len(folders) if count else None]
        files += [entry.files[number] for number in chosen.tolist()]
        labels += [label] * len(chosen)
    inputs = load_images(files, size=(side, side) if side else None, folder=kept)
    names = tuple(entry.name for entry in folders)
    return DataSet(inputs, torch.tensor(labels), torch.arange(len(inputs)), names)
