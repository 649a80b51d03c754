"""Adversarial trajectories: chains of points that cross the source's classes one after another."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from fpverify_generator.baselines.gradient import network_of, right_images
from fpverify_generator.keys import Keys
from fpverify_generator.pools import Owner
from fpverify_generator.run.seeds import generator_for


@dataclass(frozen=True)
class Trajectories:
    """Chains of points through several classes, each a short step from the last; no query.

    A chain starts at an image and moves towards one class after another, by steps that grow while the target is far
    and shrink once it is reached; all its points are keys, and the suspect's mutation rate is 1 - retention.

    Source:
        Xu et al., "United We Stand, Divided We Fall: Fingerprinting Deep Neural Networks via Adversarial Trajectories"
        (ADV-TRA), NeurIPS 2024, section 3 (length-fixed trajectories, global goals); their bilateral search of each
        class's two borders is one-sided here.
    """

    length: int = 10
    """Points of a chain: a divisor of the numbers of queries."""
    classes: int = 4
    """Classes that a chain visits after its own."""
    step: float = 0.1
    """Length of the first step towards a class, in max norm, as a share of CEM's epsilon."""
    growth: float = 1.3
    """By which a step grows while its target is not reached."""

    needs_weights: ClassVar[bool] = True

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys, chain by chain."""
        module, seed = network_of(owner.source), owner.work.seed
        chains = -(-count // self.length)
        starts = right_images(owner.source, owner.data.start, chains, seed, "adv-tra")
        draw, classes = generator_for(seed, "baseline", "adv-tra targets"), len(starts.classes)
        turns = min(self.classes, classes - 1)
        targets = torch.stack([torch.randperm(classes - 1, generator=draw)[:turns] for _ in range(len(starts))])
        targets = (starts.labels[:, None] + 1 + targets) % classes
        points = self._chain(module, starts.pixels, targets, owner.preset.cem.epsilon)
        inputs = points.transpose(0, 1).flatten(0, 1)[:count]
        return Keys(inputs, owner.source.labels(inputs))

    def _chain(
        self, module: torch.nn.Module, starts: torch.Tensor, targets: torch.Tensor, epsilon: float
    ) -> torch.Tensor:
        """Return `(length, chains, C, H, W)` points."""
        here, place = starts.clone(), torch.zeros(len(starts), dtype=torch.long)
        size = torch.full((len(starts), 1, 1, 1), self.step * epsilon)
        points = []
        for _ in range(self.length):
            wanted = targets.gather(1, place[:, None])[:, 0]
            moved = here.clone().requires_grad_()
            loss = F.cross_entropy(module(moved), wanted, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            here = (here - size * gradient.sign()).clamp(0, 1)
            with torch.no_grad():
                reached = module(here).argmax(1) == wanted
            size = torch.where(reached.view(-1, 1, 1, 1), self.step * epsilon, size * self.growth)
            place = (place + reached).clamp(max=targets.shape[1] - 1)
            points.append(here)
        return torch.stack(points)
