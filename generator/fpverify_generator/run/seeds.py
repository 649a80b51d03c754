"""One run's seed gives each random step a seed of its own, so that no step depends on another's draws."""

import hashlib

import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """Return the seed of one named step.

    Args:
        seed: the run's seed.
        names: what the step is, from the general to the particular.

    Returns:
        An integer below 2^63, the same on every machine.
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator for one named step; draws are moved to the device, so that devices agree."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))
