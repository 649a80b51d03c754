"""fpverify: was this model derived from ours?

Every file, in the order in which a verdict comes about; none imports one that stands above it here:

    __main__         starts the suspect's process, which gets ready while the rest is imported; then the command line
    cli              commands, options, exit codes
    verification     verify, verify_each: opens the suspect, asks it, judges, assembles the result
    reports          results and inspections as text and as JSON
    weighing         the verdict by all answers: it must be the same under every interpretation
    inspection       what a file holds, without running it
    evidence         asks the suspect, and collects its answers under each interpretation
    verdict          the rule: from kept keys to a verdict, with its explanation
    suspects         what a suspect expects, and what its outputs mean; one file for each kind of suspect
    sandbox          the process in which an ONNX file runs
    result           the data of a result: verdict, policy, and what both rest on
    fingerprint      keys, labels and calibration; their file
    onnx_format      reads ONNX files, and names files that are none, without running anything
    contract         the data of a contract: what a suspect expects and returns
    statistics       exact bounds, rank tests, intervals
    crash            how a command that failed ends
    files, text      reading and writing files; text on one line
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
    from fpverify.errors import (
        FingerprintError,
        FpverifyError,
        OutputError,
        PolicyError,
        StatisticsError,
        SuspectError,
    )
    from fpverify.fingerprint import (
        Backing,
        Calibration,
        Controls,
        Fingerprint,
        HeldOut,
        InputContract,
        Source,
        load_fingerprint,
        save_fingerprint,
    )
    from fpverify.result import Policy, Result, Verdict
    from fpverify.sandbox.limits import Limits
    from fpverify.statistics import Interval
    from fpverify.suspects import Suspect, open_suspect
    from fpverify.suspects.options import load_classes, load_contract
    from fpverify.verification import verify, verify_each

__all__ = [
    "Backing",
    "Calibration",
    "Controls",
    "Fingerprint",
    "FingerprintError",
    "FpverifyError",
    "HeldOut",
    "InputContract",
    "Interval",
    "Limits",
    "OutputError",
    "Policy",
    "PolicyError",
    "Result",
    "Source",
    "StatisticsError",
    "Suspect",
    "SuspectError",
    "Verdict",
    "__version__",
    "load_classes",
    "load_contract",
    "load_fingerprint",
    "open_suspect",
    "save_fingerprint",
    "verify",
    "verify_each",
]

_ROOMS = {
    "fpverify.errors": (
        "FingerprintError",
        "FpverifyError",
        "OutputError",
        "PolicyError",
        "StatisticsError",
        "SuspectError",
    ),
    "fpverify.fingerprint": (
        "Backing",
        "Calibration",
        "Controls",
        "Fingerprint",
        "HeldOut",
        "InputContract",
        "Source",
        "load_fingerprint",
        "save_fingerprint",
    ),
    "fpverify.sandbox.limits": ("Limits",),
    "fpverify.statistics": ("Interval",),
    "fpverify.suspects": ("Suspect", "open_suspect"),
    "fpverify.suspects.options": ("load_classes", "load_contract"),
    "fpverify.verdict": ("Policy", "Verdict"),
    "fpverify.result": ("Result",),
    "fpverify.verification": ("verify", "verify_each"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    raise AttributeError(f"module 'fpverify' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
