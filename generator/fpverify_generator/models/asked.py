"""A source's answers to the owner's images: each is asked once, however many simulated attackers ask for it."""

from dataclasses import dataclass, field

import numpy as np
import torch

from fpverify_generator.data.store import Images, Inputs, marks_of

SPOTS = 64
"""Values of an image by which it is looked up; an image that is found is then compared as a whole."""


@dataclass(frozen=True)
class Asked:
    """Images that were asked, with the answers."""

    inputs: Inputs = field(repr=False)
    """`(n, C, H, W)` images."""
    labels: torch.Tensor = field(repr=False)
    """`(n,)` labels."""
    probabilities: torch.Tensor | None = field(repr=False)
    """`(n, classes)`; None for a source that gives labels alone."""
    places: dict[bytes, int] = field(repr=False)
    """An image's values at a few spots -> its row; of an image in a file, its digest."""

    @classmethod
    def of(cls, inputs: Inputs, labels: torch.Tensor, probabilities: torch.Tensor | None) -> "Asked":
        """Return answers, ready to be looked up; of images that have the same spots, the first is found."""
        places: dict[bytes, int] = {}
        for row, name in enumerate(_spots(inputs) if isinstance(inputs, torch.Tensor) else _marks(inputs)):
            places.setdefault(name, row)
        return cls(inputs, labels, probabilities, places)

    def rows(self, images: Inputs) -> torch.Tensor:
        """Return `(m,)`: of each of `(m, C, H, W)` images its row here, -1 where it was not asked."""
        if images.shape[1:] != self.inputs.shape[1:]:
            return torch.full((len(images),), -1)
        if isinstance(self.inputs, Images) or isinstance(images, Images):
            return torch.tensor([self.places.get(mark, -1) for mark in _marks(images)], dtype=torch.int64)
        found = torch.tensor([self.places.get(spots, -1) for spots in _spots(images)], dtype=torch.int64)
        for part, rows in zip(images.split(256), found.split(256), strict=True):
            same = (self.inputs[rows.clamp(min=0)] == part.to(self.inputs.device)).flatten(1).all(1)
            rows[~same] = -1
        return found


def _marks(images: Inputs) -> list[bytes]:
    marks = images.marks if isinstance(images, Images) else marks_of(images)
    return [mark.tobytes() for mark in marks]


def _spots(images: torch.Tensor) -> list[bytes]:
    flat = images.detach().flatten(1)
    places = torch.linspace(0, flat.shape[1] - 1, min(SPOTS, flat.shape[1])).long()
    return [row.tobytes() for row in np.ascontiguousarray(flat[:, places.to(flat.device)].cpu().numpy())]
