"""Suspects: anything that answers inputs with labels or scores.

- `interface`: what every kind of suspect offers; `opening`: the table of kinds;
- `callables`: a Python callable, or an object with `predict_proba` or `predict`;
- `onnx_file`: an ONNX file, surveyed here and run in a sandbox;
- `options`: what the auditor says of what it expects;
- `derive`, `conventions`: how the rest is worked out from what it states, and what is assumed;
- `outputs`: what its outputs can be, before it is run;
- `prepared`: a suspect with its contract for one fingerprint; it fits inputs, and reads outputs as labels;
- `fit`: turns keys into what it expects;
- `classes`, `answers`: turn what it returns into labels of the fingerprint's classes;
- `controls`, `probe`: pick among several readings by the suspect's accuracy on ordinary images.
"""

from fpverify.contract import Origin, SuspectContract, Values
from fpverify.result import Candidate, ProbeReport, SuspectInfo
from fpverify.suspects.derive import derive_contract
from fpverify.suspects.interface import Suspect
from fpverify.suspects.onnx_file import OnnxFile, OnnxSuspect, read_onnx_file
from fpverify.suspects.opening import open_suspect
from fpverify.suspects.options import check_contract, load_classes, load_contract
from fpverify.suspects.prepared import PreparedSuspect, settled

__all__ = [
    "Candidate",
    "OnnxFile",
    "OnnxSuspect",
    "Origin",
    "PreparedSuspect",
    "ProbeReport",
    "Suspect",
    "SuspectContract",
    "SuspectInfo",
    "Values",
    "check_contract",
    "derive_contract",
    "load_classes",
    "load_contract",
    "open_suspect",
    "read_onnx_file",
    "settled",
]
