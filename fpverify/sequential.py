"""When answers to some of the keys decide: which numbers of kept keys they leave possible.

The keys that count are a finite population, of which a suspect keeps some number. They are asked in random order. After
each answer a confidence set holds the numbers that are still possible; it holds the true one at all times at once with
a stated probability. As soon as all numbers in it give one verdict, that is the verdict.
"""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpverify.fingerprint import Calibration
from fpverify.result import Policy, Verdict
from fpverify.statistics import beta_binomial, rank_p_value, rank_q_value
from fpverify.verdict import cut_of, rule

FLOOR = 0.05
"""Share of a prior that is even, so that a suspect of neither population is decided, too."""


def prior_of(calibration: Calibration, keys: int) -> NDArray[np.float64]:
    """Return how likely each number of kept keys is before any answer: half as of null models, half as of surrogates.

    Any prior keeps the stated error; this one makes the answers few.

    Args:
        calibration: what held-out models keep of these keys.
        keys: how many there are.

    Returns:
        `(keys + 1,)` probabilities, all above 0.
    """
    even = np.full(keys + 1, 1 / (keys + 1))
    populations = [np.array(beta_binomial(one, keys)) for one in (calibration.nulls, calibration.surrogates) if one]
    prior: NDArray[np.float64] = (1 - FLOOR) * sum(populations, 0 * even) / len(populations) + FLOOR * even
    return prior


class Possible:
    """The numbers of kept keys that the answers so far leave possible.

    Source:
        I. Waudby-Smith and A. Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020, section 2:
        the prior-posterior-ratio martingale of the hypergeometric distribution.
    """

    def __init__(self, prior: NDArray[np.float64], error: float) -> None:
        """Begin without any answer.

        Args:
            prior: `(keys + 1,)` of `prior_of`.
            error: largest probability that the set ever leaves out the true number, a fraction in (0, 1).
        """
        self._keys, self._log_error = len(prior) - 1, np.log(error)
        self._log_prior = np.log(prior)
        self._log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(prior))))])

    def sets(self, kept: Sequence[bool] | NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
        """Yield which numbers are possible after the first answer, after the first two, and so on.

        Args:
            kept: whether each key was kept, in the order in which they were asked.

        Yields:
            `(keys + 1,)` for each number of kept keys, whether it is possible; at least one is.
        """
        numbers, found = np.arange(self._keys + 1), 0
        possible = np.ones(self._keys + 1, bool)
        for asked, one in enumerate(kept, 1):
            found += int(one)
            open_ones = certain(found, asked, self._keys)
            likelihood = np.full(self._keys + 1, -np.inf)
            likelihood[open_ones] = self._ways(numbers[open_ones], found) + self._ways(
                self._keys - numbers[open_ones], asked - found
            )
            joint = self._log_prior + likelihood
            evidence = joint.max() + np.log(np.exp(joint - joint.max()).sum())
            bounded = possible & open_ones & (likelihood > self._log_error + evidence)
            # Without any number left the one error in `1 / error` has happened: what is certain stays.
            possible = bounded if bounded.any() else open_ones
            yield possible

    def _ways(self, of: NDArray[np.int64], chosen: int) -> NDArray[np.float64]:
        """Return the logarithm of how many subsets of a size each set has."""
        ways: NDArray[np.float64] = (
            self._log_factorial[of] - self._log_factorial[chosen] - self._log_factorial[of - chosen]
        )
        return ways


def verdicts_of(calibration: Calibration, keys: int, policy: Policy) -> list[Verdict]:
    """Return the verdict for each number of kept keys, from 0 to all."""
    cut = cut_of(keys, calibration, policy.significance)

    def verdict(kept: int) -> Verdict:
        p_value = rank_p_value(kept / keys, calibration.nulls)
        q_value = rank_q_value(kept / keys, calibration.surrogates)
        return rule(kept, cut, p_value, q_value, policy.derived_significance)

    return [verdict(kept) for kept in range(keys + 1)]


@dataclass(frozen=True)
class Decision:
    """What some of the answers decide."""

    verdict: Verdict | None
    """The verdict of all keys; None while it is open."""
    low: int
    """The fewest kept keys that are possible."""
    high: int
    """The most."""
    certain: bool
    """Whether no answer to the other keys could change the verdict."""


def hashed_order(start: bytes, count: int) -> list[int]:
    """Return 0 to `count` - 1, in the order of the SHA-256 of some bytes and each number (4 bytes, big-endian)."""
    return sorted(range(count), key=lambda one: hashlib.sha256(start + one.to_bytes(4, "big")).digest())


class Order:
    """Random orders from a seed, which nobody can predict before it is known, and everybody can draw again after."""

    def __init__(self, seed: str | None = None) -> None:
        """Take a seed, 64 hexadecimal digits, or draw one by the operating system."""
        self.seed = secrets.token_hex(32) if seed is None else seed

    def of(self, what: str, count: int) -> list[int]:
        """Return 0 to `count` - 1, in the order of the SHA-256 of the seed, what is ordered, and each number."""
        return hashed_order(b"fpverify/asked/1\0" + bytes.fromhex(self.seed) + what.encode() + b"\0", count)


class Rule:
    """When a suspect is decided: another verdict than that of all keys has at most the stated probability."""

    def __init__(self, calibration: Calibration, keys: int, verdicts: Sequence[Verdict], error: float) -> None:
        """Begin without any answer.

        Args:
            calibration: what held-out models keep of the keys that count.
            keys: how many count.
            verdicts: for each number of kept keys, from 0 to all.
            error: largest probability of another verdict, a fraction in (0, 1).
        """
        self._keys, self._verdicts = keys, np.array(verdicts)
        self._possible = Possible(prior_of(calibration, keys), error)

    def decisions(self, kept: Sequence[bool] | NDArray[np.bool_]) -> Iterator[Decision]:
        """Yield what the first answer decides, what the first two do, and so on.

        Args:
            kept: whether each key was kept, in the order in which they were asked.
        """
        found = 0
        for asked, (one, possible) in enumerate(zip(kept, self._possible.sets(kept), strict=True), 1):
            found += int(one)
            still = set(self._verdicts[certain(found, asked, self._keys)].tolist())
            given = set(self._verdicts[possible].tolist())
            numbers = np.flatnonzero(possible)
            verdict = Verdict(min(given)) if len(given) == 1 else None
            yield Decision(verdict, int(numbers[0]), int(numbers[-1]), len(still) == 1)


def certain(kept: int, asked: int, keys: int) -> NDArray[np.bool_]:
    """Return which numbers of kept keys the other keys leave open, whatever the suspect answers."""
    numbers = np.arange(keys + 1)
    open_ones: NDArray[np.bool_] = (numbers >= kept) & (numbers <= keys - (asked - kept))
    return open_ones
