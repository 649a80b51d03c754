import functools

import numpy as np
import pytest

from fpverify import SuspectError
from fpverify.suspects import ask, ask_for_answers, name_of

INPUTS = np.zeros((4, 1, 2, 2), np.float32)
LABELS = [0, 2, 1, 0]
SCORES = np.eye(3)[LABELS]


class AnswersNothing:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("still on the GPU")


@pytest.mark.parametrize(
    "answer",
    [
        LABELS,
        tuple(LABELS),
        np.array(LABELS, np.uint8),
        np.array(LABELS, np.int64),
        SCORES,
        SCORES.tolist(),
        SCORES.astype(np.float16),
        SCORES.astype(int),
        SCORES * 1e300 - 1e300,
    ],
    ids=lambda answer: f"{type(answer).__name__} {getattr(answer, 'dtype', '')}",
)
def test_labels_and_scores_are_read(answer):
    labels = ask(lambda inputs: answer, INPUTS, 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == LABELS


def test_of_equal_scores_the_first_class_is_the_answer():
    assert ask(lambda inputs: np.zeros((4, 3)), INPUTS, 3).tolist() == [0, 0, 0, 0]


def test_the_classes_that_share_the_best_score_are_told():
    scores = SCORES.copy()
    scores[0] = 7
    answers = ask_for_answers(lambda inputs: scores, INPUTS, 3)
    assert answers.best.sum(axis=1).tolist() == [3, 1, 1, 1]
    assert ask_for_answers(lambda inputs: LABELS, INPUTS, 3).best is None


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        (np.array([0.2, 0.9, 0.7, 0.5]), "probabilities of the second class, from a cut-off of 0.5 on"),
        (np.array([[-2], [1], [3], [0]], np.float32), "logits of the second class, from a cut-off of 0 on"),
        ([False, True, True, False], "labels"),
    ],
)
def test_one_number_for_each_input_is_the_second_of_two_classes(answer, reading):
    answers = ask_for_answers(lambda inputs: answer, INPUTS, 2)
    assert (answers.labels.tolist(), answers.reading) == ([0, 1, 1, 0], reading)
    assert ("cut-off" in answers.doubt) == reading.startswith("probabilities")
    assert answers.best is None or answers.best.sum(axis=1).tolist() == [1, 1, 1, 2]


def scores_with(value):
    scores = SCORES.copy()
    scores[1, 1] = value
    return scores


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (scores_with(np.nan), "not finite: NaN or infinity"),
        (scores_with(np.inf), "not finite"),
        (scores_with(-np.inf), "not finite"),
        (LABELS[:3], r"must answer \(4,\) integer labels or \(4, 3\) real scores, found int64 of shape \(3,\)"),
        (SCORES[:3], r"found float64 of shape \(3, 3\)"),
        (np.zeros((4, 2)), r"found float64 of shape \(4, 2\)"),
        (np.zeros((4, 4)), r"found float64 of shape \(4, 4\)"),
        (np.zeros((4, 3, 1)), r"shape \(4, 3, 1\)"),
        ([0, 1, 2, 3], "must answer labels 0 to 2, or -1 to refuse, found 0 to 3"),
        ([0, 1, 2, -2], "must answer labels 0 to 2, or -1 to refuse, found -2 to 2"),
        (np.array([0, 0, 0, 2**64 - 1], np.uint64), "found 0 to 18446744073709551615"),
        ([0.0, 1.0, 2.0, 0.0], r"found float64 of shape \(4,\)"),
        ([True, False, True, True], "found bool"),
        (["cat", "dog", "cat", "cat"], "found <U3"),
        (SCORES.astype(complex), "found complex128"),
        (None, r"found object of shape \(\)"),
        ([[1, 2], [3], [4], [5]], "returned what is no array"),
        (AnswersNothing(), "returned what is no array .still on the GPU"),
    ],
)
def test_an_answer_that_is_neither_is_refused(answer, message):
    with pytest.raises(SuspectError, match=message):
        ask(lambda inputs: answer, INPUTS, 3)


def test_a_suspects_own_exception_is_one_line_and_its_cause():
    def fails(inputs):
        raise ZeroDivisionError("line one\nline two \x1b[31m")

    with pytest.raises(SuspectError, match=r"fails raised ZeroDivisionError: line one line two \\x1b\[31m") as caught:
        ask(fails, INPUTS, 3)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_suspect_can_write_to_its_inputs_without_changing_the_keys():
    inputs = np.zeros((4, 1, 2, 2), np.float32)
    inputs.flags.writeable = False

    def scribbles(given):
        given[:] = 1
        return LABELS

    ask(scribbles, inputs, 3)
    assert inputs.max() == 0


@pytest.mark.parametrize(
    ("suspect", "name"),
    [
        (np.linalg.norm, "numpy.linalg.norm"),
        (functools.partial(sorted, reverse=True), r"functools.partial(<built-in function sorted>, reverse=True)"),
    ],
)
def test_a_suspect_is_called_by_its_name(suspect, name):
    assert name_of(suspect) == name
