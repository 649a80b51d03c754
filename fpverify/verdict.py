"""The rule by which a retention becomes a verdict, its explanation, and the policy that it follows."""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fpverify.result import Judgement, Policy, Verdict
from fpverify.statistics import (
    beta_binomial_interval,
    false_positive_bound,
    rank_p_value,
    rank_q_value,
    significance_bound,
    spread_of,
)

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


if TYPE_CHECKING:
    from fpverify.fingerprint import Calibration  # which needs NumPy; --help does not


def cut_of(queries: int, calibration: "Calibration", significance: float) -> int | None:
    """Return the number of kept keys from which a suspect is called derived: the one number that decides.

    Args:
        queries: keys that count.
        calibration: threshold and nulls, on these keys.
        significance: the largest p-value that rejects "unrelated".

    Returns:
        The fewest kept keys that reach the threshold and have a p-value of at most `significance`; None if there
        are none.
    """

    def reaches(kept: int) -> bool:
        rate = kept / queries
        return rate >= calibration.threshold and rank_p_value(rate, calibration.nulls) <= significance

    # Who keeps more reaches both as well, so half of the numbers is left out at each step.
    kept = bisect_left(range(queries + 1), True, key=reaches)
    return kept if kept <= queries else None


def rule(kept: int, cut: int | None, p_value: float, q_value: float, derived_significance: float) -> Verdict:
    """Decide.

    - derived: the suspect keeps at least the cut's number of keys;
    - unrelated: it keeps fewer, "derived" is rejected (`q_value <= derived_significance`), and "unrelated" would not be
      rejected at the same significance (`p_value > derived_significance`);
    - inconclusive: everything else.

    Args:
        kept: keys that the suspect keeps.
        cut: of `cut_of`.
        p_value: of "unrelated".
        q_value: of "derived".
        derived_significance: of its test.

    Returns:
        The verdict.
    """
    if cut is not None and kept >= cut:
        return Verdict.DERIVED
    fits = cut is not None and q_value <= derived_significance < p_value
    return Verdict.UNRELATED if fits else Verdict.INCONCLUSIVE


def judge(retention: Retention, calibration: "Calibration", policy: Policy) -> Judgement:
    """Judge a retention.

    Args:
        retention: keys kept, of those that count.
        calibration: what held-out models keep of the same keys, and the threshold.
        policy: how sure to be.

    Returns:
        The verdict and its numbers.
    """
    nulls, surrogates, rate = calibration.nulls, calibration.surrogates, retention.rate
    cut = cut_of(retention.queries, calibration, policy.significance)
    p_value, q_value = rank_p_value(rate, nulls), rank_q_value(rate, surrogates)
    # Without a cut no suspect is called derived, so none is a false positive.
    above_cut = 0 if cut is None else sum(null >= cut / retention.queries for null in nulls)
    judgement = Judgement(
        verdict=rule(retention.kept, cut, p_value, q_value, policy.derived_significance),
        reason="",
        cut=cut,
        p_value=p_value,
        q_value=q_value,
        nulls=len(nulls),
        nulls_above_suspect=sum(null >= rate for null in nulls),
        nulls_above_cut=above_cut,
        false_positive_bound=false_positive_bound(above_cut, len(nulls), policy.confidence),
        significance_bound=significance_bound(policy.significance, len(nulls), policy.confidence),
        surrogates=len(surrogates),
        surrogates_below_suspect=sum(value <= rate for value in surrogates),
        null_interval=beta_binomial_interval(nulls, retention.queries, policy.confidence),
        surrogate_interval=beta_binomial_interval(surrogates, retention.queries, policy.confidence)
        if surrogates
        else None,
        null_spread=spread_of(nulls),
        surrogate_spread=spread_of(surrogates) if surrogates else None,
    )
    return replace(judgement, reason=explain(judgement, retention, policy))


def doubted(judgement: Judgement, reason: str) -> Judgement:
    """Return a judgement as inconclusive, for a reason that lies outside the rule.

    Args:
        judgement: by the rule.
        reason: why it does not stand, one sentence.

    Returns:
        The same numbers with another verdict.
    """
    return replace(judgement, verdict=Verdict.INCONCLUSIVE, reason=f"{judgement.reason} {reason}")


def explain(judgement: Judgement, retention: Retention, policy: Policy) -> str:
    """Say why the rule gave its verdict.

    Args:
        judgement: the verdict and its numbers.
        retention: the suspect's.
        policy: the levels.

    Returns:
        A sentence or two.
    """
    kept, cut = f"The suspect keeps {retention.kept} of {retention.queries} keys", judgement.cut
    p_value = f'p of "unrelated" is {judgement.p_value:.3g} (rank among {judgement.nulls} null models)'
    q_value = f'q of "derived" is {judgement.q_value:.3g} (rank among {judgement.surrogates} held-out surrogates)'
    if cut is None and 1 / (judgement.nulls + 1) > policy.significance:
        return (
            f'{kept}. {judgement.nulls} null models cannot reject "unrelated" at the significance '
            f"{policy.significance:g}: {nulls_for(policy.significance)} are needed."
        )
    if cut is None:
        return f'{kept}. Too many null models keep all keys: no number of kept keys rejects "unrelated".'
    if judgement.verdict is Verdict.DERIVED:
        return (
            f"{kept}, and {cut} are needed to call it derived; {p_value}, {policy.significance:g} or less is required."
        )
    below = f"{kept}, fewer than the {cut} that are needed to call it derived"
    if judgement.verdict is Verdict.UNRELATED:
        return f'{below}; {q_value}, so "derived" is rejected at {policy.derived_significance:g}.'
    if 1 / (judgement.surrogates + 1) > policy.derived_significance:
        return (
            f'{below}, but {judgement.surrogates} held-out surrogates cannot reject "derived" at the significance '
            f"{policy.derived_significance:g}: {nulls_for(policy.derived_significance)} are needed."
        )
    if judgement.q_value <= policy.derived_significance:
        return (
            f"{below}, but it fits neither kind of model: {p_value} and {q_value}, both at most "
            f"{policy.derived_significance:g}."
        )
    return f"{below}, but as many as some derived models: {q_value}, above {policy.derived_significance:g}."


def nulls_for(significance: float) -> int:
    """Return how many models a rank test needs so that its smallest p-value, 1 / (m + 1), is small enough."""
    return math.ceil(1 / significance - 1 - 1e-9)


def weaknesses(calibration: "Calibration", labels: int, significance: float, queries: int) -> list[str]:
    """Return why a fingerprint decides nothing, whatever the suspect.

    Args:
        calibration: what held-out models keep, and the threshold.
        labels: how many different labels its keys have.
        significance: the largest p-value that rejects "unrelated".
        queries: how many keys it holds.

    Returns:
        A clause for each fault; none for a usable fingerprint.
    """
    found = []
    if labels < 2:
        found.append("all its keys have one label")
    if not calibration.surrogates or not calibration.references:
        found.append("it has no held-out surrogates or references")
        return found
    mean = sum(calibration.references) / len(calibration.references)
    if calibration.threshold <= mean:
        found.append(f"its threshold ({calibration.threshold:.1%}) is not above what references keep ({mean:.1%})")
    cut = cut_of(queries, calibration, significance)
    if cut is not None:
        reach = sum(value >= cut / queries for value in calibration.surrogates)
        if 2 * reach < len(calibration.surrogates):
            found.append(
                f"only {reach} of {len(calibration.surrogates)} held-out surrogates keep the {cut} of {queries} keys "
                "that are needed"
            )
    return found
