"""The keys: CEM over the start points, in cached chunks, and the choice among the candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from fpverify_generator.cem import CemConfig, choose_keys, optimise, random_points, start_points
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import PresetError
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.passes import at_most
from fpverify_generator.models.source import Source
from fpverify_generator.pools import Owner
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.progress import Stage
from fpverify_generator.run.seeds import generator_for

CHUNK, CHUNK_VALUES = 300, 2**21
"""Start points optimised at once, and the values of their images, at most; one chunk is one piece of cached work. It
depends on the images alone, not on the machine: what is drawn for a chunk depends on its number."""


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
    config: CemConfig
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
    config: CemConfig,
    work: RunContext,
) -> torch.Tensor:
    """Run CEM over the start points, a cached chunk at a time; returns `(n, C, H, W)` candidates."""
    source = source.remembering(None)  # it is sent to other processes
    models = digest(source.sha256, *surrogates, *references)
    pieces = {}
    size = at_most(starts.inputs[0].numel(), CHUNK, CHUNK_VALUES)
    for number, chunk in enumerate(zip(starts.pixels.split(size), starts.labels.split(size), strict=True)):
        optimise_chunk = Optimisation(*chunk, number, source, surrogates, references, config, work.seed, work.device)
        pieces[digest("cem without autograd", work.device, work.seed, number, config, *chunk, models)] = optimise_chunk
    stage = Stage(work.log, "CEM", len(starts), "candidates optimised")
    found: list[torch.Tensor] = []
    for result in run_pieces(pieces, work):
        found.append(result["candidates"])
        stage.done(sum(map(len, found)))
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


@dataclass(frozen=True)
class Keys:
    """A fingerprint's inputs with the source's labels of them."""

    inputs: torch.Tensor = field(repr=False)
    """`(n, C, H, W)` in [0, 1], best first."""
    labels: torch.Tensor = field(repr=False)
    """`(n,)` what the source answers."""

    def first(self, count: int) -> "Keys":
        """Return the first so many keys."""
        return Keys(self.inputs[:count], self.labels[:count])


def cem_keys(owner: Owner, least: int | None = None) -> Keys:
    """Return the keys of the conferrable ensemble method, the most conferrable first.

    Args:
        owner: source, data, models and preset.
        least: how many keys do; None for as many as the preset wants.

    Returns:
        The keys, at most as many as the preset wants.

    Raises:
        PresetError: if too few candidates fool the source.
    """
    source, preset, work = owner.source, owner.preset, owner.work
    if preset.starts == "mistakes":
        starts = start_points(source, owner.data.start, preset.candidates)
    else:
        starts = random_points(owner.data.start, preset.candidates, work.seed)
    candidates = make_candidates(starts, source, owner.surrogates.cem, owner.references.cem, preset.cem, work)
    if preset.eight_bit:
        candidates = as_eight_bit(candidates, starts.pixels, preset.cem.epsilon)
    labels = source.labels(candidates)
    mistakes = (labels != starts.labels).nonzero()[:, 0]
    if len(mistakes) < (preset.keys if least is None else least):
        raise PresetError(
            f"{len(mistakes)} of {len(starts)} candidates became keys, {preset.keys} are wanted",
            hint="give more data, a larger epsilon or fewer keys",
        )
    candidates, labels = candidates[mistakes], labels[mistakes]
    work.log(f"CEM: {len(candidates)} candidates fool the source")
    if preset.selection == "none":
        return Keys(candidates[: preset.keys], labels[: preset.keys])
    surrogates, references = (
        Ensemble(pool.selecting(preset.selection), work.device) for pool in (owner.surrogates, owner.references)
    )
    most = math.ceil(preset.most_of_label * preset.keys / len(owner.data.start.classes))
    chosen, values = choose_keys(candidates, labels, surrogates, references, preset.keys, preset.criterion, most)
    work.log(f"keys: {len(chosen)} chosen, conferrability {float(values.mean()):.2f} on average")
    return Keys(candidates[chosen], labels[chosen])
