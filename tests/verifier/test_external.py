import os

import pytest

from fpverify import SuspectError
from fpverify.onnx_format.external import external_files


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "suspect"
    (folder / "sub").mkdir(parents=True)
    for name in ("w.bin", "sub/w.bin"):
        (folder / name).write_bytes(b"weights")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner-link").symlink_to("w.bin")
    (folder / "linked").symlink_to(tmp_path)
    os.link(tmp_path / "secret", folder / "hard")
    os.mkfifo(folder / "pipe")
    return folder / "m.onnx"


def test_files_beside_the_model_may_be_read(model):
    found = external_files(str(model), ["w.bin", "sub/w.bin", "./w.bin"])
    assert [os.path.samefile(path, model.parent / name) for name, path in found.items()] == [True] * 3


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/etc/hostname", "lies outside the model's folder"),
        ("../secret", "lies outside"),
        ("sub/../../secret", "lies outside"),
        ("..\\secret", "lies outside"),
        ("C:\\secret", "lies outside"),
        ("C:secret", "lies outside"),
        ("\\\\host\\share\\secret", "lies outside"),
        ("link", "is a link"),
        ("inner-link", "is a link"),
        ("linked/secret", "is a link"),
        ("hard", r"has 2 names \(hard links\)"),
        ("pipe", "is not a regular file"),
        ("sub", "is not a regular file"),
        ("missing.bin", "cannot be read: No such file"),
        ("w.bin/x", "cannot be read: Not a directory"),
        ("", "is no file's name"),
        (".", "is no file's name"),
        ("a\0b", "is no file's name"),
        ("a\udcffb", "cannot be read"),
        ("*/_ORT_MEM_ADDR_/*", "is no file's name"),
        ("x" * 5000, "cannot be read: File name too long"),
    ],
)
def test_whatever_could_lead_out_of_the_folder_is_refused(model, location, message):
    with pytest.raises(SuspectError, match=message) as caught:
        external_files(str(model), ["w.bin", location])
    assert "\n" not in str(caught.value)


def test_too_many_files_are_refused(model):
    with pytest.raises(SuspectError, match="reads 10001 files"):
        external_files(str(model), [str(number) for number in range(10_001)])


def test_a_cache_of_links_is_followed_to_files_beside_the_real_model_alone(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("1111", "2222"):
        (blobs / name).write_bytes(b"content")
    (snapshot / "m.onnx").symlink_to("../../blobs/1111")
    (snapshot / "w.bin").symlink_to("../../blobs/2222")
    (snapshot / "s.bin").symlink_to("../../secret")
    assert external_files(str(snapshot / "m.onnx"), ["w.bin"]) == {"w.bin": str(blobs / "2222")}
    with pytest.raises(SuspectError, match=r"cp -L -r"):
        external_files(str(snapshot / "m.onnx"), ["s.bin"])
