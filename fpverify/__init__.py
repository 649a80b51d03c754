"""fpverify: was this model derived from ours?

The pipeline, in the order in which a verdict comes about; an arrow is an import:

    cli -> report -> verify -> verdict -> statistics
                     verify -> retention
                     verify -> suspects      blackbox (any callable), onnx_file (ONNX Runtime, outputs)
                     verify -> fingerprint   content and parts, encoding and decoding (canonical JSON), storage
    cli -> inspection -> onnx_proto, fingerprint

A fingerprint holds inputs ("keys") with the labels that the source gives them. A suspect is asked for its labels; the
share that agrees is its retention. The fingerprint's calibration says what models derived from the source and
unrelated ones retain, and so what the suspect's retention means.

Importing this package loads NumPy and nothing heavier: ONNX Runtime is imported when a file is judged.
"""

from fpverify.errors import (
    FingerprintError,
    FpverifyError,
    OutputError,
    PolicyError,
    StatisticsError,
    SuspectError,
)
from fpverify.fingerprint import (
    Calibration,
    Fingerprint,
    InputContract,
    Source,
    load_fingerprint,
    save_fingerprint,
)
from fpverify.statistics import Interval
from fpverify.suspects import load_onnx
from fpverify.verdict import Policy, Verdict
from fpverify.verify import Result, verify
from fpverify.version import __version__

__all__ = [
    "Calibration",
    "Fingerprint",
    "FingerprintError",
    "FpverifyError",
    "InputContract",
    "Interval",
    "OutputError",
    "Policy",
    "PolicyError",
    "Result",
    "Source",
    "StatisticsError",
    "SuspectError",
    "Verdict",
    "__version__",
    "load_fingerprint",
    "load_onnx",
    "save_fingerprint",
    "verify",
]
