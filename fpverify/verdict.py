"""The rule by which a retention becomes a verdict, and the policy that it follows."""

from dataclasses import dataclass, replace
from enum import StrEnum

from fpverify.errors import PolicyError
from fpverify.retention import Retention
from fpverify.statistics import Interval, clopper_pearson, false_positive_bound, rank_p_value


class Verdict(StrEnum):
    """What an auditor may conclude."""

    DERIVED = "derived"
    """The suspect keeps what only models derived from the source keep."""
    UNRELATED = "unrelated"
    """The suspect keeps too little of the fingerprint."""
    INCONCLUSIVE = "inconclusive"
    """The evidence supports neither."""


@dataclass(frozen=True)
class Policy:
    """How sure an auditor wants to be."""

    level: float = 0.05
    """The p-value of "unrelated" up to which it is rejected, a fraction in (0, 1)."""
    interval_level: float = 0.95
    """Confidence level of the retention's interval and of the false-positive bound, a fraction in (0, 1)."""
    ask_twice: bool = False
    """Whether each key is asked a second time, in another order and so beside other keys; the verdict must be the same
    by both. Twice the cost; for suspects whose answers may vary."""

    def __post_init__(self) -> None:
        for name in ("level", "interval_level"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
                raise PolicyError(f"policy: {name} must be a number between 0 and 1, found {value!r}")
        if not isinstance(self.ask_twice, bool):
            raise PolicyError(f"policy: ask_twice must be true or false, found {self.ask_twice!r}")


@dataclass(frozen=True)
class Judgement:
    """A verdict with the numbers that it rests on."""

    verdict: Verdict
    """The conclusion."""
    reason: str
    """The conclusion's reason, one sentence."""
    interval: Interval
    """Clopper-Pearson interval of the retention."""
    p_value: float
    """Of "unrelated", by rank among the null models."""
    nulls: int
    """Null models in all."""
    nulls_above_suspect: int
    """Null models whose retention is at or above the suspect's."""
    nulls_above_threshold: int
    """Null models whose retention is at or above the threshold: false positives of the calibration."""
    false_positive_bound: float
    """Upper bound on the rate at which unrelated models reach the threshold, at the policy's interval level."""


def rule(retention: float, threshold: float, interval: Interval, p_value: float, level: float) -> Verdict:
    """Decide.

    - derived: the retention is at or above the threshold, and "unrelated" is rejected (`p_value <= level`);
    - inconclusive: the threshold is reached but "unrelated" is not rejected, or it is not reached but lies within the
      interval, so that other keys of the same kind could have reached it;
    - unrelated: everything else.

    Args:
        retention: the suspect's, a fraction.
        threshold: the fingerprint's calibrated one, a fraction.
        interval: of the retention.
        p_value: of "unrelated".
        level: of the test.

    Returns:
        The verdict.
    """
    if retention >= threshold:
        return Verdict.DERIVED if p_value <= level else Verdict.INCONCLUSIVE
    return Verdict.INCONCLUSIVE if interval.high >= threshold else Verdict.UNRELATED


def judge(retention: Retention, threshold: float, nulls: tuple[float, ...], policy: Policy) -> Judgement:
    """Weigh a retention.

    Args:
        retention: of the suspect.
        threshold: the calibrated one, a fraction.
        nulls: `(m,)` retentions of unrelated models that were used for nothing else.
        policy: how sure to be.

    Returns:
        The verdict and its numbers.
    """
    interval = clopper_pearson(retention.kept, retention.queries, policy.interval_level)
    p_value = rank_p_value(retention.rate, nulls)
    false_positives = sum(null >= threshold for null in nulls)
    verdict = rule(retention.rate, threshold, interval, p_value, policy.level)
    return Judgement(
        verdict=verdict,
        reason=explain(verdict, retention, threshold, interval, p_value, len(nulls), policy.level),
        interval=interval,
        p_value=p_value,
        nulls=len(nulls),
        nulls_above_suspect=sum(null >= retention.rate for null in nulls),
        nulls_above_threshold=false_positives,
        false_positive_bound=false_positive_bound(false_positives, len(nulls), policy.interval_level),
    )


def doubted(judgement: Judgement, reason: str) -> Judgement:
    """Return a judgement as inconclusive, for a reason that lies outside the rule.

    Args:
        judgement: by the rule.
        reason: why it does not stand, one sentence.

    Returns:
        The same numbers with another verdict.
    """
    return replace(judgement, verdict=Verdict.INCONCLUSIVE, reason=f"{judgement.reason} {reason}")


def explain(
    verdict: Verdict,
    retention: Retention,
    threshold: float,
    interval: Interval,
    p_value: float,
    nulls: int,
    level: float,
) -> str:
    """Say in one sentence why the rule gave its verdict; the arguments are the rule's."""
    kept = f"The suspect keeps {retention.kept} of {retention.queries} keys"
    below = f"{kept}, below the threshold of {threshold:.1%}"
    if verdict is Verdict.UNRELATED:
        return f"{below}, and the whole interval ({interval.low:.1%} to {interval.high:.1%}) lies below it."
    if retention.rate < threshold:
        return f"{below}, but the interval ({interval.low:.1%} to {interval.high:.1%}) reaches it."
    reached = f"{kept}, at or above the threshold of {threshold:.1%}"
    if verdict is Verdict.DERIVED:
        return f"{reached}, and its rank among {nulls} unrelated models gives p = {p_value:.3g} (at most {level:g})."
    if 1 / (nulls + 1) > level:
        return f"{reached}, but {nulls} null models cannot reject unrelatedness at {level:g}: p is {p_value:.3g}."
    return f"{reached}, but so do unrelated models: p = {p_value:.3g}, where at most {level:g} is required."
