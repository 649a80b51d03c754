"""The fingerprint: what it holds (`model`), its bytes (`encoding`, `canonical`), its file (`file`).

`formats/fingerprint-1.md` to `fingerprint-3.md`, installed beside this package, specify the file.
"""

from fpverify.fingerprint.encoding import FORMAT_VERSIONS, serialise
from fpverify.fingerprint.file import load_fingerprint, parse, save_fingerprint
from fpverify.fingerprint.model import (
    Backing,
    Calibration,
    Controls,
    Fingerprint,
    HeldOut,
    InputContract,
    SourceIdentity,
)

__all__ = [
    "FORMAT_VERSIONS",
    "Backing",
    "Calibration",
    "Controls",
    "Fingerprint",
    "HeldOut",
    "InputContract",
    "SourceIdentity",
    "load_fingerprint",
    "parse",
    "save_fingerprint",
    "serialise",
]
