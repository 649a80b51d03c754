"""Attacks by somebody who knows the method and has this code, but not the owner's keys."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from fpverify_generator.attacks.interface import Attacker, Steps, Surrogate
from fpverify_generator.cem import CemConfig, optimise
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import joined, taken
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.passes import answers_of
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask, set_mode
from fpverify_generator.run.cache import digest
from fpverify_generator.run.seeds import derive_seed, generator_for

MOST_VALUES = 2**27
"""Of all examples that an attacker makes: half a GiB, some 900 images of 224x224 pixels."""


@dataclass(frozen=True)
class TrainAway:
    """Make conferrable examples of one's own, and train the stolen weights to answer them rightly.

    The attacker trains surrogates on the source's labels and references on true labels, optimises conferrable
    examples of the stolen network from its own images with the defender's code, and fine-tunes the stolen weights on
    its images and, repeated, on these examples with the true labels of the images that they started from. One query
    per image.

    Source:
        The adaptive attacker of Lukas, Zhang, Kerschbaum, ICLR 2021, section 6; training: Madry et al., ICLR 2018.
    """

    models: int = 2
    """Surrogates, and as many references."""
    examples: float = 0.1
    """Examples, as a share of the attacker's images; of large ones as many as `MOST_VALUES` allows."""
    steps: int = 50
    """Of the optimisation; its other settings are the defender's."""
    repeats: int = 4
    """How often each example is in the training set, where an image is once."""
    learning_rate: float = 0.3
    """The learning rate, as a share of that of training from nothing."""

    category: ClassVar[str] = "adaptive"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Train the ensembles, then the surrogate."""
        data, recipe, weights = attacker.data, attacker.recipe, attacker.stolen()
        said, kinds = attacker.box.labels(data.inputs), attacker.family.members
        tasks = []
        for role, targets in (("surrogate", said), ("reference", data.targets)):
            for number in range(self.models):
                task_seed = derive_seed(seed, role, number)
                tasks.append(TrainingTask(role, task_seed, kinds[number % len(kinds)], data.inputs, targets, recipe))
        trained = yield tasks
        each = math.prod(data.inputs.shape[1:])
        count = max(1, min(int(self.examples * len(data)), MOST_VALUES // each))
        config = replace(attacker.cem, steps=self.steps)
        (made,) = yield [_Examples(data, count, weights, trained[: self.models], trained[self.models :], config, seed)]
        inputs = joined([data.inputs, *[made["examples"]] * self.repeats])
        targets = torch.cat([data.targets, *[data.targets[made["rows"]]] * self.repeats])
        tuning = attacker.with_learning_rate(self.learning_rate)
        (surrogate,) = yield [TrainingTask("training away", seed, None, inputs, targets, tuning, weights)]
        return Surrogate(surrogate)


@dataclass(frozen=True)
class _Examples:
    """The attacker's own conferrable examples, as a piece of work."""

    data: DataSet
    count: int
    weights: nn.Module
    surrogates: Sequence[nn.Module]
    references: Sequence[nn.Module]
    config: CemConfig
    seed: int

    def key(self) -> str:
        models = (self.weights, *self.surrogates, *self.references)
        data = (self.data.inputs, self.data.labels)
        return digest("train-away examples", self.count, self.config, self.seed, *data, *models)

    def undone(self) -> dict[str, torch.Tensor]:
        rows = torch.arange(self.count)
        return {"rows": rows, "examples": self.data.inputs[rows]}

    @property
    def passes(self) -> int:
        return self.count * self.config.steps * (1 + len(self.surrogates) + len(self.references))

    def __call__(self) -> dict[str, torch.Tensor]:
        draw = generator_for(self.seed, "examples")
        rows = torch.randperm(len(self.data), generator=draw)[: self.count]
        ensembles, source = (Ensemble(self.surrogates), Ensemble(self.references)), Source(None, self.weights)
        examples = torch.empty(len(rows), *self.data.inputs.shape[1:])
        for some, place in zip(rows.split(200), examples.split(200), strict=True):
            data = self.data.inputs[some], self.data.labels[some]
            place.copy_(optimise(*data, source, *ensembles, self.config, draw))
        return {"rows": rows, "examples": examples}


@dataclass(frozen=True)
class EnsembleVote:
    """Serve the mean of several surrogates, each extracted with a part of the images; one query per image.

    Source:
        METHOD's adaptive attacker: keys that one surrogate keeps by chance are voted down.
    """

    models: int = 5
    """Surrogates; each learns from its own part of the attacker's images."""

    category: ClassVar[str] = "adaptive"
    needs_weights: ClassVar[bool] = False

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Train all surrogates at once."""
        order = torch.randperm(len(attacker.data), generator=generator_for(seed, "parts"))
        tasks = []
        for number, rows in enumerate(order.tensor_split(self.models)):
            inputs = taken(attacker.data.inputs, rows)
            targets, task_seed = attacker.box.labels(inputs), derive_seed(seed, "part", number)
            architecture = attacker.family.members[number % len(attacker.family.members)]
            tasks.append(TrainingTask("vote", task_seed, architecture, inputs, targets, attacker.recipe))
        trained = yield tasks
        names = " + ".join(architecture.name for architecture in attacker.family.members)
        return Surrogate(set_mode(Vote(trained), training=False), architecture=names)


class Vote(nn.Module):
    """Several networks behind one API: the logarithm of the mean of their probabilities."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Put networks of `(n, classes)` scores together."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n, classes)` scores."""
        mean: torch.Tensor = torch.stack([member(inputs).softmax(-1) for member in self.members]).mean(0)
        return mean.clamp(min=1e-12).log()


@dataclass(frozen=True)
class Guard:
    """Refuse or randomise the answers to inputs that look like keys.

    Keys are where a model errs or is unsure. The guard asks a second model (a reference that the attacker trains on
    its own true labels) or looks at the gap between the stolen network's two likeliest classes, and takes for a key
    what it finds most suspicious of the attacker's own images: `share` of them, with the next one.

    Source:
        METHOD's "refusing or randomising answers on inputs that look like keys"; a second opinion: Lukas, Zhang,
        Kerschbaum, ICLR 2021, section 6 (detection by an adversary with references).
    """

    answer: Literal["refuse", "randomise"]
    """What an input that looks like a key gets: label -1, or random scores."""
    detector: Literal["margin", "second opinion"]
    """What is suspicious: a small margin, or a small probability of the answer in the second model."""
    share: float = 0.05
    """Of the attacker's own images, the share that the guard turns away."""

    category: ClassVar[str] = "inference"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Train the second model if there is one, and set the guard's level."""
        data, second = attacker.data, None
        if self.detector == "second opinion":
            base = attacker.family.base
            (second,) = yield [TrainingTask("second", seed, base, data.inputs, data.targets, attacker.recipe)]
        guarded = Guarded(attacker.stolen(), second, 0.0, self.answer == "randomise")
        ease = answers_of(lambda images: guarded.ease(images, guarded.network(images)), data.inputs)
        level = float(ease.quantile(self.share))
        module = Guarded(attacker.stolen(), second, level, self.answer == "randomise")
        return Surrogate(set_mode(module, training=False), random=self.answer == "randomise")


class Guarded(nn.Module):
    """A network that does not answer what is not easy."""

    def __init__(self, network: nn.Module, second: nn.Module | None, level: float, randomise: bool) -> None:
        """Guard a network; inputs of an ease below the level get no answer."""
        super().__init__()
        self.network, self.second = network, second
        self.level, self.randomise = level, randomise

    def extra_repr(self) -> str:
        """Return the settings, without which two of these would look alike."""
        return f"level={self.level}, randomise={self.randomise}"

    def ease(self, inputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return `(n,)` how little each input looks like a key, in [0, 1]."""
        if self.second is None:
            top = scores.softmax(-1).topk(2, dim=-1).values
            return top[:, 0] - top[:, 1]
        second: torch.Tensor = self.second(inputs).softmax(-1)
        return second.gather(1, scores.argmax(-1, keepdim=True))[:, 0]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n, classes)` scores, or `(n,)` labels with -1 for a refusal."""
        scores = self.network(inputs)
        easy = self.ease(inputs, scores) >= self.level
        if self.randomise:
            return torch.where(easy[:, None], scores, torch.rand_like(scores))
        return torch.where(easy, scores.argmax(-1), -1)
