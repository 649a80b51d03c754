"""Seeded mutations of ONNX models; each raises IndexError or ValueError if the model has nothing of the kind."""

import random
from collections.abc import Callable
from typing import Any

from fuzzing.values import FLOATS, INTEGERS, TEXTS

NAMES = """
weights.bin ./weights.bin folder/../weights.bin ../weights.bin /etc/passwd weights.bin/ folder link twin pipe missing
folder/weights.bin case.onnx . .. */_ORT_MEM_ADDR_/* /dev/zero /proc/self/mem C:\\weights.bin \\\\host\\share
"""
LOCATIONS = (*NAMES.split(), "", "a\0b", "a\nb\x1b[2J", "x" * 300, "d/" * 5000 + "x")
"""Where external data might be; `fuzz.py` puts some of these files there."""

OPERATORS = """
Abs Add ArgMax BatchNormalization Cast Concat Constant ConstantOfShape Conv CumSum DequantizeLinear Div Dropout Einsum
Exp Expand EyeLike Flatten GRU Gather GatherND Gemm Identity If LSTM Log Loop MatMul MatMulInteger MaxPool Mod Mul
NonZero OneHot Optional Pad Pow QuantizeLinear RandomNormal RandomUniformLike Range ReduceSum Relu Reshape Resize Scan
ScatterND SequenceAt SequenceConstruct Shape Size Slice Softmax Split SplitToSequence Squeeze StringSplit Tile TopK
Transpose Unsqueeze Upsample Where ZipMap LabelEncoder TreeEnsembleClassifier NoSuchOperator
"""


def nodes_of(model: Any) -> list[Any]:
    """Return all nodes, those of subgraphs and functions too."""
    found, left = [], [model.graph.node, *(function.node for function in model.functions)]
    while left:
        for node in left.pop():
            found.append(node)
            left += [graph.node for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return found


def tensors_of(model: Any) -> list[Any]:
    attributes = [attribute.t for node in nodes_of(model) for attribute in node.attribute if attribute.HasField("t")]
    return [*model.graph.initializer, *attributes]


def names_of(model: Any) -> list[str]:
    return [name for node in nodes_of(model) for name in (*node.input, *node.output)]


def types_of(model: Any) -> list[Any]:
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return [value.type.tensor_type for value in values]


def _rewire(rng: random.Random, model: Any) -> None:
    names = rng.choice([ends for node in nodes_of(model) for ends in (node.input, node.input, node.output) if ends])
    names[rng.randrange(len(names))] = rng.choice([*names_of(model), *TEXTS])


def _cycle(rng: random.Random, model: Any) -> None:
    node = rng.choice([node for node in nodes_of(model) if node.input and node.output])
    node.input[0] = node.output[0]


def _rename(rng: random.Random, model: Any) -> None:
    old, new = rng.choice(names_of(model)), rng.choice(TEXTS)
    for node in nodes_of(model):
        for ends in (node.input, node.output):
            for number, name in enumerate(ends):
                ends[number] = new if name == old else name
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = new if value.name == old else value.name


def _operator(rng: random.Random, model: Any) -> None:
    rng.choice(nodes_of(model)).op_type = rng.choice((*OPERATORS.split(), *TEXTS))


def _domain(rng: random.Random, model: Any) -> None:
    rng.choice(nodes_of(model)).domain = rng.choice(("ai.onnx.ml", "com.microsoft", "local", *TEXTS))


def _attribute(rng: random.Random, model: Any) -> None:
    attribute = rng.choice([attribute for node in nodes_of(model) for attribute in node.attribute])
    attribute.i, attribute.f = rng.choice(INTEGERS), rng.choice(FLOATS)
    if rng.random() < 0.5:
        attribute.ints[:] = rng.choices(INTEGERS, k=rng.choice((0, 1, 2, 4, 100)))
    if rng.random() < 0.2:
        attribute.type = rng.randrange(15)
        attribute.s = rng.choice(TEXTS).encode()


def _add_attribute(rng: random.Random, model: Any) -> None:
    names = ("axis", "axes", "keepdims", "to", "kernel_shape", "pads", "training_mode", "k", "value", "shape", *TEXTS)
    attribute = rng.choice(nodes_of(model)).attribute.add(name=rng.choice(names), type=rng.choice((1, 2, 7)))
    attribute.i, attribute.f, attribute.ints[:] = rng.choice(INTEGERS), 1.0, rng.choices(INTEGERS, k=2)


def _dims(rng: random.Random, model: Any) -> None:
    rng.choice(tensors_of(model)).dims[:] = rng.choices(INTEGERS, k=rng.choice((0, 1, 2, 4, 9)))


def _dim(rng: random.Random, model: Any) -> None:
    dims = rng.choice([tensor.dims for tensor in tensors_of(model) if tensor.dims])
    dims[rng.randrange(len(dims))] = rng.choice(INTEGERS)


def _tensor_type(rng: random.Random, model: Any) -> None:
    rng.choice(tensors_of(model)).data_type = rng.choice((*range(30), -1, 2**31 - 1))


def _content(rng: random.Random, model: Any) -> None:
    tensor = rng.choice([tensor for tensor in tensors_of(model) if tensor.raw_data])
    size = len(tensor.raw_data)
    tensor.raw_data = rng.choice(
        (rng.randbytes(size), bytes(size), b"\xff" * size, b"\0\0\xc0\x7f" * (size // 4), b"\0\0\x7f\x7f" * (size // 4))
    )


def _raw_length(rng: random.Random, model: Any) -> None:
    tensor = rng.choice([tensor for tensor in tensors_of(model) if tensor.raw_data])
    tensor.raw_data = rng.choice((b"", tensor.raw_data[:-1], tensor.raw_data * 2, tensor.raw_data + b"\0"))


def _external(rng: random.Random, model: Any) -> None:
    tensor = rng.choice(tensors_of(model))
    if rng.random() < 0.8:
        tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value=rng.choice((*LOCATIONS, *LOCATIONS[:3] * 3)))
    for key in ("offset", "length"):
        if rng.random() < 0.5:
            tensor.external_data.add(key=key, value=rng.choice((*map(str, INTEGERS), "2560", "x", *TEXTS[:3])))


def _value_type(rng: random.Random, model: Any) -> None:
    rng.choice(types_of(model)).elem_type = rng.choice((*range(1, 17), 30))


def _value_dim(rng: random.Random, model: Any) -> None:
    size = rng.choice([size for kind in types_of(model) for size in kind.shape.dim])
    if rng.random() < 0.5:
        size.dim_value = rng.choice((*INTEGERS, 1, 3, 7, 8, 9, 100))
    else:
        size.dim_param = rng.choice(("n", *TEXTS))


def _value_rank(rng: random.Random, model: Any) -> None:
    kind = rng.choice(types_of(model))
    if rng.random() < 0.3:
        kind.ClearField("shape")
    elif rng.random() < 0.5 and kind.shape.dim:
        del kind.shape.dim[rng.randrange(len(kind.shape.dim))]
    else:
        kind.shape.dim.add(dim_value=rng.choice((0, 1, 2, 2**40)))


def _versions(rng: random.Random, model: Any) -> None:
    if rng.random() < 0.3:
        model.ir_version = rng.choice((*range(14), *INTEGERS))
    elif rng.random() < 0.5:
        rng.choice(model.opset_import).version = rng.choice((*range(1, 28), *INTEGERS))
    else:
        model.opset_import.add(domain=rng.choice(("", "ai.onnx.ml", *TEXTS)), version=rng.choice((1, 13, 2**31)))


def _delete_node(rng: random.Random, model: Any) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def _duplicate_node(rng: random.Random, model: Any) -> None:
    node = rng.choice(model.graph.node)
    model.graph.node.extend([node] * rng.choice((1, 1, 1000)))


def _shuffle_nodes(rng: random.Random, model: Any) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _duplicate_initializer(rng: random.Random, model: Any) -> None:
    model.graph.initializer.append(rng.choice(model.graph.initializer))
    model.graph.initializer[-1].name = rng.choice((model.graph.initializer[-1].name, *names_of(model)))


def _ends(rng: random.Random, model: Any) -> None:
    ends = rng.choice((model.graph.input, model.graph.output))
    if rng.random() < 0.4:
        del ends[rng.randrange(len(ends))]
    else:
        ends.append(rng.choice((*model.graph.input, *model.graph.output)))
        ends[-1].name = rng.choice(names_of(model))


def _metadata(rng: random.Random, model: Any) -> None:
    keys = ("classes", "names", "labels", "Image.BitmapPixelFormat", "Image.NominalPixelRange", *TEXTS)
    values = ("Bgr8", "NominalRange_0_255", "['a', 'b']", '["0","1"]', "{0: 'a', 1: 'b'}", "[" * 3000, "1e999", *TEXTS)
    model.metadata_props.add(key=rng.choice(keys), value=rng.choice(values))
    model.producer_name = rng.choice(TEXTS)


MODELS: tuple[Callable[[random.Random, Any], None], ...] = (
    *(_rewire, _cycle, _rename, _operator, _domain, _attribute, _add_attribute, _dims, _dim, _tensor_type, _content),
    *(_raw_length, _external, _value_type, _value_dim, _value_rank, _versions, _delete_node, _duplicate_node),
    *(_shuffle_nodes, _duplicate_initializer, _ends, _metadata),
)


def mutate_model(rng: random.Random, model: Any) -> str:
    """Mutate a ModelProto in place."""
    while True:
        work = rng.choice(MODELS)
        try:
            work(rng, model)
        except (IndexError, ValueError):
            continue
        return work.__name__[1:]
