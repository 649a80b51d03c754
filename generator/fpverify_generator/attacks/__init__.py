"""Removal attacks: what turns a source into a surrogate in the hope of losing the fingerprint.

    interface     the API that counts queries, what an attacker holds, what an attack is
    modification  the stolen weights are fine-tuned, pruned, quantised
    retraining    a fresh network learns from the source's answers
    extraction    the same with few queries, or with another domain's images
    transfer      to another label set, and back
    hardening     adversarial training
    adaptive      the attacker knows the method
    inference     the stolen network behind a filter of its inputs
    run           many attacks side by side

Each attack is a frozen dataclass; its row in `TABLE` says everything else of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fpverify_generator.attacks.adaptive import EnsembleVote, Guard, TrainAway
from fpverify_generator.attacks.extraction import JacobianAugmentation, Knockoff, SemiSupervised
from fpverify_generator.attacks.hardening import AdversarialExtraction, AdversarialTraining
from fpverify_generator.attacks.inference import BitDepth, InputNoise, Jpeg, Smoothing
from fpverify_generator.attacks.interface import Attack
from fpverify_generator.attacks.modification import FineTuning, Pruning, Quantisation
from fpverify_generator.attacks.retraining import Retraining
from fpverify_generator.attacks.transfer import Transfer


@dataclass(frozen=True)
class Simulation:
    """How owners simulate an attack; what an owner sees of it was measured on development seeds."""

    by_default: bool = True
    """Whether it is simulated where no milder attack is asked for; the demo runs these attacks."""
    milder: str = ""
    """The attack that takes its place on colour images, which keep their accuracy under smaller radii alone."""
    place: int = 0
    """Its place among the attacks after which unseen surrogates kept the fewest keys, 1 the fewest; 0 for none."""
    extra: int = 0
    """Further copies of it in the pools that make and choose keys."""
    easy: bool = False
    """Whether nearly every key stays after it. It then teaches CEM nothing, and is left out of these pools."""


@dataclass(frozen=True)
class Entry:
    """One row of the table."""

    attack: Attack
    """The attack with its settings."""
    simulation: Simulation | None = None
    """How owners simulate it; None if they do not, so that it is new to the keys."""


TABLE: Mapping[str, Entry] = MappingProxyType(
    {
        "retrain-labels": Entry(Retraining("labels"), Simulation(place=7, extra=1)),
        "retrain-probabilities": Entry(Retraining("probabilities"), Simulation()),
        "retrain-labels-narrow": Entry(Retraining("labels", "narrow"), Simulation(place=5, extra=1)),
        "retrain-probabilities-narrow": Entry(Retraining("probabilities", "narrow"), Simulation()),
        "retrain-labels-wide": Entry(Retraining("labels", "wide"), Simulation()),
        "retrain-probabilities-wide": Entry(Retraining("probabilities", "wide"), Simulation()),
        "retrain-labels-other": Entry(Retraining("labels", "other"), Simulation(place=6, extra=1)),
        "retrain-probabilities-other": Entry(Retraining("probabilities", "other"), Simulation()),
        "ftll": Entry(FineTuning("last", reinitialise=False), Simulation(easy=True)),
        "ftal": Entry(FineTuning("all", reinitialise=False), Simulation()),
        "ftal-strong": Entry(FineTuning("all", reinitialise=False, learning_rate=0.6), Simulation()),
        "rtll": Entry(FineTuning("last", reinitialise=True), Simulation(easy=True)),
        "rtal": Entry(FineTuning("all", reinitialise=True), Simulation()),
        "rtal-strong": Entry(FineTuning("all", reinitialise=True, learning_rate=0.6), Simulation(place=8, extra=1)),
        "prune-0.4": Entry(Pruning(0.4), Simulation(easy=True)),
        "prune-0.7": Entry(Pruning(0.7), Simulation(easy=True)),
        "adversarial-0.05": Entry(AdversarialTraining(0.05), Simulation(milder="adversarial-0.01", easy=True)),
        "adversarial-0.1": Entry(AdversarialTraining(0.1), Simulation(milder="adversarial-0.001")),
        "adversarial-0.01": Entry(AdversarialTraining(0.01), Simulation(by_default=False)),
        "adversarial-0.001": Entry(AdversarialTraining(0.001), Simulation(by_default=False, easy=True)),
        "adversarial-extraction-0.01": Entry(
            AdversarialExtraction(0.01), Simulation(by_default=False, place=3, extra=2)
        ),
        "adversarial-extraction-0.1": Entry(
            AdversarialExtraction(0.1), Simulation(milder="adversarial-extraction-0.01", place=2, extra=2)
        ),
        "prune-0.9": Entry(Pruning(0.9)),
        "prune-only-0.2": Entry(Pruning(0.2, tune=False)),
        "prune-only-0.4": Entry(Pruning(0.4, tune=False)),
        "prune-only-0.6": Entry(Pruning(0.6, tune=False)),
        "quantise-8": Entry(Quantisation(8)),
        "quantise-4": Entry(Quantisation(4)),
        "quantise-3": Entry(Quantisation(3)),
        "jagielski": Entry(SemiSupervised(), Simulation(place=1, extra=2)),
        "papernot": Entry(JacobianAugmentation()),
        "knockoff-random": Entry(Knockoff("random")),
        "knockoff-adaptive": Entry(Knockoff("adaptive")),
        "knockoff-labels": Entry(Knockoff("random", "labels")),
        "transfer-merged": Entry(Transfer("merged")),
        "transfer-subset": Entry(Transfer("subset")),
        "transfer-back": Entry(Transfer("back")),
        "train-away": Entry(TrainAway(), Simulation(place=4, extra=2)),
        "ensemble-vote": Entry(EnsembleVote()),
        "noise-0.05": Entry(InputNoise(0.05)),
        "noise-0.1": Entry(InputNoise(0.1)),
        "smoothing": Entry(Smoothing(0.6)),
        "bit-depth-3": Entry(BitDepth(3)),
        "jpeg-75": Entry(Jpeg(75)),
        "jpeg-30": Entry(Jpeg(30)),
        "refuse-unsure": Entry(Guard("refuse", "margin")),
        "randomise-unsure": Entry(Guard("randomise", "margin")),
        "refuse-disputed": Entry(Guard("refuse", "second opinion")),
        "randomise-disputed": Entry(Guard("randomise", "second opinion")),
    }
)
"""Every removal attack by name; the table drives the study, its tests, the owner's pools and the command line."""

ATTACKS: Mapping[str, Attack] = MappingProxyType({name: entry.attack for name, entry in TABLE.items()})
"""The attacks by name."""


_SIMULATIONS = {name: entry.simulation for name, entry in TABLE.items() if entry.simulation is not None}


def simulated(mild: bool = False) -> tuple[str, ...]:
    """Return the attacks that an owner simulates.

    Args:
        mild: whether the milder radii are taken where there are some.

    Returns:
        Keys of `ATTACKS`, in the order of the table.
    """
    return tuple((mild and found.milder) or name for name, found in _SIMULATIONS.items() if found.by_default)


def hardest() -> tuple[str, ...]:
    """Return the attacks that are simulated more often, each so often as its row says, the hardest first."""
    ranked = sorted(_SIMULATIONS.items(), key=lambda row: row[1].place)
    return tuple(name for name, found in ranked for _ in range(found.extra))


def easiest() -> frozenset[str]:
    """Return the attacks that pools which make and choose keys leave out."""
    return frozenset(name for name, found in _SIMULATIONS.items() if found.easy)


SIMULATED = simulated()
"""The attacks that an owner simulates, and the demo runs; the study runs all, so that most are new to the keys."""
