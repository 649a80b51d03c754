"""Writes the networks of `verify_overhead.py`, with random weights, and a fingerprint of random keys for each.

    python tests/benchmarks/overhead_models.py NETWORK FOLDER

A process of its own, whose memory the benchmark does not count.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fpverify import Calibration, Fingerprint, InputContract, SourceIdentity, save_fingerprint

MOST_IN_FILE = 2**31 - 2**20
"""Bytes of weights from which on they lie in a file of their own: a protobuf message holds at most 2 GiB."""


class Builder:
    """Collects a graph's nodes and weights, with He's initialisation, and counts what it takes."""

    def __init__(self, side: int) -> None:
        self.side, self.rng = side, np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.parameters = self.products = 0

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def weight(self, shape: tuple[int, ...], spread: float) -> str:
        return self.constant(self.rng.standard_normal(shape, np.float32) * np.float32(spread))

    def constant(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        self.parameters += array.size
        return name

    def linear(self, value: str, ends: tuple[int, int], rows: int = 1, spread: float | None = None) -> str:
        self.products += rows * ends[0] * ends[1]
        weights = self.weight(ends, (2 / ends[0]) ** 0.5 if spread is None else spread)
        return self.node("Add", self.node("MatMul", value, weights), self.weight((ends[1],), 0.1))

    def convolution(self, value: str, ends: tuple[int, int], kernel: int, stride: int, side: int, gain: float) -> str:
        fan, out = ends[0] * kernel * kernel, ends[1]
        self.products += fan * out * (side // stride) ** 2
        weights = self.weight((out, ends[0], kernel, kernel), gain * (2 / fan) ** 0.5)
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return self.node("Conv", value, weights, self.weight((out,), 0.1), **attributes)

    def write(self, scores: str, path: Path, classes: int) -> None:
        sizes = ["batch", 3, self.side, self.side]
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, sizes)
        value = helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["batch", classes])
        graph = helper.make_graph(self.nodes, path.stem, [image], [value], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        apart = 4 * self.parameters > MOST_IN_FILE
        onnx.save(model, path, save_as_external_data=apart, location=f"{path.name}.data")


def residual(
    classes: int,
    stem: int,
    blocks: tuple[int, ...],
    widths: tuple[int, ...],
    expansion: int,
    builder: Builder,
) -> str:
    """Build a residual network with folded BatchNorm; the widths are those of its stages' inner convolutions."""
    side, width = builder.side, stem
    large = side > 64
    value = builder.convolution("input", (3, width), 7 if large else 3, 2 if large else 1, side, 1)
    value = builder.node("Relu", value)
    if large:
        value = builder.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        side //= 4
    gain = sum(blocks) ** -0.5  # or the sum would grow with each block
    for stage, (count, inner) in enumerate(zip(blocks, widths, strict=True)):
        for number in range(count):
            stride = 2 if stage and not number else 1
            ends = width, inner * expansion
            same = ends[0] == ends[1] and stride == 1
            shortcut = value if same else builder.convolution(value, ends, 1, stride, side, 0.7)
            if expansion == 1:
                value = builder.node("Relu", builder.convolution(value, (width, inner), 3, stride, side, 1))
                value = builder.convolution(value, (inner, ends[1]), 3, 1, side // stride, gain)
            else:
                value = builder.node("Relu", builder.convolution(value, (width, inner), 1, 1, side, 1))
                value = builder.node("Relu", builder.convolution(value, (inner, inner), 3, stride, side, 1))
                value = builder.convolution(value, (inner, ends[1]), 1, 1, side // stride, gain)
            value = builder.node("Relu", builder.node("Add", value, shortcut))
            width, side = ends[1], side // stride
    value = builder.node("Flatten", builder.node("GlobalAveragePool", value))
    return builder.linear(value, (width, classes), spread=width**-0.5)


def perceptron(classes: int, width: int, layers: int, builder: Builder) -> str:
    """Build a network of dense layers, whose size is nearly all weights."""
    value, size = builder.node("Flatten", "input"), 3 * builder.side**2
    for _ in range(layers):
        value, size = builder.node("Relu", builder.linear(value, (size, width))), width
    return builder.linear(value, (size, classes), spread=size**-0.5)


def transformer(classes: int, width: int, depth: int, heads: int, patch: int, builder: Builder) -> str:
    """Build a vision transformer (ViT-B has 768, 12, 12 and 16); the mean of its tokens is classified."""
    tokens, spread = (builder.side // patch) ** 2, width**-0.5

    def shape(*sizes: int) -> str:
        return builder.constant(np.array(sizes, np.int64))

    def normal(value: str) -> str:
        one, none = np.ones(width, np.float32), np.zeros(width, np.float32)
        return builder.node("LayerNormalization", value, builder.constant(one), builder.constant(none))

    def split(value: str, order: list[int]) -> str:
        value = builder.node("Reshape", value, shape(-1, tokens, heads, width // heads))
        return builder.node("Transpose", value, perm=order)

    weights = builder.weight((width, 3, patch, patch), (3 * patch**2) ** -0.5)
    value = builder.node("Conv", "input", weights, kernel_shape=[patch] * 2, strides=[patch] * 2)
    value = builder.node("Transpose", builder.node("Reshape", value, shape(-1, width, tokens)), perm=[0, 2, 1])
    value = builder.node("Add", value, builder.weight((tokens, width), 0.1))
    for _ in range(depth):
        inner = normal(value)
        query, key, content = (builder.linear(inner, (width, width), tokens, spread) for _ in range(3))
        products = builder.node("MatMul", split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]))
        scaled = builder.node("Mul", products, builder.constant(np.float32((width // heads) ** -0.5).reshape(1)))
        mixed = builder.node("MatMul", builder.node("Softmax", scaled, axis=-1), split(content, [0, 2, 1, 3]))
        mixed = builder.node("Reshape", builder.node("Transpose", mixed, perm=[0, 2, 1, 3]), shape(-1, tokens, width))
        builder.products += 2 * tokens**2 * width
        value = builder.node("Add", value, builder.linear(mixed, (width, width), tokens, spread))
        inner = builder.node("Relu", builder.linear(normal(value), (width, 4 * width), tokens))
        value = builder.node("Add", value, builder.linear(inner, (4 * width, width), tokens, 0.5 * spread))
    value = builder.node("ReduceMean", normal(value), axes=[1], keepdims=0)
    return builder.linear(value, (width, classes), spread=spread)


@dataclass(frozen=True)
class Network:
    """One that is measured."""

    title: str
    side: int
    """Height and width of its images."""
    classes: int
    keys: int
    rounds: int
    """Pairs that are measured unless told otherwise."""
    bar: float
    """Wall time, over that of ONNX Runtime alone."""
    build: Callable[[Builder], str]
    """Builds it, and returns what its scores are called."""


NETWORKS = {
    "r20": Network("ResNet-20", 32, 10, 100, 7, 1.5, partial(residual, 10, 16, (3,) * 3, (16, 32, 64), 1)),
    "r50": Network(
        "ResNet-50", 224, 1000, 100, 3, 1.1, partial(residual, 1000, 64, (3, 4, 6, 3), (64, 128, 256, 512), 4)
    ),
    "vit": Network("ViT-B/16", 224, 1000, 24, 3, 1.1, partial(transformer, 1000, 768, 12, 12, 16)),
    "100mb": Network("dense layers, 100 MB", 32, 10, 100, 5, 1.1, partial(perceptron, 10, 3072, 3)),
    "500mb": Network("dense layers, 500 MB", 32, 10, 100, 3, 1.1, partial(perceptron, 10, 5120, 5)),
    "2200mb": Network("dense layers, 2.2 GB", 32, 10, 100, 3, 1.1, partial(perceptron, 10, 8192, 9)),
}
"""By the names of their files."""


def write_case(name: str, folder: Path) -> None:
    """Write the model, the keys alone, and the fingerprint of the keys with the model's answers."""
    network = NETWORKS[name]
    builder = Builder(network.side)
    scores = network.build(builder)
    builder.write(scores, folder / f"{name}.onnx", network.classes)
    size = 4 * builder.parameters / 1e6
    products = builder.products / 1e6
    print(f"{network.title} ({size:.0f} MB, {products:.0f} M multiply-adds)", network.bar, network.rounds, sep="\n")
    rng = np.random.default_rng(1)
    inputs = rng.random((network.keys, 3, network.side, network.side), np.float32)
    np.save(folder / f"{name}.npy", inputs)
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {"input": part})[0] for part in np.array_split(inputs, 10)])
    fingerprint = Fingerprint(
        inputs=inputs,
        labels=found.argmax(1).astype(np.int64),
        classes=tuple(f"class {number}" for number in range(network.classes)),
        contract=InputContract(channels="rgb", height=network.side, width=network.side),
        source=SourceIdentity(sha256="ab" * 32),
        method={"name": "random"},
        seeds={"keys": 1},
        versions={},
        calibration=Calibration(
            surrogates=(0.9,), references=(0.1,), nulls=(0.1,) * 99, threshold=0.5, rule="by hand, for this benchmark"
        ),
    )
    save_fingerprint(fingerprint, folder / f"{name}.safetensors")


if __name__ == "__main__":
    write_case(sys.argv[1], Path(sys.argv[2]))
