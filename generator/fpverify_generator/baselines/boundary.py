"""Keys beside the source's decision boundary: IPGuard and adversarial frontier stitching."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from fpverify_generator.baselines.gradient import network_of, right_images
from fpverify_generator.keys import Keys
from fpverify_generator.pools import Owner
from fpverify_generator.run.seeds import generator_for


@dataclass(frozen=True)
class IpGuard:
    """Points at which two classes have nearly equal logits; no query, since the owner has the gradients.

    Each minimises ReLU(Z_i - Z_j + k) + ReLU(max over t not i, j of Z_t - Z_i) for the logits Z, where i is the class
    that the source gives the image and j another one at random: at 0, j leads i by k or more and nobody else leads i.

    Source:
        Cao, Jia, Gong, "IPGuard", AsiaCCS 2021, equation 4; start: training images.
    """

    k: float = 0.5
    """By how much j has to lead i, in units of the logits."""
    steps: int = 300
    """Of Adam at most."""
    learning_rate: float = 0.01
    """Adam's learning rate, in units of the input range."""

    needs_weights: ClassVar[bool] = True

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys, those nearest to their images first."""
        module, seed = network_of(owner.source), owner.work.seed
        starts = right_images(owner.source, owner.data.train, 2 * count, seed, "ipguard")
        draw, classes = generator_for(seed, "baseline", "ipguard targets"), len(starts.classes)
        own = starts.labels
        other = (own + torch.randint(1, classes, own.shape, generator=draw)) % classes
        inputs, loss = self._near_boundary(module, starts.pixels, own, other)
        distance = (inputs - starts.pixels).flatten(1).norm(dim=1)
        order = (distance + 1e6 * (loss > 0)).argsort(stable=True)[:count]
        return Keys(inputs[order], owner.source.labels(inputs[order]))

    def _near_boundary(
        self, module: torch.nn.Module, starts: torch.Tensor, own: torch.Tensor, other: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where the optimisation ends, and the objective there; a point that has reached 0 stays."""
        inputs = starts.clone().requires_grad_()
        optimizer = torch.optim.Adam([inputs], lr=self.learning_rate)
        for _ in range(self.steps):
            loss = self._objective(module(inputs), own, other)
            if not bool((loss > 0).any()):
                break
            before = inputs.detach().clone()
            optimizer.zero_grad()
            torch.autograd.backward(loss.sum())
            optimizer.step()
            with torch.no_grad():
                done = (loss <= 0).view(-1, 1, 1, 1)
                inputs.copy_(torch.where(done, before, inputs.clamp(0, 1)))
        found = inputs.detach()
        with torch.no_grad():
            return found, self._objective(module(found), own, other)

    def _objective(self, logits: torch.Tensor, own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return equation 4 for each row of `(n, classes)` logits."""
        first, second = logits.gather(1, own[:, None])[:, 0], logits.gather(1, other[:, None])[:, 0]
        rest = logits.scatter(1, torch.stack([own, other], 1), -torch.inf).amax(1)
        return F.relu(first - second + self.k) + F.relu(rest - first)


STEPS = tuple(2 ** (-number / 2) for number in range(14))
"""Lengths of a step of FGSM that frontier stitching tries, as shares of CEM's epsilon."""


@dataclass(frozen=True)
class FrontierStitching:
    """Images moved by FGSM close to the frontier: half of them still right, half wrong; no query.

    The step is that of `STEPS` after which the source errs on most nearly half of the images, at most CEM's epsilon.

    The paper then retrains the source so that it answers all of them with the true label, which makes a watermark. A
    fingerprint leaves the source as it is, and takes the label that it gives.

    Source:
        Le Merrer, Perez, Tredan, "Adversarial frontier stitching for remote neural network watermarking", 2020,
        section 4 (true and false adversaries).
    """

    needs_weights: ClassVar[bool] = True

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys, one that is wrong and one that is still right in turn."""
        module, epsilon = network_of(owner.source), owner.preset.cem.epsilon
        starts = right_images(owner.source, owner.data.start, 6 * count, owner.work.seed, "frontier stitching")
        inputs = starts.pixels.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(module(inputs), starts.labels, reduction="sum"), inputs)
        tried = [(starts.pixels + step * epsilon * gradient.sign()).clamp(0, 1) for step in STEPS]
        errs = [float((owner.source.labels(moved) != starts.labels).double().mean()) for moved in tried]
        moved = tried[min(range(len(STEPS)), key=lambda number: abs(errs[number] - 0.5))]
        labels = owner.source.labels(moved)
        wrong, right = ((labels != starts.labels) == true for true in (True, False))
        pairs = min(int(wrong.sum()), int(right.sum()), (count + 1) // 2)
        both = torch.stack([side.nonzero()[:pairs, 0] for side in (wrong, right)], 1).flatten()
        rest = torch.ones(len(moved), dtype=torch.bool)
        rest[both] = False
        order = torch.cat([both, rest.nonzero()[:, 0]])[:count]
        return Keys(moved[order], labels[order])
