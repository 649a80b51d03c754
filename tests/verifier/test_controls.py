"""Control images show whether a suspect works as it is asked, and how to ask one whose file says something false."""

import numpy as np
import onnx
import pytest

from fpverify import Controls, Verdict, verify
from fpverify.suspects.controls import class_order, needed

NAMES = ("cat", "dog", "eel")


def images(count=60, seed=0):
    """Dim noise and one bright pixel of the first three, which is the class."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    inputs = draw.integers(0, 80, (count, 1, 2, 2)).astype(np.float32) / 255
    inputs.reshape(count, -1)[np.arange(count), labels] += np.float32(0.5)
    return (np.rint(inputs * 255) / 255).astype(np.float32), labels.astype(np.int64)


@pytest.fixture
def backed(make_backed):
    return make_backed(controls=Controls(*images(), 1.0))


def named(path, metadata):
    model = onnx.load(path)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def inverted(path, make_onnx):
    """Wants 1 - x: the darkest pixel of what it is given is the class."""
    return make_onnx(path, weights=-np.eye(4, 3))


def test_an_honest_file_is_asked_as_it_says(backed, derived_file):
    result = verify(backed, derived_file)
    assert (result.verdict, result.kept) == (Verdict.DERIVED, 24)
    assert (result.controls.right, result.controls.inputs, result.controls.readings) == (60, 60, 1)
    assert result.controls.works


def test_a_suspect_that_works_and_keeps_little_is_unrelated_without_any_option(
    make_backed, derived_file, make_fingerprint
):
    # The keys' labels are not the bright pixels here, so that a model of the task keeps none.
    labels = (make_fingerprint().labels + 1) % 3
    answers = np.array([labels] * 20 + [(labels + 1) % 3] * 101, np.int16)
    calibration = type(make_fingerprint().calibration)((1.0,) * 20, (0.0,) * 2, (0.0,) * 99, 0.75, "midpoint")
    changes = {"labels": labels, "calibration": calibration}
    fingerprint = make_backed(controls=Controls(*images(), 1.0), fingerprint=changes, answers=answers)
    result = verify(fingerprint, derived_file)
    assert (result.verdict, result.kept, result.controls.right) == (Verdict.UNRELATED, 0, 60)


def test_an_inverted_input_is_found(backed, tmp_path, make_onnx):
    path = named(inverted(tmp_path / "m.onnx", make_onnx), {"Image.NominalPixelRange": "Normalized_0_1"})
    result = verify(backed, path)
    assert (result.verdict, result.kept) == (Verdict.DERIVED, 24)
    assert str(result.contract.values) == "1 to 0"
    assert result.contract.origins["values"] == "controls"
    assert result.controls.readings > 1


@pytest.mark.parametrize("turn", ["flipped", "transposed"])
def test_another_orientation_is_found(backed, tmp_path, make_onnx, turn):
    order = {"flipped": [1, 0, 3, 2], "transposed": [0, 2, 1, 3]}[turn]
    result = verify(backed, make_onnx(tmp_path / "m.onnx", weights=np.eye(4, 3)[order]))
    assert (result.verdict, result.kept) == (Verdict.DERIVED, 24)


def test_class_names_in_a_false_order_are_found(backed, tmp_path, make_onnx):
    path = named(make_onnx(tmp_path / "m.onnx"), {"classes": '["dog", "eel", "cat"]'})
    result = verify(backed, path)
    assert (result.verdict, result.kept) == (Verdict.DERIVED, 24)
    assert result.controls.reordered
    assert result.contract.origins["classes"] == "controls"


def test_what_the_auditor_said_is_not_searched(backed, tmp_path, make_onnx):
    path = named(make_onnx(tmp_path / "m.onnx"), {"classes": '["dog", "eel", "cat"]'})
    result = verify(
        backed, path, contract={"classes": ("dog", "eel", "cat"), "low": 0.0, "high": 1.0, "layout": "NCHW"}
    )
    assert (result.verdict, result.controls.reordered) == (Verdict.INCONCLUSIVE, False)
    assert "it could not be verified: it answers 0 of 60 ordinary images rightly" in result.reason


def test_a_range_that_nothing_states_is_found(backed, tmp_path, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", fill=[0, 0, 100])  # right where white is 255
    result = verify(backed, path)
    assert (result.verdict, str(result.contract.values)) == (Verdict.DERIVED, "0 to 255")


def test_a_model_that_works_under_no_reading_could_not_be_verified(backed, tmp_path, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", weights=np.zeros((4, 3)), fill=[0.0, 0.1, 0.0])
    result = verify(backed, path)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_a_callable_is_held_to_the_controls_too(backed):
    def random(inputs):
        return (inputs.reshape(len(inputs), -1)[:, 3] * 255 + 1.5).astype(np.int64) % 3

    result = verify(backed, random)
    assert result.verdict is not Verdict.UNRELATED
    assert "it could not be verified" in result.reason


def test_how_many_right_answers_are_needed():
    inputs, labels = images(60)
    assert needed(Controls(inputs, labels, 1.0)) == 44  # a third, and six tenths of the rest
    assert needed(Controls(inputs, labels, 0.5)) == 26
    assert needed(Controls(inputs, labels, 0.2)) == 20  # a source below chance


def test_no_order_of_classes_is_read_into_few_or_random_answers():
    inputs, labels = images(60)
    controls, draw = Controls(inputs, labels, 1.0), np.random.default_rng(0)
    assert class_order((labels + 1) % 3, controls, 3).tolist() == [2, 0, 1]
    assert class_order(labels, controls, 3) is None
    assert all(class_order(draw.integers(0, 3, 60), controls, 3) is None for _ in range(200))
    assert class_order((labels[:9] + 1) % 3, Controls(inputs[:9], labels[:9], 1.0), 3) is None
