"""Reads what an ONNX file says about itself from its protobuf, without running it and without the onnx package.

The reader walks fields and skips what it does not need, so that gigabytes of weights cost nothing. It does not recurse,
checks each length against the bytes that are there, and gives up after a bounded number of fields.

Source: onnx.proto of ONNX 1.17 (the field numbers) and https://protobuf.dev/programming-guides/encoding (the bytes).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fpverify.errors import SuspectError
from fpverify.onnx_format.protobuf import LENGTH, VARINT, Field, Reader

UNDEFINED = "undefined"
"""The type of a value that states none."""

ANY_NAME = ""
"""The name of outputs that are not known before a model answers; no file has such an output."""

TYPES = (
    UNDEFINED,
    "float",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "double",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "uint4",
    "int4",
    "float4e2m1",
    "float8e8m0",
    "uint2",
    "int2",
    "float6e2m3",
    "float6e3m2",
)
"""TensorProto.DataType, by number."""

MAX_VALUES = 100_000
"""Inputs and outputs of a model; old files list each weight as an input."""

MAX_METADATA = 10_000
"""Entries of metadata."""

MAX_NESTING = 8
"""How many sequences, maps and optionals a type may put around a tensor."""


@dataclass(frozen=True)
class Value:
    """An input or an output of a model."""

    name: str
    """As the file has it."""
    type: str
    """`tensor(float)`, `seq(map(int64,tensor(float)))` and the like, as ONNX Runtime writes them."""
    shape: tuple[int | str | None, ...] | None
    """Sizes; a name where symbolic, None where unknown. None as a whole: no tensor, or no shape given."""


@dataclass(frozen=True)
class OnnxHeader:
    """What a model file says about itself."""

    ir_version: int
    """Version of the file format; 0 if not stated."""
    producer: str
    """Program that wrote it; empty if not stated."""
    producer_version: str
    """Its version."""
    opsets: dict[str, int]
    """Version of each operator set by domain; the empty domain is ONNX's own."""
    metadata: dict[str, str]
    """Free entries."""
    inputs: tuple[Value, ...]
    """What must be given to run it: inputs without a default."""
    defaults: tuple[Value, ...]
    """Inputs that have a default, as weights in old files do."""
    outputs: tuple[Value, ...]
    """What it returns."""


def read_onnx_header(buffer: bytes | memoryview) -> OnnxHeader:
    """Read a ModelProto.

    Args:
        buffer: the whole file.

    Returns:
        What it says about itself.

    Raises:
        SuspectError: if it is no ONNX model, is damaged, or nests or splits its fields absurdly.
    """
    reader = Reader(buffer)
    ir_version, texts = 0, {2: "", 3: ""}
    graph: Field | None = None
    graphs = 0
    opsets: dict[str, int] = {}
    metadata: dict[str, str] = {}
    for item in reader.fields():
        match item.number:
            case 1:
                ir_version = item.integer()
            case 2 | 3:
                texts[item.number] = reader.text(item)
            case 7:
                graph, graphs = item, graphs + 1
            case 8:
                domain, version = _pair(reader, item, LENGTH, VARINT)
                opsets[reader.text(domain)] = version.integer() if version else 0
            case 14:
                key, value = _pair(reader, item, LENGTH, LENGTH)
                metadata[reader.text(key)] = reader.text(value)
                if len(metadata) > MAX_METADATA:
                    raise SuspectError(f"has more than {MAX_METADATA} entries of metadata")
    if graph is None or graphs != 1 or not opsets:
        found = f"{graphs} graphs and {len(opsets)} operator sets"
        raise SuspectError("not an ONNX model: it must hold one graph and an operator set", found=found)
    inputs, initialised, outputs = _read_graph(reader, graph)
    return OnnxHeader(
        ir_version=ir_version,
        producer=texts[2],
        producer_version=texts[3],
        opsets=opsets,
        metadata=metadata,
        inputs=tuple(value for value in inputs if value.name not in initialised),
        defaults=tuple(value for value in inputs if value.name in initialised),
        outputs=tuple(outputs),
    )


def _read_graph(reader: Reader, graph: Field) -> tuple[list[Value], set[str], list[Value]]:
    """Return a graph's inputs, the names of its initializers, and its outputs."""
    inputs, initialised, outputs = [], set(), []
    for item in reader.fields(graph):
        match item.number:
            case 5:
                initialised.add(_name(reader, item))
            case 11:
                inputs.append(_value(reader, item))
            case 12:
                outputs.append(_value(reader, item))
            case 15:  # a sparse initializer has the name of its values
                values, _ = _pair(reader, item, LENGTH, LENGTH)
                initialised.add(_name(reader, values) if values else "")
        if len(inputs) + len(outputs) > MAX_VALUES:
            raise SuspectError(f"has more than {MAX_VALUES} inputs and outputs")
    return inputs, initialised, outputs


def _value(reader: Reader, item: Field) -> Value:
    name, described = _pair(reader, item, LENGTH, LENGTH)
    kind, shape = _type(reader, described) if described else (UNDEFINED, None)
    return Value(reader.text(name), kind, shape)


def _type(reader: Reader, item: Field) -> tuple[str, tuple[int | str | None, ...] | None]:
    """Return a TypeProto's name and, of a tensor, the shape."""
    around = ""
    for depth in range(MAX_NESTING + 1):
        # denotation (6) says what a value is for; everything else is one of the kinds of type.
        kinds = [part for part in reader.fields(item) if part.number != 6]
        if len(kinds) != 1 or kinds[0].number not in (1, 4, 5, 8, 9):
            return around + UNDEFINED + ")" * depth, None
        kind = kinds[0]
        # A sequence and an optional hold a type first, a tensor and a map the number of an element type.
        first, second = _pair(reader, kind, LENGTH if kind.number in (4, 9) else VARINT, LENGTH)
        if kind.number in (1, 8):
            prefix = "tensor" if kind.number == 1 else "sparse_tensor"
            shape = tuple(_sizes(reader, second)) if second else None
            name = f"{around}{prefix}({_element(first)})" + ")" * depth
            return name, shape if not around else None
        inner = second if kind.number == 5 else first
        around += f"map({_element(first)}," if kind.number == 5 else {4: "seq(", 9: "optional("}[kind.number]
        if inner is None:
            return around + UNDEFINED + ")" * (depth + 1), None
        item = inner
    raise SuspectError(f"nests a type more than {MAX_NESTING} deep")


def _sizes(reader: Reader, shape: Field) -> Iterator[int | str | None]:
    for dimension in (item for item in reader.fields(shape) if item.number == 1):
        value, name = _pair(reader, dimension, VARINT, LENGTH)
        if value and name:
            raise SuspectError("not an ONNX model that all programs read alike: a dimension has a number and a name")
        yield value.integer() if value else reader.text(name) or None


def _element(item: Field | None) -> str:
    number = item.integer() if item else 0
    return TYPES[number] if 0 <= number < len(TYPES) else f"type {number}"


def _name(reader: Reader, tensor: Field) -> str:
    return reader.text(reader.single(tensor, {8: LENGTH}).get(8))


def _pair(reader: Reader, item: Field, first: int, second: int) -> tuple[Field | None, Field | None]:
    """Return the fields 1 and 2 of a message, which have these wire types."""
    found = reader.single(item, {1: first, 2: second})
    return found.get(1), found.get(2)
