"""The verdict with everything that it rests on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fpverify.contract import SuspectContract
from fpverify.result.backing import (
    Correction,
    FingerprintInfo,
    ProofReport,
    Provenance,
    SequentialReport,
    Twins,
    Vetting,
)
from fpverify.result.policy import Policy, Verdict
from fpverify.result.suspect import AnswersInfo, ControlReport, HeldLimits, ProbeReport, SuspectInfo
from fpverify.statistics import Interval, Spread

RESULT_FORMAT = "fpverify-result-1"
"""Names the JSON Schema of a verification, `formats/result-1.schema.json`."""


@dataclass(frozen=True)
class Judgement:
    """A verdict with the numbers that it rests on."""

    verdict: Verdict
    """The conclusion."""
    reason: str
    """The conclusion's reason, in a sentence or two."""
    cut: int | None
    """Kept keys from which the suspect is called derived: the fewest that reach the threshold and have a p-value of at
    most the policy's significance; None if there are none."""
    p_value: float
    """Of "unrelated", by rank among the null models: `(1 + nulls_above_suspect) / (nulls + 1)`."""
    q_value: float
    """Of "derived", by rank among held-out surrogates: `(1 + surrogates_below_suspect) / (surrogates + 1)`."""
    nulls: int
    """Null models in all."""
    nulls_above_suspect: int
    """Null models whose retention is at or above the suspect's."""
    nulls_above_cut: int
    """Null models that reach the cut: false positives of the calibration."""
    false_positive_bound: float
    """Upper bound on the rate at which models like the nulls reach the cut, at the policy's confidence."""
    significance_bound: float | None
    """Upper bound on the false-positive rate of the rank test with these nulls, at the policy's confidence; None if
    they are too few for the significance."""
    surrogates: int
    """Held-out surrogates in all."""
    surrogates_below_suspect: int
    """Held-out surrogates whose retention is at or below the suspect's."""
    null_interval: Interval
    """Where the retentions of models like the nulls lie: beta-binomial, which accounts for the keys' correlation."""
    surrogate_interval: Interval | None
    """The same of models like the held-out surrogates; None without any."""
    null_spread: Spread
    """Retentions of the null models, fractions in [0, 1]."""
    surrogate_spread: Spread | None
    """Retentions of the held-out surrogates, fractions in [0, 1]; None without any."""


@dataclass(frozen=True)
class Result(Judgement):
    """A verdict with everything that it rests on."""

    retention: float
    """Share of keys that the suspect answers as the fingerprint says, a fraction in [0, 1]."""
    kept: int
    """Keys answered so."""
    queries: int
    """Keys asked."""
    threshold: float
    """The fingerprint's working point, a fraction in (0, 1]; `cut` holds it and the significance together."""
    policy: Policy
    """How sure the auditor wanted to be."""
    fingerprint: FingerprintInfo
    """Which fingerprint was used."""
    proof: ProofReport | None
    """What a commitment proves of it; None without one."""
    provenance: Provenance | None
    """Who signed it, and when it was stamped; None without signature and timestamp."""
    twins: Twins | None
    """Its rank among twins of the source; None without any."""
    correction: Correction | None
    """How it was corrected for the number of suspects; None for a verdict by itself."""
    vetting: Vetting | None
    """What independent models say of it; None where none were asked, so that all rests on the owner's word."""
    suspect: SuspectInfo
    """Which suspect was judged."""
    answers: AnswersInfo
    """How it answered."""
    sequential: SequentialReport | None
    """Where asking key by key stopped; None if all keys were asked at once. With it, `kept`, `queries` and `retention`
    are of the keys that were asked, and the judgement's numbers those of the least favourable number of kept keys."""
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
    judged_at: str
    """When, in UTC: ISO 8601 to the second."""
    seconds: float
    """Wall time of loading, asking and judging."""
    command: str | None
    """The command line, where it was one."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, as `formats/result-1.schema.json` describes; rates are fractions, times seconds."""
        document = asdict(self)
        del document["contract"]["alternatives"]  # all are settled, or there would be no verdict
        return {"format": RESULT_FORMAT, **document}

    def _repr_html_(self) -> str:
        """Return the report as HTML for a notebook, in a frame: its style must not become the notebook's."""
        from fpverify.reports import FORMATS, framed

        return framed(FORMATS["html"].result(self))


@dataclass(frozen=True)
class Judged:
    """One suspect that was to be judged by one fingerprint."""

    suspect: str
    """Its path, or what to call it."""
    fingerprint: str
    """The fingerprint's path; empty where the suspect could not be opened for any."""
    result: Result | None
    """The verdict; None without one."""
    error: str = ""
    """Why there is no verdict; empty with one."""

    @property
    def outcome(self) -> str:
        """Return the verdict in a word, or `no verdict`."""
        return NO_VERDICT if self.result is None else str(self.result.verdict)

    @property
    def suspicious(self) -> bool:
        """Return whether nothing but the correction for many tests speaks against "derived"."""
        return self.result is not None and self.result.correction is not None and self.result.correction.changed


NO_VERDICT = "no verdict"
"""What became of a suspect that could not be judged: it is neither derived nor unrelated."""

SUSPICIOUS = "suspicious"
"""What an inconclusive row is called that would be derived by itself."""

GRAVITY = (str(Verdict.DERIVED), NO_VERDICT, str(Verdict.INCONCLUSIVE), str(Verdict.UNRELATED))
"""Outcomes, the gravest first."""
