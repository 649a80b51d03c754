"""Reads folders with one folder of images per class; the same rules for an owner's data and for a study's.

- The sorted names of the folders are the classes; hidden ones do not count.
- Files are images by their ending: `.png`, `.jpg`, `.jpeg`, `.bmp`, `.webp`, in any case. Hidden files and files with
  endings of no image format (`Thumbs.db`, `labels.txt`) are skipped; other image formats are refused by name.
- All images have one size, or are brought to one that is asked for: scaled until they fill it, then cut around their
  middle. If any is in colour, all are read as RGB, else all as grey.
- 16-bit grey images keep their 16 bits. The orientation that a camera notes (EXIF) is applied.
- Refused by name: transparent pixels, animations, CMYK and other colour spaces, and whatever is no regular file.
"""

import hashlib
import io
import math
import os
import stat
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from fpverify_generator.data.store import Images, Inputs, Store, open_store, write_store
from fpverify_generator.errors import DataError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""How the names of images end."""

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
"""Pillow's names of the formats that a file may have, whatever its ending."""

OTHER_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        ("gif", "tif", "tiff", "jfif", "jpe", "jp2", "j2k", "heic", "heif", "avif", "jxl", "ppm", "pgm", "pbm", "pnm"),
        ("tga", "psd", "svg", "dcm", "exr", "ico", "dib", "npy", "npz", "pt", "zip", "tar", "gz"),
    )
    for name in names
)
"""Endings of files that hold images, and are not read: to skip them in silence would lose data."""

MAX_FILE = 2**28
"""Bytes of one file."""

MAX_DATA = 2**34
"""Bytes of all images as single-precision numbers, where they are held in memory."""

IN_MEMORY = 2**29
"""The same, up to which they are held in memory where a folder to keep them in is given."""

SECONDS = 5.0
"""Between two lines of progress."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""`(H, W)` grey or `(H, W, 3)` RGB."""


@dataclass(frozen=True)
class ClassFolder:
    """A folder of images of one class."""

    name: str
    """The class."""
    files: tuple[Path, ...]
    """Its images, by name."""
    skipped: tuple[Path, ...]
    """What is no image."""


def class_folders(path: Path) -> list[ClassFolder]:
    """List a folder with one folder of images per class.

    Args:
        path: the folder.

    Returns:
        The classes, by name.

    Raises:
        DataError: if there is none, one has no image, or holds folders or images of formats that are not read.
    """
    folders = [entry for entry in _entries(path) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise DataError(
            culprit=path, expected="one folder of images per class", found="none", hint="give the folder above them"
        )
    return [_class_folder(folder) for folder in folders]


def loose_images(path: Path) -> tuple[list[Path], list[Path]]:
    """List the images of a folder and of the folders in it, whatever they are called; and what is no image.

    Raises:
        DataError: if there is none.
    """
    every: list[Path] = []
    for entry in _entries(path):
        every += _entries(entry) if entry.is_dir() and not entry.name.startswith(".") else [entry]
    files: list[Path] = []
    skipped: list[Path] = []
    for entry in every:
        if entry.suffix.lower() in OTHER_SUFFIXES:
            raise _other_format(entry)
        is_image = entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
        (files if is_image else skipped).append(entry)
    if not files:
        raise DataError(f"there is no image ({_listed()})", culprit=path)
    return files, skipped


def _other_format(file: Path) -> DataError:
    return DataError(
        culprit=file, expected=f"images as {_listed()}", found=f"'{file.suffix}'", hint="convert it, or take it away"
    )


def _class_folder(folder: Path) -> ClassFolder:
    files, skipped = [], []
    for entry in _entries(folder):
        suffix = entry.suffix.lower()
        if entry.name.startswith("."):
            skipped.append(entry)
        elif suffix in SUFFIXES:
            files.append(entry)
        elif suffix in OTHER_SUFFIXES:
            raise _other_format(entry)
        elif entry.is_dir():
            raise DataError(
                culprit=entry, expected="images alone in a class's folder", found="a folder", hint="move its images up"
            )
        else:
            skipped.append(entry)
    if not files:
        raise DataError(f"class '{folder.name}' has no image ({_listed()})", culprit=folder)
    return ClassFolder(folder.name, tuple(files), tuple(skipped))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot read the folder ({error.strerror or error})", culprit=folder) from error


def _listed() -> str:
    return ", ".join(SUFFIXES)


Size = tuple[int, int]
"""Height and width in pixels."""

AHEAD = 256
"""Images that are read side by side before any is kept."""


def read_images(
    files: Sequence[Path],
    log: Callable[[str], None] = lambda _: None,
    size: Size | None = None,
    folder: Path | None = None,
    in_memory: int = IN_MEMORY,
) -> Inputs:
    """Read images of one size, on all cores.

    Args:
        files: the images, at least one.
        log: takes a line of progress every few seconds.
        size: to which each image is brought; None where all have one size.
        folder: where many images are kept in a file, read once for all runs; None to hold them in memory.
        in_memory: with a folder, bytes as single-precision numbers up to which they are held in memory all the same.

    Returns:
        `(n, C, H, W)` float32 in [0, 1]: RGB if any image is in colour, else grey.

    Raises:
        DataError: naming the file that cannot be read or has another size, or if all together are too large.
    """
    first = read_image(files[0], size)
    if folder is not None and 4 * len(files) * first.size > in_memory:
        store = _stored(files, log, size, folder, first)
        return Images([store], torch.arange(store.count))
    arrays: list[Pixels] = []
    for pixels in _each(files, log, size):
        if not arrays or pixels.ndim == 3:
            _check_total(len(files), pixels)
        arrays.append(pixels)
    channels = 3 if any(array.ndim == 3 for array in arrays) else 1
    height, width = arrays[0].shape[:2]
    inputs = np.empty((len(arrays), channels, height, width), np.float32)
    for place, array in zip(inputs, arrays, strict=True):
        # an integer divided by its type's largest value, in single precision
        scaled = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
        place[:] = scaled if scaled.ndim == 2 else scaled.transpose(2, 0, 1)
    return torch.from_numpy(inputs)


def _each(files: Sequence[Path], log: Callable[[str], None], size: Size | None) -> Iterator[Pixels]:
    """Yield the pixels of each file, all of one size."""
    said = time.monotonic()
    shape: tuple[int, ...] | None = None
    for number, (file, pixels) in enumerate(_side_by_side(files, size)):
        shape = shape or pixels.shape
        if pixels.shape[:2] != shape[:2]:
            raise DataError(
                f"{_size(pixels)} pixels, but {files[0]} has {shape[1]}x{shape[0]}",
                culprit=file,
                hint="resize them to one size, or give --size HEIGHTxWIDTH to build, plan or attack",
            )
        yield pixels
        if time.monotonic() - said > SECONDS:
            said = time.monotonic()
            log(f"data: {number + 1} of {len(files)} images read, of {_size(pixels)} pixels")


def _stored(files: Sequence[Path], log: Callable[[str], None], size: Size | None, folder: Path, first: Pixels) -> Store:
    """Return the file that these images are kept in; they are read once, unless one of their files changes."""
    path = folder / f"images-{_state_of(files, size)}.safetensors"
    if (store := open_store(path)) is not None:
        log(f"data: {len(files)} images, kept from an earlier run")
        return store
    if path.exists():
        log(f"data: the images kept in {path} are not as they were written; they are read again")
    colour, wide = first.ndim == 3, first.dtype == np.uint16
    while True:
        each = (_laid_out(pixels, colour, wide) for pixels in _each(files, log, size))
        try:
            return write_store(path, len(files), each)
        except _OtherKindError as error:
            colour, wide = colour or error.colour, wide or error.wide


class _OtherKindError(Exception):
    """An image has colours or 16 bits, and those before it had not: all are read again."""

    def __init__(self, colour: bool, wide: bool) -> None:
        self.colour, self.wide = colour, wide


def _laid_out(pixels: Pixels, colour: bool, wide: bool) -> Pixels:
    """Return an image as `(C, H, W)`, like the others: a grey one among colours has three channels."""
    if (pixels.ndim == 3 and not colour) or (pixels.dtype == np.uint16 and not wide):
        raise _OtherKindError(pixels.ndim == 3, pixels.dtype == np.uint16)
    if wide and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16) * np.uint16(257)  # 65535 / 255
    if pixels.ndim == 3:
        return pixels.transpose(2, 0, 1)
    grey: npt.NDArray[Any] = np.stack([pixels] * (3 if colour else 1))
    return grey


def _state_of(files: Sequence[Path], size: Size | None) -> str:
    """Return a digest of the names, sizes and times of files: it changes whenever one of them is written."""
    total = hashlib.sha256(repr(size).encode())
    for file in files:
        try:
            state = file.stat()
        except OSError as error:
            raise DataError(f"cannot read the image ({error.strerror or error})", culprit=file) from error
        line = f"{file.absolute()} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}\n"
        total.update(line.encode(errors="surrogateescape"))
    return total.hexdigest()


def _side_by_side(files: Sequence[Path], size: Size | None) -> Iterator[tuple[Path, Pixels]]:
    """Yield each file with its pixels, in order; Pillow lets other threads work while it decodes."""
    # set once, around all threads, which share the filters: Pillow warns of damaged notes of a camera
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        for start in range(0, len(files), AHEAD):
            some = files[start : start + AHEAD]
            yield from zip(some, pool.map(partial(read_image, size=size), some), strict=True)


def _size(array: Pixels) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


def _check_total(count: int, pixels: Pixels) -> None:
    total = 4 * count * pixels.size
    if total > MAX_DATA:
        raise DataError(
            f"{count} images of {_size(pixels)} pixels would take {total / 2**30:.3g} GiB of memory, at most "
            f"{MAX_DATA // 2**30} are allowed",
            culprit="data",
            hint="resize them, or give fewer",
        )


def read_image(file: Path, size: Size | None = None) -> Pixels:
    """Read one image, upright and opaque.

    Args:
        file: a PNG, JPEG, BMP or WebP file.
        size: to which it is brought; None to leave it.

    Returns:
        `(H, W)` grey, with 8 or 16 bits, or `(H, W, 3)` RGB with 8 bits.

    Raises:
        DataError: if it is no regular file or no such image.
    """
    content = _content(file)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError  # of up to twice as many Pillow only warns
            frames = getattr(image, "n_frames", 1)
            # an MPO file is a camera's JPEG with previews behind the picture
            if frames > 1 and image.format != "MPO":
                raise DataError(
                    culprit=file, expected="one picture", found=f"an animation of {frames}", hint="save one of them"
                )
            return _brought_to(size, _pixels(ImageOps.exif_transpose(image), file))
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = Image.MAX_IMAGE_PIXELS or 0
        raise DataError(
            f"an image of more than {most / 1000000.0:.0f} million pixels", culprit=file, hint="resize it"
        ) from error
    # Pillow raises what its decoders raise: OSError, SyntaxError, struct.error, ValueError …
    except Exception as error:
        reason = " ".join(str(error).replace("<_io.BytesIO object", "<it").split())[:200] or type(error).__name__
        reason = "it is none of PNG, JPEG, BMP, WebP" if reason.startswith("cannot identify") else reason
        raise DataError(f"not a readable image ({reason})", culprit=file, hint="repair it, or take it away") from error


def _brought_to(size: Size | None, pixels: Pixels) -> Pixels:
    """Scale an image until it fills a size, by the mean of the pixels that fall together, and cut around its middle."""
    if size is None or pixels.shape[:2] == size:
        return pixels
    image = Image.fromarray(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32))
    fitted = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR))
    found: Pixels = fitted if pixels.dtype == np.uint8 else np.rint(fitted).clip(0, 65535).astype(np.uint16)
    return found


def _content(file: Path) -> bytes:
    """Read a file that must be a regular one, at once: to open a pipe could wait for ever."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise DataError(
                culprit=file, expected="an image", found="no regular file (a folder, pipe, socket or device)"
            )
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise DataError(culprit=file, expected="an image", found="no regular file")
            content = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise DataError(f"cannot read the image ({error.strerror or error})", culprit=file) from error
    if len(content) > MAX_FILE:
        raise DataError(culprit=file, expected=f"an image of at most {MAX_FILE // 2**20} MiB", found="more")
    return content


def _pixels(image: Image.Image, file: Path) -> Pixels:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        wide: npt.NDArray[Any] = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535 or "transparency" in image.info:
            raise DataError(culprit=file, expected="opaque grey values of 16 bits", found="others", hint="convert it")
        return wide.astype(np.uint16)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        grey = image.mode in ("L", "LA", "La", "1")
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise DataError(
                culprit=file, expected="opaque pixels", found="transparent ones", hint="put it on a background first"
            )
        image = image.convert("RGB").convert("L" if grey else "RGB")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB"):
        raise DataError(culprit=file, expected="a grey or RGB image", found=image.mode, hint="convert it")
    pixels: npt.NDArray[np.uint8] = np.asarray(image, dtype=np.uint8)
    return pixels
