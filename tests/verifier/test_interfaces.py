"""Every interface that docs/accepted-models.md names: the same classifier behind each must get the same verdict.

Each case puts nodes before and after the committed source, which keeps all of its 100 keys, and undoes there what
another convention does to inputs and outputs. Real exporters are in `tests/generator/test_exports.py`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, compose, helper, numpy_helper

from fpverify import load_fingerprint
from fpverify.cli import main

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits"
NAMES = [str(number) for number in range(10)]
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
MIXED = ["3", "1", "4", "0", "5", "9", "2", "6", "8", "7"]


@dataclass
class Interface:
    """Another way to be asked and to answer."""

    shape: tuple = ("n", 1, 8, 8)
    kind: int = TensorProto.FLOAT
    before: list = field(default_factory=list)
    """Nodes from `input` to `seen`."""
    after: list = field(default_factory=list)
    """Nodes from `scores`."""
    outputs: list = field(default_factory=lambda: [value("scores", "n", 10)])
    tensors: dict = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    """What a contract file says."""
    classes: list | dict | None = None
    """What a class list says."""
    change: object = lambda model: None
    """What else is done to the model."""
    kept: int = 100
    left_out: int = 0
    says: str = ""
    """Part of a warning."""


def node(operator, inputs, *outputs, **attributes):
    return helper.make_node(operator, inputs.split(), list(outputs), **attributes)


def ml(operator, inputs, *outputs, **attributes):
    return node(operator, inputs, *outputs, domain="ai.onnx.ml", **attributes)


def value(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def build(case, path):
    """Write the source behind another interface."""
    source = compose.add_prefix(onnx.load(DIGITS / "source.onnx"), "source/", rename_inputs=True, rename_outputs=True)
    inner = source.graph
    tensors = {"image": [-1, 1, 8, 8], **case.tensors}
    before = case.before or [node("Identity", "input", "seen")]
    bridge = [node("Reshape", "seen image", inner.input[0].name)]
    give = [node("Identity", inner.output[0].name, "scores")]
    made = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.array(value), name)
        for name, value in tensors.items()
    ]
    for tensor in made:
        tensor.name = tensor.name or "x"
    graph = helper.make_graph(
        [*before, *bridge, *inner.node, *give, *case.after],
        "g",
        [value("input", *case.shape, kind=case.kind)],
        case.outputs,
        [*inner.initializer, *made],
    )
    opsets = [
        helper.make_opsetid("", 20),
        helper.make_opsetid("ai.onnx.ml", 3),
        helper.make_opsetid("com.microsoft", 1),
    ]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, case.metadata)
    model = case.change(model) or model
    onnx.save(model, path)
    return path


def cast(name="input", result="seen"):
    return node("Cast", name, result, to=TensorProto.FLOAT)


def listed_as_inputs(model):
    """Make it an old file, in which each initializer is an input too."""
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3


def with_default(model):
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "temperature"))
    model.graph.input.append(value("temperature"))


def fed_to(operator):
    """Put a node with training mode before the answer."""
    return [node(operator, "scores ratio yes", "y")]


UNIT = {"scale": np.float32(1 / 255)}
BATCHNORM = {name: np.full(10, number, np.float32) for name, number in zip("sbmv", (1, 0, 0, 1), strict=True)}

INTERFACES = {
    "as the source has it": Interface(),
    "batch of one": Interface(shape=(1, 1, 8, 8)),
    "batch of seven": Interface(shape=(7, 1, 8, 8)),
    "batch without a name": Interface(shape=(None, 1, 8, 8)),
    "every size symbolic but the channels": Interface(shape=("n", 1, "h", "w")),
    "NHWC": Interface(shape=("n", 8, 8, 1), before=[node("Transpose", "input", "seen", perm=[0, 3, 1, 2])]),
    "no channel axis": Interface(shape=("n", 8, 8)),
    "flat": Interface(shape=("n", 64)),
    "flat, one at a time": Interface(shape=(1, 64)),
    "flat with a trailing one": Interface(shape=(1, 64, 1)),
    "flat of unknown length": Interface(shape=("n", "features")),
    "all sizes symbolic": Interface(shape=("n", "c", "h", "w"), options={"layout": "NCHW"}),
    "float16": Interface(kind=TensorProto.FLOAT16, before=[cast()]),
    "float64": Interface(kind=TensorProto.DOUBLE, before=[cast()]),
    "bfloat16": Interface(kind=TensorProto.BFLOAT16, before=[cast()]),
    "uint8": Interface(kind=TensorProto.UINT8, before=[cast(result="f"), node("Mul", "f scale", "seen")], tensors=UNIT),
    "int8": Interface(
        kind=TensorProto.INT8,
        before=[cast(result="f"), node("Add", "f k", "g"), node("Mul", "g scale", "seen")],
        tensors={**UNIT, "k": np.float32(128)},
    ),
    "0 to 255": Interface(before=[node("Mul", "input scale", "seen")], tensors=UNIT, options={"high": 255}),
    "-1 to 1": Interface(
        before=[node("Add", "input one", "f"), node("Mul", "f half", "seen")],
        tensors={"one": np.float32(1), "half": np.float32(0.5)},
        options={"low": -1},
    ),
    "mean and std": Interface(
        before=[node("Mul", "input std", "f"), node("Add", "f mean", "seen")],
        tensors={"std": np.float32(0.2), "mean": np.float32(0.7)},
        options={"mean": [0.7], "std": [0.2]},
    ),
    "the range in the metadata": Interface(
        before=[node("Mul", "input scale", "seen")],
        tensors=UNIT,
        metadata={"Image.NominalPixelRange": "NominalRange_0_255"},
    ),
    "colour": Interface(
        shape=("n", 3, 8, 8),
        before=[node("ReduceMean", "input axes", "seen", keepdims=1)],
        tensors={"axes": [1]},
    ),
    "colour, NHWC, uint8": Interface(
        shape=("n", 8, 8, 3),
        kind=TensorProto.UINT8,
        before=[cast(result="f"), node("ReduceMean", "f axes", "g", keepdims=1), node("Mul", "g scale", "seen")],
        tensors={**UNIT, "axes": [3]},
    ),
    "another resolution": Interface(
        shape=("n", 1, 16, 16),
        before=[node("AveragePool", "input", "seen", kernel_shape=[2, 2], strides=[2, 2])],
        kept=99,
        says="resampled bilinearly from 8x8 to 16x16",
    ),
    "a further input with a default": Interface(change=with_default),
    "initializers listed as inputs": Interface(change=listed_as_inputs),
    "another operator domain": Interface(
        after=[node("Gelu", "scores", "g", domain="com.microsoft"), node("Add", "g scores", "y")],
        outputs=[value("y", "n", 10)],
    ),
    "probabilities": Interface(after=[node("Softmax", "scores", "y", axis=1)], outputs=[value("y", "n", 10)]),
    "log-probabilities": Interface(after=[node("LogSoftmax", "scores", "y", axis=1)], outputs=[value("y", "n", 10)]),
    "trailing ones": Interface(
        after=[node("Unsqueeze", "scores axes", "y")],
        tensors={"axes": [2, 3]},
        outputs=[value("y", "n", 10, 1, 1)],
    ),
    "labels": Interface(
        after=[node("ArgMax", "scores", "y", axis=1, keepdims=0)],
        outputs=[value("y", "n", kind=TensorProto.INT64)],
    ),
    "labels in a column of int32": Interface(
        after=[node("ArgMax", "scores", "l", axis=1), node("Cast", "l", "y", to=TensorProto.INT32)],
        outputs=[value("y", "n", 1, kind=TensorProto.INT32)],
    ),
    "names": Interface(
        after=[
            node("ArgMax", "scores", "l", axis=1, keepdims=0),
            ml("LabelEncoder", "l", "y", keys_int64s=list(range(10)), values_strings=NAMES),
        ],
        outputs=[value("y", "n", kind=TensorProto.STRING)],
    ),
    "the best three": Interface(
        after=[node("TopK", "scores k", "best", "which", axis=1)],
        tensors={"k": [3]},
        outputs=[value("best", "n", 3), value("which", "n", 3, kind=TensorProto.INT64)],
    ),
    "the best three without their scores": Interface(
        after=[node("TopK", "scores k", "best", "which", axis=1)],
        tensors={"k": [3]},
        outputs=[value("which", "n", 3, kind=TensorProto.INT64)],
        options={"reading": "top-k"},
    ),
    "a sequence of maps from numbers": Interface(
        after=[ml("ZipMap", "scores", "y", classlabels_int64s=list(range(10)))],
        outputs=[
            helper.make_value_info(
                "y",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
    ),
    "a sequence of maps from names": Interface(
        after=[ml("ZipMap", "scores", "y", classlabels_strings=NAMES)],
        outputs=[
            helper.make_value_info(
                "y",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
    ),
    "labels beside scores": Interface(
        after=[node("ArgMax", "scores", "l", axis=1, keepdims=0)],
        outputs=[value("l", "n", kind=TensorProto.INT64), value("scores", "n", 10)],
    ),
    "features beside scores": Interface(
        after=[node("Flatten", "seen", "features")],
        outputs=[value("features", "n", 64), value("scores", "n", 10)],
    ),
    "an auxiliary head": Interface(
        after=[node("Neg", "scores", "auxiliary")],
        outputs=[value("auxiliary", "n", 10), value("scores", "n", 10)],
        options={"output": "scores"},
    ),
    "permuted classes, named in the metadata": Interface(
        after=[node("Gather", "scores order", "y", axis=1)],
        tensors={"order": list(map(int, MIXED))},
        outputs=[value("y", "n", 10)],
        metadata={"classes": json.dumps(MIXED)},
    ),
    "permuted classes, named by the auditor": Interface(
        after=[node("Gather", "scores order", "y", axis=1)],
        tensors={"order": list(map(int, MIXED))},
        outputs=[value("y", "n", 10)],
        classes=MIXED,
    ),
    "names in words": Interface(
        after=[
            node("ArgMax", "scores", "l", axis=1, keepdims=0),
            ml("LabelEncoder", "l", "y", keys_int64s=list(range(10)), values_strings=WORDS),
        ],
        outputs=[value("y", "n", kind=TensorProto.STRING)],
        classes=dict(zip(WORDS, NAMES, strict=True)),
    ),
    "more classes": Interface(
        after=[node("Pad", "scores pads low", "y")],
        tensors={"pads": [0, 0, 0, 2], "low": np.float32(-99)},
        outputs=[value("y", "n", 12)],
        classes=[*NAMES, "ten", "eleven"],
    ),
    "fewer classes": Interface(
        after=[node("Slice", "scores from to axis", "y")],
        tensors={"from": [0], "to": [8], "axis": [1]},
        outputs=[value("y", "n", 8)],
        classes=NAMES[:8],
        kept=67,
        left_out=33,
        says="33 keys were left out",
    ),
    "dropout left in training mode": Interface(
        after=fed_to("Dropout"),
        tensors={"ratio": np.float32(0), "yes": np.array(True)},
        outputs=[value("y", "n", 10)],
        says="leaves Dropout in training mode",
    ),
    "batch normalisation left in training mode": Interface(
        after=[
            node("BatchNormalization", "scores s b m v", "norm", "m2", "v2", training_mode=1),
            node("Mul", "norm none", "noise"),
            node("Add", "scores noise", "y"),
        ],
        tensors={**BATCHNORM, "none": np.float32(0)},
        outputs=[value("y", "n", 10)],
        says="leaves BatchNormalization in training mode",
    ),
}
INTERFACES |= {f"opset {opset}": Interface(change=lambda _, opset=opset: old(opset)) for opset in (7, 8, 9, 13)}


def old(opset):
    """Return the source as an old exporter would have written it."""
    model = onnx.load(DIGITS / "source.onnx")
    nodes = [
        node("Conv", "input 0.weight 0.bias", "a", **convolution(model, 0)),
        node("Relu", "a", "b"),
        node("Conv", "b 2.weight 2.bias", "c", **convolution(model, 1)),
        node("Relu", "c", "d"),
        node("Flatten", "d", "e"),
        node("Gemm", "e 5.weight 5.bias", "f", transB=1),
        node("Relu", "f", "g"),
        node("Gemm", "g 7.weight 7.bias", "scores", transB=1),
    ]
    used = [tensor for tensor in model.graph.initializer if tensor.name[0].isdigit()]
    graph = helper.make_graph(nodes, "g", [value("input", "n", 1, 8, 8)], [value("scores", "n", 10)], used)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    if opset < 9:
        listed_as_inputs(made)
    return made


def convolution(model, number):
    """Return the attributes of a convolution of the source."""
    found = [item for item in model.graph.node if item.op_type == "Conv"][number]
    taken = {attribute.name: helper.get_attribute_value(attribute) for attribute in found.attribute}
    return {name: list(taken[name]) for name in ("strides", "pads", "dilations") if name in taken}


def judge(tmp_path, path, case):
    arguments = ["verify", str(path), "-f", str(DIGITS / "fingerprint.safetensors"), "--format", "json"]
    if case.options:
        (tmp_path / "contract.json").write_text(json.dumps(case.options))
        arguments += ["--contract", str(tmp_path / "contract.json")]
    if case.classes:
        listed = json.dumps(case.classes) if isinstance(case.classes, dict) else "\n".join(case.classes)
        (tmp_path / "classes.txt").write_text(listed)
        arguments += ["--classes", str(tmp_path / "classes.txt")]
    found = CliRunner().invoke(main, arguments)
    assert found.stderr == ""
    return json.loads(found.stdout)


@pytest.mark.parametrize("case", INTERFACES.values(), ids=INTERFACES)
def test_the_same_classifier_gets_the_same_verdict_behind_every_interface(tmp_path, case):
    document = judge(tmp_path, build(case, tmp_path / "m.onnx"), case)
    assert (document["kept"], document["answers"]["left_out"]) == (case.kept, case.left_out)
    assert document["verdict"] == ("inconclusive" if case.left_out or case.kept <= 58 else "derived")
    assert any(case.says in warning for warning in document["warnings"]) or not case.says


@pytest.mark.parametrize("name", ["names", "a sequence of maps from names"])
def test_classes_that_the_output_names_are_no_assumption(tmp_path, name):
    document = judge(tmp_path, build(INTERFACES[name], tmp_path / "m.onnx"), INTERFACES[name])
    assert document["contract"]["origins"]["classes"] == "file"


def test_weights_beside_the_model_are_read_and_identified(tmp_path):
    model = onnx.load(DIGITS / "source.onnx")
    names = {"location": "weights.bin", "size_threshold": 100, "convert_attribute": False}
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, **names)
    document = judge(tmp_path, tmp_path / "m.onnx", Interface())
    assert document["kept"] == 100
    assert set(document["suspect"]["external"]) == {"weights.bin"}


def test_a_model_of_more_than_two_gigabytes_is_judged(tmp_path):
    # Its file has holes, so that it takes no room; its size is beyond what one protobuf can hold.
    count = 2**29 + 2**20
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(count * 4)
    case = Interface(
        after=[node("Gather", "large zero", "nothing"), node("Add", "scores nothing", "y")],
        tensors={"zero": np.int64(5)},
        outputs=[value("y", "n", 10)],
        change=lambda model: add_external(model, "large", count),
    )
    document = judge(tmp_path, build(case, tmp_path / "m.onnx"), case)
    assert document["kept"] == 100


def add_external(model, name, count):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[count], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="large.bin")
    tensor.external_data.add(key="length", value=str(count * 4))
    model.graph.initializer.append(tensor)


def test_ordinary_pictures_find_the_preprocessing(tmp_path):
    # No key is among them: pictures of the attacker's kind, labelled by what they show.
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    inputs = (digits.images[:60, None] / 16).astype(np.float32)
    np.savez(tmp_path / "clean.npz", inputs=inputs, labels=digits.target[:60])
    case = INTERFACES["0 to 255"]
    path = build(case, tmp_path / "m.onnx")
    arguments = ["verify", str(path), "-f", str(DIGITS / "fingerprint.safetensors"), "--format", "json"]
    assumed = json.loads(CliRunner().invoke(main, arguments).stdout)
    assert any("if the assumption is wrong, any model appears unrelated" in warning for warning in assumed["warnings"])
    found = json.loads(CliRunner().invoke(main, [*arguments, "--probe", str(tmp_path / "clean.npz")]).stdout)
    assert (found["kept"], found["verdict"]) == (100, "derived")
    assert found["contract"]["values"]["high"] == 255
    assert found["contract"]["origins"]["values"] == "probe"
    assert found["probe"]["candidates"][0]["accuracy"] > 0.8


def test_the_source_itself_keeps_every_key():
    assert len(load_fingerprint(DIGITS / "fingerprint.safetensors")) == 100
