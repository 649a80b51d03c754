"""Adversarial examples of the source alone, by the adversarial-robustness-toolbox."""

import contextlib
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import SourceError, StudyError
from fpverify_generator.keys import Keys
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import copied
from fpverify_generator.pools import Owner
from fpverify_generator.run.seeds import derive_seed, generator_for

BATCH = 128
"""Inputs that an attack of the toolbox works on at once."""


@dataclass(frozen=True)
class Adversarial:
    """Start images that an attack moved until the source errs; no query, since the owner has the gradients.

    Source:
        FGSM: Goodfellow, Shlens, Szegedy, ICLR 2015. PGD: Madry et al., ICLR 2018. DeepFool: Moosavi-Dezfooli, Fawzi,
        Frossard, CVPR 2016. CW-Linf: Carlini, Wagner, IEEE S&P 2017, section VI-C. All as the toolbox has them.
    """

    attack: Literal["fgsm", "pgd", "deepfool", "cw-linf"]
    """Which; `fgsm` and `pgd` go as far as CEM's epsilon, the others as far as they need."""

    needs_weights: ClassVar[bool] = True

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys: images that the source got right and now gets wrong, then any others that were moved."""
        # some more than are wanted: an attack may fail on a few
        starts = right_images(owner.source, owner.data.start, count * 5 // 4, owner.work.seed, self.attack)
        with toolbox(owner, self.attack) as classifier:
            attack = self._made(classifier, owner.preset.cem.epsilon)
            moved = torch.from_numpy(attack.generate(starts.pixels.numpy())).float().clamp(0, 1)
        labels = owner.source.labels(moved)
        order = (labels == starts.labels).int().argsort(stable=True)[:count]
        return Keys(moved[order], labels[order])

    def _made(self, classifier: Any, epsilon: float) -> Any:
        from art.attacks import evasion

        if self.attack == "fgsm":
            return evasion.FastGradientMethod(classifier, eps=epsilon, batch_size=BATCH)
        if self.attack == "pgd":
            step = epsilon / 8
            return evasion.ProjectedGradientDescent(
                classifier, eps=epsilon, eps_step=step, max_iter=20, batch_size=BATCH, verbose=False
            )
        if self.attack == "deepfool":
            return evasion.DeepFool(classifier, max_iter=30, batch_size=BATCH, verbose=False)
        # The toolbox's own settings, made for logits of one size, fooled a quarter of the digits.
        faster: dict[str, Any] = {"learning_rate": 0.05, "initial_const": 5.0, "const_factor": 4.0}
        return evasion.CarliniLInfMethod(
            classifier, max_iter=30, decrease_factor=0.7, batch_size=BATCH, verbose=False, **faster
        )


@dataclass(frozen=True)
class Universal:
    """Start images moved by one perturbation that makes the source err on most of them; no query.

    The statistic here is retention, as for every other method. Peng et al. compare suspects by a contrastive encoder of
    their outputs instead, which is not built.

    Source:
        Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017, algorithm 1; as a fingerprint, Peng
        et al., "Fingerprinting Deep Neural Networks Globally via Universal Adversarial Perturbations", CVPR 2022.
    """

    images: int = 200
    """From which the perturbation is made."""
    rounds: int = 3
    """Passes over them at most."""

    needs_weights: ClassVar[bool] = True

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the keys: images whose label the perturbation changes first."""
        seed, epsilon = owner.work.seed, owner.preset.cem.epsilon
        starts = right_images(owner.source, owner.data.start, self.images, seed, "universal")
        with toolbox(owner, "universal") as classifier:
            from art.attacks import evasion

            attack = evasion.UniversalPerturbation(
                classifier,
                attacker="fgsm",
                attacker_params={"eps": epsilon, "batch_size": BATCH},
                max_iter=self.rounds,
                eps=epsilon,
                norm=np.inf,
                batch_size=BATCH,
                verbose=False,
            )
            attack.generate(starts.pixels.numpy())
            offset = torch.from_numpy(np.asarray(attack.noise, np.float32))
        moved = (starts.pixels + offset).clamp(0, 1)
        labels = owner.source.labels(moved)
        order = (labels == starts.labels).int().argsort(stable=True)[:count]
        return Keys(moved[order], labels[order])


def right_images(source: Source, data: DataSet, count: int, seed: int, name: str) -> DataSet:
    """Return images that the source gets right, at random, at most `count`."""
    right = (source.labels(data.inputs) == data.labels).nonzero()[:, 0]
    draw = generator_for(seed, "baseline", name)
    return data.rows(right[torch.randperm(len(right), generator=draw)[:count]])


def network_of(source: Source) -> torch.nn.Module:
    """Return a copy of the source's network, on the CPU.

    Raises:
        SourceError: if it is a label oracle.
    """
    if source.module is None:
        raise SourceError(
            "this baseline needs the source's gradients, and an ONNX source gives answers only", culprit="source"
        )
    return copied(source.module)


@contextlib.contextmanager
def toolbox(owner: Owner, name: str) -> Iterator[Any]:
    """Give the source as a classifier of the toolbox, whose draws are seeded and leave the process's state as it was.

    Raises:
        StudyError: if the toolbox is not installed.
        SourceError: if the source is a label oracle.
    """
    module = network_of(owner.source)
    state, python_state = np.random.get_state(), random.getstate()
    seed = derive_seed(owner.work.seed, "baseline", name)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        try:
            from art.estimators.classification import PyTorchClassifier
        except ImportError as error:
            install = 'pip install "fpverify-generator[study]"'
            raise StudyError(f"needs the adversarial-robustness-toolbox: {install}", culprit=name) from error
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield PyTorchClassifier(
                module,
                loss=torch.nn.CrossEntropyLoss(),
                input_shape=tuple(owner.data.start.inputs.shape[1:]),
                nb_classes=len(owner.data.start.classes),
                clip_values=(0.0, 1.0),
                device_type="cpu",
            )
        finally:
            np.random.set_state(state)
            random.setstate(python_state)
