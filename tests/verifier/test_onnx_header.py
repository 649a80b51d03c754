import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fpverify import SuspectError
from fpverify.onnx_format import read_onnx_header
from fpverify.onnx_format.header import TYPES

FLOAT = TensorProto.FLOAT


def model(inputs, outputs, initializers=(), **arguments):
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, **{"producer_name": "maker", "producer_version": "1.2", **arguments})


def tensor(name, kind=FLOAT, shape=("n", 3)):
    return helper.make_tensor_value_info(name, kind, shape)


def typed(name, kind):
    return helper.make_value_info(name, kind)


def with_metadata():
    made = model([tensor("x")], [tensor("y")])
    helper.set_model_props(made, {"classes": "cat,dog,eel", "note": "é"})
    return made


def with_sparse_default():
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    made = model([tensor("x"), tensor("w", shape=(4,))], [tensor("y")])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    return made


SEQUENCE_OF_MAPS = helper.make_sequence_type_proto(
    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, []))
)

MODELS = {
    "plain": model([tensor("x")], [tensor("y")]),
    "fixed": model([tensor("x", shape=(1, 3, 224, 224))], [tensor("y", shape=(1, 1000))]),
    "unknown size": model([tensor("x", shape=(None, 3, "height", "width"))], [tensor("y", shape=(None, None))]),
    "scalar": model([tensor("x", shape=())], [tensor("y", shape=())]),
    "no shape": model([tensor("x", shape=None)], [tensor("y", shape=None)]),
    "negative size": model([tensor("x", shape=(-1, 3))], [tensor("y")]),
    "large size": model([tensor("x", shape=(2**62, 0))], [tensor("y")]),
    "half": model([tensor("x", TensorProto.FLOAT16)], [tensor("y", TensorProto.STRING, ("n",))]),
    "every type": model(
        [tensor(str(kind), kind) for kind in range(min(len(TYPES), len(TensorProto.DataType.values())))], [tensor("y")]
    ),
    "zipmap": model([tensor("x")], [tensor("label", TensorProto.INT64, ("n",)), typed("maps", SEQUENCE_OF_MAPS)]),
    "optional": model([typed("x", helper.make_optional_type_proto(SEQUENCE_OF_MAPS))], [tensor("y")]),
    "weights": model([tensor("w"), tensor("x")], [tensor("y")], [numpy_helper.from_array(np.ones((2, 3), "f4"), "w")]),
    "sparse": with_sparse_default(),
    "opsets": model(
        [tensor("x")], [tensor("y")], opset_imports=[helper.make_opsetid(*o) for o in [("", 9), ("ai.onnx.ml", 3)]]
    ),
    "metadata": with_metadata(),
    "two outputs": model([tensor("x")], [tensor("y"), tensor("z", shape=("n", 7))]),
    "no names": model([tensor("")], [tensor("")]),
}


def shape_of(tensor_type):
    if not tensor_type.HasField("shape"):
        return None
    sizes = [(dim.WhichOneof("value"), dim) for dim in tensor_type.shape.dim]
    return tuple(None if kind is None else getattr(dim, kind) for kind, dim in sizes)


@pytest.mark.parametrize("name", MODELS)
def test_the_reader_agrees_with_the_onnx_package(name):
    expected = MODELS[name]
    found = read_onnx_header(expected.SerializeToString())
    assert found.ir_version == expected.ir_version
    assert found.producer == expected.producer_name
    assert found.producer_version == expected.producer_version
    assert found.opsets == {opset.domain: opset.version for opset in expected.opset_import}
    assert found.metadata == {entry.key: entry.value for entry in expected.metadata_props}
    sparse = {tensor.values.name for tensor in expected.graph.sparse_initializer}
    weights = sparse | {tensor.name for tensor in expected.graph.initializer}
    given = [value for value in expected.graph.input if value.name not in weights]
    default = [value for value in expected.graph.input if value.name in weights]
    for ours, theirs in [(found.inputs, given), (found.defaults, default), (found.outputs, expected.graph.output)]:
        assert [value.name for value in ours] == [value.name for value in theirs]
        assert [value.shape for value in ours] == [
            shape_of(value.type.tensor_type) if value.type.HasField("tensor_type") else None for value in theirs
        ]
        for our, their in zip(ours, theirs, strict=True):
            if their.type.HasField("tensor_type"):
                kind = TensorProto.DataType.Name(their.type.tensor_type.elem_type).lower()
                assert our.type == f"tensor({kind})"


def test_types_are_named_as_the_onnx_package_numbers_them():
    known = {number: name.lower() for name, number in TensorProto.DataType.items()}
    shared = [number for number in known if number < len(TYPES)]  # the package may be older or newer
    assert len(shared) > 20
    assert [TYPES[number] for number in shared] == [known[number] for number in shared]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("zipmap", lambda header: header.outputs[1], "seq(map(int64,tensor(float)))"),
        ("optional", lambda header: header.inputs[0], "optional(seq(map(int64,tensor(float))))"),
    ],
)
def test_types_around_tensors_are_named(name, value, expected):
    assert value(read_onnx_header(MODELS[name].SerializeToString())).type == expected


@pytest.mark.parametrize("light", ["light_resnet50.onnx", "light_densenet121.onnx", "light_inception_v1.onnx"])
def test_strangers_models_are_read(light):
    import pathlib

    path = next(pathlib.Path(onnx.__file__).parent.rglob(light), None)
    if path is None:
        pytest.skip("this onnx package does not ship the light models")
    expected, found = onnx.load(path), read_onnx_header(path.read_bytes())
    assert [value.name for value in found.outputs] == [value.name for value in expected.graph.output]
    assert len(found.inputs) == 1


def nested(depth):
    kind = helper.make_tensor_type_proto(FLOAT, [1])
    for _ in range(depth):
        kind = helper.make_sequence_type_proto(kind)
    return model([typed("x", kind)], [tensor("y")]).SerializeToString()


PLAIN = MODELS["plain"].SerializeToString()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "one graph and an operator set, found 0 graphs"),
        (b"not a model", "not an ONNX model"),
        (b"\xff\xd8\xff\xe0JFIF", "not an ONNX model"),
        (b"\x80\x04\x95\x00", "not an ONNX model"),
        (b"\x08", "ends within a number"),
        (b"\x08" + b"\xff" * 11, "a number of more than ten bytes"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a field of .* bytes, 0 left"),
        (b"\x00\x00", "tag 0"),
        (b"\x0b", "tag 11"),
        (b"\x38\x01" + PLAIN[:0], "one graph|wire type"),
        (PLAIN + PLAIN, "found 2 graphs"),
        (nested(9), "nests a type more than 8 deep"),
        (nested(40), "nests a type more than 8 deep"),
        (b"\x12\x81\x80\x40" + b"x" * (2**20 + 1), "a text of 1048577 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_model_is_refused(content, message):
    with pytest.raises(SuspectError, match=message):
        read_onnx_header(content)


@pytest.mark.parametrize("name", ["plain", "zipmap", "sparse", "metadata"])
def test_damage_never_raises_anything_but_a_suspect_error(name):
    data, random = MODELS[name].SerializeToString(), np.random.default_rng(0)
    damaged = [data[:length] for length in range(len(data))]
    for _ in range(2000):
        changed = bytearray(data)
        for position in random.integers(0, len(data), 2):
            changed[position] = random.integers(0, 256)
        damaged.append(bytes(changed))
    for content in damaged:
        try:
            read_onnx_header(content)
        except SuspectError:
            continue


def test_a_file_of_millions_of_fields_is_given_up(monkeypatch):
    monkeypatch.setattr("fpverify.onnx_format.protobuf.MAX_FIELDS", 1000)
    with pytest.raises(SuspectError, match="more than 1000 fields"):
        read_onnx_header(b"\x08\x01" * 1001)
