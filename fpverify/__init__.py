"""fpverify: was this model derived from ours?

The pipeline, in the order in which a verdict comes about; an arrow is an import:

    __main__ -> sandbox.spawn       the suspect's process starts first, and gets ready while the rest is imported
    cli -> verification -> evidence -> suspects -> onnx_format    what a suspect expects, and what it answers
                           evidence -> sandbox                    where its file runs
                           verification -> weighing -> verdict -> statistics
                           verification -> fingerprint            content and parts, encoding and decoding, storage
                           verification -> result
    cli -> report -> result, tables
    cli -> summary -> inspection -> suspects, onnx_format, fingerprint

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
    from fpverify.result import Result
    from fpverify.sandbox.limits import Limits
    from fpverify.statistics import Interval
    from fpverify.suspects import Suspect, open_suspect
    from fpverify.suspects.contract_file import load_classes, load_contract
    from fpverify.verdict import Policy, Verdict
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
    "fpverify.suspects.contract_file": ("load_classes", "load_contract"),
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
