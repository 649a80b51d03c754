import os
import stat

import pytest

from fpverify.files import regular_file_size, write_atomically, write_new


def test_a_written_file_has_its_content_and_the_usual_mode(tmp_path):
    path = tmp_path / "f"
    write_atomically(path, b"abc")
    plain = tmp_path / "plain"
    plain.touch()
    assert path.read_bytes() == b"abc"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["f", "plain"]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "f", b"abc")
    assert os.listdir(tmp_path) == []


def test_the_size_of_a_file_is_its_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert regular_file_size(tmp_path / "f") == 3


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_written_once(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError(95, "not supported")

        monkeypatch.setattr("os.link", refuse)
    path = tmp_path / "new"
    assert write_new(path, b"first")
    assert not write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["new"]
    with pytest.raises(OSError, match="No such file"):
        write_new(tmp_path / "none" / "new", b"")
