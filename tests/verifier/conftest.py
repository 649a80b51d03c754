"""A tiny fingerprint, and tiny ONNX classifiers with chosen answers."""

import numpy as np
import pytest

from fpverify import (
    Backing,
    Calibration,
    Controls,
    Fingerprint,
    HeldOut,
    InputContract,
    SourceIdentity,
    save_fingerprint,
)

CLASSES = ("cat", "dog", "eel")
KEYS = 24


def make_fingerprint(**changes):
    """24 keys of 1x2x2 pixels: key i lights pixel i % 3, and its label is i % 3; the last pixel tells them apart."""
    inputs = np.zeros((KEYS, 1, 2, 2), np.float32)
    for number in range(KEYS):
        inputs[number].flat[number % 3] = 1.0
        inputs[number].flat[3] = np.float32(number) / np.float32(255)
    parts = {
        "inputs": inputs,
        "labels": np.arange(KEYS, dtype=np.int64) % 3,
        "classes": CLASSES,
        "contract": InputContract(channels="grey", height=2, width=2),
        "source": SourceIdentity(sha256="ab" * 32),
        "method": {"name": "cem", "epsilon": 0.1, "steps": 100, "rates": (0.5, 0.9)},
        "seeds": {"run": 7},
        "versions": {"fpverify": "0.1.0"},
        "calibration": Calibration(
            surrogates=(16 / 24, *[1.0] * 19),
            references=(4 / 24, 8 / 24),
            nulls=(6 / 24,) * 99,
            threshold=0.75,
            rule="midpoint",
        ),
    }
    return Fingerprint(**{**parts, **changes})


def by_key(fingerprint, labels):
    """A callable that gives each key a label of its own, in whatever order and company it is asked; others get 0."""
    known = {key.tobytes(): label for key, label in zip(fingerprint.inputs, labels, strict=True)}
    return lambda inputs: np.array([known.get(one.tobytes(), 0) for one in inputs], np.int64)


def make_backed(controls=None, fingerprint=None, **changes):
    """The same fingerprint in format 2: with the answers of 121 held-out models and, if not given, six controls."""
    plain = make_fingerprint()
    models, answers = [], []
    for role, counts in {"surrogate": (16, *[24] * 19), "reference": (4, 8), "null": (6,) * 99}.items():
        for count in counts:
            models.append(HeldOut(role, f"{role}s", 0.5))
            answers.append(np.where(np.arange(KEYS) < count, plain.labels, (plain.labels + 1) % 3))
    controls = controls or Controls(plain.inputs[:6], plain.labels[:6], 1.0)
    parts = {"models": tuple(models), "answers": np.array(answers, np.int16), "controls": controls, **changes}
    return make_fingerprint(backing=Backing(**parts), **(fingerprint or {}))


def make_onnx(
    path, *, weights=None, batch="batch", name="scores", classes=3, extra=(), dtype=None, shape=None, fill=None
):
    """Flatten, then a matrix product: with the identity, the lit pixel's number is the answer.

    `extra` lists further outputs as (name, node's operator, attributes, element type, shape).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    matrix = np.eye(4, classes, dtype=np.float32) if weights is None else np.asarray(weights, np.float32)
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], [name])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, classes])]
    if fill is not None:
        nodes[1] = helper.make_node("MatMul", ["flat", "weights"], ["product"])
        nodes.append(helper.make_node("Add", ["product", "fill"], [name]))
    for extra_name, operator, attributes, kind, extra_shape in extra:
        nodes.append(helper.make_node(operator, [name], [extra_name], **attributes))
        outputs.append(helper.make_tensor_value_info(extra_name, kind, extra_shape))
    initializers = [numpy_helper.from_array(matrix, "weights")]
    if fill is not None:
        initializers.append(numpy_helper.from_array(np.float32(fill), "fill"))
    image = helper.make_tensor_value_info("input", dtype or TensorProto.FLOAT, shape or [batch, 1, 2, 2])
    graph = helper.make_graph(nodes, "tiny", [image], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="tests")
    onnx.save(model, path)
    return path


@pytest.fixture(name="make_fingerprint")
def fixture_make_fingerprint():
    return make_fingerprint


@pytest.fixture(name="by_key")
def fixture_by_key():
    return by_key


@pytest.fixture(name="make_backed")
def fixture_make_backed():
    return make_backed


@pytest.fixture(name="make_onnx")
def fixture_make_onnx():
    return make_onnx


@pytest.fixture
def fingerprint():
    return make_fingerprint()


@pytest.fixture
def fingerprint_file(tmp_path, fingerprint):
    path = tmp_path / "fingerprint.safetensors"
    save_fingerprint(fingerprint, path)
    return path


@pytest.fixture
def derived_file(tmp_path):
    """Answers every key as the fingerprint says."""
    return make_onnx(tmp_path / "derived.onnx")


@pytest.fixture
def unrelated_file(tmp_path):
    """Answers class 0 with 1, 1 with 2 and 2 with 0: none of 24 keys."""
    return make_onnx(tmp_path / "unrelated.onnx", weights=[[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
