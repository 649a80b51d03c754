"""The verdict is reported only if it is the same under every interpretation of the answers."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto

from fpverify import Policy, SuspectError, Verdict, verify


def test_a_suspect_that_answers_all_keys_alike_is_flagged_and_not_called_unrelated(fingerprint):
    result = verify(fingerprint, lambda inputs: np.ones(len(inputs), int))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "gives every key the same label, which says nothing about it" in result.reason
    assert (result.answers.distinct, result.answers.entropy_bits) == (1, 0)
    assert result.answers.label_entropy_bits == pytest.approx(np.log2(3))


def test_refused_keys_can_hide_a_derived_model_so_they_decide_nothing(fingerprint, by_key):
    def refuses(count):
        answers = fingerprint.labels.copy()
        answers[:] = (answers + 1) % 3
        answers[:count] = -1
        return by_key(fingerprint, answers)

    hidden = verify(fingerprint, refuses(18))
    assert (hidden.verdict, hidden.answers.refusals, hidden.kept) == (Verdict.INCONCLUSIVE, 18, 0)
    assert "the verdict would be derived if the 18 keys that it refused counted as kept" in hidden.reason
    few = verify(fingerprint, refuses(2))
    assert (few.verdict, few.answers.refusals) == (Verdict.UNRELATED, 2)
    assert any("2 keys were refused, or answered with a class" in warning for warning in few.warnings)


def test_half_of_the_keys_are_asked_again_alone_and_all_where_the_policy_says_so(fingerprint):
    asked = []

    def counts(inputs):
        asked.append(inputs.copy())
        return inputs.reshape(len(inputs), -1)[:, :3]

    half = verify(fingerprint, counts)
    assert (half.answers.asked_again, half.answers.disagreements) == (12, 0)
    assert [len(inputs) for inputs in asked] == [24, *[1] * 12]
    result = verify(fingerprint, counts, policy=Policy(ask_twice=True))
    assert (result.verdict, result.answers.asked_again, result.answers.disagreements) == (Verdict.DERIVED, 24, 0)
    first, *again = asked[13:]
    assert {one.tobytes() for one in first} == {one[0].tobytes() for one in again}


def test_answers_that_change_when_asked_again_are_told_and_doubted(fingerprint):
    turns = itertools.count()

    def changes(inputs):
        answers = inputs.reshape(len(inputs), -1)[:, :3].argmax(1)
        return answers if next(turns) == 0 else (answers + 1) % 3

    result = verify(fingerprint, changes, policy=Policy(ask_twice=True))
    assert (result.verdict, result.answers.disagreements) == (Verdict.INCONCLUSIVE, 24)
    assert (
        "the verdict would be unrelated by the answers to the keys that were asked again, one at a time"
        in result.reason
    )
    assert any("24 keys were answered differently when they were asked again" in warning for warning in result.warnings)


def test_a_model_whose_answers_depend_on_the_batch_is_found_by_asking_twice(tmp_path, fingerprint, make_onnx):
    # Cumulated over the batch: what comes before a key changes its answer.
    extra = ("y", "CumSum", {}, TensorProto.FLOAT, ["batch", 3])
    path = make_onnx(tmp_path / "m.onnx")
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    model.graph.node.append(helper.make_node("CumSum", ["scores", "axis"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.int64(0), "axis"))
    model.graph.output[0].name = extra[0]
    onnx.save(model, path)
    result = verify(fingerprint, path, policy=Policy(ask_twice=True))
    assert result.answers.disagreements > 0


def test_keys_of_a_class_that_the_suspect_does_not_know_are_left_out_and_counted(tmp_path, fingerprint, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", classes=2, weights=np.eye(4, 2))
    result = verify(fingerprint, path, contract={"classes": ("cat", "dog")})
    assert (result.kept, result.queries, result.answers.left_out) == (16, 16, 8)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("8 keys were left out" in warning for warning in result.warnings)


def test_a_suspect_that_knows_no_class_of_the_keys_cannot_be_judged(tmp_path, make_fingerprint, make_onnx):
    fingerprint = make_fingerprint(classes=("cat", "dog", "eel", "fox", "gnu"))
    path = make_onnx(tmp_path / "m.onnx", classes=2, weights=np.eye(4, 2))
    with pytest.raises(SuspectError, match="knows none of the classes that the keys are labelled with"):
        verify(fingerprint, path, contract={"classes": ("fox", "gnu")})


def test_few_keys_are_no_evidence(make_fingerprint, by_key):
    whole = make_fingerprint()
    few = make_fingerprint(inputs=whole.inputs[:19], labels=whole.labels[:19])
    result = verify(few, by_key(few, few.labels))
    assert (result.verdict, result.kept) == (Verdict.INCONCLUSIVE, 19)
    assert "only 19 keys count; a verdict needs at least 20" in result.reason


def test_a_fingerprint_of_one_label_decides_nothing(make_fingerprint, by_key):
    one = make_fingerprint(labels=np.zeros(24, np.int64))
    result = verify(one, by_key(one, np.arange(24) % 3))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "this fingerprint decides nothing: all its keys have one label" in result.reason


def test_answers_at_random_are_not_called_unrelated(fingerprint):
    random = np.random.default_rng(0)
    result = verify(fingerprint, lambda inputs: random.integers(0, 3, len(inputs)), policy=Policy(ask_twice=True))
    assert result.answers.disagreements > 10
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("asked again" in warning for warning in result.warnings)
