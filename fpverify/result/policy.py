"""How sure an auditor wants to be, and what they may conclude."""

from dataclasses import dataclass
from enum import StrEnum

from fpverify.errors import PolicyError
from fpverify.text import is_digest


class Verdict(StrEnum):
    """What an auditor may conclude."""

    DERIVED = "derived"
    """The suspect keeps what only models derived from the source keep."""
    UNRELATED = "unrelated"
    """The suspect keeps less of the fingerprint than models derived from the source."""
    INCONCLUSIVE = "inconclusive"
    """The evidence supports neither."""


LEAST = 1e-9
"""Smallest significance or confidence: no rank test reaches a smaller one."""


@dataclass(frozen=True)
class Policy:
    """How sure an auditor wants to be."""

    significance: float = 0.02
    """The p-value of "unrelated" up to which it is rejected, a fraction in (0, 1)."""
    derived_significance: float = 0.05
    """The q-value, the p-value of "derived", up to which it is rejected, a fraction in (0, 1). A suspect is called
    unrelated only if its p-value of "unrelated" is above this value, too: else it fits neither kind of model."""
    confidence: float = 0.95
    """Confidence of the bounds, and the share of models that the reported intervals hold, a fraction in (0, 1)."""
    min_keys: int = 20
    """The fewest keys that must count for any verdict but `inconclusive`."""
    ask_twice: bool = False
    """Whether each key is asked a second time, in another order and so beside other keys; the verdict must be the same
    by both. Twice the cost; for suspects whose answers may vary."""

    def __post_init__(self) -> None:
        for name in ("significance", "derived_significance", "confidence"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST <= value < 1:
                raise PolicyError(culprit="policy", where=name, expected="a number between 0 and 1", found=f"{value!r}")
        if type(self.min_keys) is not int or self.min_keys < 1:
            raise PolicyError(
                culprit="policy", where="min_keys", expected="an integer of at least 1", found=f"{self.min_keys!r}"
            )
        if not isinstance(self.ask_twice, bool):
            raise PolicyError(
                culprit="policy", where="ask_twice", expected="true or false", found=f"{self.ask_twice!r}"
            )


@dataclass(frozen=True)
class InTurn:
    """When to stop asking a suspect whose queries cost."""

    error: float = 0.01
    """Largest probability that the verdict is another than that of all keys, a fraction in (0, 1), while the suspect's
    answers are read as they were at first."""
    max_queries: int | None = None
    """Queries in all, control images and second askings included; None for as many as it takes."""
    seed: str | None = None
    """Of the order in which keys are asked, 64 hexadecimal digits, to repeat that of a report; None to draw it. Whoever
    chooses it, or repeats draws until one suits, chooses among the verdicts of stopping early."""

    def __post_init__(self) -> None:
        if isinstance(self.error, bool) or not isinstance(self.error, int | float) or not 0 < self.error < 1:
            raise PolicyError(where="error", expected="a number between 0 and 1", found=f"{self.error!r}")
        if self.seed is not None and not is_digest(self.seed):
            raise PolicyError(where="seed", expected="64 lower-case hexadecimal digits", found=f"{self.seed!r:.80}")
        most = self.max_queries
        if most is not None and (type(most) is not int or most < 1):
            raise PolicyError(where="max_queries", expected="an integer of at least 1", found=f"{most!r}")
