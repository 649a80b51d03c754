"""Asks a suspect whose queries cost key by key, and stops when more answers would not change the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import PolicyError, SuspectError
from fpverify.evidence import (
    REPEATED,
    Evidence,
    Interpretation,
    assumed,
    further_output,
    not_working,
    reported,
    tied,
    warnings_of,
)
from fpverify.fingerprint import Calibration, Controls, Fingerprint
from fpverify.result import AnswersInfo, ControlReport, InTurn, Judgement, Policy, SequentialReport, Verdict
from fpverify.sandbox.outputs import Output, together
from fpverify.sequential import Order, Rule, verdicts_of
from fpverify.suspects.answers import Answers
from fpverify.suspects.classes import NO_LABEL
from fpverify.suspects.controls import needed
from fpverify.suspects.interface import Suspect
from fpverify.suspects.prepared import PreparedSuspect, settled
from fpverify.verdict import Retention, doubted, judge
from fpverify.weighing import doubt_of, summary_of, weigh


@dataclass(frozen=True)
class Heard:
    """What came of asking key by key."""

    evidence: Evidence
    """The answers; a key that was not asked has `NO_LABEL`."""
    judgement: Judgement
    """The verdict; its numbers are those of the least favourable number of kept keys that is possible."""
    retention: Retention
    """Keys kept, of those that were asked."""
    answers: AnswersInfo
    """How the suspect answered."""
    report: SequentialReport
    """Where it stopped, and why."""


def ask_in_turn(
    suspect: Suspect, fingerprint: Fingerprint, options: Mapping[str, Any], policy: Policy, in_turn: InTurn
) -> Heard:
    """Ask a suspect until the verdict is decided.

    Control images are asked first, until it is certain whether the suspect works; one that does not can be called
    derived, but not unrelated. Then keys are asked in random order. A refused key is counted as lost and as kept, and a
    tie for the best score likewise: the verdict must be the same by each, as it must be by each further output.
    With `policy.ask_twice` the keys that were asked are asked again, in another order, before it stops.

    Args:
        suspect: that runs in this process, so that its queries may cost.
        fingerprint: the keys.
        options: what the auditor says of its contract.
        policy: how sure to be.
        in_turn: when to stop.

    Returns:
        The verdict with what it rests on.

    Raises:
        PolicyError: if the suspect is a file, which costs nothing to ask, or the queries do not suffice for one key.
        SuspectError: if it fails, or what it expects or returns is not clear.
    """
    if suspect.sandboxed or not suspect.again:
        raise PolicyError(
            "a file costs nothing to ask; asking key by key is for suspects that run elsewhere", culprit=suspect.name
        )
    asked = PreparedSuspect(suspect, fingerprint.contract, fingerprint.classes, options)
    return _Turn(asked, settled(asked.name, asked.contract), fingerprint, policy, in_turn).run()


@dataclass(frozen=True)
class _State:
    """What the answers so far say."""

    answers: Answers
    """Of controls and keys."""
    readings: tuple[Interpretation, ...]
    """Labels of the keys that were asked, in their order, under each interpretation; the first is reported."""
    keys: int
    """Keys that count."""
    calibration: Calibration
    """On these."""
    low: int
    """The fewest kept keys that are possible under any interpretation."""
    high: int
    """The most."""
    verdict: Verdict | None
    """The one that all possible numbers give; None if they give several."""
    certain: bool
    """Whether no answer to the other keys could change it."""
    disagreements: int
    """Keys that were answered otherwise when they were asked again."""


class _Turn:
    """One suspect that is being asked."""

    def __init__(
        self,
        suspect: PreparedSuspect,
        contract: SuspectContract,
        fingerprint: Fingerprint,
        policy: Policy,
        in_turn: InTurn,
    ) -> None:
        self._suspect, self._contract, self._fingerprint = suspect, contract, fingerprint
        self._policy, self._in_turn = policy, in_turn
        self._outputs: list[tuple[Output, ...]] = []
        self._rows: list[int] = []
        self._control_rows: list[int] = []
        self._known: NDArray[np.bool_] | None = None
        self._first_read: tuple[str, str, bytes] | None = None
        self._changed = False
        self._rules: dict[tuple[bytes, bool], Rule] = {}
        self._again: dict[int, tuple[Output, ...]] = {}
        self._images = None if fingerprint.backing is None else fingerprint.backing.controls
        self._controls: ControlReport | None = None
        self._unverified = assumed(contract)
        self._order = Order(in_turn.seed)

    def run(self) -> Heard:
        """Ask controls, then keys, and judge."""
        self._ask_controls()
        later: list[int] = []
        decided = spent = False
        for row in self._order.of("keys", len(self._fingerprint)):
            if self._outside(row):
                later.append(row)
                continue
            decided, spent = self._step(row)
            if decided or spent:
                break
        for row in later if self._changed else ():  # what it knows is another now
            if spent:
                break
            _, spent = self._step(row)
        if not self._rows and spent:
            raise PolicyError("the control images took all queries", culprit="max_queries", hint="allow more")
        if self._policy.ask_twice and not decided and not spent:
            spent = not self._ask_again()
        self._read()  # what cannot be read is an error now
        state = self._state()
        if state is None:
            raise SuspectError("knows none of the classes that the keys are labelled with", culprit=self._suspect.name)
        return self._heard(state, decided, spent)

    def _step(self, row: int) -> tuple[bool, bool]:
        """Ask a key; return whether the verdict is decided, and whether the queries are spent."""
        if self._left() < 1:
            return False, True
        self._ask(self._fingerprint.inputs[row])
        self._rows.append(row)
        if not self._may_stop():
            return False, False
        if self._policy.ask_twice and not self._ask_again():
            return False, True
        return self._may_stop(), False

    def _may_stop(self) -> bool:
        """Say whether the answers so far decide, as they are read since the first ones."""
        state = self._state()
        if state is None or state.verdict is None or self._changed:
            return False
        # One label for all keys, and answers that change, are weighed when all keys were asked.
        unsteady = state.verdict is Verdict.UNRELATED and state.disagreements
        return not unsteady and len(set(state.readings[0].labels.tolist())) > 1

    def _outside(self, row: int) -> bool:
        return self._known is not None and not self._changed and not self._known[self._fingerprint.labels[row]]

    def _left(self) -> float:
        most = self._in_turn.max_queries
        return np.inf if most is None else most - len(self._outputs) - len(self._again)

    def _ask(self, image: NDArray[np.float32]) -> None:
        self._outputs.append(self._suspect.outputs(image[None], self._contract))

    def _read(self) -> Answers:
        return self._suspect.read(together(self._outputs), len(self._outputs), self._contract)

    def _try_read(self) -> Answers | None:
        """Read what was answered; None if so few answers cannot be read."""
        try:
            return self._read()
        except SuspectError:
            return None

    def _ask_controls(self) -> None:
        """Ask control images in random order, until it is certain whether the suspect works."""
        controls = self._images
        if controls is None:
            return
        wanted, count = needed(controls), len(controls.labels)
        if self._left() <= wanted:
            raise PolicyError(
                culprit="max_queries",
                expected=f"more than {wanted}: so many control images at least are asked before the keys",
                found=self._in_turn.max_queries,
            )
        for row in self._order.of("controls", count):
            if self._left() < 1:
                break
            self._ask(controls.inputs[row])
            self._control_rows.append(row)
            answers = self._try_read()
            right = 0 if answers is None else self._works(answers, controls).right
            if answers is not None and (right >= wanted or right + count - len(self._control_rows) < wanted):
                break
        if answers := self._try_read():
            self._known = answers.known

    def _works(self, answers: Answers, controls: Controls) -> ControlReport:
        """Say how many control images were answered rightly, of those that were asked."""
        asked = len(self._control_rows)
        right = int((answers.labels[:asked] == controls.labels[self._control_rows]).sum())
        return ControlReport(asked, right, needed(controls), controls.source_accuracy, 1, False)

    def _ask_again(self) -> bool:
        """Ask keys a second time that were asked once, in random order; False if the queries are spent before."""
        rows = [row for row in self._rows if row not in self._again]
        for place in self._order.of(f"again {len(self._again)}", len(rows)):
            if self._left() < 1:
                return False
            image = self._fingerprint.inputs[rows[place]]
            self._again[rows[place]] = self._suspect.outputs(image[None], self._contract)
        return True

    def _state(self) -> _State | None:
        """Work out which verdicts are possible; None if no answers can be read yet, or no key that counts was asked."""
        answers = self._try_read()
        if answers is None:
            return None
        read = answers.output, answers.reading, answers.known.tobytes()
        self._changed = self._changed or self._first_read not in (None, read)
        self._first_read, self._known = self._first_read or read, answers.known
        if self._images is not None:
            self._controls = self._works(answers, self._images)
            self._unverified = not_working(self._controls)
        rows, skip = np.array(self._rows, np.int64), len(self._control_rows)
        counts, truth = answers.known[self._fingerprint.labels], self._fingerprint.labels[rows]
        if not counts[rows].any():
            return None
        labels = answers.labels[skip:]
        best = None if answers.best is None else answers.best[skip:]
        readings = [Interpretation("", labels), *tied(labels, best, truth)]
        readings += [Interpretation(further_output(other), other.labels[skip:]) for other in answers.alternatives]
        disagreements = 0
        if self._again:
            outputs = together(list(self._again.values()))
            repeated = self._suspect.read(outputs, len(self._again), self._contract).labels
            merged, places = labels.copy(), {row: place for place, row in enumerate(self._rows)}
            merged[[places[row] for row in self._again]] = repeated
            readings.append(Interpretation(REPEATED, merged))
            disagreements = int((merged != labels).sum())
        if (labels < 0).any():
            readings.append(Interpretation("", np.where(labels < 0, truth, labels)))
        keys, calibration = int(counts.sum()), self._fingerprint.calibrated_for(answers.known)
        calibration = calibration or self._fingerprint.calibration
        paths = {tuple((one.labels == truth)[counts[rows]].tolist()) for one in readings}
        decisions = [list(self._rule(answers.known, calibration, keys).decisions(path))[-1] for path in paths]
        given = {one.verdict for one in decisions}
        return _State(
            answers=answers,
            readings=tuple(readings),
            keys=keys,
            calibration=calibration,
            low=min(one.low for one in decisions),
            high=max(one.high for one in decisions),
            verdict=given.pop() if len(given) == 1 else None,
            certain=all(one.certain for one in decisions),
            disagreements=disagreements,
        )

    def _rule(self, known: NDArray[np.bool_], calibration: Calibration, keys: int) -> Rule:
        """Return the rule for the keys of some classes; it is made once."""
        made = known.tobytes(), bool(self._unverified)
        if made not in self._rules:
            verdicts = [self._stands(one) for one in verdicts_of(calibration, keys, self._policy)]
            # Each further output, and the second answers, could give a verdict of their own: they share the error.
            paths = len(self._outputs[0]) + self._policy.ask_twice
            self._rules[made] = Rule(calibration, keys, verdicts, self._in_turn.error / paths)
        return self._rules[made]

    def _stands(self, verdict: Verdict) -> Verdict:
        """Return the verdict that a number of kept keys gives: nothing is unrelated that was not seen to work."""
        return Verdict.INCONCLUSIVE if verdict is Verdict.UNRELATED and self._unverified else verdict

    def _heard(self, state: _State, decided: bool, spent: bool) -> Heard:
        evidence = self._evidence(state)
        truth = self._fingerprint.labels[self._rows]
        counts = state.answers.known[truth]
        first, asked = state.readings[0].labels[counts], int(counts.sum())
        retention = Retention(int((first == truth[counts]).sum()), asked)
        stopped = "all keys" if asked == state.keys else "certain" if state.certain else "bound"
        stopped = "queries spent" if spent and not decided else stopped
        error = self._in_turn.error if stopped in ("bound", "queries spent") else 0.0
        report = SequentialReport(
            asked,
            state.keys,
            len(self._outputs) + len(self._again),
            state.low,
            state.high,
            error,
            stopped,
            self._order.seed,
        )
        if asked == state.keys:
            judgement, _, answers = weigh(evidence, self._fingerprint, self._policy)
            return Heard(evidence, judgement, retention, answers, report)
        answers = summary_of(
            first, self._fingerprint.labels[evidence.known[self._fingerprint.labels]], evidence, len(self._fingerprint)
        )
        derived, unrelated = state.verdict is Verdict.DERIVED, state.verdict is Verdict.UNRELATED
        number = state.high if unrelated else state.low
        judgement = judge(Retention(number, state.keys), state.calibration, self._policy)
        highest = judge(Retention(state.high, state.keys), state.calibration, self._policy)
        below = highest.surrogates_below_suspect
        judgement = replace(judgement, q_value=highest.q_value, surrogates_below_suspect=below)
        judgement = replace(judgement, reason=_reason(judgement, retention, report, derived, unrelated, self._policy))
        if not decided:
            return Heard(evidence, doubted(judgement, "But all queries are spent."), retention, answers, report)
        judgement = replace(judgement, verdict=state.verdict or Verdict.INCONCLUSIVE)
        reason = doubt_of(judgement, answers, self._fingerprint, self._policy, state.keys)
        if not (reason or derived or unrelated) and self._unverified:
            reason = f"But {self._unverified}."
        return Heard(evidence, doubted(judgement, reason) if reason else judgement, retention, answers, report)

    def _evidence(self, state: _State) -> Evidence:
        def spread(labels: NDArray[np.int64]) -> NDArray[np.int64]:
            every = np.full(len(self._fingerprint), NO_LABEL)
            every[self._rows] = labels
            return every

        suspect, contract = self._suspect.suspect, self._contract
        return Evidence(
            first=Interpretation("", spread(state.readings[0].labels)),
            others=tuple(Interpretation(one.what, spread(one.labels)) for one in state.readings[1:] if one.what),
            known=state.answers.known,
            asked_again=len(self._again),
            disagreements=state.disagreements,
            unverified=self._unverified,
            controls=self._controls,
            suspect=suspect.info,
            contract=reported(contract, state.answers.output, state.answers.reading),
            probe=None,
            sandbox=suspect.limits,
            runtime=suspect.runtime,
            warnings=tuple(
                filter(None, (*warnings_of(suspect, contract, self._fingerprint.contract, True), state.answers.doubt))
            ),
        )


def _reason(
    judgement: Judgement, retention: Retention, report: SequentialReport, derived: bool, unrelated: bool, policy: Policy
) -> str:
    """Explain a verdict that some of the keys decide."""
    wrong = f" (wrong with a probability of at most {report.error:g})" if report.error else ""
    said = f"The suspect keeps {retention.kept} of the {retention.queries} keys that were asked, so "
    if derived:
        return (
            f"{said}at least {report.low} of all {report.keys}{wrong}, and {judgement.cut} are needed to call it "
            f'derived; p of "unrelated" is at most {judgement.p_value:.3g} (rank among {judgement.nulls} null models), '
            f"{policy.significance:g} or less is required."
        )
    if unrelated:
        return (
            f"{said}at most {report.high} of all {report.keys}{wrong}, fewer than the {judgement.cut} that are needed "
            f'to call it derived; q of "derived" is at most {judgement.q_value:.3g} (rank among {judgement.surrogates} '
            f'held-out surrogates), so "derived" is rejected at {policy.derived_significance:g}.'
        )
    return f"{said}{report.low} to {report.high} of all {report.keys}{wrong}."
