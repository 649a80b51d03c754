"""Images that lie in a file are what they were in memory; the file is written once, whole, and checked."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator import commands
from fpverify_generator.build import build_fingerprint, train_source
from fpverify_generator.data import store as store_module
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.load import read_folder
from fpverify_generator.data.store import Images, Store, joined, open_store, taken, write_store
from fpverify_generator.errors import DataError
from fpverify_generator.models.asked import Asked
from fpverify_generator.models.source import Source
from fpverify_generator.plan import as_text, plan_build
from fpverify_generator.pools import share_data
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.run.cache import Cache, digest
from fpverify_generator.run.context import RunContext
from PIL import Image
from safetensors.numpy import load_file

from fpverify.fingerprint import save_fingerprint

DRAW = np.random.default_rng(0)


def pixels(count: int, kind: type = np.uint8, channels: int = 3) -> np.ndarray:
    return DRAW.integers(0, np.iinfo(kind).max, (count, channels, 4, 6), kind, endpoint=True)


def stored(path: Path, array: np.ndarray) -> Images:
    written = write_store(path, len(array), iter(array))
    return Images([written], torch.arange(len(array)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixels_are_read_as_they_were_written(kind: type, tmp_path: Path) -> None:
    array = pixels(7, kind)
    images = stored(tmp_path / "s", array)
    expected = torch.from_numpy(array.astype(np.float32) / np.float32(np.iinfo(kind).max))
    assert torch.equal(images[:], expected)
    assert torch.equal(images[3], expected[3])
    assert torch.equal(images[torch.tensor([5, 0, 5])], expected[[5, 0, 5]])
    assert torch.equal(images[expected[:, 0, 0, 0] > 0.5], expected[expected[:, 0, 0, 0] > 0.5])
    assert [len(part) for part in images.split(3)] == [3, 3, 1]
    assert torch.equal(torch.cat(list(images.split(3))), expected)
    assert (images.shape, len(images), images.numel()) == (expected.shape, 7, expected.numel())
    assert np.array_equal(load_file(tmp_path / "s")["pixels"], array)  # safetensors' own reader


def test_parts_and_chains_of_images_stay_in_their_files(tmp_path: Path) -> None:
    one, two = stored(tmp_path / "1", pixels(5)), stored(tmp_path / "2", pixels(4))
    more = torch.rand(3, 3, 4, 6)
    part = taken(one, torch.tensor([4, 1]))
    chain = joined([part, two, more, two])
    assert isinstance(part, Images)
    assert isinstance(chain, Images)
    whole = torch.cat([one[:][[4, 1]], two[:], more, two[:]])
    assert torch.equal(chain[:], whole)
    order = torch.randperm(len(whole))
    assert torch.equal(taken(chain, order)[:], whole[order])
    again = joined([taken(one, slice(2)), taken(one, slice(2, None))])
    assert torch.equal(again[:], one[:])
    assert torch.equal(joined([more, more]), torch.cat([more, more]))


def test_another_process_gets_no_pixels(tmp_path: Path) -> None:
    images = stored(tmp_path / "s", pixels(500))
    digest(images)  # their digests are known, and stay here
    content = pickle.dumps(images)
    assert len(content) < 500 * 3 * 4 * 6 // 4
    assert torch.equal(pickle.loads(content)[:], images[:])  # noqa: S301


def test_a_digest_is_that_of_the_pixels_in_their_order(tmp_path: Path) -> None:
    array = pixels(5)
    one, same = stored(tmp_path / "1", array), stored(tmp_path / "2", array)
    other = array.copy()
    other[2, 0, 0, 0] ^= 1
    assert digest(one) == digest(same)
    assert len({digest(one), digest(stored(tmp_path / "3", other)), digest(taken(one, torch.tensor([1, 0])))}) == 3


def test_answers_are_found_by_the_digests_of_images(tmp_path: Path) -> None:
    images = stored(tmp_path / "s", pixels(6))
    asked = Asked.of(taken(images, torch.tensor([3, 1])), torch.tensor([7, 8]), None)
    assert asked.rows(images).tolist() == [-1, 1, -1, 0, -1, -1]
    assert asked.rows(images[:]).tolist() == [-1, 1, -1, 0, -1, -1]  # the same pixels in memory
    changed = torch.rand(2, 3, 4, 6)
    asked = Asked.of(joined([images, changed]), torch.arange(8), None)
    assert asked.rows(torch.cat([changed[1:], images[2:3], changed[:1] / 2])).tolist() == [7, 2, -1]


def folder_of(tmp_path: Path, data: DataSet) -> Path:
    """Write images of 8 bits into class folders."""
    folder = tmp_path / "images"
    for name in data.classes:
        (folder / name).mkdir(parents=True)
    for row, (image, label) in enumerate(zip(data.pixels, data.labels, strict=True)):
        eight = (image[0] * 255).round().to(torch.uint8).numpy()
        Image.fromarray(eight).save(folder / data.classes[label] / f"{row:05}.png")
    return folder


def test_a_fingerprint_is_the_same_whether_images_lie_in_memory_or_in_a_file(
    splits: tuple[DataSet, DataSet, DataSet], tiny: Preset, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, splits[0].rows(slice(900)))
    attacks = ("retrain-labels", "jagielski", "train-away", "ftal")
    roles = Roles(4, 1, 1)
    few = replace(tiny, simulated=attacks, surrogates=roles, references=roles, keys=5, candidates=30)
    digests = set()
    for in_memory, jobs in ((2**40, 1), (0, 2)):
        work = RunContext(0, Cache(tmp_path / f"cache {in_memory} {jobs}"), jobs=jobs)
        data = read_folder(folder, folder=work.cache.folder, in_memory=in_memory)
        assert isinstance(data.inputs, Images) == (in_memory == 0)
        shared = share_data(data, few, 0)
        source = Source("1" * 64, train_source(shared.train, few, work), reading="as it is")
        fingerprint = build_fingerprint(source, shared, few, work)
        digests.add(save_fingerprint(fingerprint, tmp_path / "f"))
    assert len(digests) == 1


def small_folder(tmp_path: Path, colour: bool = False, wide: bool = False) -> Path:
    for number, name in enumerate(("ape", "cat")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for place in range(3):
            array = DRAW.integers(0, 256, (4, 6), dtype=np.uint8)
            if number and place == 1 and colour:
                array = DRAW.integers(0, 256, (4, 6, 3), dtype=np.uint8)
            if number and place == 2 and wide:
                array = DRAW.integers(0, 65536, (4, 6), dtype=np.uint16)
            Image.fromarray(array).save(tmp_path / "d" / name / f"{place}.png")
    return tmp_path / "d"


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_colours_and_16_bits_that_come_late_change_all_images(colour: bool, wide: bool, tmp_path: Path) -> None:
    folder = small_folder(tmp_path, colour, wide)
    in_file = read_folder(folder, folder=tmp_path, in_memory=0)
    assert torch.equal(in_file.pixels, read_folder(folder).pixels)
    assert in_file.inputs.shape[1] == (3 if colour else 1)


def test_images_are_read_once_unless_one_changes_or_what_is_kept_is_damaged(tmp_path: Path) -> None:
    folder, kept = small_folder(tmp_path), tmp_path / "kept"
    kept.mkdir()

    def read() -> tuple[torch.Tensor, list[str]]:
        said: list[str] = []
        return read_folder(folder, said.append, folder=kept, in_memory=0).pixels, said

    first, said = read()
    assert said == []
    again, said = read()
    assert said == ["data: 6 images, kept from an earlier run"]
    assert torch.equal(first, again)
    (file,) = kept.iterdir()
    content = bytearray(file.read_bytes())
    content[-100 - 6 * 16] ^= 1
    file.write_bytes(content)
    repaired, said = read()
    assert said == [f"data: the images kept in {file} are not as they were written; they are read again"]
    assert torch.equal(first, repaired)
    Image.fromarray(255 - np.asarray(Image.open(folder / "ape" / "0.png"))).save(folder / "ape" / "0.png")
    changed, said = read()
    assert said == []
    assert not torch.equal(first[0], changed[0])
    assert torch.equal(first[1:], changed[1:])


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, kept = small_folder(tmp_path), tmp_path / "kept"
    kept.mkdir()
    (folder / "cat" / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2\.png: not a readable image"):
        read_folder(folder, folder=kept, in_memory=0)
    assert list(kept.iterdir()) == []
    monkeypatch.setattr(store_module, "SPARE", 2**62)
    (folder / "cat" / "2.png").unlink()
    with pytest.raises(DataError, match=r"images take .* GiB on disk, and .* are free"):
        read_folder(folder, folder=kept, in_memory=0)
    assert list(kept.iterdir()) == []


def test_a_file_that_is_gone_or_cut_is_said(tmp_path: Path) -> None:
    images = stored(tmp_path / "s", pixels(5))
    content = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(content[:200])
    with pytest.raises(DataError, match=r"cannot read the images .* shorter than it was"):
        images[:]
    assert open_store(tmp_path / "s") is None
    (tmp_path / "s").unlink()
    with pytest.raises(DataError, match=r"cannot read the images .*No such file"):
        images[:]
    assert open_store(tmp_path / "s") is None


def test_a_foreign_file_is_no_store(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100, (8).to_bytes(8, "little") + b'{"a": 1}'):
        (tmp_path / "s").write_bytes(content)
        assert open_store(tmp_path / "s") is None
    array = pixels(3)
    write_store(tmp_path / "s", 3, iter(array))
    assert isinstance(open_store(tmp_path / "s"), Store)


@pytest.mark.parametrize("larger", ["data", "unseen"])
def test_data_and_unseen_images_are_both_kept_in_files_if_one_is(
    larger: str, splits: tuple[DataSet, DataSet, DataSet], tiny: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = folder_of(tmp_path / "few", splits[0].rows(slice(400))), folder_of(tmp_path / "many", splits[1])
    data, unseen = (many, few) if larger == "data" else (few, many)
    monkeypatch.setattr(commands, "IN_MEMORY", 4 * 64 * 500)
    work = RunContext(0, Cache(tmp_path / "cache"))
    owner, fresh = commands._images(str(data), str(unseen), None, tiny, work)
    assert fresh is not None
    assert isinstance(owner.inputs, Images)
    assert isinstance(fresh.inputs, Images)
    assert len(list((tmp_path / "cache").glob("images-*"))) == 2
    plan = plan_build(None, share_data(owner, tiny, 0, fresh), tiny, work)
    assert (plan.memory, plan.disk > (len(owner) + len(fresh)) * 64) == (0, True)
    assert "memory       images are read from the disk; what networks compute" in as_text(plan)
