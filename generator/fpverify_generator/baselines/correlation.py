"""SAC: how a model's scores of a set of samples go together, compared between source and suspect."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fpverify_generator.baselines.natural import Misclassified
from fpverify_generator.keys import Keys
from fpverify_generator.pools import Owner


@dataclass(frozen=True)
class SampleCorrelation:
    """Correlation of the scores of each two samples, SAC-w: samples that the source gets wrong.

    Needs the suspect's scores; its statistic is 1 minus the mean absolute difference of the two correlation matrices.
    One query for each start image, to find the samples.

    Source:
        Guan, Liang, He, "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks",
        NeurIPS 2022, sections 3.2 (cosine similarity of outputs) and 3.3 (wrongly classified samples).
    """

    needs_weights: ClassVar[bool] = False

    def __call__(self, owner: Owner, count: int) -> Keys:
        """Return the samples, with the source's labels."""
        return Misclassified()(owner, count)

    def similarity(self, ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating]) -> float:
        """Compare two models by their probabilities.

        Args:
            ours: `(n, classes)` the source's.
            theirs: `(n, classes)` the suspect's.

        Returns:
            1 minus the mean absolute difference of the matrices of cosine similarities, at most 1.
        """
        return 1 - float(np.abs(_correlations(ours) - _correlations(theirs)).mean())


def _correlations(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    unit = scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)
    product: npt.NDArray[np.floating] = unit @ unit.T
    return product
