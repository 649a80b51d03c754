"""What a verification says.

- `verdict`: the result, and a row of several;
- `policy`: how sure an auditor wants to be, and what they may conclude;
- `suspect`: what was learnt of the suspect;
- `backing`: what else it rests on: fingerprint, proofs, panel, twins, correction.
"""

from fpverify.result.backing import (
    Correction,
    FingerprintInfo,
    PanelMember,
    ProofReport,
    Provenance,
    SequentialReport,
    Twins,
    Vetting,
)
from fpverify.result.policy import LEAST, InTurn, Policy, Verdict
from fpverify.result.suspect import (
    NOT_ASKED,
    REFUSED,
    AnswersInfo,
    Candidate,
    ControlReport,
    EndpointInfo,
    HeldLimits,
    ProbeReport,
    SuspectInfo,
)
from fpverify.result.verdict import GRAVITY, NO_VERDICT, RESULT_FORMAT, SUSPICIOUS, Judged, Judgement, Result

__all__ = [
    "GRAVITY",
    "LEAST",
    "NOT_ASKED",
    "NO_VERDICT",
    "REFUSED",
    "RESULT_FORMAT",
    "SUSPICIOUS",
    "AnswersInfo",
    "Candidate",
    "ControlReport",
    "Correction",
    "EndpointInfo",
    "FingerprintInfo",
    "HeldLimits",
    "InTurn",
    "Judged",
    "Judgement",
    "PanelMember",
    "Policy",
    "ProbeReport",
    "ProofReport",
    "Provenance",
    "Result",
    "SequentialReport",
    "SuspectInfo",
    "Twins",
    "Verdict",
    "Vetting",
]
