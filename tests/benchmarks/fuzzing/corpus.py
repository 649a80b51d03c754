"""Files to begin with: the committed ones, and tiny ones in which more of the bytes matter."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.parser import parse_model

from fpverify import Calibration, Fingerprint, InputContract, SourceIdentity
from fpverify.fingerprint import serialise

DIGITS = Path(__file__).parents[3] / "fixtures" / "digits"


def small_fingerprints() -> list[bytes]:
    """Return fingerprints of few keys, in which more of the bytes matter than in one of many."""

    def make(count: int, contract: InputContract, nulls: int, **changes: Any) -> bytes:
        parts = {
            "inputs": np.random.default_rng(count).random((count, *contract.shape), np.float32),
            "labels": np.arange(count) % 3,
            "classes": ("cat", "dögs\n", "\x1b[2J"),
            "contract": contract,
            "source": SourceIdentity(sha256="ab" * 32),
            "method": {"name": "cem", "rates": (0.5, 1e-9), "deep": [{"a": None}, True]},
            "seeds": {"run": 2**70},
            "versions": {"fpverify": "0.1.0"},
            "calibration": Calibration((1.0,), (0.0,), (1 / 3,) * nulls, 0.75, "midpoint"),
        }
        return serialise(Fingerprint(**{**parts, **changes}))

    normalised = InputContract(channels="rgb", height=1, width=2, mean=(0.5, 0.4, 1e-7), std=(0.1, 1.0, 2.0))
    grey = InputContract(channels="grey", height=2, width=2, low=-1, high=1.5)
    return [make(12, grey, 39), make(3, normalised, 1), make(1, grey, 2, classes=("a", "b"), seeds={}, versions={})]


def weights() -> bytes:
    """Return 64 x 10 numbers in single precision."""
    return struct.pack("<640f", *(math.sin(number * number) for number in range(640)))


TINY = {
    "gemm": "flat = Flatten(input) scores = Gemm(flat, w)",
    "if": """flat = Flatten(input) m = MatMul(flat, w) s = ReduceSum<keepdims=0>(m) z = Constant<value_float=0.0>()
        c = Greater(s, z) scores = If(c)<then_branch = t () => (float[n,10] y) { y = Identity(m) },
        else_branch = e () => (float[n,10] x) { x = Neg(m) }>""",
    "loop": """flat = Flatten(input) m = MatMul(flat, w) k = Constant<value_int=3>() yes = Constant<value_int=1>()
        c = Cast<to=9>(yes) scores = Loop(k, c, m)<body = b (int64 i, bool g, float[n,10] a) => (bool h, float[n,10] d)
        { h = Identity(g) d = Add(a, m) }>""",
    "function": "scores = local.head(input, w)",
    "constant": """flat = Flatten(input) p = Constant<value = float[10,2] {1,2,3,4,5,6,7,8,9,0,0,9,8,7,6,5,4,3,2,1}>()
        m = MatMul(flat, w) e = MatMul(m, p) scores = Concat<axis=1>(e, e, e, e, e) label = ArgMax<axis=1>(scores)""",
    "external": "flat = Flatten(input) scores = MatMul(flat, w)",
    "names": """flat = Flatten(input) m = MatMul(flat, w) a = ArgMax<axis=1, keepdims=0>(m)
        scores = ai.onnx.ml.LabelEncoder<keys_int64s=[0,1,2,3], values_strings=["0","1","2","3"]>(a)""",
    "quantised": """flat = Flatten(input) s = Constant<value_float=0.01>() z = Constant<value = uint8 {128}>()
        q = QuantizeLinear(flat, s, z) v = QuantizeLinear(w, s, z) a = DequantizeLinear(q, s, z)
        i = MatMulInteger(q, v, z, z) j = Cast<to=1>(i) b = DequantizeLinear(v, s, z) m = MatMul(a, b)
        scores = Add(m, j)""",
    "training": """one = Constant<value_floats=[1.0]>() r = Constant<value_float=0.5>() yes = Constant<value_int=1>()
        t = Cast<to=9>(yes) b, u, v = BatchNormalization<training_mode=1>(input, one, one, one, one)
        d = Dropout(b, r, t) flat = Flatten(d) scores = MatMul(flat, w)""",
    "maps": """flat = Flatten(input) m = MatMul(flat, w)
        scores = ai.onnx.ml.ZipMap<classlabels_int64s=[0,1,2,3,4,5,6,7,8,9]>(m)""",
    "sequence": "flat = Flatten(input) m = MatMul(flat, w) scores = SequenceConstruct(m, m)",
    "random": "flat = Flatten(input) m = MatMul(flat, w) r = RandomNormalLike(m) scores = Add(m, r)",
    "top": "flat = Flatten(input) m = MatMul(flat, w) k = Constant<value_ints=[3]>() scores, best = TopK(m, k)",
}
"""Nodes of small models in ONNX's own text; `w` is an initializer."""
OUTPUTS = {
    "constant": "float[n,10] scores, int64[n,1] label",
    "names": "string[n] scores",
    "maps": "seq(map(int64, float)) scores",
    "sequence": "seq(float[n,10]) scores",
    "top": "float[n,3] scores, int64[n,3] best",
}
FUNCTION = """<domain: "local", opset_import: ["": 17]> head (x, w) => (y) { f = Flatten(x) y = MatMul(f, w) }"""


def tiny_models() -> dict[str, bytes]:
    """Return models of a few nodes, each with something that the digits' models have not."""
    models = {}
    for name, nodes in TINY.items():
        opsets = '"": 17, "ai.onnx.ml": 3, "local": 1'
        graph = f"g (float[n,1,8,8] input) => ({OUTPUTS.get(name, 'float[n,10] scores')}) {{ {nodes} }}"
        functions = FUNCTION if name == "function" else ""
        model = parse_model(f"<ir_version: 8, opset_import: [{opsets}]> {graph} {functions}")
        model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [64, 10], weights(), raw=True))
        if name == "external":
            onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin", 0, 2560)
            model.graph.initializer[0].ClearField("raw_data")
        if name in ("names", "gemm"):
            model.metadata_props.add(key="classes", value=json.dumps([str(number) for number in range(10)]))
        models[name] = model.SerializeToString(deterministic=True)
    return models
