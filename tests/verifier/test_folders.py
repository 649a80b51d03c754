"""The model in a folder of Hugging Face, MLflow or Triton is found, and the class names beside it count."""

import json
import shutil

import pytest

from fpverify import SuspectError, verify
from fpverify.suspects.folders import model_in


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.onnx", "other.onnx"], "model.onnx"),
        (["MLmodel", "model.onnx"], "model.onnx"),
        (["onnx/model.onnx", "onnx/model_quantized.onnx", "config.json"], "onnx/model.onnx"),
        (["config.pbtxt", "1/model.onnx", "2/model.onnx", "10/model.onnx"], "10/model.onnx"),
        (["config.pbtxt", "3/model.onnx/model.onnx", "3/model.onnx/weights"], "3/model.onnx/model.onnx"),
        (["export/net.ONNX"], "export/net.ONNX"),
        (["a.onnx", "b.onnx"], None),
        (["a/b/c/d/e/net.onnx"], None),
        (["readme.md"], None),
    ],
)
def test_the_model_of_a_folder(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert model_in(str(tmp_path)) == (None if expected is None else str(tmp_path / expected))


def test_a_folder_is_judged_with_the_class_names_beside_the_model(tmp_path, fingerprint, make_onnx):
    """Its classes stand in another order, which only config.json says."""
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    make_onnx(folder / "onnx" / "model.onnx", weights=[[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert verify(fingerprint, folder).kept == 0
    config = {"model_type": "vit", "id2label": {"0": "dog", "1": "eel", "2": "cat"}}
    (folder / "config.json").write_text(json.dumps(config))
    result = verify(fingerprint, folder)
    assert (result.kept, result.verdict) == (24, "derived")
    assert result.contract.origins["classes"] == "file"
    assert result.suspect.path == str(folder / "onnx" / "model.onnx")
    (folder / "config.json").write_text("[")
    assert verify(fingerprint, folder).kept == 0


def test_a_folder_in_which_it_is_not_clear_which_names_them(tmp_path, fingerprint, derived_file):
    shutil.copy(derived_file, tmp_path / "other.onnx")
    with pytest.raises(SuspectError, match="give one model of those inside"):
        verify(fingerprint, tmp_path)
