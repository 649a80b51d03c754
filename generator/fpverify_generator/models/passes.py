"""How many images are asked in one pass, and the passes."""

from collections.abc import Callable, Iterator

import torch

from fpverify_generator.data.store import Inputs, taken

MOST, VALUES = 512, 2**20
"""Images of one pass, and the values of their pixels, at most: what a network computes of more leaves the processor's
caches, and takes gigabytes where images are large."""

MOST_SENT, VALUES_SENT = 1000, 2**24
"""Images of one piece of work, and the values of their pixels, at most: they are sent to another process."""


def at_most(values: int, images: int = MOST, total: int = VALUES) -> int:
    """Return how many images of so many values are taken at once: so many, with so many values in all; at least one."""
    return max(1, min(images, total // max(1, values)))


def sent_at_once(values: int) -> int:
    """Return how many images of so many values one piece of work takes."""
    return at_most(values, MOST_SENT, VALUES_SENT)


def sent(inputs: Inputs) -> Iterator[Inputs]:
    """Yield images, as many at a time as one piece of work takes; those that lie in a file are not read."""
    size = sent_at_once(inputs.shape[1:].numel())
    return (taken(inputs, slice(start, start + size)) for start in range(0, len(inputs), size))


def in_passes(inputs: Inputs, device: str = "cpu") -> Iterator[torch.Tensor]:
    """Yield `(n, C, H, W)` images on a device, as many at a time as one pass takes, channel by channel within a pixel.

    Convolutions of that layout take half of the time.
    """
    for chunk in inputs.split(at_most(inputs[0].numel())):
        yield chunk.to(device, memory_format=torch.channels_last)


@torch.no_grad()
def answers_of(network: Callable[[torch.Tensor], torch.Tensor], inputs: Inputs, device: str = "cpu") -> torch.Tensor:
    """Return a network's answers about `(n, C, H, W)` images, a pass at a time, on the CPU."""
    return torch.cat([network(chunk).cpu() for chunk in in_passes(inputs, device)])
