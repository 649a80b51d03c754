"""Finished work is found again, unfinished work leaves nothing, and any dependency changes the key."""

from pathlib import Path

import pytest
import torch
from fpverify_generator.cache import Cache, digest
from fpverify_generator.errors import CacheError


def test_work_is_done_once_and_found_by_the_next_run(tmp_path: Path) -> None:
    made = Cache(tmp_path).get("k", lambda: {"x": torch.arange(3)})
    again = Cache(tmp_path)
    found = again.get("k", lambda: pytest.fail("done twice"))
    assert torch.equal(made["x"], found["x"])
    assert (again.reused, again.made) == (1, 0)


def test_a_truncated_file_is_work_to_do_again(tmp_path: Path) -> None:
    Cache(tmp_path).get("k", lambda: {"x": torch.arange(3)})
    file = tmp_path / "k.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(Cache(tmp_path).get("k", lambda: {"x": torch.arange(3)})["x"], torch.arange(3))


def test_work_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Cache(tmp_path).get("k", lambda: {"x": torch.tensor(1 // 0)})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="cannot make the cache folder"):
        Cache(tmp_path / "file" / "cache")


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fpverify_generator.cache.write_atomically", full)
    with pytest.raises(CacheError, match="No space left on device"):
        Cache(tmp_path).get("k", lambda: {"x": torch.arange(3)})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_counts_values_shapes_types_and_weights() -> None:
    layer = torch.nn.Linear(2, 2)
    parts = [
        (torch.zeros(4),),
        (torch.zeros(2, 2),),
        (torch.zeros(4, dtype=torch.float64),),
        (torch.ones(4),),
        (1,),
        (1.0,),
        ("1",),
        (layer,),
    ]
    before = [digest(*part) for part in parts]
    assert len(set(before)) == len(parts)
    with torch.no_grad():
        layer.bias += 1
    assert digest(layer) != before[-1]
