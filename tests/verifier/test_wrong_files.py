"""Files and arguments that are given for a model by mistake are named, with what to give instead."""

import io
import os
import re
import struct
import tarfile
import zipfile

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from fpverify import SuspectError, verify
from fpverify.cli import main
from fpverify.onnx_format.wrong_files import newer_than_runtime, what_is, what_path


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return content.getvalue()


def tarred(*names):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 700
            archive.addfile(member, io.BytesIO(bytes(700)))
    return content.getvalue()


def saved(write):
    content = io.BytesIO()
    write(content)
    return content.getvalue()


def safetensors(header):
    return struct.pack("<Q", len(header)) + header


PAGE = "a web page, no model: download the raw file"
WRONG = {
    "ORT": (b"\x18\0\0\0ORTM" + bytes(90), "ORT.: give the .onnx file that it was made from"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(90), "a TensorFlow Lite model: export"),
    "HTML": (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>", PAGE),
    "HTML without a type": (b"<HTML lang=en>", PAGE),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML, such as a server's error message"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="m" version="11">', "an OpenVINO model .XML.: export the model"),
    "text": (b"Access to model is restricted.\n", "plain text, not a model .'Access to model is restricted.'."),
    "settings": (b'headers = {Authorization = "Bearer abc"}', "plain text, not a model: download"),
    "text in another script": ("模型不存在".encode() * 2000, "plain text, not a model"),
    "JSON": (b'{"error": "Entry not found"}', "JSON text, not a model"),
    "tar": (tarred("README", "a/model.onnx"), "a tar archive that holds a/model.onnx: unpack it"),
    "tar without a model": (tarred("README"), "a tar archive without an ONNX model in it"),
    "zip": (zipped("m/model.onnx", "labels.txt"), "a zip archive that holds m/model.onnx: unpack it"),
    "zip of models": (zipped("a.onnx", "b.ONNX"), "a zip archive that holds a.onnx, b.ONNX: unpack it"),
    "zip without a model": (zipped("readme"), "a zip archive without an ONNX model in it"),
    "zip of nothing": (zipped(), "a zip archive without an ONNX model in it"),
    "cut zip": (zipped("a.onnx")[:40], "a zip archive without"),
    "PyTorch": (zipped("archive/data.pkl", "archive/data/0"), "a PyTorch file .a zip with a pickle.: export"),
    "TorchScript": (zipped("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "a TorchScript file"),
    "exported program": (zipped("m/archive_format", "m/data/w"), "a PyTorch exported program .\\.pt2.: export"),
    "Keras": (zipped("config.json", "metadata.json", "model.weights.h5"), "a Keras model .\\.keras.: export"),
    "npz": (saved(lambda file: np.savez(file, a=np.zeros(2), b=np.zeros(2))), r"NumPy arrays \(\.npz\)"),
    "npy": (saved(lambda file: np.save(file, np.zeros(2))), "a NumPy array"),
    "Core ML package": (zipped("m.mlpackage/Manifest.json"), "a Core ML package: export"),
    "Core ML": (b"\x08\x07\x12\x02\x0a\x00\x9a\x19\x02\x08\x00", "a Core ML model: export"),
    "SavedModel": (b"\x08\x01\x12\x04\x0a\x02\x08\x01", "a TensorFlow SavedModel: export"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "a gzip archive: unpack it"),
    "LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "a Git LFS pointer: fetch the file",
    ),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file, such as Keras's: export"),
    "pickle": (b"\x80\x04\x95\x10\x00", "a pickle, such as scikit-learn's: export"),
    "old PyTorch": (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02", "a PyTorch file .a pickle.: export"),
    "JPEG": (b"\xff\xd8\xff\xe0JFIF" * 50, "a JPEG image"),
    "PNG": (b"\x89PNG\r\n\x1a\n" * 9, "a PNG image"),
    "weights": (safetensors(b'{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'), "safetensors weights without"),
    "zeros": (bytes(500), "a file of zeros"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_a_file_of_another_kind_is_named(tmp_path, fingerprint_file, content, message):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    for arguments in (["verify", path, "-f", fingerprint_file], ["inspect", path]):
        if content[8:9] == b"{" and arguments[0] == "inspect":
            continue  # it looks like a fingerprint, and is refused as one
        found = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert found.exit_code == 2
        assert found.stderr.count("\n") == 1
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(found.stderr)
    assert what_is(path) == what_is(content) != None  # noqa: E711


def test_what_is_wanted_is_not_named(derived_file, fingerprint_file, tmp_path):
    assert what_is(derived_file) is None
    assert what_is(fingerprint_file, "fingerprint") is None
    assert what_is(tmp_path / "missing") is None
    assert what_is("a\0b") is None


def test_swapped_arguments_are_told(derived_file, fingerprint_file):
    assert what_is(derived_file, "fingerprint").startswith("an ONNX model: the two arguments are swapped")
    found = CliRunner().invoke(main, ["verify", str(fingerprint_file), "-f", str(fingerprint_file)])
    assert found.exit_code == 2
    assert "a fingerprint: the two arguments are swapped (fpverify verify SUSPECT -f FINGERPRINT)" in found.stderr
    other = CliRunner().invoke(main, ["verify", str(derived_file), "-f", str(derived_file)])
    assert other.exit_code == 2
    assert "no fingerprint: an ONNX model: the two arguments are swapped" in other.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("https://example.org/model.onnx", "a URL: download it"),
        ("https:/example.org/model.onnx", "a URL"),  # a path of it has one slash
        ("s3://bucket/m", "a URL"),
        ("models:/name/1", "a model in MLflow's registry: use fpverify registry check"),
        ("-", "stdin is not read: give a file"),
        ("", "an empty argument: give a file"),
    ],
)
def test_an_argument_that_is_no_path_is_named(argument, message):
    assert what_path(argument).startswith(message)


def test_a_path_that_is_there_is_no_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(b"")
    (tmp_path / "https:").mkdir()
    (tmp_path / "https:" / "m").write_bytes(b"")
    assert what_path("-") is what_path("https:/m") is what_path("missing.onnx") is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["saved_model.pb", "variables/x"], "a folder with a TensorFlow SavedModel"),
        (["config.json", "model.safetensors"], "a folder with a Hugging Face model"),
        (["readme"], "a folder, not a file, and no file in it ends in .onnx"),
    ],
)
def test_of_a_folder_the_model_inside_is_named(tmp_path, fingerprint_file, files, message):
    folder = tmp_path / "folder"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    found = CliRunner().invoke(main, ["verify", str(folder), "-f", str(fingerprint_file)])
    assert found.exit_code == 2
    assert message.format(folder) in found.stderr


def test_of_a_folder_with_several_models_one_must_be_named(tmp_path, fingerprint_file):
    """On the command line each is a suspect; the Python function judges one."""
    for name in ("b.onnx", "a.onnx"):
        (tmp_path / name).write_bytes(b"x")
    expected = re.escape(f"give one model of those inside: {tmp_path}/a.onnx, {tmp_path}/b.onnx")
    with pytest.raises(SuspectError, match=expected):
        verify(fingerprint_file, tmp_path)


def test_folders_and_archives_of_any_size_take_bounded_time(tmp_path):
    for number in range(1500):
        (tmp_path / f"{number:04}").write_bytes(b"")
    os.symlink(tmp_path, tmp_path / "loop")
    assert what_is(tmp_path).startswith("a folder")
    many = zipped(*(f"{number}.txt" for number in range(1500)), "m.onnx")
    assert what_is(many) == "a zip archive without an ONNX model in it"
    assert what_is(b"PK\x03\x04" + b"\xff" * 70_000 + b"PK\x05\x06" + b"\xff" * 30) is not None


def test_weights_that_are_an_lfs_pointer_are_named(tmp_path, fingerprint_file, derived_file):
    model = onnx.load(derived_file)
    onnx.save(model, derived_file, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").write_bytes(WRONG["LFS"][0])
    found = CliRunner().invoke(main, ["verify", str(derived_file), "-f", str(fingerprint_file)])
    assert found.exit_code == 2
    assert "its external data 'w.bin' is a Git LFS pointer: fetch the file itself" in found.stderr


def newer(path, opset, ir_version):
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("opset", "ir_version", "needs"), [(99, 8, "operator set 99 of ai.onnx"), (17, 99, "IR version 99; this one knows")]
)
def test_a_model_that_is_too_new_for_the_runtime_says_so(tmp_path, fingerprint_file, opset, ir_version, needs):
    path = newer(tmp_path / "m.onnx", opset, ir_version)
    found = CliRunner().invoke(main, ["verify", str(path), "-f", str(fingerprint_file)])
    assert found.exit_code == 2
    assert f"needs a newer ONNX Runtime: it uses {needs}" in found.stderr
    assert "Upgrade onnxruntime, or export the model for an older one" in found.stderr


def test_another_failure_is_no_matter_of_versions():
    assert newer_than_runtime("cannot be loaded by ONNX Runtime: no such operator", {"": 17}) is None
    found = newer_than_runtime(
        "Opset 5 is under development ... for domain ai.onnx.ml is till opset 4", {"ai.onnx.ml": 5}
    )
    assert "operator set 5 of ai.onnx.ml; this one knows 4 at most" in found
