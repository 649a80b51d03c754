"""A callable or an object with `predict` is asked, read and judged as a file is."""

import functools
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import fpverify
from fpverify import InputContract, SuspectError, verify
from fpverify.cli import main
from fpverify.suspects.callables import name_of
from fpverify.suspects.opening import is_callable_name, open_suspect
from fpverify.suspects.prepared import PreparedSuspect

KEYS = InputContract(channels="grey", height=2, width=2)
INPUTS = np.zeros((4, 1, 2, 2), np.float32)
LABELS = [0, 2, 1, 0]
SCORES = np.eye(3)[LABELS]
NAMES = ("cat", "dog", "eel")


class AnswersNothing:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("still on the GPU")


def ask(suspect, names=NAMES, options=None, inputs=INPUTS, one_at_a_time=False):
    with open_suspect(suspect) as opened:
        asked = PreparedSuspect(opened, KEYS, names, options or {})
        return asked.ask(inputs, asked.contract, one_at_a_time)


@pytest.mark.parametrize(
    "answer",
    [
        LABELS,
        tuple(LABELS),
        np.array(LABELS, np.uint8),
        np.array(LABELS, np.int64),
        np.array(LABELS, np.float32),
        SCORES,
        SCORES.tolist(),
        SCORES[..., None],
        SCORES.astype(np.float16),
        SCORES.astype(int),
        SCORES * 1e300 - 1e300,
        [NAMES[label] for label in LABELS],
        np.array([NAMES[label].upper() for label in LABELS], object),
        [{"dog": row[1], "eel": row[2], "cat": row[0]} for row in SCORES],
        {"label": LABELS, "scores": SCORES},
    ],
    ids=lambda answer: f"{type(answer).__name__} {getattr(answer, 'dtype', '')}",
)
def test_labels_names_and_scores_are_read(answer):
    answers = ask(lambda inputs: answer)
    assert answers.labels.tolist() == LABELS
    assert not answers.alternatives


def test_minus_one_is_a_refusal():
    assert ask(lambda inputs: [0, -1, 1, -1]).labels.tolist() == [0, -1, 1, -1]


def test_of_equal_scores_the_first_class_is_the_answer():
    assert ask(lambda inputs: np.zeros((4, 3))).labels.tolist() == [0, 0, 0, 0]


def test_the_classes_that_share_the_best_score_are_told():
    scores = SCORES.copy()
    scores[0] = 7
    assert ask(lambda inputs: scores).best.sum(axis=1).tolist() == [3, 1, 1, 1]
    assert ask(lambda inputs: LABELS).best is None


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        (np.array([0.2, 0.9, 0.7, 0.5]), "probabilities of the second class, from a cut-off of 0.5 on"),
        (np.array([[-2], [1], [3], [0]], np.float32), "logits of the second class, from a cut-off of 0 on"),
        ([False, True, True, False], "labels"),
    ],
)
def test_one_number_for_each_input_is_the_second_of_two_classes(answer, reading):
    answers = ask(lambda inputs: answer, NAMES[:2], {"reading": "scores"} if "logits" in reading else {})
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
        (
            LABELS[:3],
            r"must answer with labels of shape \(4,\), names, or scores of shape \(4, 3\); found 'answer' int64",
        ),
        (SCORES[:3], r"found 'answer' float64 \(3, 3\)"),
        (np.zeros((4, 2)), r"found 'answer' float64 \(4, 2\)"),
        (np.zeros((4, 3, 2)), r"\(4, 3, 2\)"),
        ([0, 1, 2, 3], "must answer labels 0 to 2, found 0 to 3"),
        ([0, 1, 2, -2], "must answer labels 0 to 2, found -2 to 2"),
        (np.array([0, 0, 0, 2**64 - 1], np.uint64), "found 0 to 18446744073709551615"),
        ([True, False, True, True], "found 'answer' bool"),
        (["ant", "bee", "cow", "ant"], "no name in common"),
        (SCORES.astype(complex), "found 'answer' complex128"),
        (None, r"found 'answer' object \(\)"),
        ([[1, 2], [3], [4], [5]], "returned what is no array"),
        (AnswersNothing(), "returned what is no array .still on the GPU"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer, message):
    with pytest.raises(SuspectError, match=message):
        ask(lambda inputs: answer)


def test_a_suspects_own_exception_is_one_line_and_its_cause():
    def fails(inputs):
        raise ZeroDivisionError("line one\nline two \x1b[31m")

    with pytest.raises(SuspectError, match=r"fails: raised ZeroDivisionError: line one line two \\x1b\[31m") as caught:
        ask(fails)
    assert isinstance(caught.value.__cause__.__cause__, ZeroDivisionError)


def test_a_suspect_can_write_to_its_inputs_without_changing_the_keys():
    inputs = INPUTS.copy()
    inputs.flags.writeable = False

    def scribbles(given):
        given[:] = 1
        return LABELS

    ask(scribbles, inputs=inputs)
    assert inputs.max() == 0


def test_one_at_a_time_each_input_is_asked_alone_and_the_answers_are_read_together():
    sizes = []
    inputs = np.arange(16, dtype=np.float32).reshape(4, 1, 2, 2) / 16

    def suspect(given):
        sizes.append(len(given))
        return given.reshape(len(given), -1)[:, :3]

    assert ask(suspect, inputs=inputs, one_at_a_time=True).labels.tolist() == [2] * 4
    assert sizes == [1] * 4
    with pytest.raises(SuspectError, match="different shapes for single inputs"):
        ask(lambda given: np.zeros((1, 3 + int(given.max() > 0.5))), inputs=inputs, one_at_a_time=True)


@pytest.mark.parametrize(
    ("options", "shape", "largest"),
    [
        ({}, (4, 1, 2, 2), 1.0),
        ({"layout": "NHWC"}, (4, 2, 2, 1), 1.0),
        ({"layout": "NHW"}, (4, 2, 2), 1.0),
        ({"layout": "flat-CHW"}, (4, 4), 1.0),
        ({"channels": "rgb", "low": 0.0, "high": 255.0}, (4, 3, 2, 2), 255.0),
        ({"height": 4, "width": 6}, (4, 1, 4, 6), 1.0),
        ({"mean": (0.5,), "std": (0.5,)}, (4, 1, 2, 2), 1.0),
    ],
)
def test_a_contract_says_how_a_callable_takes_the_keys(options, shape, largest):
    seen = []
    ask(lambda given: (seen.append(given), LABELS)[1], options=options, inputs=INPUTS + 1)
    assert (seen[0].shape, float(seen[0].max())) == (shape, largest)


def test_class_names_say_what_the_scores_of_a_callable_mean():
    assert ask(lambda inputs: SCORES, options={"classes": ("eel", "dog", "cat")}).labels.tolist() == [2, 0, 1, 2]
    answers = ask(
        lambda inputs: ["Katze", "Aal", "Hund", "Katze"],
        options={"renamed": {"Katze": "cat", "Aal": "eel", "Hund": "dog"}},
    )
    assert answers.labels.tolist() == LABELS


class Classifier:
    """What scikit-learn's classifiers look like."""

    n_features_in_ = 4
    classes_ = np.array(["eel", "cat", "dog"])

    def predict_proba(self, inputs):
        assert inputs.shape == (4, 4)
        return SCORES[:, [2, 0, 1]]

    def predict(self, inputs):
        raise AssertionError("scores say more")


def test_an_object_with_predict_proba_is_asked_flat_images_and_its_classes_are_matched():
    assert ask(Classifier()).labels.tolist() == LABELS


def test_an_object_with_predict_is_asked_for_labels():
    class Labels:
        def predict(self, inputs):
            return LABELS

    assert ask(Labels()).labels.tolist() == LABELS


def test_one_of_several_outputs_can_be_chosen():
    both = {"a": SCORES, "b": SCORES[::-1]}
    assert ask(lambda inputs: both).alternatives[0].output == "b"
    assert ask(lambda inputs: both, options={"output": "b"}).labels.tolist() == LABELS[::-1]


def test_what_is_no_suspect_is_refused():
    with pytest.raises(SuspectError, match="must be the path of an ONNX file or of recorded answers, a callable"):
        ask(3)


@pytest.mark.parametrize(
    ("suspect", "name"),
    [
        (np.linalg.norm, "numpy.linalg.norm"),
        (functools.partial(sorted, reverse=True), r"functools.partial(<built-in function sorted>, reverse=True)"),
    ],
)
def test_a_suspect_is_called_by_its_name(suspect, name):
    assert name_of(suspect) == name


def first_three(inputs):
    return inputs.reshape(len(inputs), -1)[:, :3]


def test_a_verdict_on_a_callable_says_what_it_took_and_why(fingerprint):
    result = fpverify.verify(fingerprint, first_three)
    assert result.verdict is fpverify.Verdict.DERIVED
    assert {name: str(result.contract.origins[name]) for name in ("layout", "channels", "values", "classes")} == {
        "layout": "convention",
        "channels": "convention",
        "values": "convention",
        "classes": "convention",
    }
    inverted = fpverify.verify(
        fingerprint, lambda inputs: first_three(1 - inputs), contract={"low": 1.0 - 1e-9, "high": 1.0}
    )
    assert inverted.contract.origins["values"] == "option"


def test_a_probe_is_asked_of_a_callable_too(fingerprint):
    inputs = np.random.default_rng(0).random((30, *fingerprint.contract.shape), dtype=np.float32)
    labels = first_three(inputs).argmax(1)
    result = fpverify.verify(fingerprint, first_three, probe=(inputs, labels))
    assert result.probe.candidates[0].accuracy == 1.0
    with pytest.raises(SuspectError, match="near chance on ordinary inputs"):
        fpverify.verify(fingerprint, lambda given: np.eye(3)[np.full(len(given), 1)], probe=(inputs, labels))


def test_a_suspect_that_is_open_is_judged_again_without_being_loaded_again(fingerprint, derived_file):
    with open_suspect(derived_file) as opened:
        first, second = (fpverify.verify(fingerprint, opened) for _ in range(2))
    assert (first.verdict, first.suspect) == (second.verdict, second.suspect)


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "suspect_here.py").write_text(
        "class Api:\n    @staticmethod\n    def ask(inputs):\n        return inputs.reshape(len(inputs), -1)[:, :3]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "suspect_here:Api.ask"
    sys.modules.pop("suspect_here", None)


def test_the_command_line_takes_module_and_name(module, fingerprint, tmp_path):
    path = tmp_path / "f.safetensors"
    fpverify.save_fingerprint(fingerprint, path)
    result = CliRunner().invoke(main, ["verify", module, "-f", str(path)])
    assert result.exit_code == 3, result.stderr
    assert "suspect_here.Api.ask" in result.stdout
    for name, message in {
        "suspect_here:none": "no such file, and as module:name it cannot be imported",
        "no_such_module:f": "No module named",
    }.items():
        result = CliRunner().invoke(main, ["verify", name, "-f", str(path)])
        assert result.exit_code == 2
        assert message in result.stderr
    result = CliRunner().invoke(main, ["verify", module, "-f", str(path), "--require-sandbox"])
    assert result.exit_code == 2
    assert "runs in this process, and a sandbox is required" in result.stderr


def test_a_file_is_never_taken_for_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "os:abort").write_bytes(b"")
    assert not is_callable_name("os:abort")
    assert is_callable_name("os:getcwd")
    assert not any(
        map(
            is_callable_name, ("a/b:c", "m.onnx", "C:\\m.onnx", "http://x", ":f", "m:", "m:1", "endpoint:endpoint.toml")
        )
    )


@pytest.mark.parametrize("code", [0, 3, 4, None])
def test_a_callable_that_ends_the_program_is_no_verdict(fingerprint, code):
    """Exit codes are verdicts: a suspect's own code must not choose one."""

    def ends(inputs):
        raise SystemExit(code)

    with pytest.raises(SuspectError, match="SystemExit"):
        verify(fingerprint, ends)


def test_a_module_that_ends_the_program_is_no_verdict(tmp_path, monkeypatch):
    from fpverify.suspects.callables import load_callable

    (tmp_path / "ends_of_tests.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SuspectError, match="cannot be imported"):
        load_callable("ends_of_tests:ask")


def test_maps_in_another_order_for_some_inputs_are_read_by_their_names():
    """As services give them: sorted by score, so that each answer has an order of its own."""

    def ranked(inputs):
        rows = [SCORES[int(one.flat[0] * 3 + 0.5)] for one in inputs]
        return [dict(sorted(zip(NAMES, row, strict=True), key=lambda pair: -pair[1])) for row in rows]

    inputs = INPUTS.copy()
    inputs[:, 0, 0, 0] = [0, 1 / 3, 2 / 3, 1]
    assert ask(ranked, inputs=inputs, one_at_a_time=True).labels.tolist() == LABELS
    with pytest.raises(SuspectError, match="names other classes for some inputs than for others"):
        ask(lambda x: [{"cat": 1.0, "dog" if x.flat[0] else "eel": 0.0}], inputs=inputs, one_at_a_time=True)


@pytest.mark.parametrize(
    "answer", [[{"0": "a"}] * 4, [{"0": None}] * 4, [{"0": 10**400}] * 4, ["cat", 3, "dog", "eel"]]
)
def test_maps_and_lists_of_anything_else_are_refused(answer):
    with pytest.raises(SuspectError, match="returned"):
        ask(lambda inputs: answer)
