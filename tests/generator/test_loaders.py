"""Data is read from the digits, an NPZ file and a folder of images; what is corrupt is named."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fpverify_generator.data.load import load_data, noisy_digits
from fpverify_generator.errors import DataError
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


def saved(**arrays: Any) -> Callable[[Path], str]:
    """Return what writes good arrays, but for those given."""

    def write(path: Path) -> str:
        good = {"inputs": images(), "labels": np.array([0, 1] * 3)}
        np.savez(path / "d.npz", **{name: array for name, array in {**good, **arrays}.items() if array is not None})
        return str(path / "d.npz")

    return write


def npy_in_disguise(path: Path) -> str:
    with (path / "d.npz").open("wb") as file:
        np.save(file, images())
    return str(path / "d.npz")


def archive_in_an_archive(path: Path) -> str:
    np.savez(path / "inner.npz", inputs=images())
    with zipfile.ZipFile(path / "d.npz", "w") as archive:
        archive.write(path / "inner.npz", "inputs.npy")
        archive.write(path / "inner.npz", "labels.npy")
    return str(path / "d.npz")


def header_of_8_tebibytes(path: Path) -> str:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path / "d.npz", "w") as archive:
        archive.writestr("inputs.npy", header.getvalue())
        archive.writestr("labels.npy", header.getvalue())
    return str(path / "d.npz")


def pipe(path: Path) -> str:
    os.mkfifo(path / "d.npz")
    return str(path / "d.npz")


BAD_ARRAYS = {
    "labels of 2^40": (saved(labels=np.array([0, 1, 2, 3, 4, 2**40])), "found a label 1099511627776 among 6 images"),
    "labels of 2^63": (saved(labels=np.array([0, 1, 0, 1, 0, 2**63], np.uint64)), "labels from 0 upward, found 0 to"),
    "negative labels": (saved(labels=np.array([0, 1, 0, 1, 0, -1])), "labels from 0 upward, found -1 to 1"),
    "labels out of the classes": (
        saved(labels=np.array([0, 1, 0, 1, 0, 7]), classes=np.array(["a", "b"])),
        r"labels must lie in 0\.\.1, found 0\.\.7",
    ),
    "fractional labels": (saved(labels=np.array([0.5] * 6)), "integer labels"),
    "labels of two axes": (saved(labels=np.zeros((6, 2), int)), "integer labels"),
    "fewer labels": (saved(labels=np.array([0, 1])), "as many labels as inputs, found 2 and 6"),
    "no labels": (saved(labels=np.zeros(0, int)), "integer labels"),
    "no images": (saved(inputs=np.zeros((0, 3, 5, 5), np.uint8)), "at least one image and pixel"),
    "no pixels": (saved(inputs=np.zeros((6, 3, 0, 0), np.uint8)), "at least one image and pixel"),
    "no channels": (saved(inputs=np.zeros((6, 0, 5, 5), np.uint8)), "inputs .n, 1 or 3, H, W."),
    "one pixel": (saved(inputs=np.zeros((6, 1, 1, 1), np.uint8)), "at least 2x2 pixels, found 1x1"),
    "one row": (saved(inputs=np.zeros((6, 1, 1, 9), np.uint8)), "at least 2x2 pixels, found 9x1"),
    "channels last": (saved(inputs=np.zeros((6, 5, 5, 3), np.uint8)), "move the channels forward"),
    "whole numbers": (saved(inputs=np.zeros((6, 1, 5, 5), np.int32)), "uint8 inputs or floats"),
    "complex numbers": (saved(inputs=np.zeros((6, 1, 5, 5), complex)), "uint8 inputs or floats"),
    "records": (saved(inputs=np.zeros((6, 1, 5, 5), [("r", "u1")])), "uint8 inputs or floats"),
    "numbers beyond single precision": (saved(inputs=np.full((6, 1, 5, 5), 1e300)), "NaN or infinite"),
    "0 to 255 as floats": (saved(inputs=np.full((6, 1, 5, 5), 255.0)), "scale them first"),
    "a name twice": (saved(classes=np.array(["same", "same"])), "'same' more than once"),
    "classes of two axes": (saved(classes=np.array([["a", "b"]])), "expected classes .n,. of texts"),
    "one class": (saved(labels=np.zeros(6, int), classes=np.array(["a"])), "two classes or more"),
    "a class without image": (saved(classes=np.array(["a", "b", "c"])), "class 'c' has no image"),
    "fewer image numbers": (saved(images=np.array([0, 1])), "as many images as inputs, found 2 and 6"),
    "image numbers of another type": (saved(images=np.array([0.5] * 6)), "integer images"),
    "objects as classes": (
        saved(classes=np.array(["a", None], dtype=object)),
        "not a readable .npz file without Python objects",
    ),
    ".npy as .npz": (npy_in_disguise, "not a readable .npz file"),
    "archive in an archive": (archive_in_an_archive, "is not a readable array"),
    "header of 8 TiB": (header_of_8_tebibytes, "not a readable .npz file|memory"),
    "pipe": (pipe, "no such data"),
    "name with a null": (lambda path: f"{path}\0x", "no such data"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused_in_one_line_at_once(case: str, tmp_path: Path) -> None:
    make, message = BAD_ARRAYS[case]
    with pytest.raises(DataError, match=message) as error:
        load_data(make(tmp_path), 0)
    assert "\n" not in str(error.value)


def test_too_many_bytes_are_refused_with_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpverify_generator.data.load.MAX_DATA", 2**8)
    with pytest.raises(DataError, match="GiB of arrays, at most 0 are allowed"):
        load_data(saved()(tmp_path), 0)


def test_large_images_are_said(tmp_path: Path) -> None:
    said: list[str] = []
    load_data(saved(inputs=np.zeros((6, 1, 300, 300), np.uint8))(tmp_path), 0, log=said.append)
    assert len(said) == 1
    assert said[0].startswith("warning: data: images of 300x300 pixels train slowly")


BAD = {
    missing: "no such data",
    garbage: "not a readable .npz",
    truncated: "not a readable .npz",
    objects: "not a readable .npz",
    other_names: "with arrays 'inputs' and 'labels', found",
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
