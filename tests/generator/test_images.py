"""Folders of images are read by stated rules; what could be misread or waited for is refused by name, at once."""

import os
import socket
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from fpverify_generator.data.images import read_image
from fpverify_generator.data.load import load_data, read_folder
from fpverify_generator.errors import DataError
from fpverify_generator.options import size_of
from fpverify_generator.study.domains import read_images
from PIL import Image

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (6, 4), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (6, 4, 3), dtype=np.uint8)


def folder_with(tmp_path: Path, save: Callable[[Path], object] | None = None, others: np.ndarray = COLOUR) -> Path:
    """Return two classes of two images each; `save` writes a fifth, which is the first by name."""
    for name in ("ape", "cat"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            Image.fromarray(others).save(tmp_path / name / f"{number}.png")
    if save is not None:
        save(tmp_path / "ape")
    return tmp_path


def both(folder: Path) -> list[torch.Tensor]:
    """Return the first image as an owner's data and as a study's are read; both have the same rules."""
    study = read_images(folder, 0, 0)
    first = study.inputs[study.inputs.flatten(1).sum(1).argsort()]
    owner = read_folder(folder)
    ordered = owner.inputs[owner.inputs.flatten(1).sum(1).argsort()]
    assert torch.equal(first, ordered)
    assert study.classes == owner.classes
    return [owner.inputs[0]]


def test_grey_images_of_16_bits_keep_their_values(tmp_path: Path) -> None:
    wide = DRAW.integers(0, 65536, (6, 4), dtype=np.uint16)
    folder = folder_with(tmp_path, lambda ape: Image.fromarray(wide).save(ape / "0.png"), GREY)
    for read in both(folder):
        np.testing.assert_allclose(read[0], wide / 65535, atol=1e-6)


@pytest.mark.parametrize("first", ["grey", "colour"])
def test_all_images_are_read_in_colour_if_one_is(first: str, tmp_path: Path) -> None:
    one, others = (GREY, COLOUR) if first == "grey" else (COLOUR, GREY)
    folder = folder_with(tmp_path, lambda ape: Image.fromarray(one).save(ape / "0.png"), others)
    for read in both(folder):
        expected = np.repeat(one[None], 3, 0) if one.ndim == 2 else one.transpose(2, 0, 1)
        np.testing.assert_allclose(read, expected / 255, atol=1e-6)


def test_the_cameras_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned = np.rot90(COLOUR, 1)
    folder = folder_with(tmp_path, lambda ape: Image.fromarray(turned).save(ape / "0.png", exif=exif))
    for read in both(folder):
        np.testing.assert_allclose(read, COLOUR.transpose(2, 0, 1) / 255, atol=1e-6)


def paletted(path: Path) -> None:
    Image.fromarray(COLOUR).quantize(24).save(path / "0.png")


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    for read in both(folder_with(tmp_path, paletted)):
        np.testing.assert_allclose(read, COLOUR.transpose(2, 0, 1) / 255, atol=0.05)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = GREY > 127
    folder = folder_with(tmp_path, lambda ape: Image.fromarray(bits).save(ape / "0.png"), GREY)
    for read in both(folder):
        assert torch.equal(read[0], torch.from_numpy(bits).float())


def opaque(path: Path) -> None:
    Image.fromarray(np.dstack([COLOUR, np.full((6, 4), 255, np.uint8)])).save(path / "0.png")


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    for read in both(folder_with(tmp_path, opaque)):
        np.testing.assert_allclose(read, COLOUR.transpose(2, 0, 1) / 255, atol=1e-6)


def clutter(path: Path) -> None:
    for name in ("Thumbs.db", ".DS_Store", ".hidden.png", "labels.txt", "desktop.ini"):
        (path / name).write_bytes(b"x")
    (path / ".cache").mkdir()
    (path.parent / ".git").mkdir()
    (path.parent / "README.md").write_bytes(b"x")


def test_what_is_no_image_is_skipped_with_one_line(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, clutter)
    both(folder)
    said: list[str] = []
    data = read_folder(folder, said.append)
    assert len(data) == 4
    assert said == [f"data: 6 files that are no images are skipped, such as {folder / 'ape' / '.DS_Store'}"]


def transparent(path: Path) -> None:
    Image.fromarray(np.dstack([COLOUR, np.full((6, 4), 254, np.uint8)])).save(path / "0.png")


def transparent_grey(path: Path) -> None:
    Image.fromarray(np.dstack([GREY, GREY])).save(path / "0.png")


def transparent_palette(path: Path) -> None:
    Image.fromarray(COLOUR).quantize(24).save(path / "0.png", transparency=0)


def animated(name: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
        frames[0].save(path / name, save_all=True, append_images=frames[1:])

    return save


def pipe(path: Path) -> None:
    os.mkfifo(path / "0.png")


def listening(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path)  # a socket's name must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("0.png")
    finally:
        os.chdir(before)


def other_size(path: Path) -> None:
    Image.fromarray(COLOUR[:5]).save(path / "9.png")


def bomb(path: Path) -> None:
    Image.new("1", (20000, 20000)).save(path / "0.png")


def gif_inside(path: Path) -> None:
    Image.fromarray(GREY).save(path / "0.gif")
    (path / "0.gif").rename(path / "0.png")


def truncated(path: Path) -> None:
    whole = (path / "1.png").read_bytes()
    (path / "0.png").write_bytes(whole[: len(whole) - 30])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "transparent": (transparent, "0.png: expected opaque pixels"),
    "transparent grey": (transparent_grey, "0.png: expected opaque pixels"),
    "transparent palette": (transparent_palette, "0.png: expected opaque pixels"),
    "animated PNG": (animated("0.png"), "0.png: expected one picture, found an animation of 2"),
    "animated WebP": (animated("0.webp"), "0.webp: expected one picture, found an animation of 2"),
    "CMYK": (lambda path: Image.new("CMYK", (4, 6)).save(path / "0.jpg"), "expected a grey or RGB image, found CMYK"),
    "pipe": (pipe, "0.png: expected an image, found no regular file"),
    "socket": (listening, "0.png: expected an image, found no regular file"),
    "device": (lambda path: (path / "0.png").symlink_to("/dev/zero"), "found no regular file"),
    "folder": (lambda path: (path / "0.png").mkdir(), "0.png: expected an image, found no regular file"),
    "dangling link": (lambda path: (path / "0.png").symlink_to("nowhere"), "0.png: cannot read the image"),
    "nested": (lambda path: (path / "more").mkdir(), "more: expected images alone in a class's folder"),
    "size": (other_size, r"\d.png: 4x. pixels, but .*\d.png has 4x.; resize them"),
    "bomb": (bomb, "0.png: an image of more than 89 million pixels"),
    "TIFF": (lambda path: Image.fromarray(GREY).save(path / "0.tif"), "found '.tif'; convert it"),
    "another format inside": (gif_inside, "0.png: not a readable image .it is none of PNG"),
    "truncated": (truncated, "0.png: not a readable image"),
    "empty": (lambda path: (path / "0.png").write_bytes(b""), "0.png: not a readable image"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_could_be_misread_is_refused_by_name(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    folder = folder_with(tmp_path, make)
    found: list[str] = []

    def read() -> None:
        for reader in (read_folder, lambda path: read_images(path, 0, 0)):
            try:
                reader(folder)
            except DataError as error:
                found.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "waits for ever"
    assert len(found) == 2
    for text in found:
        assert "\n" not in text
        with pytest.raises(DataError, match=message):
            raise DataError(text)


def test_too_many_large_images_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpverify_generator.data.images.MAX_DATA", 2**10)
    (tmp_path / "unread").mkdir()
    with pytest.raises(DataError, match=r"4 images of 4x6 pixels would take .* GiB of memory, at most 0 are allowed"):
        read_folder(folder_with(tmp_path / "unread"))


def test_a_file_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpverify_generator.data.images.MAX_FILE", 2**20)
    (tmp_path / "0.png").write_bytes(bytes(2**20 + 1))
    with pytest.raises(DataError, match="at most 1 MiB"):
        read_image(tmp_path / "0.png")


def test_images_of_different_sizes_are_brought_to_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(GREY).save(tmp_path / "b" / "3.png")
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = (255, 0, 0)  # what is left when it is cut around its middle
    tall = np.zeros((60, 30), np.uint8)
    tall[15:45] = 128
    deep = np.full((20, 20), 65535, np.uint16)
    for name, pixels in (("0", wide), ("1", tall), ("2", deep)):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{name}.png")
    read = load_data(str(tmp_path), 0, size=(10, 10)).inputs.numpy()
    assert read.shape == (4, 3, 10, 10)
    np.testing.assert_allclose(read[0, 0, :, 1:-1], 1, atol=0.01)
    np.testing.assert_allclose(read[0, 1:], 0, atol=0.01)
    np.testing.assert_allclose(read[1, :, 1:-1], 128 / 255, atol=0.01)
    np.testing.assert_allclose(read[2], 1)
    assert load_data(str(tmp_path), 0, size=(8, 12)).inputs.shape == (4, 3, 8, 12)
    with pytest.raises(DataError, match="resize them to one size, or give --size"):
        load_data(str(tmp_path), 0)


def test_only_a_folder_is_brought_to_a_size() -> None:
    with pytest.raises(DataError, match=r"digits: expected images of 16x12 pixels \(--size\), found 8x8"):
        load_data("digits", 0, size=(12, 16))


@pytest.mark.parametrize(("text", "size"), [("12", (12, 12)), ("12x16", (12, 16)), ("224X320", (224, 320))])
def test_a_size_is_read(text: str, size: tuple[int, int]) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "12x", "1x2x3", "-4", "1.5", "70000"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="is no size; expected 224x320"):
        size_of(text)


def test_reading_side_by_side_leaves_the_warnings_filters_as_they_were(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    before = list(warnings.filters)
    for _ in range(3):
        read_folder(folder)
    assert warnings.filters == before
