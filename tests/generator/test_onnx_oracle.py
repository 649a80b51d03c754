"""The owner's own ONNX files are asked in this process; one that is no label oracle is refused in one line."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fpverify_generator.errors import SourceError
from fpverify_generator.models.oracle import load_oracle, sha256_of
from onnx import TensorProto, helper

SOURCE = Path(__file__).parents[2] / "fixtures" / "digits" / "source.onnx"


def write(path: Path, outputs: int = 1, kind: int = TensorProto.FLOAT) -> Path:
    names = [f"y{number}" for number in range(outputs)]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    image = helper.make_tensor_value_info("x", kind, ["n", 3])
    values = [helper.make_tensor_value_info(name, kind, ["n", 3]) for name in names]
    graph = helper.make_graph(nodes, "g", [image], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_oracle_answers_with_its_scores() -> None:
    scores = load_oracle(SOURCE)(np.zeros((3, 1, 8, 8), np.float32))
    assert scores.shape == (3, 10)
    assert sha256_of(SOURCE).startswith("c529361b")


@pytest.mark.parametrize(
    ("outputs", "kind", "message"),
    [
        (2, TensorProto.FLOAT, r"one float32 input and one output, found x tensor\(float\), y0"),
        (1, TensorProto.DOUBLE, r"one float32 input and one output, found x tensor\(double\)"),
    ],
)
def test_a_model_that_is_no_oracle_is_refused(tmp_path: Path, outputs: int, kind: int, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_oracle(write(tmp_path / "m.onnx", outputs, kind))


def test_a_file_that_cannot_be_loaded_or_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(SourceError, match="ONNX Runtime cannot load it"):
        load_oracle(tmp_path / "m.onnx")
    with pytest.raises(SourceError, match="ONNX Runtime cannot run it"):
        load_oracle(SOURCE)(np.zeros((3, 3, 8, 8), np.float32))


def test_a_missing_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SourceError, match=r'pip install "fpverify\[cpu\]"'):
        load_oracle(SOURCE)
