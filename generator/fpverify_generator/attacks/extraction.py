"""Attacks that extract the source through its API with few queries, or with images of another domain."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from fpverify_generator.attacks.interface import Answers, Attacker, Steps, Surrogate, ask
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import Inputs, joined, taken, whole
from fpverify_generator.models.passes import answers_of, sent
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.run.cache import digest
from fpverify_generator.run.seeds import derive_seed, generator_for


@dataclass(frozen=True)
class SemiSupervised:
    """Ask about a part of the images, and learn from the rest as MixMatch does.

    Labels of the images that were not asked are guessed by the surrogate of the round before, averaged over varied
    views and sharpened, and everything is mixed. MixMatch guesses at every step; here once a round, so that rounds of
    many attacks train as stacks.

    Source:
        Jagielski, Carlini, Berthelot, Kurakin, Papernot, USENIX Security 2020, section 4.2; Berthelot et al.,
        "MixMatch", NeurIPS 2019, section 3.
    """

    share: float = 0.25
    """Of the attacker's images, the share that is asked: the queries."""
    rounds: int = 2
    """How often labels are guessed."""
    views: int = 4
    """Varied views that a guess is averaged over."""
    noise: float = 0.05
    """Standard deviation of the noise that makes a view, as a fraction of the input range."""
    temperature: float = 0.5
    """With which a guess is sharpened."""
    mixup: float = 0.75
    """Beta parameter of the mixing."""

    category: ClassVar[str] = "extraction"
    needs_weights: ClassVar[bool] = False

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Ask once; train once more than there are rounds."""
        draw = generator_for(seed, "semi-supervised")
        order = torch.randperm(len(attacker.data), generator=draw)
        parts = order.tensor_split([int(self.share * len(order))])
        asked, rest = (taken(attacker.data.inputs, part) for part in parts)
        known, base = attacker.box.probabilities(asked), attacker.family.base
        (surrogate,) = yield [TrainingTask("semi-supervised", seed, base, asked, known, attacker.recipe)]
        recipe = replace(attacker.recipe, mixup=self.mixup)
        inputs = joined([asked, rest])
        for number in range(self.rounds):
            (guessed,) = yield [Guesses(surrogate, rest, draw.get_state(), self)]
            draw.set_state(guessed["state"])
            targets = torch.cat([known, guessed["targets"]])
            task_seed = derive_seed(seed, "round", number)
            (surrogate,) = yield [TrainingTask("semi-supervised", task_seed, base, inputs, targets, recipe)]
        return Surrogate(surrogate)


@dataclass(frozen=True)
class Guesses:
    """A surrogate's guesses about images that were not asked, as a piece of work."""

    surrogate: nn.Module
    """The surrogate of the round before."""
    inputs: Inputs
    """`(n, C, H, W)` the images."""
    state: torch.Tensor
    """Of the generator that draws the views."""
    attack: SemiSupervised
    """Its settings."""

    def key(self) -> str:
        """Return the digest of everything that the guesses depend on."""
        return digest("semi-supervised guesses", self.surrogate, self.inputs, self.state, self.attack)

    def undone(self) -> dict[str, torch.Tensor]:
        """Return the surrogate's answers as they are."""
        return {"targets": answers_of(self.surrogate, self.inputs).softmax(-1), "state": self.state}

    @property
    def passes(self) -> int:
        """Return about how many passes forward and back take as long: a guess goes forward alone."""
        return self.attack.views * len(self.inputs) // 2

    def __call__(self) -> dict[str, torch.Tensor]:
        """Return `(n, classes)` targets, and the generator's state after the draws."""
        draw, total = torch.Generator(), torch.zeros(())
        draw.set_state(self.state)
        for _ in range(self.attack.views):
            said = [answers_of(self.surrogate, self._noisy(chunk, draw)) for chunk in self._chunks()]
            total = total + torch.cat(said).softmax(-1)
        sharp = (total / self.attack.views) ** (1 / self.attack.temperature)
        return {"targets": sharp / sharp.sum(-1, keepdim=True), "state": draw.get_state()}

    def _chunks(self) -> Iterable[torch.Tensor]:
        """Return the images: a few at a time where they lie in a file."""
        return [self.inputs] if isinstance(self.inputs, torch.Tensor) else map(whole, sent(self.inputs))

    def _noisy(self, images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        return (images + self.attack.noise * torch.randn(images.shape, generator=draw)).clamp(0, 1)


MOST_VALUES = 2**29
"""Of all images that are made: two GiB, some 3,500 images of 224x224 pixels."""


@dataclass(frozen=True)
class JacobianAugmentation:
    """Grow a few images along the surrogate's own gradient, asking the source about each.

    Source:
        Papernot, McDaniel, Goodfellow, Jha, Celik, Swami, AsiaCCS 2017, section 4, algorithm 1, with the periodic
        step of section 5.3; no reservoir sampling.
    """

    share: float = 0.05
    """Of the attacker's images, the share that it begins with; of large ones as many as `MOST_VALUES` allows."""
    rounds: int = 4
    """How often the images are doubled: `share * 2 ** rounds` of the attacker's images are the queries."""
    step: float = 0.1
    """Length of a step, in max norm, as a fraction of the input range."""
    period: int = 2
    """Rounds after which the step changes its sign."""

    category: ClassVar[str] = "extraction"
    needs_weights: ClassVar[bool] = False

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Ask about what is new; train once more than there are rounds."""
        order = torch.randperm(len(attacker.data), generator=generator_for(seed, "first images"))
        most = MOST_VALUES // (math.prod(attacker.data.inputs.shape[1:]) * 2**self.rounds)
        inputs = attacker.data.inputs[order[: max(2, min(int(self.share * len(order)), most))]]
        targets = attacker.box.labels(inputs)
        for number in range(self.rounds + 1):
            task_seed = derive_seed(seed, "round", number)
            task = TrainingTask("augmentation", task_seed, attacker.family.base, inputs, targets, attacker.recipe)
            (surrogate,) = yield [task]
            if number < self.rounds:
                sign = -1 if number // self.period % 2 else 1
                new = self._grown(surrogate, inputs, targets, sign)
                inputs, targets = torch.cat([inputs, new]), torch.cat([targets, attacker.box.labels(new)])
        return Surrogate(surrogate)

    def _grown(self, surrogate: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, sign: int) -> torch.Tensor:
        grown = []
        for chunk, wanted in zip(inputs.split(512), targets.split(512), strict=True):
            moved = chunk.clone().requires_grad_()
            (gradient,) = torch.autograd.grad((surrogate(moved) * wanted).sum(), moved)
            grown.append((chunk + sign * self.step * gradient.sign()).clamp(0, 1))
        return torch.cat(grown)


@dataclass(frozen=True)
class Knockoff:
    """Ask about images of another domain: at random, or those of which the surrogate learns most.

    Adaptive: a gradient bandit over the classes of that domain, rewarded by the source's certainty, by the
    diversity of its answers and by the surrogate's loss, a batch of queries at a time.

    Source:
        Orekondy, Schiele, Fritz, "Knockoff Nets", CVPR 2019, sections 4.1 (random, adaptive) and 4.2 (rewards).
    """

    policy: Literal["random", "adaptive"]
    """How images are chosen."""
    answers: Answers = "probabilities"
    """What the source's API returns."""
    share: float = 0.8
    """Of the images of the other domain, the share that is asked: the queries."""
    rounds: int = 4
    """Batches in which the adaptive policy asks; a surrogate is trained after each."""
    learning_rate: float = 3.0
    """Learning rate of the bandit's preferences."""

    category: ClassVar[str] = "extraction"
    needs_weights: ClassVar[bool] = False

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Ask in batches, train after each."""
        foreign, draw = attacker.foreign_data(), generator_for(seed, "knockoff")
        rounds = 1 if self.policy == "random" else self.rounds
        budget = int(self.share * len(foreign))
        left = torch.ones(len(foreign), dtype=torch.bool)
        preference = torch.zeros(len(foreign.classes))
        mean, inputs, targets = torch.zeros(()), foreign.inputs[:0], torch.zeros(0, attacker.box.classes)
        surrogate: nn.Module | None = None
        for number in range(rounds):
            size = budget // rounds + (budget % rounds if number == 0 else 0)
            chosen = _drawn(foreign, left, preference.softmax(0), size, draw)
            left[chosen] = False
            new = foreign.inputs[chosen]
            said = ask(attacker, new, self.answers)
            if surrogate is not None:
                reward = _rewards(said, targets, answers_of(surrogate, new))
                mean = mean + (reward.mean() - mean) / number
                preference = self._preferred(preference, foreign.labels[chosen], reward - mean)
            inputs, targets = torch.cat([inputs, new]), torch.cat([targets, said])
            task_seed = derive_seed(seed, "round", number)
            task = TrainingTask("knockoff", task_seed, attacker.family.base, inputs, targets, attacker.recipe)
            (surrogate,) = yield [task]
        if surrogate is None:
            raise ValueError("rounds must be positive")
        return Surrogate(surrogate)

    def _preferred(self, preference: torch.Tensor, actions: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
        """Return preferences H(z) after one batch: for the action taken + rate r (1 - pi(z)), else - rate r pi(z)."""
        policy = preference.softmax(0)
        taken = torch.nn.functional.one_hot(actions, len(preference)).float()
        return preference + self.learning_rate * (advantage[:, None] * (taken - policy)).mean(0)


def _drawn(
    foreign: DataSet, left: torch.Tensor, policy: torch.Tensor, size: int, draw: torch.Generator
) -> torch.Tensor:
    """Draw row numbers without replacement, classes by the policy, images of a class alike."""
    of_class = torch.bincount(foreign.labels[left], minlength=len(policy)).clamp(min=1)
    weight = torch.where(left, policy[foreign.labels] / of_class[foreign.labels], 0.0)
    # the largest of log(u) / w are a weighted sample without replacement (Efraimidis, Spirakis, 2006)
    key = torch.rand(len(left), generator=draw).log() / weight.clamp(min=1e-30)
    return torch.where(left, key, -torch.inf).topk(size).indices


def _rewards(said: torch.Tensor, before: torch.Tensor, guessed: torch.Tensor) -> torch.Tensor:
    """Return each query's reward: certainty, diversity and loss, each scaled to [0, 1] over the batch, summed."""
    top = said.topk(2, dim=1).values
    certainty = top[:, 0] - top[:, 1]
    diversity = (said - before.mean(0)).clamp(min=0).sum(1)
    loss = -(said * guessed.log_softmax(-1)).sum(1)
    parts = torch.stack([certainty, diversity, loss])
    low, high = parts.amin(1, keepdim=True), parts.amax(1, keepdim=True)
    return ((parts - low) / (high - low).clamp(min=1e-12)).sum(0)
