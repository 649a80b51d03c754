"""Corrects the verdicts on many suspects: of many unrelated ones some would be called derived by chance.

Source:
    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979);
    Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57
    (1995). Ranks among shared null models depend on each other positively; Benjamini-Hochberg holds then, too
    (S. Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics 51, 2023).
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from fpverify.errors import PolicyError
from fpverify.result import Correction, Judged, Result, Verdict
from fpverify.statistics import benjamini_hochberg, holm
from fpverify.verdict import nulls_for

METHODS = {"holm": holm, "benjamini-hochberg": benjamini_hochberg}
"""Each method by name: from p-values to adjusted ones, in the same order."""


def correct(results: Sequence[Result], method: str = "holm") -> list[Result]:
    """Correct a set of verdicts for its size.

    A suspect stays derived only if its adjusted p-value of "unrelated" is at most the policy's significance; else it is
    inconclusive. No other verdict changes.

    Copies of one file count as one test by each fingerprint.

    Args:
        results: of `verify` or `verify_each`: everything that was tested, not only what was found.
        method: `holm` holds the probability of any false accusation to the significance, `benjamini-hochberg` the
            expected share of false ones among all accusations.

    Returns:
        The results in the same order; each says by how many tests it was corrected.

    Raises:
        PolicyError: if there is no such method, or the results were judged by several significances.
    """
    if len({result.policy.significance for result in results}) > 1:
        raise PolicyError("the results were judged by several significances", where="correction")
    adjusted, tests = corrections(
        [deciding_p(result) for result in results],
        method,
        [_test_of(result, row) for row, result in enumerate(results)],
    )
    return [correct_one(*one, method, tests) for one in zip(results, adjusted, strict=True)]


def corrected(judged: Sequence[Judged], method: str | None) -> list[Judged]:
    """Correct rows for the number of their verdicts; those without one stay as they are.

    Args:
        judged: suspects by fingerprints.
        method: as for `correct`; None for no correction.
    """
    if method is None:
        return list(judged)
    results = iter(correct([one.result for one in judged if one.result is not None], method))
    return [one if one.result is None else replace(one, result=next(results)) for one in judged]


def _test_of(result: Result, row: int) -> Hashable:
    """Return which test a result is of: copies of one file are tested once by each fingerprint."""
    suspect = result.suspect
    if suspect.sha256 is None:
        return row
    return suspect.sha256, tuple(sorted(suspect.external.items())), result.fingerprint.sha256


def corrections(p_values: Sequence[float], method: str, tests: Sequence[Hashable]) -> tuple[list[float], int]:
    """Return adjusted p-values, in the same order, and the number of tests.

    Args:
        p_values: one for each result.
        method: a key of `METHODS`.
        tests: which test each result is of. Of results of one test the largest p-value counts.

    Raises:
        PolicyError: if there is no such method.
    """
    if method not in METHODS:
        raise PolicyError(where="correction", expected=f"one of {', '.join(METHODS)}", found=f"{method!r:.60}")
    largest: dict[Hashable, float] = {}
    for test, p_value in zip(tests, p_values, strict=True):
        largest[test] = max(p_value, largest.get(test, 0.0))
    adjusted = METHODS[method](list(largest.values())) if largest else []
    found = dict(zip(largest, adjusted, strict=True))
    return [found[test] for test in tests], len(largest)


def deciding_p(result: Result) -> float:
    """Return the p-value on which "derived" rests: the largest of those that decide it, and the error of stopping."""
    others = [one.decisive_p(result.policy.significance) for one in (result.vetting, result.twins) if one is not None]
    return min(1.0, max(result.p_value, *others, 0.0) + (0.0 if result.sequential is None else result.sequential.error))


def correct_one(result: Result, adjusted: float, method: str, tests: int) -> Result:
    """Return a result by its adjusted p-value, of one of `tests`."""
    significance = result.policy.significance
    stays = result.verdict is not Verdict.DERIVED or adjusted <= significance + 1e-12
    changed = replace(result, correction=Correction(method, tests, adjusted, not stays))
    if stays:
        return changed
    needed = nulls_for(significance / tests)
    reason = f'But p of "unrelated" is {adjusted:.3g} when it is corrected for {tests} tests ({method}).'
    if result.sequential is not None and result.sequential.asked < result.sequential.keys:
        reason += " It stopped at the first p that is small enough for one test: ask all keys (without --sequential)."
    elif method == "holm" and result.nulls < needed:
        reason += f" {needed} null models can reject in any of {tests} tests; the fingerprint has {result.nulls}."
    return replace(changed, verdict=Verdict.INCONCLUSIVE, reason=f"{result.reason} {reason}")
