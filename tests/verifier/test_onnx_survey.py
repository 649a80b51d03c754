"""The survey finds what matters wherever it is hidden; the models are built by the onnx package."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fpverify import SuspectError
from fpverify.onnx_format import survey_model

FLOAT = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])


def outside(location="w.bin", name="w"):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value="4")
    return tensor


def graph(nodes=(), initializers=(), sparse=()):
    made = helper.make_graph(list(nodes), "g", [FLOAT], [FLOAT], list(initializers))
    made.sparse_initializer.extend(sparse)
    return made


def survey(*arguments, functions=(), **more):
    model = helper.make_model(graph(*arguments, **more), functions=list(functions))
    return survey_model(model.SerializeToString())


def constant(tensor):
    return helper.make_node("Constant", [], ["c"], value=tensor)


def branch(inner):
    return helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=graph())


def deep(inner, levels):
    for _ in range(levels):
        inner = graph([branch(inner)])
    return inner


def function(*nodes):
    return helper.make_function("local", "f", ["a"], ["b"], list(nodes), [helper.make_opsetid("", 17)])


def sparse(values):
    indices = onnx.numpy_helper.from_array(np.array([0], np.int64), "i")
    return helper.make_sparse_tensor(values, indices, [1])


def tensors_attribute():
    node = helper.make_node("Any", [], ["y"])
    node.attribute.add(name="many", type=onnx.AttributeProto.TENSORS).tensors.append(outside())
    return node


HIDING = {
    "an initializer": lambda: survey([], [outside()]),
    "a constant": lambda: survey([constant(outside())]),
    "a list of tensors": lambda: survey([tensors_attribute()]),
    "a sparse initializer": lambda: survey([], [], [sparse(outside())]),
    "a sparse attribute": lambda: survey([helper.make_node("Constant", [], ["c"], sparse_value=sparse(outside()))]),
    "a branch": lambda: survey([branch(graph([], [outside()]))]),
    "twenty branches": lambda: survey([branch(deep(graph([constant(outside())]), 20))]),
    "a function": lambda: survey(functions=[function(constant(outside()))]),
    "a branch of a function": lambda: survey(functions=[function(branch(graph([], [outside()])))]),
}


@pytest.mark.parametrize("found", HIDING.values(), ids=HIDING)
def test_external_data_is_found_wherever_it_is(found):
    assert found().external == ("w.bin",)


def test_training_graphs_are_surveyed_too():
    model = helper.make_model(graph())
    model.training_info.add().algorithm.initializer.append(outside("../secret"))
    assert survey_model(model.SerializeToString()).external == ("../secret",)


def _field(number, content):
    length, size = len(content), b""
    while True:
        size += bytes([(length & 0x7F) | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + content


@pytest.mark.parametrize("operator", ["RandomNormal", "RandomUniformLike", "Bernoulli", "Multinomial"])
def test_random_operators_are_found_in_branches_too(operator):
    node = helper.make_node(operator, [], ["y"])
    assert survey([branch(graph([node]))]).random == (operator,)


TRUE = onnx.numpy_helper.from_array(np.array(True), "t")
FALSE = onnx.numpy_helper.from_array(np.array(False), "t")
LISTED = helper.make_tensor("t", TensorProto.BOOL, [], [True])


@pytest.mark.parametrize(
    ("nodes", "initializers", "found"),
    [
        ([helper.make_node("Dropout", ["x", "r", "t"], ["y"])], [TRUE], ("Dropout",)),
        ([helper.make_node("Dropout", ["x", "r", "t"], ["y"])], [LISTED], ("Dropout",)),
        ([helper.make_node("Dropout", ["x", "r", "t"], ["y"])], [FALSE], ()),
        ([helper.make_node("Dropout", ["x"], ["y"])], [TRUE], ()),
        ([helper.make_node("Dropout", ["x", "", "c"], ["y"]), constant(TRUE)], [], ("Dropout",)),
        ([helper.make_node("Dropout", ["x", "", "c"], ["y"]), constant(FALSE)], [], ()),
        ([helper.make_node("BatchNormalization", list("xsbmv"), ["y"], training_mode=1)], [], ("BatchNormalization",)),
        ([helper.make_node("BatchNormalization", list("xsbmv"), ["y"], training_mode=0)], [], ()),
        ([helper.make_node("BatchNormalization", list("xsbmv"), ["y"], epsilon=1e-5)], [], ()),
        ([helper.make_node("BatchNormalization", list("xsbmv"), ["y", "m2", "v2"])], [], ("BatchNormalization",)),
        ([helper.make_node("BatchNormalization", list("xsbmv"), ["y", "", ""])], [], ()),
    ],
)
def test_training_mode_is_found(nodes, initializers, found):
    assert survey(nodes, initializers).training == found


def test_nodes_of_all_graphs_are_counted():
    assert survey([branch(graph([constant(TRUE)] * 3)), constant(TRUE)]).nodes == 5


def test_too_many_nodes_are_refused(monkeypatch):
    monkeypatch.setattr("fpverify.onnx_format.survey.MAX_NODES", 10)
    with pytest.raises(SuspectError, match="holds more than 10 nodes"):
        survey([constant(TRUE)] * 11)


def test_nesting_does_not_exhaust_the_reader():
    content = b""
    for _ in range(3000):
        content = _field(1, _field(5, _field(6, content)))  # graph.node.attribute.g
    survey_model(_field(7, content))
