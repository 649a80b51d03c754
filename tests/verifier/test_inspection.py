import hashlib
import json
import os

import pytest

from fpverify import FingerprintError, SuspectError
from fpverify.inspection import inspect_file
from fpverify.summary import summary_as_json, summary_as_text


def test_a_fingerprint_is_summarised(fingerprint, fingerprint_file):
    summary = inspect_file(fingerprint_file)
    assert (summary.sha256, summary.keys, summary.format_version) == (fingerprint.sha256, 12, 1)
    assert summary.contract == fingerprint.contract
    assert summary.calibration == fingerprint.calibration
    text = summary_as_text(summary)
    for part in [
        "3: cat, dog, eel",
        "NCHW, grey, 2 x 2 pixels, values 0 to 1",
        "39 models keep 25.0% to 25.0%",
        '"cem"',
    ]:
        assert part in text
    document = json.loads(summary_as_json(summary))
    assert document["kind"] == "fingerprint"
    assert document["calibration"]["threshold"] == 0.75


def test_an_onnx_model_is_summarised(derived_file):
    summary = inspect_file(derived_file)
    assert summary.sha256 == hashlib.sha256(derived_file.read_bytes()).hexdigest()
    assert summary.classes == 3
    text = summary_as_text(summary)
    for part in ["input: tensor(float) (batch, 1, 2, 2)", "scores: tensor(float) (batch, 3)", "ai.onnx 13", "tests"]:
        assert part in text
    document = json.loads(summary_as_json(summary))
    assert document["kind"] == "onnx"
    assert document["model"]["inputs"] == [{"name": "input", "type": "tensor(float)", "shape": ["batch", 1, 2, 2]}]


def test_the_content_decides_and_not_the_name(tmp_path, fingerprint_file, derived_file):
    os.rename(fingerprint_file, tmp_path / "a.onnx")
    os.rename(derived_file, tmp_path / "b.safetensors")
    assert inspect_file(tmp_path / "a.onnx").keys == 12
    assert inspect_file(tmp_path / "b.safetensors").classes == 3


def test_a_damaged_fingerprint_is_named_as_such(fingerprint_file):
    fingerprint_file.write_bytes(fingerprint_file.read_bytes()[:-1])
    with pytest.raises(FingerprintError, match="truncated"):
        inspect_file(fingerprint_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"hello", "neither a fingerprint nor an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" * 9, "neither"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SuspectError, match=message):
        inspect_file(path)


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "No such file"), (".", "not a regular file"), ("a\0b", "no file")]
)
def test_what_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(SuspectError, match=message):
        inspect_file(f"{tmp_path}/{name}")


def test_a_models_names_cannot_rewrite_the_report(tmp_path, make_onnx):
    text = summary_as_text(inspect_file(make_onnx(tmp_path / "m.onnx", name="a\x1b[2J\nforged: line")))
    assert "\x1b" not in text
    assert "\nforged" not in text
