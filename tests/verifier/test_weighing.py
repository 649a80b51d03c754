"""The rule's verdict stands only if no way to hear the suspect changes it."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto

from fpverify import Policy, SuspectError, Verdict, verify


def test_a_suspect_that_answers_all_keys_alike_is_flagged_and_not_called_unrelated(fingerprint):
    result = verify(fingerprint, lambda inputs: np.ones(len(inputs), int))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "answers every key alike, so that nothing can be said of it" in result.reason
    assert (result.answers.distinct, result.answers.entropy_bits) == (1, 0)
    assert result.answers.label_entropy_bits == pytest.approx(np.log2(3))


def test_refused_keys_can_hide_a_derived_model_so_they_decide_nothing(fingerprint):
    def refuses(count):
        answers = fingerprint.labels.copy()
        answers[:] = (answers + 1) % 3
        answers[:count] = -1
        return lambda inputs: answers

    hidden = verify(fingerprint, refuses(9))
    assert (hidden.verdict, hidden.answers.refusals, hidden.kept) == (Verdict.INCONCLUSIVE, 9, 0)
    assert "the verdict would be derived if the 9 keys that it refused counted as kept" in hidden.reason
    few = verify(fingerprint, refuses(2))
    assert (few.verdict, few.answers.refusals) == (Verdict.UNRELATED, 2)
    assert any("2 keys got no class" in warning for warning in few.warnings)


def test_a_suspect_is_asked_twice_only_where_the_policy_says_so(fingerprint):
    asked = []

    def counts(inputs):
        asked.append(inputs.copy())
        return inputs.reshape(len(inputs), -1)[:, :3]

    assert verify(fingerprint, counts).answers.disagreements is None
    assert len(asked) == 1
    result = verify(fingerprint, counts, policy=Policy(ask_twice=True))
    assert (result.verdict, result.answers.disagreements) == (Verdict.DERIVED, 0)
    assert np.array_equal(asked[1], asked[2][::-1])


def test_answers_that_change_when_asked_again_are_told_and_doubted(fingerprint):
    turns = itertools.count()

    def changes(inputs):
        answers = inputs.reshape(len(inputs), -1)[:, :3].argmax(1)
        return answers if next(turns) == 0 else (answers + 1) % 3

    result = verify(fingerprint, changes, policy=Policy(ask_twice=True))
    assert (result.verdict, result.answers.disagreements) == (Verdict.INCONCLUSIVE, 12)
    assert "the verdict would be unrelated when asked again" in result.reason
    assert any("12 keys got another answer when they were asked again" in warning for warning in result.warnings)


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
    assert (result.kept, result.queries, result.answers.left_out) == (8, 8, 4)
    assert any("4 keys were left out" in warning for warning in result.warnings)


def test_a_suspect_that_knows_no_class_of_the_keys_cannot_be_judged(tmp_path, make_fingerprint, make_onnx):
    fingerprint = make_fingerprint(classes=("cat", "dog", "eel", "fox", "gnu"))
    path = make_onnx(tmp_path / "m.onnx", classes=2, weights=np.eye(4, 2))
    with pytest.raises(SuspectError, match="knows none of the classes that the keys are labelled with"):
        verify(fingerprint, path, contract={"classes": ("fox", "gnu")})
