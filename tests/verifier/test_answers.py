"""Outputs of every kind become labels of the fingerprint's classes, or are refused with what was found."""

from dataclasses import replace

import numpy as np
import pytest

from fpverify import SuspectError
from fpverify.sandbox.replies import Output
from fpverify.suspects import SuspectContract, Values
from fpverify.suspects.answers import read_answers

NAMES = ("cat", "dog", "eel")
LABELS = [0, 2, 1, 1]
SCORES = np.eye(3, dtype=np.float32)[LABELS]
CONTRACT = SuspectContract(
    input="x",
    type="float",
    batch=None,
    layout="NCHW",
    channels="grey",
    height=2,
    width=2,
    values=Values(),
    output=None,
    reading=None,
    classes=None,
)


def array(values, name="y", columns=None):
    return Output(name, np.asarray(values), columns=columns)


def texts(values, name="y"):
    return Output(name, None, texts=np.array(values, object))


def read(*outputs, names=NAMES, **changes):
    return read_answers(outputs, 4, replace(CONTRACT, **changes), names)


READABLE = {
    "logits": ([array(SCORES * 9 - 4)], {}),
    "log-probabilities": ([array(np.log(SCORES + 1e-9))], {}),
    "float16": ([array(SCORES.astype(np.float16))], {}),
    "quantised scores": ([array((SCORES * 100).astype(np.uint8))], {}),
    "trailing ones": ([array(SCORES[:, :, None, None])], {}),
    "a one in the middle": ([array(SCORES[:, None, :])], {}),
    "labels": ([array(LABELS)], {}),
    "labels in a column": ([array(np.array(LABELS, np.int32)[:, None])], {}),
    "names": ([texts(["cat", "eel", "dog", "dog"])], {}),
    "names in another case": ([texts(["Cat", " EEL", "dog", "dog"])], {}),
    "a sequence of maps": ([array(SCORES[:, ::-1], columns=("eel", "dog", "cat"))], {}),
    "a sequence of maps by number": ([array(SCORES, columns=(0, 1, 2))], {}),
    "label and map": ([array(LABELS, "l"), array(SCORES, "p", columns=(0, 1, 2))], {}),
    "label and scores": ([array(LABELS, "l"), array(SCORES, "p")], {}),
    "label and scores that say otherwise": ([array(SCORES[::-1], "p"), array(LABELS, "l")], {}),
    "logits and probabilities": ([array(SCORES * 5, "a"), array(SCORES, "b")], {}),
    "features beside": ([array(np.ones((4, 7)), "f"), array(SCORES)], {}),
    "a loss beside": ([Output("loss", None, other="one number"), array(SCORES)], {}),
    "top-k": ([array([[0.9, 0.1]] * 4, "v"), array([[label, (label + 1) % 3] for label in LABELS], "i")], {}),
    "top-k, worst first": ([array([[0.1, 0.9]] * 4, "v"), array([[(x + 1) % 3, x] for x in LABELS], "i")], {}),
    "top-k alone": ([array([[label, (label + 1) % 3] for label in LABELS])], {"reading": "top-k"}),
    "one of two heads": ([array(SCORES[::-1], "aux"), array(SCORES, "main")], {"output": "main"}),
    "names of another language": (
        [texts(["chat", "anguille", "chien", "Hund"])],
        {"renamed": {"chat": "cat", "anguille": "eel", "chien": "dog", "Hund": "dog"}},
    ),
    "maps in another language": (
        [array(SCORES, columns=("chat", "chien", "anguille"))],
        {"renamed": {"chat": "cat", "anguille": "eel", "chien": "dog"}},
    ),
    "a permuted list": ([array(SCORES[:, ::-1])], {"classes": ("eel", "dog", "cat")}),
    "labels of a permuted list": ([array([2, 0, 1, 1])], {"classes": ("eel", "dog", "cat")}),
    "a wider list": ([array(np.pad(SCORES, ((0, 0), (2, 1))))], {"classes": ("ant", "bee", *NAMES, "fox")}),
}


@pytest.mark.parametrize(("outputs", "changes"), READABLE.values(), ids=READABLE)
def test_an_answer_is_read(outputs, changes):
    answers = read(*outputs, **changes)
    assert answers.labels.tolist() == LABELS
    assert answers.labels.dtype == np.int64
    assert answers.known.all()


def test_a_narrower_list_says_which_classes_are_known():
    answers = read(array(SCORES[:, :2]), classes=("cat", "dog"))
    assert answers.known.tolist() == [True, True, False]
    assert answers.labels.tolist() == [0, 0, 1, 1]


def test_the_scores_beside_labels_say_which_classes_are_known():
    narrow = [array([0, 0, 1, 1], "l"), array(SCORES[:, :2], "p", columns=(0, 1))]
    answers = read(*narrow)
    assert (answers.known.tolist(), answers.doubt) == ([True, True, False], "")
    answers = read(array([0, 0, 1, 1], "l"), array(SCORES[:, :2], "p"))
    assert answers.known.all()
    assert "gives 2 numbers beside each label, fewer than the fingerprint has classes" in answers.doubt
    assert read(array([0, 0, 1, 1], "l"), array(SCORES[:, :2], "p"), classes=("cat", "dog")).doubt == ""


def test_an_answer_outside_the_fingerprints_classes_is_minus_one():
    answers = read(array(np.eye(4)[[0, 3, 1, 1]]), classes=("cat", "dog", "eel", "fox"))
    assert answers.labels.tolist() == [0, -1, 1, 1]
    assert read(texts(["cat", "fox", "dog", "dog"])).labels.tolist() == [0, -1, 1, 1]


def test_minus_one_is_a_refusal_unless_a_class_is_called_so():
    assert read(array([0, -1, 1, -1])).labels.tolist() == [0, -1, 1, -1]
    assert read(array([-1, -1, -1, -1])).labels.tolist() == [-1] * 4
    assert read(array([1, -1, 0, 0]), classes=("eel", "dog", "cat")).labels.tolist() == [1, -1, 2, 2]
    assert read(array([-1, 1, 1, -1]), names=("1", "-1")).labels.tolist() == [1, 0, 0, 1]


def test_numbers_that_are_names_are_read_by_name():
    assert read(array([3, 7, 5, 5]), names=("3", "5", "7")).labels.tolist() == LABELS
    assert read(array(SCORES, columns=(3, 5, 7)), names=("3", "5", "7")).labels.tolist() == LABELS


UNREADABLE = {
    "nothing": ([], {}, "must answer with labels .* found no output"),
    "features alone": (
        [array(np.ones((4, 7)))],
        {},
        r"found 'y' float64 \(4, 7\); if it has .*--classes",
    ),
    "too few rows": ([array(SCORES[:3])], {}, r"float32 \(3, 3\)"),
    "a number": ([Output("y", None, other="one number for all inputs")], {}, "one number for all inputs"),
    "pictures": ([array(np.ones((4, 3, 8, 8)))], {}, r"\(4, 3, 8, 8\)"),
    "booleans": ([array([True] * 4)], {}, "bool"),
    "NaN": ([array(SCORES * np.nan)], {}, "not finite: NaN or infinity names no class"),
    "infinity": ([array(np.where(SCORES > 0, np.inf, 0))], {}, "not finite"),
    "NaN in a map": ([array(SCORES * np.nan, columns=(0, 1, 2))], {}, "not finite"),
    "NaN in top-k": ([array([[np.nan, 0]] * 4, "v"), array([[0, 1]] * 4, "i")], {}, "not finite"),
    "labels out of range": ([array([0, 1, 2, 3])], {}, "must answer labels 0 to 2, found 0 to 3"),
    "negative labels": ([array([0, 1, 2, -2])], {}, "found -2 to 2"),
    "huge labels": ([array(np.array([2**64 - 1] * 4, np.uint64))], {}, "found 18446744073709551615"),
    "labels beyond the list": ([array([0, 1, 2, 3])], {"classes": NAMES}, "must answer labels 0 to 2"),
    "foreign names": (
        [texts(["x", "y", "x", "x"])],
        {},
        r"its classes \(x, y\) and .* no name in common",
    ),
    "a foreign list": ([array(SCORES)], {"classes": ("x", "y", "z")}, "no name in common; give --classes"),
    "a foreign map": ([array(SCORES, columns=(7, 8, 9))], {}, "must answer labels 0 to 2, found 7 to 9"),
    "two heads": ([array(SCORES, "a"), array(SCORES[::-1], "b")], {}, "'a' and 'b' .* differ for 4 of 4 .*--contract"),
    "ranks or scores": ([array([[0, 1, 2]] * 4)], {}, "scores or ranks"),
    "another list's width": ([array(SCORES)], {"classes": (*NAMES, "fox")}, r"\(4, 4\); found 'y' float32 \(4, 3\)"),
}


@pytest.mark.parametrize(("outputs", "changes", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_answer_is_refused(outputs, changes, message):
    with pytest.raises(SuspectError, match=message) as caught:
        read(*outputs, **changes)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_names_and_places_are_not_guessed():
    with pytest.raises(SuspectError, match="names of some classes and places of others; give --classes"):
        read(array([0, 1, 2, 0]), names=("2", "1", "0"))
