"""What foreign files and class lists say is read from the command line on, and a file's author hides nothing by it."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from fpverify import save_fingerprint
from fpverify.cli import main

NAMES = ["cat", "dog", "eel"]


def value(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, *outputs, **attributes):
    return helper.make_node(operator, inputs.split(), list(outputs), **attributes)


def save(path, after=(), outputs=(), tensors=None, metadata=None, shape=("n", 1, 2, 2), order=(0, 1, 2), opset=17):
    """Write a classifier: the lit pixel's number is the best class, in a given order of the outputs."""
    matrix = np.eye(4, 3, dtype=np.float32)[:, list(order)]
    nodes = [node("Flatten", "input", "flat"), node("MatMul", "flat w", "scores"), *after]
    made = [
        numpy_helper.from_array(np.array(content), name) for name, content in {"w": matrix, **(tensors or {})}.items()
    ]
    outputs = list(outputs) or [value("scores", "n", 3)]
    graph = helper.make_graph(nodes, "g", [value("input", *shape)], outputs, made)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def judge(tmp_path, fingerprint_file):
    def judged(path, classes=None, contract=None, fingerprint=fingerprint_file):
        arguments = ["verify", path, "-f", fingerprint, "--format", "json"]
        for option, content in (("--classes", classes), ("--contract", contract)):
            if content is not None:
                (tmp_path / f"{option[2:]}.json").write_text(json.dumps(content))
                arguments += [option, tmp_path / f"{option[2:]}.json"]
        return run(*arguments)

    return judged


def numbered(order=(0, 1, 2)):
    return {"names": str({place: f"LABEL_{label}" for place, label in enumerate(order)})}


@pytest.mark.parametrize("keys", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("spelling", ["LABEL_{}", "label {}", "Label-{}"])
def test_an_object_of_classes_is_matched_by_name(tmp_path, judge, keys, order, spelling):
    path = save(tmp_path / "m.onnx", metadata=numbered(order), order=order)
    found = judge(path, {spelling.format(key): NAMES[key] for key in keys})
    assert (found.exit_code, json.loads(found.stdout)["kept"]) == (3, 24)


def test_an_object_of_other_names_is_refused(tmp_path, judge):
    path = save(tmp_path / "m.onnx", metadata=numbered())
    found = judge(path, {f"digit_{place}": name for place, name in enumerate(NAMES)})
    assert found.exit_code == 2
    assert "calls its classes LABEL_0, LABEL_1, LABEL_2, and --classes calls them digit_0, digit_1" in found.stderr


def test_an_object_of_names_needs_names_in_the_file(tmp_path, judge):
    path = save(tmp_path / "m.onnx")
    found = judge(path, {f"LABEL_{place}": name for place, name in enumerate(NAMES)})
    assert found.exit_code == 2
    assert "names no classes, so that LABEL_0, LABEL_1, LABEL_2 in --classes cannot be matched" in found.stderr


def test_an_object_of_places_is_a_list(tmp_path, judge):
    path = save(tmp_path / "m.onnx", order=(2, 0, 1))
    assert judge(path, {"1": "cat", "0": "eel", "2": "dog"}).exit_code == 3
    assert judge(path, {"eel": 0, "dog": 2, "cat": 1}).exit_code == 3
    assert judge(path, {"model_type": "vit", "id2label": {"1": "cat", "0": "eel", "2": "dog"}}).exit_code == 3


def test_numbers_that_can_be_names_or_places_are_refused(tmp_path, judge):
    path = save(tmp_path / "m.onnx", metadata={"classes": '["2", "0", "1"]'}, order=(2, 0, 1))
    found = judge(path, dict(zip("012", NAMES, strict=True)))
    assert found.exit_code == 2
    assert "can be these names or places; list the names in the order of its outputs" in found.stderr


def test_names_that_match_nothing_are_told(tmp_path, judge):
    path = save(tmp_path / "m.onnx", metadata=numbered())
    found = json.loads(judge(path, {"LABEL_0": "cat", "LABEL_1": "dog"}).stdout)
    assert found["answers"]["left_out"] == 8
    assert any(
        "none of its classes is called eel, and its LABEL_2 are no classes" in text for text in found["warnings"]
    )


def zipmap(numbers):
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    return {
        "after": [
            node("ArgMax", "scores", "place", axis=1, keepdims=0),
            node("Gather", "numbers place", "label"),
            helper.make_node("ZipMap", ["scores"], ["p"], domain="ai.onnx.ml", classlabels_int64s=numbers),
        ],
        "tensors": {"numbers": np.array(numbers, np.int64)},
        "outputs": [
            value("label", "n", kind=TensorProto.INT64),
            helper.make_value_info("p", helper.make_sequence_type_proto(kind)),
        ],
    }


@pytest.mark.parametrize("classes", [["nothing", *NAMES], {"3": "eel", "1": "cat", "2": "dog"}])
def test_labels_that_do_not_begin_at_0_are_named_by_a_list_or_an_object(tmp_path, judge, classes):
    path = save(tmp_path / "m.onnx", **zipmap([1, 2, 3]))
    assert judge(path, classes).exit_code == 3
    found = judge(path)
    assert found.exit_code == 2
    assert "found 1 to 3; if its labels do not begin at 0, say what each means in --classes FILE, as" in found.stderr


def test_float_labels_are_labels(tmp_path, judge):
    after = [
        node("ArgMax", "scores", "place", axis=1, keepdims=0),
        node("Cast", "place", "label", to=TensorProto.FLOAT),
    ]
    assert judge(save(tmp_path / "m.onnx", after, [value("label", "n")])).exit_code == 3


ELSEWHERE = np.array([2, 0, 1], np.int64)
DECOYS = {
    "labels": ([node("Gather", "elsewhere place", "decoy")], [value("decoy", "n", kind=TensorProto.INT64)]),
    "float labels": (
        [node("Gather", "elsewhere place", "d"), node("Cast", "d", "decoy", to=TensorProto.FLOAT)],
        [value("decoy", "n")],
    ),
    "names": (
        [
            node("Gather", "elsewhere place", "d"),
            helper.make_node(
                "LabelEncoder", ["d"], ["decoy"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2], values_strings=NAMES
            ),
        ],
        [value("decoy", "n", kind=TensorProto.STRING)],
    ),
    "the best two": (
        [node("Gather", "scores elsewhere", "s", axis=1), node("TopK", "s two", "values", "decoy", axis=1)],
        [value("values", "n", 2), value("decoy", "n", 2, kind=TensorProto.INT64)],
    ),
    "scores": ([node("Gather", "scores elsewhere", "decoy", axis=1)], [value("decoy", "n", 3)]),
}


@pytest.mark.parametrize("decoy", DECOYS.values(), ids=DECOYS)
@pytest.mark.parametrize("last", [False, True])
def test_a_further_output_frees_no_derived_model(tmp_path, judge, decoy, last):
    after, outputs = decoy
    true = [value("scores", "n", 3)]
    path = save(
        tmp_path / "m.onnx",
        [node("ArgMax", "scores", "place", axis=1, keepdims=0), *after],
        [*true, *outputs] if last else [*outputs, *true],
        {"elsewhere": ELSEWHERE, "two": np.array([2], np.int64)},
    )
    found = judge(path)
    assert found.exit_code == 4
    assert "by its output" in json.loads(found.stdout)["reason"]
    assert judge(path, contract={"output": "scores"}).exit_code == 3


@pytest.fixture
def two_classes(tmp_path, fingerprint):
    """A fingerprint of the same keys with two classes: whether the first pixel is lit."""
    path = tmp_path / "two.safetensors"
    labels = (fingerprint.labels == 0).astype(np.int64)
    save_fingerprint(replace(fingerprint, labels=labels, classes=("dark", "lit")), path)
    return path


ONE_COLUMN = {
    "logit": ([node("Sub", "first half", "y")], [value("y", "n", 1)]),
    "probability": ([node("Sub", "first half", "z"), node("Sigmoid", "z", "y")], [value("y", "n", 1)]),
    "bool": ([node("Greater", "first half", "y")], [value("y", "n", 1, kind=TensorProto.BOOL)]),
    "label": (
        [node("Greater", "first half", "z"), node("Cast", "z", "y", to=TensorProto.INT32)],
        [value("y", "n", 1, kind=TensorProto.INT32)],
    ),
}


@pytest.mark.parametrize("case", ONE_COLUMN.values(), ids=ONE_COLUMN)
def test_a_model_of_two_classes_may_have_one_output_column(tmp_path, judge, two_classes, case):
    after = [node("Slice", "scores from to axis", "first"), *case[0]]
    tensors = {"from": np.array([0]), "to": np.array([1]), "axis": np.array([1]), "half": np.float32(0.5)}
    path = save(tmp_path / "m.onnx", after, case[1], tensors)
    found = judge(path, fingerprint=two_classes)
    assert (found.exit_code, json.loads(found.stdout)["kept"]) == (3, 24)
    reading = json.loads(found.stdout)["contract"]["reading"]
    assert reading == "labels" or "from a cut-off of" in reading
    if reading != "labels":
        assert judge(path).exit_code == 2  # of three classes, one number names none


@pytest.mark.parametrize("shape", [(-1, 1, 2, 2), (-1, 1, -1, -1), (-2, -1, 2, 2), (-1, -1, -1, -1), (-1, -1)])
def test_a_negative_size_is_an_open_axis(tmp_path, judge, shape):
    path = save(tmp_path / "m.onnx", shape=shape, outputs=[value("scores", -1, 3)])
    assert judge(path, contract={"layout": "NCHW"} if len(shape) == 4 else None).exit_code == 3


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), ("n", 1, 0, 0), (0, 0)])
def test_a_size_of_0_is_refused(tmp_path, judge, shape):
    found = judge(save(tmp_path / "m.onnx", shape=shape))
    assert found.exit_code == 2
    assert "has an axis of size 0, which ONNX Runtime does not take for an open one" in found.stderr


def test_what_lies_beside_a_hugging_face_model_is_read(tmp_path, judge):
    path = save(tmp_path / "m.onnx", shape=("batch", "channels", "height", "width"), order=(2, 0, 1))
    config = {"architectures": ["A"], "id2label": {"0": "eel", "1": "cat", "2": "dog"}}
    preprocessor = {"do_resize": False, "do_normalize": True, "image_mean": [0.5], "image_std": [0.5], "resample": 2}
    found = json.loads(judge(path, config, preprocessor).stdout)
    assert (found["kept"], found["contract"]["layout"]) == (24, "NCHW")
    assert found["contract"]["values"] == {"low": 0.0, "high": 1.0, "mean": [0.5], "std": [0.5]}
    assert set(found["contract"]["origins"].values()) == {"file", "option", "assumption"}
