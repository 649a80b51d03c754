"""Finished work is found again, unfinished work leaves nothing, and any dependency changes the key."""

import gc
import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fpverify_generator.errors import CacheError
from fpverify_generator.models.architectures import ARCHITECTURES
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.training import Recipe, TrainingTask
from fpverify_generator.run.cache import Cache, digest
from fpverify_generator.run.context import RunContext, run_pieces


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

    monkeypatch.setattr("fpverify_generator.run.cache.write_atomically", full)
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


def header(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def packed(fields: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 0x80])


def renamed(content: bytes) -> bytes:
    fields, body = header(content)
    fields["y"] = fields.pop("x")
    return packed(fields, body)


def transposed(content: bytes) -> bytes:
    fields, body = header(content)
    fields["x"]["shape"].reverse()
    return packed(fields, body)


def other_type(content: bytes) -> bytes:
    fields, body = header(content)
    fields["x"]["dtype"] = "I32"
    return packed(fields, body)


def all_nan(content: bytes) -> bytes:
    fields, body = header(content)
    return packed(fields, np.full(len(body) // 4, np.nan, np.float32).tobytes())


def without_digest(content: bytes) -> bytes:
    fields, body = header(content)
    del fields["__metadata__"]
    return packed(fields, body)


CORRUPTIONS = {
    "flipped bit": flipped,
    "flipped bit in the header": lambda content: content.replace(b'"x"', b'"z"'),
    "truncated by half": lambda content: content[: len(content) // 2],
    "last byte gone": lambda content: content[:-1],
    "byte added": lambda content: content + b"\0",
    "random bytes": lambda content: np.random.default_rng(0).bytes(len(content)),
    "zero length": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "renamed tensor": renamed,
    "transposed shape": transposed,
    "wrong type": other_type,
    "all NaN": all_nan,
    "pickle": lambda content: pickle.dumps({"x": 1}),
    "no tensors": lambda content: packed({}, b""),
    "older version": without_digest,
}


@pytest.mark.parametrize("case", CORRUPTIONS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_damaged_entry_is_never_used_and_is_made_again_with_one_line(case: str, jobs: int, tmp_path: Path) -> None:
    pieces = {f"{number:064x}": Numbers(number) for number in range(2)}
    list(run_pieces(pieces, RunContext(0, Cache(tmp_path))))
    files = sorted(tmp_path.iterdir())
    whole = [file.read_bytes() for file in files]
    for file in files:
        file.write_bytes(CORRUPTIONS[case](file.read_bytes()))
    said: list[str] = []
    found = list(run_pieces(pieces, RunContext(0, Cache(tmp_path), jobs=jobs, log=said.append)))
    assert [one["x"].tolist() for one in found] == [make()["x"].tolist() for make in pieces.values()]
    assert said == [
        "cache: 2 of 2 finished pieces of work have no valid SHA-256 (damaged, or written by an older version); "
        "they are made again"
    ]
    assert [file.read_bytes() for file in files] == whole


@dataclass(frozen=True)
class Numbers:
    """A piece of work that another process can do."""

    first: int

    def __call__(self) -> dict[str, torch.Tensor]:
        return {"x": torch.arange(6, dtype=torch.float32).reshape(2, 3) + self.first}


def test_an_entry_under_another_key_is_not_used(tmp_path: Path) -> None:
    Cache(tmp_path).get("k", lambda: {"x": torch.arange(3)})
    (tmp_path / "k.safetensors").rename(tmp_path / "j.safetensors")
    cache = Cache(tmp_path)
    assert cache.read("j") is None
    assert cache.damaged == {"j"}


def test_a_pipe_or_a_folder_in_the_place_of_an_entry_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "k.safetensors")
    (tmp_path / "j.safetensors").mkdir()
    cache = Cache(tmp_path)
    assert not cache.holds("k")
    assert torch.equal(cache.get("k", lambda: {"x": torch.arange(3)})["x"], torch.arange(3))
    with pytest.raises(CacheError, match="cannot write"):
        cache.get("j", lambda: {"x": torch.arange(3)})


def test_a_result_that_does_not_fit_its_work_is_made_again(tmp_path: Path) -> None:
    inputs, targets = torch.rand(8, 1, 8, 8), torch.eye(2).repeat(4, 1)
    tasks = [TrainingTask("t", 0, ARCHITECTURES["convolutional"], inputs, targets, Recipe(steps=1))]
    work = RunContext(0, Cache(tmp_path))
    (before,) = train_all(tasks, work, "t")
    (file,) = tmp_path.iterdir()
    file.unlink()
    Cache(tmp_path).get(file.stem, lambda: {"seconds": torch.tensor(1.0)})
    (after,) = train_all(tasks, RunContext(0, Cache(tmp_path)), "t")
    assert all(
        torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    )


def test_half_written_files_of_a_killed_run_are_removed_unless_another_run_works_there(tmp_path: Path) -> None:
    left, other = tmp_path / ".fpverify-abc.part", tmp_path / "notes.part"
    left.write_bytes(b"x")
    other.write_bytes(b"x")
    Cache(tmp_path, worker=True)
    assert left.exists()
    first = Cache(tmp_path)
    assert not left.exists()
    left.write_bytes(b"x")
    Cache(tmp_path)
    assert left.exists()
    del first
    gc.collect()
    Cache(tmp_path)
    assert not left.exists()
    assert other.exists()
