"""What was learnt of a suspect: what it is, how it was asked, and how it answered."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EndpointInfo:
    """What is known of a model behind an endpoint, and when it was asked."""

    type: str
    """How it was asked: `v2`, `mlflow` or `json`."""
    model: str | None
    """The model's name, as the server states it; None where it states none."""
    version: str | None
    """Its version, or those that the server has; None where it states none."""
    certificate: str | None
    """SHA-256 of the server's TLS certificate, as hexadecimal digits; None without TLS."""
    images: int
    """Images that were sent."""
    requests: int
    """Requests that were made."""
    first: str | None
    """Time of the first request, in UTC, ISO 8601; None where all answers come from a journal."""
    last: str | None
    """Time of the last request."""


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
    """What ran the file, as ONNX Runtime names it; None for anything else."""
    endpoint: EndpointInfo | None = None
    """What an endpoint said of its model, and when it was asked; None for anything else."""

    @property
    def identity(self) -> str | None:
        r"""Return what tells a model's file from others, as hexadecimal digits; None for what is no model's file.

        That is the file's SHA-256. Where it reads others, such as weights, two models can share it: then it is the
        SHA-256 of `"fpverify/files/1\0"`, the file's digest, and of each other file, by location, digest and location.
        """
        if self.kind != "onnx" or self.sha256 is None or not self.external:
            return self.sha256 if self.kind == "onnx" else None
        parts = [b"fpverify/files/1\0", bytes.fromhex(self.sha256)]
        for location, sha256 in sorted(self.external.items()):
            name = location.encode("utf-8", "surrogatepass")
            parts += [bytes.fromhex(sha256), len(name).to_bytes(4, "big"), name]
        return hashlib.sha256(b"".join(parts)).hexdigest()


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
