"""A labelled image data set as tensors, and its split into parts that share no image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

from fpverify_generator.data.store import Inputs, taken, whole
from fpverify_generator.errors import DataError
from fpverify_generator.run.seeds import generator_for

MIN_SIDE = 2
"""Pixels a side that an image has at least: the networks halve it."""


@dataclass(frozen=True)
class DataSet:
    """Labelled images. Rows with the same `images` number are views of one image and never part."""

    inputs: Inputs
    """`(n, C, H, W)` float32 in [0, 1]."""
    labels: torch.Tensor
    """`(n,)` int64, indices into `classes`."""
    images: torch.Tensor
    """`(n,)` int64, which image a row shows."""
    classes: tuple[str, ...]
    """Class names in label order."""

    def __post_init__(self) -> None:
        check(self)

    def __len__(self) -> int:
        return len(self.inputs)

    def rows(self, index: torch.Tensor | slice) -> "DataSet":
        """Return some rows: a copy for an `(m,)` tensor of row numbers, a view for a slice or images in a file.

        Raises:
            DataError: if there are none.
        """
        part = object.__new__(DataSet)  # its rows were checked here
        object.__setattr__(part, "inputs", taken(self.inputs, index))
        for name in ("labels", "images"):
            object.__setattr__(part, name, getattr(self, name)[index])
        object.__setattr__(part, "classes", self.classes)
        if len(part) == 0:
            raise DataError("there is no image", culprit="data")
        return part

    @property
    def pixels(self) -> torch.Tensor:
        """Return all images in memory: for few of them."""
        return whole(self.inputs)

    @cached_property
    def targets(self) -> torch.Tensor:
        """Return the true labels as `(n, classes)` one-hot float32 rows."""
        return torch.nn.functional.one_hot(self.labels, len(self.classes)).float()


def check(data: DataSet) -> None:
    """Check what every later step relies on.

    Raises:
        DataError: for a wrong shape or type, NaN, values out of [0, 1], labels out of range, names of classes that are
            given twice, or no image at all.
    """
    inputs, labels, count = data.inputs, data.labels, len(data.classes)
    repeated = [name for name, number in Counter(data.classes).items() if number > 1]
    if repeated:
        raise DataError(
            culprit="data", expected="a different name for each class", found=f"'{repeated[0]:.80}' more than once"
        )
    if inputs.ndim != 4 or inputs.dtype != torch.float32:
        raise DataError(
            culprit="data", expected="float32 inputs (n, C, H, W)", found=f"{inputs.dtype} {tuple(inputs.shape)}"
        )
    if labels.shape != inputs.shape[:1] or labels.dtype != torch.int64 or data.images.shape != labels.shape:
        raise DataError(
            culprit="data", expected=f"one integer label per input ({len(inputs)})", found=tuple(labels.shape)
        )
    if len(inputs) == 0:
        raise DataError("there is no image", culprit="data")
    if min(inputs.shape[1:]) == 0 or min(inputs.shape[2:]) < MIN_SIDE:
        raise DataError(
            culprit="data",
            expected=f"images of at least {MIN_SIDE}x{MIN_SIDE} pixels",
            found=f"{inputs.shape[3]}x{inputs.shape[2]}",
        )
    if isinstance(inputs, torch.Tensor):  # whole numbers in a file lie in [0, 1] once they are scaled
        _check_values(inputs)
    if int(labels.min()) < 0 or int(labels.max()) >= count:
        raise DataError(
            f"labels must lie in 0..{count - 1}", culprit="data", found=f"{int(labels.min())}..{int(labels.max())}"
        )


def _check_values(inputs: torch.Tensor) -> None:
    if not bool(torch.isfinite(inputs).all()):
        raise DataError("inputs hold NaN or infinite values", culprit="data", hint="remove or repair those images")
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0 or high > 1:
        raise DataError(
            culprit="data", expected="inputs in [0, 1]", found=f"[{low:g}, {high:g}]", hint="scale them first"
        )


def require_every_class(data: DataSet, where: str) -> None:
    """Check that each class has an image.

    Raises:
        DataError: naming the first class without one.
    """
    counts = torch.bincount(data.labels, minlength=len(data.classes))
    if len(data.classes) < 2:
        raise DataError(culprit=where, expected="two classes or more", found=len(data.classes))
    if int(counts.min()) == 0:
        name = data.classes[int(counts.argmin())]
        raise DataError(f"class '{name}' has no image", culprit=where, hint="add some, or leave the class out")


def some(data: DataSet, count: int, seed: int, name: str) -> DataSet:
    """Return so many images, drawn at random; all of them where there are no more.

    Args:
        data: what to draw from.
        count: how many.
        seed: the run's seed.
        name: which draw this is.
    """
    if len(data) <= count:
        return data
    order = torch.randperm(len(data), generator=generator_for(seed, "some", name))
    return data.rows(order[:count].sort().values)


def split(data: DataSet, shares: Sequence[float], seed: int, name: str) -> list[DataSet]:
    """Split as `split_rows` does, into copies of the parts."""
    return [data.rows(index) for index in split_rows(data, shares, seed, name)]


def split_rows(data: DataSet, shares: Sequence[float], seed: int, name: str) -> list[torch.Tensor]:
    """Split by image, at random, into parts that share no image.

    Args:
        data: what to split.
        shares: fractions of the images, summing to 1.
        seed: the run's seed.
        name: which split this is, so that two splits of one run differ.

    Returns:
        `(m,)` ascending row numbers for each share, in that order.

    Raises:
        DataError: if a part would be empty.
    """
    images = data.images.unique()
    order = images[torch.randperm(len(images), generator=generator_for(seed, "split", name))]
    edges = np.round(np.cumsum([0.0, *shares]) * len(images)).astype(int)
    parts = []
    for start, stop in pairwise(edges):
        if stop <= start:
            raise DataError(f"{len(images)} images are too few to split into {len(shares)} parts", culprit="data")
        parts.append(torch.isin(data.images, order[start:stop]).nonzero()[:, 0])
    return parts
