"""What a verdict rests on beside the suspect's answers: the fingerprint, and who vouches for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fpverify.statistics import Spread


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
class PanelMember:
    """An independent model that was asked a fingerprint's keys."""

    name: str
    """Its path, or what to call it."""
    sha256: str | None
    """Of its file, as `SuspectInfo.identity`, or of its recorded answers; None for a callable."""
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
    tested: bool
    """Whether the models showed, by ordinary images, that they work."""
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
    fingerprints: tuple[str, ...]
    """SHA-256 of each of these fingerprints, in the same order, as hexadecimal digits."""
    listed: str | None = None
    """SHA-256 of the list of all twins from which the source was drawn; None where no draw was shown."""
    drawn_by: str | None = None
    """What drew it, as the auditor states it; None where no draw was shown."""

    def decisive_p(self, significance: float) -> float:
        """Return the p-value where so many twins can reject at a significance; 0, which decides nothing, elsewhere."""
        return self.p_value if 1 / self.twins <= significance else 0.0


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
    seed: str
    """From which the order of the keys was drawn, 64 hexadecimal digits, as `sequential.Order` does."""
