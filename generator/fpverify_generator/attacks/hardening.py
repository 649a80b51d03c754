"""Attacks that make the surrogate robust, since the keys are adversarial examples."""

from dataclasses import dataclass, replace
from typing import ClassVar

from fpverify_generator.attacks.interface import Attacker, Steps, Surrogate
from fpverify_generator.models.training import TrainingTask


@dataclass(frozen=True)
class AdversarialTraining:
    """Harden the stolen weights on PGD examples, labelled by the source; one query per image.

    Source:
        Madry et al., ICLR 2018, section 2.1.
    """

    radius: float
    """Max-norm radius of the examples, as a fraction of the input range."""
    learning_rate: float = 0.3
    """The learning rate, as a share of that of training from nothing."""

    category: ClassVar[str] = "hardening"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Ask once, train once."""
        inputs, recipe = (
            attacker.data.inputs,
            replace(attacker.with_learning_rate(self.learning_rate), radius=self.radius),
        )
        start, targets = attacker.stolen(), attacker.box.labels(inputs)
        (surrogate,) = yield [TrainingTask("hardening", seed, None, inputs, targets, recipe, start)]
        return Surrogate(surrogate)


@dataclass(frozen=True)
class AdversarialExtraction:
    """Train a fresh network on the source's labels and PGD examples of itself; one query per image.

    Source:
        Madry et al., ICLR 2018, section 2.1, during extraction.
    """

    radius: float
    """Max-norm radius of the examples, as a fraction of the input range."""

    category: ClassVar[str] = "hardening"
    needs_weights: ClassVar[bool] = False

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Ask once, train once."""
        inputs, recipe = attacker.data.inputs, replace(attacker.recipe, radius=self.radius)
        targets = attacker.box.labels(inputs)
        (surrogate,) = yield [TrainingTask("hardening", seed, attacker.family.base, inputs, targets, recipe)]
        return Surrogate(surrogate)
