"""Removal attacks: what turns a source into a surrogate in the hope of losing the fingerprint.

    attacker      the API that counts queries, what an attacker holds, what an attack is
    modification  the stolen weights are fine-tuned, pruned, quantised
    retraining    a fresh network learns from the source's answers
    extraction    the same with few queries, or with another domain's images
    transfer      to another label set, and back
    hardening     adversarial training
    adaptive      the attacker knows the method
    inference     the stolen network behind a filter of its inputs
    running       many attacks side by side

Each attack is a frozen dataclass; `ATTACKS` lists them all.
"""

from collections.abc import Mapping
from types import MappingProxyType

from fpverify_generator.attacks.adaptive import EnsembleVote, Guard, TrainAway
from fpverify_generator.attacks.attacker import Attack
from fpverify_generator.attacks.extraction import JacobianAugmentation, Knockoff, SemiSupervised
from fpverify_generator.attacks.hardening import AdversarialExtraction, AdversarialTraining
from fpverify_generator.attacks.inference import BitDepth, InputNoise, Jpeg, Smoothing
from fpverify_generator.attacks.modification import FineTuning, Pruning, Quantisation
from fpverify_generator.attacks.retraining import Retraining
from fpverify_generator.attacks.transfer import Transfer

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "retrain-labels": Retraining("labels"),
        "retrain-probabilities": Retraining("probabilities"),
        "retrain-labels-narrow": Retraining("labels", "narrow"),
        "retrain-probabilities-narrow": Retraining("probabilities", "narrow"),
        "retrain-labels-wide": Retraining("labels", "wide"),
        "retrain-probabilities-wide": Retraining("probabilities", "wide"),
        "retrain-labels-other": Retraining("labels", "other"),
        "retrain-probabilities-other": Retraining("probabilities", "other"),
        "ftll": FineTuning("last", reinitialise=False),
        "ftal": FineTuning("all", reinitialise=False),
        "ftal-strong": FineTuning("all", reinitialise=False, rate=0.6),
        "rtll": FineTuning("last", reinitialise=True),
        "rtal": FineTuning("all", reinitialise=True),
        "rtal-strong": FineTuning("all", reinitialise=True, rate=0.6),
        "prune-0.4": Pruning(0.4),
        "prune-0.7": Pruning(0.7),
        "adversarial-0.05": AdversarialTraining(0.05),
        "adversarial-0.1": AdversarialTraining(0.1),
        "adversarial-0.01": AdversarialTraining(0.01),
        "adversarial-0.001": AdversarialTraining(0.001),
        "adversarial-extraction-0.01": AdversarialExtraction(0.01),
        "adversarial-extraction-0.1": AdversarialExtraction(0.1),
        "prune-0.9": Pruning(0.9),
        "prune-only-0.2": Pruning(0.2, tune=False),
        "prune-only-0.4": Pruning(0.4, tune=False),
        "prune-only-0.6": Pruning(0.6, tune=False),
        "quantise-8": Quantisation(8),
        "quantise-4": Quantisation(4),
        "quantise-3": Quantisation(3),
        "jagielski": SemiSupervised(),
        "papernot": JacobianAugmentation(),
        "knockoff-random": Knockoff("random"),
        "knockoff-adaptive": Knockoff("adaptive"),
        "knockoff-labels": Knockoff("random", "labels"),
        "transfer-merged": Transfer("merged"),
        "transfer-subset": Transfer("subset"),
        "transfer-back": Transfer("back"),
        "train-away": TrainAway(),
        "ensemble-vote": EnsembleVote(),
        "noise-0.05": InputNoise(0.05),
        "noise-0.1": InputNoise(0.1),
        "smoothing": Smoothing(0.6),
        "bit-depth-3": BitDepth(3),
        "jpeg-75": Jpeg(75),
        "jpeg-30": Jpeg(30),
        "refuse-unsure": Guard("refuse", "margin"),
        "randomise-unsure": Guard("randomise", "margin"),
        "refuse-disputed": Guard("refuse", "second opinion"),
        "randomise-disputed": Guard("randomise", "second opinion"),
    }
)
"""Every removal attack by name; the table drives the study, its tests and the command line."""

SIMULATED = (*tuple(ATTACKS)[:18], "adversarial-extraction-0.1", "jagielski", "train-away")
"""The attacks that an owner simulates, and the demo runs; the study runs all, so that most are new to the keys."""
