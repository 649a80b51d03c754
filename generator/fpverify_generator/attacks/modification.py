"""Attacks that change the stolen weights: fine-tuning, pruning, quantisation."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from fpverify_generator.attacks.interface import Attacker, Steps, Surrogate
from fpverify_generator.models.training import TrainingTask, pruning_masks


@dataclass(frozen=True)
class FineTuning:
    """Go on training the stolen weights on true labels: FTLL, FTAL, RTLL, RTAL; no query.

    Source:
        Adi et al., "Turning Your Weakness Into a Strength", USENIX Security 2018, section 5.
    """

    layers: Literal["last", "all"]
    """What is trained."""
    reinitialise: bool
    """RT: draw the last layer anew first. FT: keep it."""
    learning_rate: float = 0.3
    """The learning rate, as a share of that of training from nothing."""

    category: ClassVar[str] = "modification"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Train once."""
        recipe = replace(
            attacker.with_learning_rate(self.learning_rate), layers=self.layers, reinitialise=self.reinitialise
        )
        data, start = attacker.data, attacker.stolen()
        (surrogate,) = yield [TrainingTask("fine-tuning", seed, None, data.inputs, data.targets, recipe, start)]
        return Surrogate(surrogate)


@dataclass(frozen=True)
class Pruning:
    """Set the smallest weights to zero, then fine-tune the rest on true labels or leave it; no query.

    Source:
        Han et al., NeurIPS 2015, section 3; as a removal attack, Liu, Dolan-Gavitt, Garg, RAID 2018 (fine-pruning).
    """

    share: float
    """The share of each weight tensor that is removed."""
    tune: bool = True
    """Whether the rest is fine-tuned."""
    learning_rate: float = 0.1
    """The learning rate of the fine-tuning, as a share of that of training from nothing."""

    category: ClassVar[str] = "modification"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:
        """Prune, and train once if that is wanted."""
        data, start = attacker.data, attacker.stolen()
        if not self.tune:
            pruned = start
            masks = pruning_masks(pruned, self.share)
            with torch.no_grad():
                for name, parameter in pruned.named_parameters():
                    parameter.mul_(masks[name])
            return Surrogate(pruned)
        recipe = replace(attacker.with_learning_rate(self.learning_rate), prune=self.share)
        (surrogate,) = yield [TrainingTask("pruning", seed, None, data.inputs, data.targets, recipe, start)]
        return Surrogate(surrogate)


@dataclass(frozen=True)
class Quantisation:
    """Round each weight tensor to a few levels, symmetric about zero, a scale for each output channel; no query.

    Source:
        Jacob et al., CVPR 2018, section 2.1; Krishnamoorthi, 2018, section 2.2 (a scale per channel).
    """

    bits: int
    """Of a weight: there are `2 ** bits - 1` levels."""

    category: ClassVar[str] = "modification"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:  # noqa: ARG002
        """Round; nothing is trained."""
        quantised = attacker.stolen()
        top = 2 ** (self.bits - 1) - 1
        with torch.no_grad():
            for parameter in quantised.parameters():
                if parameter.ndim > 1:
                    largest = parameter.abs().flatten(1).amax(1).view(-1, *[1] * (parameter.ndim - 1))
                    scale = largest.clamp(min=1e-12) / top
                    parameter.copy_((parameter / scale).round() * scale)
        return Surrogate(quantised)
        yield  # an attack is a generator, even one that wants nothing trained
