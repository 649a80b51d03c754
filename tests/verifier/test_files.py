import os
import stat

import pytest

from fpverify.files import regular_file_size, write_atomically


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
