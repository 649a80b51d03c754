"""Keys without optimisation: images on which the source errs, and noise."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from fpverify_generator.cem import choose_keys, start_points
from fpverify_generator.keys import Keys
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.pools import Owner
from fpverify_generator.run.seeds import generator_for


@dataclass(frozen=True)
class Natural:
    """CEM's start points as they are, chosen as CEM's keys are: the source's mistakes that surrogates share.

    One query for each start image. What CEM has to beat.

    Source:
        METHOD's "natural" baseline; no paper.
    """

    needs_weights: ClassVar[bool] = False

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys."""
        starts = start_points(owner.source, owner.data.start, owner.preset.candidates)
        labels = owner.source.labels(starts.inputs)
        wrong = (labels != starts.labels).nonzero()[:, 0]
        inputs, labels, device = starts.inputs[wrong], labels[wrong], owner.work.device
        surrogates, references = (
            Ensemble(pool.selecting("all"), device) for pool in (owner.surrogates, owner.references)
        )
        chosen, _ = choose_keys(inputs, labels, surrogates, references, count)
        return Keys(inputs[chosen], labels[chosen])


@dataclass(frozen=True)
class Misclassified:
    """Images that the source misclassifies, at random (AKH); one query for each start image.

    Source:
        Godinot et al., "Queries, Representation & Detection" (QuRD), AAAI 2025, the baseline AKH.
    """

    needs_weights: ClassVar[bool] = False

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys."""
        data, labels = owner.data.start, owner.source.labels(owner.data.start.inputs)
        wrong = (labels != data.labels).nonzero()[:, 0]
        draw = generator_for(owner.work.seed, "baseline", "akh")
        chosen = wrong[torch.randperm(len(wrong), generator=draw)[:count]]
        return Keys(data.inputs[chosen], labels[chosen])


@dataclass(frozen=True)
class RandomInputs:
    """Uniform noise, with whatever the source says of it; one query a key.

    Source:
        No paper: the floor.
    """

    needs_weights: ClassVar[bool] = False

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys."""
        shape = (count, *owner.data.start.inputs.shape[1:])
        inputs = torch.rand(shape, generator=generator_for(owner.work.seed, "baseline", "random"))
        return Keys(inputs, owner.source.labels(inputs))
