"""Attacks that train a fresh network on the source's answers, in one go."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from fpverify_generator.attacks.interface import Answers, Attacker, Steps, Surrogate, ask
from fpverify_generator.models.architectures import Architecture
from fpverify_generator.models.training import TrainingTask


@dataclass(frozen=True)
class Retraining:
    """Train a fresh network on the source's answers; one query per image.

    Source:
        Lukas, Zhang, Kerschbaum, ICLR 2021; with probabilities, distillation (Hinton, Vinyals, Dean, 2015).
    """

    answers: Answers
    """What the source's API returns."""
    architecture: Literal["base", "narrow", "wide", "other"] = "base"
    """The surrogate's architecture, of the attacker's family."""

    category: ClassVar[str] = "retraining"
    needs_weights: ClassVar[bool] = False

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Ask once, train once."""
        inputs = attacker.data.inputs
        architecture: Architecture = getattr(attacker.family, self.architecture)
        targets = ask(attacker, inputs, self.answers)
        (surrogate,) = yield [TrainingTask("retraining", seed, architecture, inputs, targets, attacker.recipe)]
        return Surrogate(surrogate, architecture=architecture.name)
