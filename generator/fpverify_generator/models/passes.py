"""How many images are asked in one pass."""

from collections.abc import Iterator

import torch

MOST, VALUES = 512, 2**20
"""Images of one pass, and the values of their pixels, at most: what a network computes of more leaves the processor's
caches, and takes gigabytes where images are large."""


def at_once(values: int) -> int:
    """Return how many images of so many values one pass takes."""
    return max(1, min(MOST, VALUES // max(1, values)))


MOST_SENT, VALUES_SENT = 1000, 2**24
"""Images of one piece of work, and the values of their pixels, at most: they are sent to another process."""


def sent_at_once(values: int) -> int:
    """Return how many images of so many values one piece of work takes."""
    return max(1, min(MOST_SENT, VALUES_SENT // max(1, values)))


def in_passes(inputs: torch.Tensor, device: str = "cpu") -> Iterator[torch.Tensor]:
    """Yield `(n, C, H, W)` images on a device, as many at a time as one pass takes, channel by channel within a pixel.

    Convolutions of that layout take half of the time.
    """
    for chunk in inputs.split(at_once(inputs[0].numel())):
        yield chunk.to(device, memory_format=torch.channels_last)
