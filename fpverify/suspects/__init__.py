"""Suspects: anything that answers inputs with labels or scores.

- `blackbox`: asks any callable and reads its answer as labels;
- `onnx_file`: an ONNX file, surveyed here and run in a sandbox;
- `contract`, `contract_file`: what it expects, and what the auditor says of that;
- `derive`, `geometry`, `conventions`: how the rest is worked out from its file, and what is assumed;
- `fitting`: turns keys into what it expects;
- `classes`, `answers`: turns what it returns into labels of the fingerprint's classes;
- `external`: which files beside it may be read;
- `probe`: picks among several readings by the suspect's accuracy on ordinary inputs; imported where one is given.
"""

from fpverify.suspects.blackbox import Answer, CallableAnswers, Suspect, ask, ask_for_answers, name_of
from fpverify.suspects.contract import Candidate, Origin, ProbeReport, SuspectContract, Values
from fpverify.suspects.contract_file import check_contract, load_classes, load_contract
from fpverify.suspects.derive import derive_contract
from fpverify.suspects.onnx_file import OnnxFile, OnnxSuspect, read_onnx_file, settled

__all__ = [
    "Answer",
    "CallableAnswers",
    "Candidate",
    "OnnxFile",
    "OnnxSuspect",
    "Origin",
    "ProbeReport",
    "Suspect",
    "SuspectContract",
    "Values",
    "ask",
    "ask_for_answers",
    "check_contract",
    "derive_contract",
    "load_classes",
    "load_contract",
    "name_of",
    "read_onnx_file",
    "settled",
]
