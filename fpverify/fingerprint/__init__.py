"""The fingerprint: what it holds (`content`), its bytes (`encoding`, `decoding`), its file (`storage`).

`formats/fingerprint-1.md` and `formats/fingerprint-2.md`, installed beside this package, specify the file.
"""

from fpverify.fingerprint.content import Backing, Calibration, Controls, Fingerprint, HeldOut, InputContract, Source
from fpverify.fingerprint.decoding import parse
from fpverify.fingerprint.encoding import FORMAT_VERSIONS, serialise
from fpverify.fingerprint.storage import load_fingerprint, save_fingerprint

__all__ = [
    "FORMAT_VERSIONS",
    "Backing",
    "Calibration",
    "Controls",
    "Fingerprint",
    "HeldOut",
    "InputContract",
    "Source",
    "load_fingerprint",
    "parse",
    "save_fingerprint",
    "serialise",
]
