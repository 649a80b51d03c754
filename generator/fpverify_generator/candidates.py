"""Runs CEM over the start points, in chunks that are cached and may run on several processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fpverify_generator.cache import digest
from fpverify_generator.cem import Cem, optimise
from fpverify_generator.data import DataSet
from fpverify_generator.ensembles import Ensemble
from fpverify_generator.seeds import generator_for
from fpverify_generator.source import Source
from fpverify_generator.workshop import Workshop, finish

CHUNK = 100
"""Start points optimised at once: one chunk is one piece of cached work."""


@dataclass(frozen=True)
class Optimisation:
    """CEM over one chunk of start points, as a piece of work."""

    inputs: torch.Tensor
    """`(n, C, H, W)` start points."""
    truth: torch.Tensor
    """`(n,)` their true labels."""
    number: int
    """The chunk's, of which dropout's draws depend."""
    source: Source
    """The owner's model."""
    surrogates: Sequence[nn.Module]
    """CEM's surrogates."""
    references: Sequence[nn.Module]
    """CEM's references."""
    config: Cem
    """Objective and optimiser."""
    seed: int
    """The run's seed."""
    device: str
    """`cpu` or `cuda`."""

    def __call__(self) -> dict[str, torch.Tensor]:
        """Return the candidates."""
        ensembles = Ensemble(self.surrogates, self.device), Ensemble(self.references, self.device)
        generator = generator_for(self.seed, "cem", self.number)
        return {"candidates": optimise(self.inputs, self.truth, self.source, *ensembles, self.config, generator)}


def make_candidates(
    starts: DataSet,
    source: Source,
    surrogates: Sequence[nn.Module],
    references: Sequence[nn.Module],
    config: Cem,
    work: Workshop,
) -> torch.Tensor:
    """Run CEM over the start points, a cached chunk at a time; returns `(n, C, H, W)` candidates."""
    everyone = digest(source.sha256, *surrogates, *references)
    pieces = {}
    for number, chunk in enumerate(zip(starts.inputs.split(CHUNK), starts.labels.split(CHUNK), strict=True)):
        optimise_chunk = Optimisation(*chunk, number, source, surrogates, references, config, work.seed, work.device)
        pieces[digest("cem", work.device, work.seed, number, config, *chunk, everyone)] = optimise_chunk
    found: list[torch.Tensor] = []
    for result in finish(pieces, work):
        found.append(result["candidates"])
        work.say(f"CEM: {sum(map(len, found))} of {len(starts)} candidates")
    return torch.cat(found)


def as_eight_bit(candidates: torch.Tensor, starts: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Round candidates to multiples of 1/255 that stay within the radius around their start points.

    Args:
        candidates: `(n, C, H, W)` in [0, 1], within `epsilon` of the starts.
        starts: `(n, C, H, W)` in [0, 1].
        epsilon: max-norm radius, as a fraction of the input range.

    Returns:
        `(n, C, H, W)` float32, each value a whole number divided by 255; at a radius below 1/510 a pixel whose ball
        holds no such number takes the nearest one.
    """
    steps = (candidates.double() * 255).round()
    away = steps / 255 - starts.double()
    steps = torch.where(away.abs() > epsilon, steps - away.sign(), steps).clamp(0, 255)
    return steps.float() / 255
