"""Judges by all answers: the verdict is reported only if it is the same under every interpretation of them."""

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import SuspectError
from fpverify.evidence import Evidence
from fpverify.fingerprint import Fingerprint
from fpverify.result import NOT_ASKED, REFUSED, AnswersInfo, Judgement, Policy, Verdict
from fpverify.statistics import entropy_bits
from fpverify.suspects.classes import NO_LABEL
from fpverify.verdict import Retention, doubted, judge, retained, weaknesses

MAX_CHANGED = 0.05
"""Share of the keys whose answer may change when they are asked again without making "unrelated" inconclusive."""


def weigh(evidence: Evidence, fingerprint: Fingerprint, policy: Policy) -> tuple[Judgement, Retention, AnswersInfo]:
    """Judge by everything that a suspect said.

    The rule decides by the first reading. Its verdict stands only if no other reading gives another one, if refused
    keys could not have changed it, if the suspect answers more than one class, if enough keys count, and if the
    fingerprint can decide anything. Where keys are left out, the held-out models are ranked on the others, by the
    answers that format 2 holds; format 1 has nothing to rank the suspect among then.

    Args:
        evidence: what it said.
        fingerprint: the keys and their calibration.
        policy: how sure to be.

    Returns:
        The judgement, the retention by the first reading, and how the suspect answered.

    Raises:
        SuspectError: if it knows none of the classes that the keys are labelled with.
    """
    counted = evidence.known[fingerprint.labels]
    labels = fingerprint.labels[counted]
    if not counted.any():
        raise SuspectError("knows none of the classes that the keys are labelled with", culprit=evidence.suspect.name)
    first = evidence.first.labels[counted]
    calibration = fingerprint.calibrated_for(evidence.known) or fingerprint.calibration

    def by(answers: NDArray[np.int64]) -> tuple[Retention, Judgement]:
        retention = retained(answers, labels)
        return retention, judge(retention, calibration, policy)

    retention, judgement = by(first)
    if missing := int(np.count_nonzero(first == NO_LABEL)):
        gap = f"{missing} of {len(first)} keys have no answer; these figures count them as not kept."
        judgement = replace(judgement, reason=f"{gap} {judgement.reason}")
    refused, answers = first < 0, summary_of(first, labels, evidence, len(fingerprint))
    others = [(other.what, other.labels[counted]) for other in evidence.others]
    if refused.any():
        others.append(
            (f"if the {answers.refusals} keys that it refused counted as kept", np.where(refused, labels, first))
        )
    for what, reading in others:
        if (verdict := by(reading)[1].verdict) is not judgement.verdict:
            return doubted(judgement, f"But the verdict would be {verdict} {what}."), retention, answers
    reason = doubt_of(judgement, answers, fingerprint, policy, len(first))
    if not reason and judgement.verdict is Verdict.UNRELATED and evidence.unverified:
        reason = f"But {evidence.unverified}."
    return (doubted(judgement, reason) if reason else judgement), retention, answers


def summary_of(answers: NDArray[np.int64], labels: NDArray[np.int64], evidence: Evidence, keys: int) -> AnswersInfo:
    """Return how a suspect answered.

    Args:
        answers: its answers to the keys that count and were asked.
        labels: of all keys that count.
        evidence: what it said.
        keys: how many the fingerprint holds.
    """
    answers = answers[answers != NO_LABEL]
    every = evidence.first.labels.tolist()
    return AnswersInfo(
        distinct=len(set(answers.tolist())),
        entropy_bits=_entropy(answers),
        label_entropy_bits=_entropy(labels),
        refusals=int(np.count_nonzero(answers < 0)),
        left_out=keys - len(labels),
        asked_again=evidence.asked_again,
        disagreements=evidence.disagreements,
        given=tuple(NOT_ASKED if label == NO_LABEL else max(label, REFUSED) for label in every),
    )


def _entropy(labels: NDArray[np.int64]) -> float:
    # Counted by Python: `np.unique` imports 15 ms of NumPy that nothing else here needs.
    return entropy_bits(list(Counter(labels.tolist()).values()))


def doubt_of(judgement: Judgement, answers: AnswersInfo, fingerprint: Fingerprint, policy: Policy, counted: int) -> str:
    """Return why no verdict follows from the numbers, one sentence; empty if nothing speaks against it."""
    calibration, labels = fingerprint.calibration, len(set(fingerprint.labels.tolist()))
    if faults := weaknesses(calibration, labels, policy.significance, len(fingerprint)):
        return f"But this fingerprint decides nothing: {'; '.join(faults)}."
    if counted < policy.min_keys:
        return f"But only {counted} keys count; a verdict needs at least {policy.min_keys}."
    if answers.left_out and fingerprint.backing is None:
        return (
            f"But {answers.left_out} keys do not count, and the null models of this fingerprint were measured on all "
            "keys: name the suspect's classes (--classes), or ask a copy that knows them."
        )
    if answers.distinct == 1:
        return "But it gives every key the same label, which says nothing about it."
    many = answers.disagreements > max(1, MAX_CHANGED * answers.asked_again)
    if judgement.verdict is Verdict.UNRELATED and many:
        return (
            f"But {answers.disagreements} of {answers.asked_again} keys got another answer when they were asked again."
        )
    return ""
