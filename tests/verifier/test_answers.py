"""Outputs of every kind become labels of the fingerprint's classes, or are refused with what was found."""

from dataclasses import replace

import numpy as np
import pytest

from fpverify import SuspectError
from fpverify.contract import SuspectContract, Values
from fpverify.sandbox.outputs import Output
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
    "labels as floats": ([array([0.0, 2.0, 1.0, 1.0])], {}),
    "labels as a column of floats": ([array(np.float32(LABELS)[:, None])], {}),
    "booleans, one for each class": ([array(SCORES > 0)], {}),
    "an output for each class": ([array(SCORES[:, [place]], f"i{place}") for place in range(3)], {}),
    "an output for each class, out of order": ([array(SCORES[:, place], f"i{place}") for place in (2, 0, 1)], {}),
    "an output for each class, by name": (
        [array(SCORES[:, NAMES.index(name)], name) for name in ("eel", "cat", "dog")],
        {},
    ),
    "a label and an output for each class": (
        [array(LABELS, "l"), *(array(SCORES[:, [place]], f"i{place}") for place in range(3))],
        {},
    ),
    "labels from one": ([array([1, 3, 2, 2])], {"classes": ("nothing", *NAMES)}),
    "labels from one, by number": ([array([1, 3, 2, 2])], {"renamed": {"1": "cat", "2": "dog", "3": "eel"}}),
    "float labels from one": ([array([1.0, 3.0, 2.0, 2.0])], {"classes": ("nothing", *NAMES)}),
    "a map from one": ([array(SCORES, columns=(1, 2, 3))], {"classes": ("nothing", *NAMES)}),
    "a map from one, by number": (
        [array(SCORES, columns=(1, 2, 3))],
        {"renamed": {"1": "cat", "2": "dog", "3": "eel"}},
    ),
    "labels that are names in the list": (
        [array([10, 30, 20, 20])],
        {"names": ("10", "20", "30"), "classes": ("30", "10", "20")},
    ),
    "names that are spelt otherwise": (
        [texts(["air-plane", "POLAR BEAR", "t_shirt", "T-Shirt"])],
        {"names": ("airplane", "t shirt", "polar_bear")},
    ),
    "top-k names": (
        [array([[0.1, 0.9]] * 4, "v"), texts([["dog", "cat"], ["cat", "eel"], ["cat", "dog"], ["eel", "dog"]], "i")],
        {},
    ),
    "logits and probabilities": ([array(SCORES * 5, "a"), array(SCORES, "b")], {}),
    "features beside": ([array(np.ones((4, 7)), "f"), array(SCORES)], {}),
    "a loss beside": ([Output("loss", None, other="one number"), array(SCORES)], {}),
    "top-k": ([array([[0.9, 0.1]] * 4, "v"), array([[label, (label + 1) % 3] for label in LABELS], "i")], {}),
    "a ranking beside scores": ([array(SCORES, "p"), array(np.argsort(-SCORES, axis=1), "r")], {}),
    "a ranking, worst first, beside scores": ([array(SCORES, "p"), array(np.argsort(SCORES, axis=1), "r")], {}),
    "saturated probabilities beside logits": ([array(np.ones((4, 3)), "p"), array(SCORES, "z")], {}),
    "labels beside saturated probabilities": ([array(LABELS, "l"), array(np.ones((4, 3)), "p")], {}),
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
    assert answers.alternatives == ()
    assert answers.unmatched in ((), ("nothing",), ("ant", "bee", "fox"))


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
    "numbers": ([array([0.5, 1.5, 2, 1])], {}, "float64 .4,.; one number for each input is an answer only where"),
    "booleans": ([array([True] * 4)], {}, "bool"),
    "NaN": ([array(SCORES * np.nan)], {}, "not finite: NaN or infinity names no class"),
    "infinity": ([array(np.where(SCORES > 0, np.inf, 0))], {}, "not finite"),
    "NaN in a map": ([array(SCORES * np.nan, columns=(0, 1, 2))], {}, "not finite"),
    "NaN in top-k": ([array([[np.nan, 0]] * 4, "v"), array([[0, 1]] * 4, "i")], {}, "not finite"),
    "labels out of range": ([array([0, 1, 2, 3])], {}, "must answer labels 0 to 2, found 0 to 3; .*--classes"),
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
    "scores for an object of names": (
        [array(SCORES)],
        {"renamed": {"chat": "cat", "chien": "dog"}},
        "scores without names, so that chat, chien in --classes cannot be matched",
    ),
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


OTHER = SCORES[[1, 0, 0, 2]]
OTHER_LABELS = [2, 0, 0, 1]
DECOYS = {
    "labels": array(LABELS, "decoy"),
    "labels in a column": array(np.array(LABELS)[:, None], "decoy"),
    "labels as floats": array(np.float32(LABELS), "decoy"),
    "names": texts(["cat", "eel", "dog", "dog"], "decoy"),
    "top names": texts([["cat", "dog"], ["eel", "dog"], ["dog", "eel"], ["dog", "cat"]], "decoy"),
    "scores": array(SCORES, "decoy"),
    "scores by name": array(SCORES, "decoy", columns=NAMES),
    "the best two": array([[label, (label + 1) % 3] for label in LABELS], "decoy"),
    "a ranking": array(np.argsort(-SCORES, axis=1), "decoy"),
    "booleans": array(SCORES > 0, "decoy"),
}


@pytest.mark.parametrize("decoy", DECOYS.values(), ids=DECOYS)
@pytest.mark.parametrize("last", [False, True])
def test_an_output_that_says_otherwise_is_an_alternative(decoy, last):
    true = array(OTHER, "true")
    answers = read(*([true, decoy] if last else [decoy, true]))
    found = [(answer.output, answer.labels.tolist()) for answer in (answers, *answers.alternatives)]
    assert ("true", OTHER_LABELS) in found
    assert ("decoy", LABELS) in found
    chosen = read(true, decoy, output="true")
    assert (chosen.labels.tolist(), chosen.alternatives) == (OTHER_LABELS, ())


def test_the_best_two_with_their_scores_do_not_hide_the_scores_of_all():
    decoy = [array([[0.9, 0.1]] * 4, "v"), array([[label, (label + 1) % 3] for label in LABELS], "i")]
    answers = read(*decoy, array(OTHER, "true"))
    assert (answers.output, answers.labels.tolist()) == ("i", LABELS)
    assert [(other.output, other.labels.tolist()) for other in answers.alternatives] == [("true", OTHER_LABELS)]
    everything = [array([[0.9, 0.1, 0.0]] * 4, "v"), array(np.argsort(-SCORES, axis=1), "i")]
    assert [other.output for other in read(*everything, array(OTHER, "true")).alternatives] == ["true"]


def test_columns_do_not_hide_behind_a_label():
    columns = [array(OTHER[:, [place]], f"i{place}") for place in range(3)]
    (other,) = read(array(LABELS, "label"), *columns).alternatives
    assert (other.output, other.reading, other.labels.tolist()) == (
        "i0",
        "scores, an output for each class",
        OTHER_LABELS,
    )


def test_a_tie_contradicts_nothing_and_the_rest_does():
    tied = SCORES.copy()
    tied[0] = 1
    (other,) = read(array(LABELS, "l"), array(np.roll(tied, 1, axis=1), "p")).alternatives
    assert other.labels.tolist() == [0, 0, 2, 2]
    assert read(array(LABELS, "l"), array(tied, "p")).alternatives == ()


def test_a_flag_that_is_the_same_for_all_is_no_answer():
    scores = np.eye(3)[np.arange(30) % 3]
    answers = read_answers(
        [array(np.zeros(30, int), "flag"), array(np.ones(30), "confidence"), array(scores, "p")], 30, CONTRACT, NAMES
    )
    assert (answers.output, answers.alternatives) == ("p", ())


def test_numbers_that_are_no_labels_are_noted_beside_scores():
    answers = read(array([7, 8, 9, 9], "image_id"), array(SCORES, "p"))
    assert (answers.output, answers.labels.tolist()) == ("p", LABELS)
    assert "its output 'image_id' was not read: it must answer labels 0 to 2, found 7 to 9" in answers.doubt


def test_the_classes_that_share_the_best_score_are_told():
    scores = SCORES[:, ::-1].copy()
    scores[0] = 1
    answers = read(array(scores), classes=("eel", "dog", "cat"))
    assert answers.best.tolist() == [[True] * 3, [False, False, True], [False, True, False], [False, True, False]]
    assert answers.labels.tolist() == [2, 2, 1, 1]
    assert read(array(scores, columns=("eel", "dog", "cat"))).best.tolist() == answers.best.tolist()
    wide = read(array(np.pad(scores, ((0, 0), (1, 0)), constant_values=5)), classes=("fox", "eel", "dog", "cat"))
    assert (wide.labels.tolist(), wide.best.any()) == ([-1] * 4, False)
    assert read(array(LABELS)).best is None
    pair = read(array([[0.5, 0.5]] * 4, "v"), array([[label, (label + 1) % 3] for label in LABELS], "i"))
    assert pair.best.tolist()[0] == [True, True, False]
    nearly = read(array(np.float64([[1, 1 + 1e-12, 0]] * 4)))
    assert nearly.best.sum(axis=1).tolist() == [1] * 4


TWO = ("no", "yes")
COLUMNS = {
    "logits": ([-3.0, 2.5, 0.0, 0.1], [0, 1, 0, 1], "logits of the second class, from a cut-off of 0 on", 2),
    "probabilities": (
        [0.1, 0.9, 0.5, 0.51],
        [0, 1, 0, 1],
        "probabilities of the second class, from a cut-off of 0.5 on",
        2,
    ),
    "labels as floats": ([0.0, 1.0, 0.0, 1.0], [0, 1, 0, 1], "labels", None),
    "labels": ([0, 1, 0, 1], [0, 1, 0, 1], "labels", None),
    "booleans": ([False, True, False, True], [0, 1, 0, 1], "labels", None),
}


@pytest.mark.parametrize(("numbers", "labels", "reading", "tied"), COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 1)])
def test_one_column_is_the_second_of_two_classes(numbers, labels, reading, tied, shape):
    answers = read(array(np.array(numbers).reshape(shape)), names=TWO)
    assert (answers.labels.tolist(), answers.reading) == (labels, reading)
    assert (answers.best is None) == (tied is None)
    if tied is not None:
        assert np.flatnonzero(answers.best.sum(axis=1) == 2).tolist() == [tied]
    assert ("cut-off of 0.5" in answers.doubt) == reading.startswith("probabilities")


def test_one_column_follows_the_order_of_the_class_list():
    assert read(array([-1.5, 2, -1, 1]), names=TWO, classes=("yes", "no")).labels.tolist() == [1, 0, 1, 0]
    answers = read(array([-1.5, 2, -1, 1]), classes=("dog", "cat"))
    assert (answers.labels.tolist(), answers.known.tolist()) == ([1, 0, 1, 0], [True, True, False])
    with pytest.raises(SuspectError, match="not finite"):
        read(array([np.nan, 2, -1, 1]), names=TWO)


def test_a_probability_its_logit_and_a_label_agree():
    logits = np.array([-3, 2.5, -0.5, 0.1])
    probabilities = 1 / (1 + np.exp(-logits))
    outputs = [array(probabilities[:, None], "p"), array(logits, "z"), array(logits > 0, "l")]
    answers = read(*outputs, names=TWO)
    assert (answers.labels.tolist(), answers.alternatives) == ([0, 1, 0, 1], ())
    both = [array(1 - probabilities, "first"), array(probabilities, "second")]
    assert read(*both, names=TWO).labels.tolist() == [0, 1, 0, 1]


def test_names_that_match_nothing_are_told_where_keys_are_left_out():
    answers = read(array(SCORES), classes=("cat", "dog", "conger"))
    assert (answers.known.tolist(), answers.unmatched) == ([True, True, False], ("conger",))
    assert "none of its classes is called eel, and its conger are no classes of the fingerprint" in answers.doubt
    wider = read(array(np.pad(SCORES, ((0, 0), (0, 1)))), classes=(*NAMES, "fox"))
    assert (wider.unmatched, wider.doubt) == (("fox",), "")
    renamed = read(array(SCORES, columns=("chat", "chien", "anguille")), renamed={"chat": "cat", "chien": "dog"})
    assert (renamed.known.tolist(), renamed.unmatched) == ([True, True, False], ("anguille",))


def test_a_number_that_an_object_leaves_out_is_not_taken_for_a_name():
    renamed = {str(number): str(number - 1) for number in range(1, 4)}
    answers = read(array([0, 1, 2, 3]), names=("0", "1", "2"), renamed=renamed)
    assert (answers.labels.tolist(), answers.unmatched) == ([-1, 0, 1, 2], ("0",))


def anything(rng):
    """Return an output of any kind, type and shape, near to what an answer looks like."""
    count = int(rng.choice([4, 4, 4, 3]))
    shape = (count, *(int(size) for size in rng.choice([0, 1, 2, 3, 5], rng.integers(0, 3))))
    name = str(rng.choice(["a", "b1", "b2", "cat", "dog", "9" * 5000]))
    match rng.integers(4):
        case 0:
            words = np.array(["cat", "DOG", "e-el", "x", "", "-1"], object)
            return Output(name, None, texts=rng.choice(words, shape))
        case 1:
            keys = [0, 1, 2, 9, "cat", "dog", "cat", "-1"]
            columns = tuple(keys[place] for place in rng.integers(0, len(keys), shape[-1] if len(shape) == 2 else 2))
            return Output(name, rng.normal(size=(count, len(columns))), columns=columns)
        case 2:
            return Output(name, rng.integers(-1, 4, shape).astype(rng.choice(["i1", "i8", "u8", "?"])))
    values = rng.choice([0.0, 1.0, 0.5, -2.0, 1e300, np.inf, np.nan], shape, p=[0.3, 0.2, 0.2, 0.2, 0.06, 0.02, 0.02])
    return Output(name, values.astype(rng.choice(["f4", "f8"])))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_model_returns_is_read_or_refused(seed):
    rng = np.random.default_rng(seed)
    read_at_all = 0
    for _ in range(300):
        outputs = [anything(rng) for _ in range(rng.integers(1, 5))]
        changes = {
            "reading": [None, None, None, "scores", "labels", "top-k"][rng.integers(6)],
            "classes": [None, None, ("dog", "cat"), ("eel", "x", "cat")][rng.integers(4)],
            "renamed": [{}, {}, {"x": "dog"}, {"9": "cat", "1": "eel"}][rng.integers(4)],
            "output": [None, None, None, outputs[0].name][rng.integers(4)],
            "names": [NAMES, ("no", "yes"), ("0", "2", "1")][rng.integers(3)],
        }
        try:
            answers = read(*outputs, **changes)
        except SuspectError:
            continue
        read_at_all += 1
        classes = len(changes["names"])
        for said in (answers, *answers.alternatives):
            assert said.labels.shape == (4,)
            assert ((said.labels >= -1) & (said.labels < classes)).all()
        assert answers.known.shape == (classes,)
        if answers.best is not None:
            inside = answers.labels >= 0
            assert answers.best.shape == (4, classes)
            assert answers.best[np.arange(4), answers.labels][inside].all()
    assert read_at_all > 10


def test_many_outputs_take_bounded_time():
    tables = [array(np.array([[0, 1]] * 4), f"i{place}") for place in range(500)]
    tables += [array(np.ones((4, 2)), f"v{place}") for place in range(499)]
    with pytest.raises(SuspectError, match=r"has 999 outputs with several numbers .* choose one in --contract"):
        read(*tables)
    assert read(*tables, array(LABELS, "l"), output="l").labels.tolist() == LABELS
