"""What a verification says: the verdict with everything that it rests on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from fpverify.contract import SuspectContract
from fpverify.errors import PolicyError
from fpverify.statistics import Interval, Spread

RESULT_FORMAT = "fpverify-result-1"
"""Names the JSON Schema of a verification, `formats/result-1.schema.json`."""


@dataclass(frozen=True)
class Candidate:
    """One reading of a suspect's contract."""

    layout: str | None
    """Order of the axes."""
    channels: str | None
    """Order of the channels."""
    values: str
    """How a pixel becomes a number, in words."""
    accuracy: float
    """Share of the probe that the suspect answers rightly so, a fraction in [0, 1]."""
    tied: bool
    """Whether the probe cannot tell it from the best; the best is tied with itself."""


@dataclass(frozen=True)
class ProbeReport:
    """What the probe said."""

    inputs: int
    """How many were asked."""
    chance: float
    """Share of the most frequent class: what answering it always would reach."""
    candidates: tuple[Candidate, ...]
    """All of them, the best first."""


@dataclass(frozen=True)
class SuspectInfo:
    """Which suspect was judged."""

    kind: str
    """`onnx` for a model's file, `recorded` for a file of answers, `endpoint`, or `callable` for anything else."""
    name: str
    """The path, or what to call the callable."""
    path: str | None
    """The file; None for a callable."""
    sha256: str | None
    """Of the file, as hexadecimal digits; None for a callable, which cannot be pinned down."""
    external: Mapping[str, str]
    """SHA-256 of each file beside it that it reads, by its location."""
    provider: str | None
    """What ran the file, as ONNX Runtime names it; of an endpoint, its model, its certificate and when it was asked;
    None for a callable."""


@dataclass(frozen=True)
class ControlReport:
    """What the control images said of a suspect."""

    inputs: int
    """How many were asked."""
    right: int
    """How many it answers rightly, as it was asked in the end."""
    needed: int
    """How many a suspect that works answers rightly at least."""
    source_accuracy: float
    """The source's share of right answers, a fraction in [0, 1]."""
    readings: int
    """Readings of its input that were tried; 1 if it is derived by the stated one."""
    reordered: bool
    """Whether its classes were put into another order than is stated."""

    @property
    def works(self) -> bool:
        """Say whether the suspect works as it was asked."""
        return self.right >= self.needed


@dataclass(frozen=True)
class AnswersInfo:
    """How the suspect answered: what shows a suspect that recognises keys, or that does not answer at all."""

    distinct: int
    """Different classes among its answers."""
    entropy_bits: float
    """Shannon entropy of its answers, in bits; 0 if it answers all keys alike."""
    label_entropy_bits: float
    """The same of the fingerprint's labels: what a suspect that keeps every key would have."""
    refusals: int
    """Keys that it answered with nothing, or with a class that the fingerprint does not have."""
    left_out: int
    """Keys that were not counted, because the suspect does not know their class."""
    asked_again: int
    """Keys that were asked a second time, one at a time."""
    disagreements: int
    """Of these, how many it answered otherwise."""
    given: tuple[int, ...]
    """Its answer to each key, in the fingerprint's order: a place among the fingerprint's classes, `REFUSED` for none
    of them, `NOT_ASKED` where it was not asked or its answer is missing."""


REFUSED, NOT_ASKED = -1, -2
"""Stand in the list of answers for what is no class."""


@dataclass(frozen=True)
class HeldLimits:
    """Which limits a suspect's process ran under; None where the platform cannot hold one."""

    seconds: float
    """Wall time."""
    memory: int | None
    """Address space in bytes."""
    cpu_seconds: float | None
    """Processor time."""
    no_writing: bool
    """Whether the process could not write to files."""
    open_files: int | None
    """Files that it could hold open at once."""
    landlock: int
    """Version of Linux's Landlock that kept it from files, TCP and other processes; 0 if none did."""
    seccomp: bool
    """Whether Linux's seccomp kept it from every system call that a model does not need."""
    private_copy: bool
    """Whether it ran from sealed copies of the suspect's files, which cannot be changed."""

    @property
    def fenced(self) -> bool:
        """Say whether it could read no file but the suspect's, use no network and start no process."""
        return self.landlock > 0 and self.seccomp


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
    surrogate_groups: Mapping[str, int]
    """How many held-out surrogates each removal attack made; empty where the fingerprint does not say."""
    surrogate_accuracy: Spread | None
    """Accuracies of the held-out surrogates, fractions in [0, 1]; None where the fingerprint does not say."""
    null_accuracy: Spread | None
    """The same of the null models."""
    source_accuracy: float | None
    """The source's on the control images, a fraction in [0, 1]; None where the fingerprint does not say."""


@dataclass(frozen=True)
class ProofReport:
    """What a commitment proves of the fingerprint that was used."""

    commitment: str
    """SHA-256 of the commitment's file, as hexadecimal digits."""
    committed: int
    """Keys that were committed."""
    shown: int
    """Keys of them that were shown, and asked."""
    drawn_for: str | None
    """The suspect for which they were drawn, its SHA-256 or a name; None where nothing was drawn."""
    fair: bool
    """Whether all keys were shown, or those that both sides' random numbers draw, as far as the auditor can know."""


@dataclass(frozen=True)
class Provenance:
    """Who vouches for what was committed, and since when."""

    of: str
    """What was signed and stamped: `commitment`, or `fingerprint` where there is none."""
    signer: str | None
    """SHA-256 of the key that signed it, as hexadecimal digits; None without a signature."""
    stamped_at: str | None
    """When an authority saw it, in UTC, ISO 8601; None without a timestamp."""
    released_at: str | None
    """When the suspect was released, as the auditor states it; None if that is not stated."""
    older: bool | None
    """Whether the timestamp is older; None where one of both is missing."""


@dataclass(frozen=True)
class InTurn:
    """When to stop asking a suspect whose queries cost."""

    error: float = 0.01
    """Largest probability that the verdict is another than that of all keys, a fraction in (0, 1), while the suspect's
    answers are read as they were at first."""
    max_queries: int | None = None
    """Queries in all, control images and second askings included; None for as many as it takes."""

    def __post_init__(self) -> None:
        if isinstance(self.error, bool) or not isinstance(self.error, int | float) or not 0 < self.error < 1:
            raise PolicyError(where="error", expected="a number between 0 and 1", found=f"{self.error!r}")
        most = self.max_queries
        if most is not None and (type(most) is not int or most < 1):
            raise PolicyError(where="max_queries", expected="an integer of at least 1", found=f"{most!r}")


@dataclass(frozen=True)
class SequentialReport:
    """Where asking key by key stopped."""

    asked: int
    """Keys that were asked, of those that count."""
    keys: int
    """Keys that count."""
    queries: int
    """Queries in all: control images, keys, and keys that were asked again."""
    low: int
    """The fewest keys that the suspect may keep of those that count."""
    high: int
    """The most."""
    error: float
    """Largest probability that the verdict of all keys is another, a fraction in [0, 1]; 0 where it is certain."""
    stopped: str
    """`bound` if the error allowed it, `certain` if no answer could change the verdict, `all keys`, `queries spent`."""


@dataclass(frozen=True)
class Correction:
    """How a verdict was corrected for how many there were."""

    method: str
    """`holm` or `benjamini-hochberg`."""
    tests: int
    """Verdicts in all."""
    p_value: float
    """The adjusted p-value of "unrelated"."""
    changed: bool
    """Whether the suspect would be called derived without the correction."""


@dataclass(frozen=True)
class Twins:
    """How much a suspect keeps of the fingerprints of the source's twins, which were trained like it."""

    twins: int
    """Twins in all, the source among them."""
    above: int
    """Twins, without the source, of whose fingerprint the suspect keeps as large a share, or more."""
    p_value: float
    """Of "unrelated": `(1 + above) / twins`, for every model that was made without the source."""
    retentions: tuple[float, ...]
    """What it keeps of each twin's fingerprint, without the source's, fractions in [0, 1]."""

    def decisive_p(self, significance: float) -> float:
        """Return the p-value where so many twins can reject at a significance; 0, which decides nothing, elsewhere."""
        return self.p_value if 1 / self.twins <= significance else 0.0


@dataclass(frozen=True)
class PanelMember:
    """An independent model that was asked a fingerprint's keys."""

    name: str
    """Its path, or what to call it."""
    sha256: str | None
    """Of its file, as hexadecimal digits; None for a callable."""
    kept: int | None
    """Keys that it answers with the fingerprint's label; None where it does not count."""
    answers: tuple[int, ...]
    """Its label of each key, an index of the fingerprint's classes, negative for none; empty if it does not count."""
    left_out: str
    """Why it does not count; empty if it does."""


@dataclass(frozen=True)
class Vetting:
    """What an auditor's own models say of a fingerprint, whatever its owner says."""

    fingerprint: str
    """SHA-256 of the fingerprint's file."""
    queries: int
    """Keys that count: all, or those whose classes the suspect knows."""
    members: tuple[PanelMember, ...]
    """The panel; those that do not count say why."""
    cut: int | None
    """Kept keys from which a suspect would be called derived; None if there are none."""
    reaching: int
    """Models of the panel that keep as many of the keys that count."""
    source_kept: int | None
    """Keys that the source keeps, which must be all; None where it was not at hand."""
    bound: float
    """Upper bound on the rate at which models like the panel reach the cut, a fraction in [0, 1]."""
    confidence: float
    """Of the bound, a fraction in (0, 1)."""
    refusals: tuple[str, ...]
    """Why the fingerprint is refused, a clause each; none if it is not."""
    p_value: float | None
    """A suspect's p-value of "unrelated", by rank among the panel: `(1 + models that keep as much) / (models + 1)`;
    None without a suspect."""

    @property
    def counted(self) -> tuple[PanelMember, ...]:
        """Return the models that count."""
        return tuple(member for member in self.members if member.kept is not None)

    @property
    def smallest_p(self) -> float:
        """Return the smallest p-value that so many models can give."""
        return 1 / (len(self.counted) + 1)

    def decisive_p(self, significance: float) -> float:
        """Return the p-value where so many models can reject at a significance; 0, which decides nothing, elsewhere."""
        return self.p_value if self.p_value is not None and self.smallest_p <= significance else 0.0


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
