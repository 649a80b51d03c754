"""The retention rate: how much of the fingerprint a suspect has kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Retention:
    """How many keys a suspect answers as the fingerprint says."""

    kept: int
    """Keys answered with the fingerprint's label."""
    queries: int
    """Keys asked, at least one."""

    @property
    def rate(self) -> float:
        """Return the share of keys kept, a fraction in [0, 1]."""
        return self.kept / self.queries


def retained(answers: "NDArray[np.signedinteger[Any]]", labels: "NDArray[np.signedinteger[Any]]") -> Retention:
    """Count the keys that a suspect kept.

    Args:
        answers: `(n,)` labels that the suspect gave.
        labels: `(n,)` labels that the fingerprint holds.

    Returns:
        The counts.

    Source:
        Lukas et al., ICLR 2021, arXiv:1912.00888: the accuracy on conferrable adversarial examples, CAEAcc.
    """
    return Retention(int((answers == labels).sum()), len(labels))
