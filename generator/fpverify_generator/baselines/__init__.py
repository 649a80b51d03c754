"""Other ways to make a fingerprint, which the study measures beside CEM, each at the same number of queries.

natural       images that the source errs on, and noise
gradient      adversarial examples of the source alone
boundary      points at its decision boundary
trajectories  chains of points across its classes
correlation   comparison of scores instead of labels
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fpverify_generator.baselines.boundary import FrontierStitching, IpGuard
from fpverify_generator.baselines.correlation import SampleCorrelation
from fpverify_generator.baselines.gradient import Adversarial, Universal
from fpverify_generator.baselines.natural import Misclassified, Natural, RandomInputs
from fpverify_generator.baselines.trajectories import Trajectories
from fpverify_generator.keys import Keys
from fpverify_generator.pools import Owner


class Baseline(Protocol):
    """What every baseline is: a frozen dataclass that is called."""

    needs_weights: ClassVar[bool]
    """Whether it needs the source's gradients."""

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Make the keys.

        Args:
            owner: source, data and models; `owner.nulls` may not be asked.
            count: how many keys are wanted.

        Returns:
            At most `count` keys, such that the first so many are a fair smaller fingerprint.

        Raises:
            SourceError: if it needs gradients of a label oracle.
            StudyError: if it needs a library that is not installed.
        """


@runtime_checkable
class ScoreBaseline(Baseline, Protocol):
    """A baseline that compares scores: it has a similarity, and no retention."""

    def similarity(self, ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating]) -> float:
        """Compare two models by their probabilities of the keys.

        Args:
            ours: `(n, classes)` the source's.
            theirs: `(n, classes)` the suspect's.

        Returns:
            The more alike they are, the more.
        """


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "natural": Natural(),
        "akh": Misclassified(),
        "random": RandomInputs(),
        "fgsm": Adversarial("fgsm"),
        "pgd": Adversarial("pgd"),
        "deepfool": Adversarial("deepfool"),
        "cw-linf": Adversarial("cw-linf"),
        "ipguard": IpGuard(),
        "frontier-stitching": FrontierStitching(),
        "universal": Universal(),
        "adv-tra": Trajectories(),
        "sac": SampleCorrelation(),
    }
)
"""Every baseline by name; the table drives the study and its tests."""
