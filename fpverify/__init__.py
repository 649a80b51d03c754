"""fpverify: was this model derived from ours?

Every file, in the order in which a verdict comes about; none imports one that stands above it here:

    __main__         starts the suspect's process, which gets ready while the rest is imported; then the command line
    cli              the command line: which commands there are, and how each ends
    commands         commands, a file for each subject
    registry         models in MLflow's registry
    scanning         scan: many suspects by many fingerprints, some at a time
    engines          where the suspects of a scan are judged: here, or on a cluster
    rechecking       recheck: judges again, and compares with a saved result
    verification     verify, verify_each: opens the suspect, asks it, judges, assembles the result
    reports          results and inspections as text and as JSON
    proof            commitments, signatures and timestamps, and what they prove of a fingerprint
    correction       verdicts on many suspects, corrected for how many there are
    vetting          independent models answer a fingerprint's keys
    twins            the suspect's rank among networks that were trained like the source
    in_turn          asks a suspect whose queries cost key by key, until the verdict is decided
    weighing         the verdict by all answers: it must be the same under every interpretation
    inspection       what a file holds, without running it
    evidence         asks the suspect, and collects its answers under each interpretation
    sequential       when answers to some of the keys decide
    verdict          the rule: from kept keys to a verdict, with its explanation
    suspects         what a suspect expects, and what its outputs mean; one file for each kind of suspect
    sandbox          the process in which an ONNX file runs
    result           the data of a result: verdict, policy, and what both rest on
    questions        a fingerprint's images for somebody who runs a suspect, and what names each
    saved            reads results back that were written as JSON
    documents        reads and writes small files of evidence
    fingerprint      keys, labels and calibration; their file
    onnx_format      reads ONNX files, and names files that are none, without running anything
    contract         the data of a contract: what a suspect expects and returns
    statistics       exact bounds, rank tests, intervals
    crash            how a command that failed ends
    files, text      reading and writing files; text on one line
    secrets          keeps credentials out of what is written
    errors, version

A fingerprint holds inputs ("keys") with the labels that the source gives them. A suspect is asked for its labels; the
share that agrees is its retention. The fingerprint's calibration says what models derived from the source and
unrelated ones retain, and so what the suspect's retention means.

A suspect's file is untrusted. This process reads its bytes with its own bounded reader; ONNX Runtime runs it in a child
process within limits, and is never imported here.

Importing this package loads nothing: each public name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpverify.version import __version__

if TYPE_CHECKING:
    from fpverify.correction import correct as correct
    from fpverify.errors import (
        CommitmentError as CommitmentError,
        FingerprintError as FingerprintError,
        FpverifyError as FpverifyError,
        OutputError as OutputError,
        PanelError as PanelError,
        PolicyError as PolicyError,
        RegistryError as RegistryError,
        ResultError as ResultError,
        SignatureError as SignatureError,
        StatisticsError as StatisticsError,
        SuspectError as SuspectError,
        TimestampError as TimestampError,
        TrustError as TrustError,
    )
    from fpverify.fingerprint import (
        Backing as Backing,
        Calibration as Calibration,
        Controls as Controls,
        Fingerprint as Fingerprint,
        HeldOut as HeldOut,
        InputContract as InputContract,
        SourceIdentity as SourceIdentity,
        load_fingerprint as load_fingerprint,
        save_fingerprint as save_fingerprint,
    )
    from fpverify.proof.commitment import Commitment as Commitment, commit as commit, load_commitment as load_commitment
    from fpverify.proof.disclosure import disclose as disclose
    from fpverify.proof.draw import Draw as Draw, Nonce as Nonce
    from fpverify.proof.examination import Proof as Proof
    from fpverify.proof.trust import Trust as Trust, load_trust as load_trust
    from fpverify.rechecking import Recheck as Recheck, recheck as recheck
    from fpverify.result import (
        InTurn as InTurn,
        Judged as Judged,
        Policy as Policy,
        Result as Result,
        Verdict as Verdict,
        Vetting as Vetting,
    )
    from fpverify.sandbox.limits import Limits as Limits
    from fpverify.saved import load_result as load_result, result_from as result_from
    from fpverify.scanning import Scan as Scan, scan as scan
    from fpverify.statistics import Interval as Interval
    from fpverify.suspects.interface import Suspect as Suspect
    from fpverify.suspects.opening import open_suspect as open_suspect
    from fpverify.suspects.options import load_classes as load_classes, load_contract as load_contract
    from fpverify.verification import verify as verify, verify_each as verify_each
    from fpverify.vetting import load_vetting as load_vetting, vet as vet

_ROOMS = {
    "fpverify.correction": ("correct",),
    "fpverify.errors": (
        "CommitmentError",
        "FingerprintError",
        "FpverifyError",
        "OutputError",
        "PanelError",
        "PolicyError",
        "RegistryError",
        "ResultError",
        "SignatureError",
        "StatisticsError",
        "SuspectError",
        "TimestampError",
        "TrustError",
    ),
    "fpverify.fingerprint": (
        "Backing",
        "Calibration",
        "Controls",
        "Fingerprint",
        "HeldOut",
        "InputContract",
        "SourceIdentity",
        "load_fingerprint",
        "save_fingerprint",
    ),
    "fpverify.proof.commitment": ("Commitment", "commit", "load_commitment"),
    "fpverify.proof.disclosure": ("disclose",),
    "fpverify.proof.draw": ("Draw", "Nonce"),
    "fpverify.proof.examination": ("Proof",),
    "fpverify.proof.trust": ("Trust", "load_trust"),
    "fpverify.rechecking": ("Recheck", "recheck"),
    "fpverify.sandbox.limits": ("Limits",),
    "fpverify.saved": ("load_result", "result_from"),
    "fpverify.scanning": ("Scan", "scan"),
    "fpverify.statistics": ("Interval",),
    "fpverify.suspects.interface": ("Suspect",),
    "fpverify.suspects.opening": ("open_suspect",),
    "fpverify.suspects.options": ("load_classes", "load_contract"),
    "fpverify.result": ("InTurn", "Judged", "Policy", "Result", "Verdict", "Vetting"),
    "fpverify.verification": ("verify", "verify_each"),
    "fpverify.vetting": ("load_vetting", "vet"),
}


_NAMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'fpverify' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
