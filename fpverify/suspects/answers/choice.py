"""Which output is the answer, and which others contradict it.

Every output that could be the answer is read. One is reported; the others are alternatives where they say otherwise,
because the file's author chooses which outputs there are.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.sandbox.outputs import Output
from fpverify.suspects.answers.answer import Alternative, Answers, Readings, joined
from fpverify.suspects.answers.grouped import read_grouped
from fpverify.suspects.answers.meaning import Meaning
from fpverify.suspects.answers.ranked import read_ranked
from fpverify.suspects.answers.single import read_alone
from fpverify.suspects.classes import (
    NO_LABEL,
    OUTSIDE,
    listed,
)
from fpverify.text import one_line

MIN_VARIED = 20
"""Inputs from which on an output that says the same of all is no answer, where another output says more."""


def read_answers(outputs: Sequence[Output], queries: int, contract: SuspectContract, names: tuple[str, ...]) -> Answers:
    """Read outputs as labels.

    Every output that could be the answer is read. The one that is reported is, in this order, the best few classes with
    their scores, labels or names, scores by name, and scores; of several, the one with the fewest ties, then the
    file's first. Where the auditor chose an output, only that is read.

    Args:
        outputs: of the suspect, for all inputs.
        queries: how many inputs it was asked.
        contract: the suspect's.
        names: the fingerprint's classes.

    Returns:
        The answers, with the outputs that contradict them.

    Raises:
        SuspectError: if no output is an answer, names match no class, or scores are not finite; the message begins
            with a verb.
    """
    meaning = Meaning(queries, contract, names)
    with np.errstate(all="ignore"):  # outputs may hold anything; what is read is checked
        read = _every(meaning, outputs)
    if not read.strong:
        chosen = [output for output in outputs if contract.output in (None, output.name)]
        raise SuspectError(read.failures[0][1] if read.failures else _nothing(meaning, chosen or list(outputs)))
    varied = [answer for answer in read.strong if len(set(answer.labels.tolist())) > 1]
    if varied and queries >= MIN_VARIED:
        read.strong = varied  # a flag or a confidence that is the same for every input answers nothing
    first = min(read.strong, key=lambda answer: (_order(answer), _ties(answer)))
    rest = [answer for answer in read.strong if answer is not first]
    alternatives = [other for answer in rest if (other := _alternative(first, answer)) is not None]
    for readings in read.weak:
        others = [_alternative(first, answer) for answer in readings]
        if others[0] is not None:  # the likeliest reading contradicts; where it agrees, nothing does
            alternatives += [other for other in others if other is not None]
    if first.reading in ("labels", "names of classes"):
        first = _narrowed(first, rest, outputs, meaning)
    seen = {answer.output for readings in read.weak for answer in readings}
    unread = [(name, why) for name, why in read.failures if name not in seen]
    skipped = [f"its output {one_line(name, 80)!r} was not read: it {why}" for name, why in unread[:1]]
    doubt = joined(first.doubt, _left_out(first, names), *skipped)
    missing = [output.missing for output in outputs if output.missing is not None]
    return replace(_open(first, missing[0]) if missing else first, doubt=doubt, alternatives=tuple(alternatives))


def _every(meaning: Meaning, outputs: Sequence[Output]) -> Readings:
    read = Readings([], [], [])
    chosen = [output for output in outputs if meaning.contract.output in (None, output.name)]
    columns = read_grouped(meaning, chosen)
    if columns is not None:
        read.strong.append(columns[0])
    paired = read_ranked(meaning, outputs, chosen, read)
    for output in chosen:
        if output.name in paired or (columns is not None and output.name in columns[1]):
            continue
        read_alone(meaning, output, read)
    return read


def _open(answers: Answers, missing: NDArray[np.bool_]) -> Answers:
    """Return answers that can be any class where one is missing."""
    best = np.zeros((len(answers.labels), len(answers.known)), bool) if answers.best is None else answers.best.copy()
    best[missing] = True
    return replace(answers, labels=np.where(missing, NO_LABEL, answers.labels), best=best)


def _order(answer: Answers) -> int:
    """Return which kind of answer is reported before another."""
    if answer.reading.startswith("the best of"):
        return 0
    return {"labels": 1, "names of classes": 1, "scores by class": 2}.get(answer.reading, 3)


def _ties(answer: Answers) -> int:
    return 0 if answer.best is None else int(np.count_nonzero(answer.best.sum(axis=1) > 1))


def _alternative(first: Answers, other: Answers) -> Alternative | None:
    """Return another output's answers if they contradict the first one's; a tie on either side contradicts nothing."""
    rows = np.arange(len(first.labels))
    labels = np.where(
        _shares(other.best, rows, first.labels) | _shares(first.best, rows, other.labels), first.labels, other.labels
    )
    return None if (labels == first.labels).all() else Alternative(other.output, other.reading, labels)


def _shares(best: NDArray[np.bool_] | None, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each label whether it is among the best."""
    if best is None:
        return np.zeros(len(labels), bool)
    shared: NDArray[np.bool_] = best[rows, np.maximum(labels, 0)] & (labels != OUTSIDE)
    return shared


def _left_out(answers: Answers, names: tuple[str, ...]) -> str:
    """Say which names did not match, if keys are left out for that."""
    missing = [name for name, known in zip(names, answers.known.tolist(), strict=True) if not known]
    if not missing or not answers.unmatched:
        return ""
    return (
        f"none of its classes is called {listed(missing)}, and its {listed(answers.unmatched)} "
        "are no classes of the fingerprint; if some are the same, say so in --classes FILE"
    )


def _narrowed(stated: Answers, beside: list[Answers], outputs: Sequence[Output], meaning: Meaning) -> Answers:
    """Return stated labels with what the scores beside them say of the classes that the suspect knows."""
    if meaning.contract.classes is not None:
        return stated
    for other in beside:
        if other.reading == "scores by class":
            return replace(stated, known=stated.known & other.known, unmatched=stated.unmatched or other.unmatched)
    shapes = [_shape(output) for output in outputs if _kind(output) == "f"]
    widths = [shape[1] for shape in shapes if len(shape) == 2 and 1 < shape[1] < len(meaning.names)]
    if not widths or len(meaning.names) in [shape[1] for shape in shapes if len(shape) == 2]:
        return stated
    doubt = f"the suspect gives {widths[0]} numbers beside each label, fewer than the fingerprint has classes: "
    return replace(stated, doubt=f"{doubt}if those are all the classes that it knows, name them (--classes)")


def _shape(output: Output) -> tuple[int, ...]:
    return () if output.array is None else output.array.shape


def _kind(output: Output) -> str:
    return "" if output.array is None else output.array.dtype.kind


def _nothing(meaning: Meaning, outputs: list[Output]) -> str:
    count = meaning.columns
    expected = f"labels of shape ({meaning.queries},), names, or scores of shape ({meaning.queries}, {count})"
    found = ", ".join(f"{one_line(output.name, 80)!r} {_described(output)}" for output in outputs[:8]) or "no output"
    shapes = [_shape(output) for output in outputs if _kind(output) == "f"]
    widths = {shape[1] for shape in shapes if len(shape) == 2 and shape[0] == meaning.queries}
    hint = ""
    if meaning.contract.classes is None and any(width not in (1, count) for width in widths):
        hint = "; if it has other classes than the fingerprint, name them in --classes FILE"
    elif any(_kind(output) == "f" and math.prod(_shape(output)) == meaning.queries for output in outputs):
        hint = "; one number for each input is an answer only where there are two classes"
    return f"must answer with {expected}; found {found}{hint}"


def _described(output: Output) -> str:
    if output.array is not None:
        return f"{output.array.dtype} {output.array.shape}"
    return f"texts {output.texts.shape}" if output.texts is not None else str(output.other)
