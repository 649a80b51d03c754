"""An ONNX file is surveyed here, run in its sandbox, and asked in the chunks that it takes."""

import hashlib
import os
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fpverify import InputContract, Limits, SuspectError
from fpverify.sandbox.parent import Sandbox
from fpverify.suspects.onnx_file import OnnxSuspect, read_onnx_file
from fpverify.suspects.prepared import PreparedSuspect, settled

KEYS = InputContract(channels="grey", height=2, width=2)
NAMES = ("cat", "dog", "eel")


def keys(count):
    inputs = np.zeros((count, 1, 2, 2), np.float32)
    for number in range(count):
        inputs[number].flat[number % 3] = 1
    return inputs


def prepared(sandbox, path, options=None):
    return PreparedSuspect(OnnxSuspect(sandbox, path), KEYS, NAMES, options or {})


def ask(path, count=12, options=None, limits=None):
    with Sandbox(limits or Limits(seconds=20)) as sandbox:
        suspect = prepared(sandbox, path, options)
        return suspect.ask(keys(count), settled(suspect.name, suspect.contract)).labels.tolist()


def save(path, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize("batch", ["batch", None, 1, 5, 7, 12, 100])
def test_every_key_is_answered_whatever_batch_the_file_takes(tmp_path, make_onnx, batch):
    assert ask(make_onnx(tmp_path / "m.onnx", batch=batch)) == [0, 1, 2] * 4


@pytest.mark.parametrize(("share", "larger"), [(2**20, False), (1, True)])
def test_many_keys_are_asked_in_chunks_which_grow_with_the_model(tmp_path, make_onnx, monkeypatch, share, larger):
    path, chunks, run = make_onnx(tmp_path / "m.onnx"), [], Sandbox.run
    monkeypatch.setattr("fpverify.suspects.onnx_file.CHUNK_BYTES", 16 * 5)
    monkeypatch.setattr("fpverify.suspects.onnx_file.MODEL_SHARE", share)
    monkeypatch.setattr(Sandbox, "run", lambda *asked: (chunks.append(asked[1]["chunk"]), run(*asked))[1])
    assert ask(path, 32) == [0, 1, 2] * 10 + [0, 1]
    assert chunks == [path.stat().st_size // 16 if larger else 5]


def test_the_file_is_identified(derived_file):
    with Sandbox(Limits(seconds=20)) as sandbox:
        suspect = prepared(sandbox, derived_file)
    assert suspect.suspect.info.path == suspect.name == str(derived_file)
    assert suspect.suspect.info.sha256 == hashlib.sha256(derived_file.read_bytes()).hexdigest()
    assert (suspect.suspect.info.provider, suspect.suspect.info.external) == ("CPUExecutionProvider", {})


def test_external_data_is_part_of_the_identity(tmp_path):
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    weights = onnx.numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    ends = [value("input", TensorProto.FLOAT, "n", 1, 2, 2)], [value("y", TensorProto.FLOAT, "n", 3)]
    model = onnx.load(save(tmp_path / "m.onnx", nodes, *ends, [weights]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with Sandbox(Limits(seconds=20)) as sandbox:
        suspect = prepared(sandbox, tmp_path / "m.onnx")
        assert suspect.ask(keys(3), suspect.contract).labels.tolist() == [0, 1, 2]
    assert suspect.suspect.info.external == {"w.bin": hashlib.sha256((tmp_path / "w.bin").read_bytes()).hexdigest()}
    os.link(tmp_path / "w.bin", tmp_path / "second-name")
    with pytest.raises(SuspectError, match="hard links"):
        ask(tmp_path / "m.onnx")


def test_a_file_that_changes_while_it_is_run_from_where_it_is_gives_no_verdict(derived_file, monkeypatch):
    monkeypatch.setattr(Sandbox, "copies", None)
    real = Sandbox.loaded

    def loaded(self):
        os.utime(derived_file, (1, 1))
        return real(self)

    monkeypatch.setattr(Sandbox, "loaded", loaded)
    with pytest.raises(SuspectError, match="changed while it was being read; judge a copy"):
        ask(derived_file)


def test_bfloat16_reaches_the_model(tmp_path):
    nodes = [
        helper.make_node("Cast", ["input"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    weights = onnx.numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    image, output = value("input", TensorProto.BFLOAT16, "n", 1, 2, 2), value("y", TensorProto.FLOAT, "n", 3)
    assert ask(save(tmp_path / "m.onnx", nodes, [image], [output], [weights])) == [0, 1, 2] * 4


def test_a_model_for_one_image_may_leave_its_batch_out(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["row"]),
        helper.make_node("Squeeze", ["row", "first"], ["y"]),
    ]
    weights = onnx.numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    first = onnx.numpy_helper.from_array(np.array([0], np.int64), "first")
    image, output = value("input", TensorProto.FLOAT, 1, 1, 2, 2), value("y", TensorProto.FLOAT, 3)
    assert ask(save(tmp_path / "m.onnx", nodes, [image], [output], [weights, first])) == [0, 1, 2] * 4


def test_where_two_layouts_are_possible_the_error_says_how_to_choose(tmp_path, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", shape=["n", "a", "b", "c"])
    with pytest.raises(SuspectError, match=r"layout of its input 'input' can be NCHW or NHWC.*--contract.*--probe"):
        ask(path)
    assert ask(path, options={"layout": "NCHW"}) == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": ["batch", 2, 2, 2]}, r"'input' tensor\(float\) \(batch, 2, 2, 2\) fits no layout; expected"),
        ({"dtype": TensorProto.DOUBLE}, "cannot be loaded by ONNX Runtime"),
        ({"weights": np.eye(5, 3)}, "cannot be (loaded|run) by ONNX Runtime"),
        ({"classes": 2, "weights": np.eye(4, 2)}, r"no row of 3 scores; .* if it has other classes"),
    ],
)
def test_a_file_that_cannot_be_asked_is_refused_with_the_reason(tmp_path, make_onnx, arguments, message):
    path = make_onnx(tmp_path / "m.onnx", **arguments)
    with pytest.raises(SuspectError, match=message) as caught:
        ask(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"\x08\x07\x12\xff", "no ONNX model that can be read: truncated"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(SuspectError, match=message) as caught:
        read_onnx_file(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "No such file"), (".", "a folder, not a file, and no file in it ends in .onnx"), ("a\0b", "no file")],
)
def test_what_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(SuspectError, match=message):
        read_onnx_file(f"{tmp_path}/{name}")


def test_a_device_that_is_missing_names_the_extra(derived_file):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with (
        Sandbox(Limits(seconds=20), "cuda") as sandbox,
        pytest.raises(SuspectError, match=r'device cuda: .*no CUDAExecutionProvider; .*pip install "fpverify\[gpu\]"'),
    ):
        prepared(sandbox, derived_file)


def test_a_missing_runtime_says_what_to_install(derived_file, monkeypatch):
    only_the_library = [entry for entry in sys.path if "site-packages" not in entry]
    monkeypatch.setattr(sys, "path", only_the_library)
    with pytest.raises(SuspectError, match=r'pip install "fpverify\[cpu\]" or pip install "fpverify\[gpu\]"'):
        ask(derived_file)
