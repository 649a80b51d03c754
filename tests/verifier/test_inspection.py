import hashlib
import json
import os

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from fpverify import FingerprintError, SuspectError
from fpverify.cli import main
from fpverify.inspection import inspect_file
from fpverify.reports import FORMATS


def test_a_fingerprint_is_summarised(fingerprint, fingerprint_file):
    summary = inspect_file(fingerprint_file)
    assert summary.fingerprint == fingerprint
    assert summary.bytes == fingerprint_file.stat().st_size
    text = FORMATS["text"].inspection(summary)
    for part in [
        "3: cat, dog, eel",
        "NCHW, grey, 2 x 2 pixels, values 0 to 1",
        "99 models keep 25.0% to 25.0%",
        '"cem"',
    ]:
        assert part in text
    document = json.loads(FORMATS["json"].inspection(summary))
    assert document["kind"] == "fingerprint"
    assert (document["sha256"], document["keys"], document["format_version"]) == (fingerprint.sha256, 24, 1)
    assert document["calibration"]["threshold"] == 0.75


def test_an_onnx_model_is_summarised(derived_file):
    summary = inspect_file(derived_file)
    assert summary.sha256 == hashlib.sha256(derived_file.read_bytes()).hexdigest()
    assert summary.classes == 3
    text = FORMATS["text"].inspection(summary)
    for part in ["input: tensor(float) (batch, 1, 2, 2)", "scores: tensor(float) (batch, 3)", "ai.onnx 13", "tests"]:
        assert part in text
    document = json.loads(FORMATS["json"].inspection(summary))
    assert document["kind"] == "onnx"
    assert document["model"]["inputs"] == [{"name": "input", "type": "tensor(float)", "shape": ["batch", 1, 2, 2]}]


def test_the_content_decides_and_not_the_name(tmp_path, fingerprint, fingerprint_file, derived_file):
    os.rename(fingerprint_file, tmp_path / "a.onnx")
    os.rename(derived_file, tmp_path / "b.safetensors")
    assert inspect_file(tmp_path / "a.onnx").fingerprint == fingerprint
    assert inspect_file(tmp_path / "b.safetensors").classes == 3


def test_a_damaged_fingerprint_is_named_as_such(fingerprint_file):
    fingerprint_file.write_bytes(fingerprint_file.read_bytes()[:-1])
    with pytest.raises(FingerprintError, match="truncated"):
        inspect_file(fingerprint_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"hello", "neither a fingerprint nor an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" * 9, "neither"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SuspectError, match=message):
        inspect_file(path)


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "No such file"), (".", "a folder, not a file"), ("a\0b", "no file")]
)
def test_what_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(SuspectError, match=message):
        inspect_file(f"{tmp_path}/{name}")


def test_a_models_names_cannot_rewrite_the_report(tmp_path, make_onnx):
    text = FORMATS["text"].inspection(inspect_file(make_onnx(tmp_path / "m.onnx", name="a\x1b[2J\nforged: line")))
    assert "\x1b" not in text
    assert "\nforged" not in text


def outputs_of(path, outputs, batch="n"):
    """Write a model of which nothing but the outputs matters."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 2, 2])
    values = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs]
    nodes = [helper.make_node("Cast", ["x"], [name], to=kind) for name, kind, _ in outputs]
    graph = helper.make_graph(nodes, "g", [image], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


F, L, S, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
NO_ANSWERS = {
    "a segmenter": [("masks", F, ["n", 3, 8, 8])],
    "a detector": [("output0", F, ["n", 3, 84])],
    "a detector with boxes": [("boxes", F, ["n", "k", 4]), ("picked", L, ["k", 5])],
    "another width": [("scores", F, ["n", 5])],
    "an image": [("y", F, ["n", 3, "h", 32])],
    "places without scores": [("which", L, ["n", 2])],
    "flags": [("y", B, ["n"])],
}
ANSWERS = {
    "scores": [("y", F, ["n", 3])],
    "scores of any width": [("y", F, ["n", "k"])],
    "scores of no shape": [("y", F, None)],
    "scores with ones": [("y", F, [-1, 3, 1, 1])],
    "scores with open axes": [("y", F, ["n", 3, "h", "w"])],
    "labels": [("y", L, ["n"])],
    "names": [("y", S, ["n", 1])],
    "the best two": [("v", F, ["n", 2]), ("i", L, ["n", 2])],
    "flags for each class": [("y", B, ["n", 3])],
    "a column for each class": [("a", F, ["n", 1]), ("b", F, ["n", 1]), ("c", F, ["n", 1])],
    "scores beside features": [("f", F, ["n", 9, 9]), ("y", F, ["n", 3])],
}


@pytest.mark.parametrize("outputs", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_outputs_that_are_no_answer_are_told_before_anything_is_run(tmp_path, fingerprint, fingerprint_file, outputs):
    path = outputs_of(tmp_path / "m.onnx", outputs)
    summary = inspect_file(path, key_contract=fingerprint.contract, names=fingerprint.classes)
    assert "no row of 3 scores; expected scores (n, 3), or labels or names (n,)" in summary.refusal
    assert "no suspect" in FORMATS["text"].inspection(summary)
    found = CliRunner().invoke(main, ["verify", str(path), "-f", str(fingerprint_file)])
    assert (found.exit_code, "no row of 3 scores" in found.stderr) == (2, True)


@pytest.mark.parametrize("outputs", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("batch", ["n", 1, 7])
def test_outputs_that_can_be_an_answer_are_not_refused(tmp_path, fingerprint, outputs, batch):
    path = outputs_of(tmp_path / "m.onnx", outputs, batch)
    assert inspect_file(path, key_contract=fingerprint.contract, names=fingerprint.classes).refusal is None
    assert inspect_file(path).refusal is None


def test_a_model_for_one_image_may_leave_the_batch_out(tmp_path, fingerprint):
    path = outputs_of(tmp_path / "m.onnx", [("y", F, [3])], 1)
    assert inspect_file(path, key_contract=fingerprint.contract, names=fingerprint.classes).refusal is None


def test_one_number_for_each_input_is_doubted(tmp_path, fingerprint):
    path = outputs_of(tmp_path / "m.onnx", [("age", F, ["n", 1])])
    summary = inspect_file(path, key_contract=fingerprint.contract, names=fingerprint.classes)
    assert summary.refusal is None
    assert "its output 'age' tensor(float) (n, 1) is no row of 3 scores: one number for each" in summary.doubt
    assert "no suspect" in FORMATS["text"].inspection(summary)
    assert inspect_file(path, key_contract=fingerprint.contract, names=("no", "yes")).doubt == ""


@pytest.mark.parametrize(
    ("outputs", "classes"),
    [
        ([("y", F, ["n", 10])], 10),
        ([("y", F, ["n", 10, 1, 1])], 10),
        ([("y", F, ["n", 10]), ("z", F, ["n", 10])], 10),
        ([("l", L, ["n"]), *((f"i{place}", F, ["n", 1]) for place in range(10))], 10),
        ([("v", F, ["n", 5]), ("i", L, ["n", 5])], None),
        ([("v", F, ["n", 5]), ("i", L, ["n", 5]), ("y", F, ["n", 10])], 10),
        ([("y", F, ["n", 10]), ("f", F, ["n", 64])], None),
        ([("y", F, ["n", 1])], None),
        ([("y", F, ["n", "k"])], None),
        ([("y", F, None)], None),
        ([("l", L, ["n"])], None),
    ],
)
def test_classes_are_counted_only_where_the_outputs_say_them(tmp_path, outputs, classes):
    assert inspect_file(outputs_of(tmp_path / "m.onnx", outputs)).classes == classes


def test_free_metadata_has_a_heading_of_its_own(tmp_path, derived_file):
    model = onnx.load(derived_file)
    helper.set_model_props(model, {"batch": "1", "task": "classify"})
    onnx.save(model, derived_file)
    lines = [line.split() for line in FORMATS["text"].inspection(inspect_file(derived_file)).splitlines()]
    heading = next(place for place, words in enumerate(lines) if words[:1] == ["metadata"])
    assert [words for words in lines[heading + 1 :] if words] == [["batch", "1"], ["task", "classify"]]
    assert ["batch", "any", "(file)"] in lines[:heading]
