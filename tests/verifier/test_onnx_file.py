import builtins
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto

from fpverify import SuspectError, load_onnx

IDENTITY = np.eye(4, 3, dtype=np.float32)


def keys(count):
    inputs = np.zeros((count, 1, 2, 2), np.float32)
    for number in range(count):
        inputs[number].flat[number % 3] = 1
    return inputs


@pytest.mark.parametrize("batch", ["batch", None, 1, 5, 7, 12, 100])
def test_every_key_is_answered_whatever_batch_the_file_takes(tmp_path, make_onnx, batch):
    suspect = load_onnx(make_onnx(tmp_path / "m.onnx", batch=batch))
    scores = suspect(keys(12))
    assert scores.shape == (12, 3)
    assert scores.argmax(1).tolist() == [0, 1, 2] * 4


def test_the_file_is_identified(derived_file):
    suspect = load_onnx(derived_file)
    assert suspect.path == str(derived_file)
    assert suspect.sha256 == hashlib.sha256(derived_file.read_bytes()).hexdigest()
    assert suspect.provider == "CPUExecutionProvider"


LABEL = ("label", "ArgMax", {"axis": 1, "keepdims": 0}, TensorProto.INT64, ["batch"])
TRANSPOSED = ("transposed", "Transpose", {}, TensorProto.FLOAT, [3, "batch"])
PROBABILITIES = ("probabilities", "Softmax", {"axis": 1}, TensorProto.FLOAT, ["batch", 3])
TWICE = ("twice", "Concat", {"axis": 1}, TensorProto.FLOAT, ["batch", 3])


def test_the_one_output_that_fits_is_taken(tmp_path, make_onnx):
    suspect = load_onnx(make_onnx(tmp_path / "m.onnx", extra=[TRANSPOSED]))
    assert suspect(keys(12)).shape == (12, 3)


@pytest.mark.parametrize("extra", [LABEL, PROBABILITIES])
def test_two_outputs_that_fit_are_both_named(tmp_path, make_onnx, extra):
    suspect = load_onnx(make_onnx(tmp_path / "m.onnx", extra=[extra]), classes=3)
    with pytest.raises(SuspectError, match=rf"found 2: 'scores' float32 \(12, 3\), '{extra[0]}' "):
        suspect(keys(12))


def test_the_number_of_classes_tells_scores_from_features(tmp_path, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", classes=4)
    assert load_onnx(path, classes=4)(keys(12)).shape == (12, 4)
    with pytest.raises(SuspectError, match=r"\(12, 3\) scores, found 0: 'scores' float32 \(12, 4\)"):
        load_onnx(path, classes=3)(keys(12))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"shape": ["batch", 3, 2, 2], "weights": np.ones((12, 3))},
            r"'input' takes tensor\(float\) \(batch, 3, 2, 2\); the keys are float32 of shape",
        ),
        ({"shape": ["batch", 2, 2, 1]}, r"takes tensor\(float\) \(batch, 2, 2, 1\)"),
        ({"shape": ["batch", 4]}, r"takes tensor\(float\) \(batch, 4\)"),
        ({"dtype": TensorProto.DOUBLE}, "ONNX Runtime cannot load it"),
        ({"weights": np.eye(5, 3)}, "ONNX Runtime (cannot load|could not run) it"),
    ],
)
def test_a_file_with_another_contract_is_refused_with_both(tmp_path, make_onnx, arguments, message):
    path = make_onnx(tmp_path / "m.onnx", **arguments)
    with pytest.raises(SuspectError, match=message) as caught:
        load_onnx(path)(keys(12))
    assert "\n" not in str(caught.value)


def test_an_input_of_another_type_is_refused(tmp_path):
    import onnx
    from onnx import helper

    image = helper.make_tensor_value_info("input", TensorProto.UINT8, ["batch", 1, 2, 2])
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1, 2, 2])
    node = helper.make_node("Cast", ["input"], ["scores"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "g", [image], [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(SuspectError, match=r"takes tensor\(uint8\)"):
        load_onnx(tmp_path / "m.onnx")(keys(12))


def test_a_second_input_is_refused_by_name(tmp_path):
    import onnx
    from onnx import helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("image", "side", "out")]
    graph = helper.make_graph([helper.make_node("Add", ["image", "side"], ["out"])], "g", values[:2], values[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(SuspectError, match=r"must have one input, for images; found 2: 'image' .*'side'"):
        load_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"not a model", "ONNX Runtime cannot load it"),
        (b"\x80\x04\x95pickle.", "ONNX Runtime cannot load it"),
        (b"\xff\xd8\xff\xe0JFIF" * 50, "ONNX Runtime cannot load it"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, capfd, content, message):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(SuspectError, match=message) as caught:
        load_onnx(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_truncated_model_is_refused(tmp_path, derived_file):
    data = derived_file.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SuspectError, match="ONNX Runtime cannot load it"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "No such file"), (".", "not a regular file"), ("a\0b", "no file")]
)
def test_what_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(SuspectError, match=message):
        load_onnx(f"{tmp_path}/{name}")


def test_an_unknown_device_is_refused(derived_file):
    with pytest.raises(SuspectError, match="device must be one of cpu, cuda, found 'tpu'"):
        load_onnx(derived_file, device="tpu")


def test_a_device_that_is_missing_names_the_extra(derived_file):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(SuspectError, match=r'no CUDAExecutionProvider; .*pip install "fpverify\[gpu\]"'):
        load_onnx(derived_file, device="cuda")


def test_a_missing_runtime_says_what_to_install(derived_file, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SuspectError, match=r'pip install "fpverify\[cpu\]" or pip install "fpverify\[gpu\]"'):
        load_onnx(derived_file)


def test_a_failing_run_prints_nothing_of_its_own(tmp_path, make_onnx):
    # In a process of its own, because the runtime writes to the file descriptor.
    path = make_onnx(tmp_path / "m.onnx", shape=["batch", "c", "h", "w"], weights=np.ones((5, 3)))
    code = f"""
import numpy, fpverify
try:
    fpverify.load_onnx({str(path)!r})(numpy.zeros((2, 1, 2, 2), "float32"))
except fpverify.SuspectError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ONNX Runtime could not run it" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
