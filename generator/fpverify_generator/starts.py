"""Finds the images from which keys started: those of the owner's that differ from a key by at most CEM's radius."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from fpverify.fingerprint import Fingerprint
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import DataError
from fpverify_generator.run.progress import Stage

LOOKED_AT = 256
"""Values of an image that are compared first; nearly every other image differs in one of them by more."""

CHUNK = 64
"""Images that are read at a time."""

TOLD = 50 * CHUNK
"""Images after which it says how far it is."""


def find_starts(fingerprint: Fingerprint, data: DataSet, log: Callable[[str], None]) -> NDArray[np.uint8]:
    """Return the image that each key started from, `(keys, H, W, C)`.

    Args:
        fingerprint: its method states the radius within which keys stay.
        data: the owner's images, of which it was made.
        log: is told how far it is.

    Raises:
        DataError: if the fingerprint states no radius, the images have another shape, or a key lies near none of them.
    """
    cem = fingerprint.method.get("cem")
    radius = cem.get("epsilon") if isinstance(cem, dict) else None
    if not isinstance(radius, float | int):
        raise DataError(
            "its keys were not made by CEM, so that nothing says how near they stayed", culprit="fingerprint"
        )
    keys = torch.from_numpy(np.array(fingerprint.inputs))
    if data.inputs.shape[1:] != keys.shape[1:]:
        expected, found = (" x ".join(map(str, shape[1:])) for shape in (keys.shape, data.inputs.shape))
        raise DataError(where="images", expected=f"{expected}, as the keys are", found=found, hint="give --size")
    within = radius + 1 / 255
    flat = keys.flatten(1)
    few = torch.linspace(0, flat.shape[1] - 1, min(LOOKED_AT, flat.shape[1])).long()
    best = torch.full((len(keys),), float("inf"))
    images = torch.zeros_like(keys)
    stage = Stage(log, "starts", len(data), "images compared")
    for first in range(0, len(data), CHUNK):
        some = data.inputs[first : first + CHUNK]
        near = (some.flatten(1)[:, None, few] - flat[None, :, few]).abs().amax(2) <= within
        for image, key in near.nonzero().tolist():
            away = float((some[image] - keys[key]).abs().max())
            if away < min(float(best[key]), within):
                best[key], images[key] = away, some[image]
        if first % TOLD == 0 or first + CHUNK >= len(data):
            stage.done(min(first + CHUNK, len(data)))
    if lost := int(best.isinf().sum()):
        raise DataError(
            f"{lost} of {len(keys)} keys started from none of these images",
            hint="give the images of which the fingerprint was made: those of --unseen, where build had some, and for "
            "digits the --seed of build",
        )
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
