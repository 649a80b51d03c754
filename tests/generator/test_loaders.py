"""Data is read from the digits, an NPZ file and a folder of images; what is corrupt is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator.errors import DataError
from fpverify_generator.loaders import load_data, noisy_digits
from PIL import Image


def test_the_digits_are_the_real_ones_under_bounded_noise_that_the_seed_decides() -> None:
    digits, again, other = noisy_digits(0), noisy_digits(0), noisy_digits(1)
    assert digits.inputs.shape == (7188, 1, 8, 8)
    assert torch.equal(digits.inputs, again.inputs)
    assert not torch.equal(digits.inputs, other.inputs)
    assert torch.equal(digits.labels[:1797], digits.labels[1797:3594])


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 5, 5), dtype=np.uint8)


def test_an_npz_of_bytes_is_scaled_to_the_unit_range(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", inputs=images(), labels=np.array([0, 1] * 3))
    data = load_data(str(tmp_path / "d.npz"), 0)
    assert data.inputs.shape == (6, 3, 5, 5)
    assert torch.equal((data.inputs * 255).round().byte(), torch.from_numpy(images()))
    assert data.classes == ("0", "1")


def test_a_folder_of_class_folders_is_read_as_it_was_saved(tmp_path: Path) -> None:
    for number, pixels in enumerate(images()):
        folder = tmp_path / ("cat" if number % 2 else "ape")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{number}.png")
    data = load_data(str(tmp_path), 0)
    assert data.classes == ("ape", "cat")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal((data.inputs * 255).round().byte(), torch.from_numpy(images()[[0, 2, 4, 1, 3, 5]]))


def missing(path: Path) -> str:
    return str(path / "nothing.npz")


def garbage(path: Path) -> str:
    (path / "d.npz").write_bytes(b"not a zip")
    return str(path / "d.npz")


def truncated(path: Path) -> str:
    np.savez(path / "d.npz", inputs=images(), labels=np.array([0, 1] * 3))
    (path / "d.npz").write_bytes((path / "d.npz").read_bytes()[:200])
    return str(path / "d.npz")


def objects(path: Path) -> str:
    np.savez(path / "d.npz", inputs=np.array([object()]), labels=np.array([0]), allow_pickle=True)
    return str(path / "d.npz")


def other_names(path: Path) -> str:
    np.savez(path / "d.npz", x=images())
    return str(path / "d.npz")


def not_a_number(path: Path) -> str:
    np.savez(path / "d.npz", inputs=np.full((2, 1, 2, 2), np.nan), labels=np.array([0, 1]))
    return str(path / "d.npz")


def empty_class(path: Path) -> str:
    (path / "ape").mkdir()
    Image.fromarray(images()[0].transpose(1, 2, 0)).save(path / "ape" / "0.png")
    (path / "cat").mkdir()
    return str(path)


def broken_image(path: Path) -> str:
    for name in ("ape", "cat"):
        (path / name).mkdir()
        (path / name / "0.png").write_bytes(b"\x89PNG broken")
    return str(path)


def two_sizes(path: Path) -> str:
    for name, size in (("ape", 4), ("cat", 5)):
        (path / name).mkdir()
        Image.new("RGB", (size, size)).save(path / name / "0.png")
    return str(path)


BAD = {
    missing: "no such data",
    garbage: "not a readable .npz",
    truncated: "not a readable .npz",
    objects: "not a readable .npz",
    other_names: "expected arrays 'inputs' and 'labels'",
    not_a_number: "NaN",
    empty_class: "class 'cat' has no image",
    broken_image: "not a readable image",
    two_sizes: "resize them",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_data_is_named_with_its_reason(make, tmp_path: Path) -> None:
    where = make(tmp_path)
    with pytest.raises(DataError, match=BAD[make]):
        load_data(where, 0)
