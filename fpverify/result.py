"""What a verification says: the verdict with everything that it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass

from fpverify.sandbox.limits import HeldLimits
from fpverify.statistics import Interval
from fpverify.suspects import ProbeReport, SuspectContract, SuspectInfo
from fpverify.suspects.controls import ControlReport
from fpverify.verdict import Policy, Verdict
from fpverify.weighing import AnswersInfo


@dataclass(frozen=True)
class FingerprintInfo:
    """Which fingerprint was used."""

    sha256: str
    """Of the file, its identity, as hexadecimal digits."""
    path: str | None
    """The file; None if a `Fingerprint` was passed."""
    format_version: int
    """Of the file."""
    keys: int
    """How many it holds."""
    classes: int
    """How many classes its labels come from."""
    source_sha256: str
    """Of the source model's file, as hexadecimal digits."""
    method: str
    """Name of the method that made it."""
    calibration_rule: str
    """How the threshold was chosen, in words."""
    null_ranges: Mapping[str, tuple[float, float]]
    """Ranges in which the training of its null models varied, as it states them; p holds for suspects like these."""


@dataclass(frozen=True)
class Result:
    """A verdict with everything that it rests on."""

    verdict: Verdict
    """The conclusion."""
    reason: str
    """Why, in one sentence."""
    retention: float
    """Share of keys that the suspect answers as the fingerprint says, a fraction in [0, 1]."""
    kept: int
    """Keys answered so."""
    queries: int
    """Keys asked."""
    threshold: float
    """The fingerprint's working point, a fraction in (0, 1]; `cut` holds it and the level together."""
    cut: int | None
    """Kept keys from which the suspect is called derived: the fewest that reach the threshold and have a p-value of at
    most the policy's level; None if there are none."""
    p_value: float
    """Of "unrelated", by rank among the null models: `(1 + nulls_above_suspect) / (nulls + 1)`."""
    q_value: float
    """Of "derived", by rank among held-out surrogates: `(1 + surrogates_below_suspect) / (surrogates + 1)`."""
    nulls: int
    """Null models in the calibration."""
    nulls_above_suspect: int
    """Null models that keep as much as the suspect, or more."""
    nulls_above_cut: int
    """Null models that reach the cut."""
    false_positive_bound: float
    """Upper bound on the rate at which models like the nulls reach the cut, at the policy's confidence."""
    level_bound: float | None
    """Upper bound on the true level of the rank test with these nulls, at the policy's confidence; None if they are too
    few for the level."""
    surrogates: int
    """Held-out surrogates in the calibration."""
    surrogates_below_suspect: int
    """Held-out surrogates that keep as little as the suspect, or less."""
    null_interval: Interval
    """Central part of the beta-binomial distribution fitted to the null models' retentions."""
    surrogate_interval: Interval | None
    """The same of the held-out surrogates; None without any."""
    policy: Policy
    """How sure the auditor wanted to be."""
    fingerprint: FingerprintInfo
    """Which fingerprint was used."""
    suspect: SuspectInfo
    """Which suspect was judged."""
    answers: AnswersInfo
    """How it answered."""
    contract: SuspectContract
    """What the suspect expects and returns, and where each field comes from."""
    probe: ProbeReport | None
    """What ordinary inputs said of its preprocessing; None without."""
    controls: ControlReport | None
    """What the fingerprint's control images said of the suspect; None where it holds none, or a probe was given."""
    sandbox: HeldLimits | None
    """Limits under which it ran; None for a callable, which runs in this process."""
    warnings: tuple[str, ...]
    """What a reader of the verdict should know."""
    versions: Mapping[str, str]
    """Of the programs that took part in judging."""
    seconds: float
    """Wall time of loading, asking and judging."""
