"""The fingerprint: what it holds (`content`), its bytes (`encoding`, `decoding`), its file (`storage`).

`formats/fingerprint-1.md`, installed beside this package, specifies the file.
"""

from fpverify.fingerprint.content import Calibration, Fingerprint, InputContract, Source
from fpverify.fingerprint.decoding import parse
from fpverify.fingerprint.encoding import FORMAT_VERSION, serialise
from fpverify.fingerprint.storage import load_fingerprint, save_fingerprint

__all__ = [
    "FORMAT_VERSION",
    "Calibration",
    "Fingerprint",
    "InputContract",
    "Source",
    "load_fingerprint",
    "parse",
    "save_fingerprint",
    "serialise",
]
