"""Images that lie in a file, as whole numbers of 8 or 16 bits: pixels are read when they are asked for.

A hundred thousand RGB images of 224x224 pixels take 15 GB on disk, and would take 60 GB in memory as float32.
A store is one safetensors file with the tensors `pixels` and `marks`, a BLAKE2b digest of each image.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fpverify.files import write_atomically
from fpverify_generator.errors import DataError

MARK = 16
"""Bytes of an image's digest."""

SPARE = 2**28
"""Bytes of a disk that stay free."""

TYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "U16": np.dtype("<u2")}
"""Names of pixels' types in the file."""

CHUNK = 2**24
"""Values of the images that are read at once, where all are read."""


@dataclass(frozen=True)
class Store:
    """A file of images."""

    path: Path
    """The file."""
    start: int
    """Where its pixels begin."""
    count: int
    """How many images there are."""
    shape: tuple[int, int, int]
    """Channels, height and width of each."""
    kind: str
    """A key of `TYPES`."""

    @property
    def bytes_each(self) -> int:
        """Return the bytes of one image."""
        return int(np.prod(self.shape)) * TYPES[self.kind].itemsize

    @cached_property
    def marks(self) -> npt.NDArray[np.uint8]:
        """Return `(n, 16)`: each image's digest."""
        with self._opened() as file:
            file.seek(self.start + self.count * self.bytes_each)
            found = np.frombuffer(file.read(self.count * MARK), np.uint8)
        return found.reshape(self.count, MARK)

    def __getstate__(self) -> dict[str, object]:
        """Return what is sent to another process, which reads the marks itself if it needs them."""
        return {name: value for name, value in self.__dict__.items() if name != "marks"}

    def read(self, rows: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return some images, `(m, C, H, W)` in [0, 1].

        Raises:
            DataError: if the file is gone, or shorter than it was.
        """
        pixels = np.empty((len(rows), *self.shape), TYPES[self.kind])
        with self._opened() as file:
            for place, row in zip(pixels, rows, strict=True):
                file.seek(self.start + row * self.bytes_each)
                if file.readinto(place.data) != self.bytes_each:
                    raise self._lost("it is shorter than it was")
        scaled: npt.NDArray[np.float32] = np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), dtype=np.float32)
        return scaled

    def is_whole(self) -> bool:
        """Say whether each image is as it was written; all of them are read, on all cores."""

        def same(start: int) -> bool:
            rows = range(start, min(start + size, self.count))
            with self._opened() as file:
                file.seek(self.start + start * self.bytes_each)
                return all(_mark(file.read(self.bytes_each)) == marks[row].tobytes() for row in rows)

        marks, size = self.marks, max(1, CHUNK // self.bytes_each)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return all(pool.map(same, range(0, self.count, size)))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with self.path.open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error

    def _lost(self, reason: str) -> DataError:
        return DataError(
            f"cannot read the images that this run keeps there ({reason})",
            culprit=self.path,
            hint="start the same command again: they are read from their folder anew",
        )


def _mark(pixels: bytes) -> bytes:
    return hashlib.blake2b(pixels, digest_size=MARK).digest()


def marks_of(images: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Return digests of `(n, C, H, W)` images in memory, `(n, 16)`: of 8-bit images those that a store would hold."""
    marks = []
    for image in images.detach().cpu():
        eight = (image * 255).round().to(torch.uint8)
        same = torch.equal(eight.float() / 255, image)
        marks.append(_mark((eight if same else image).contiguous().numpy().tobytes()))
    return np.frombuffer(b"".join(marks), np.uint8).reshape(len(images), MARK)


@dataclass(frozen=True)
class Held:
    """Images in memory, beside others in files: few, such as those that an attacker changed."""

    tensor: torch.Tensor
    """`(n, C, H, W)` float32 in [0, 1]."""
    kind = "F32"

    @property
    def count(self) -> int:
        """Return how many images there are."""
        return len(self.tensor)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of each."""
        _, channels, height, width = self.tensor.shape
        return channels, height, width

    @cached_property
    def marks(self) -> npt.NDArray[np.uint8]:
        """Return `(n, 16)`: each image's digest."""
        return marks_of(self.tensor)

    def read(self, rows: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return some images, `(m, C, H, W)`."""
        found: npt.NDArray[np.float32] = self.tensor[list(rows)].numpy()
        return found


class Images:
    """Images of one or more stores, in any order; what a tensor `(n, C, H, W)` of them would hold.

    An index gives pixels, as a tensor; `taken` and `joined` give images again.
    """

    dtype = torch.float32
    ndim = 4

    def __init__(self, stores: Sequence[Store | Held], index: torch.Tensor, device: str = "cpu") -> None:
        """Choose images.

        Args:
            stores: files of images of one shape, and such images in memory.
            index: `(n,)` int64 numbers of images; those of the second store follow those of the first.
            device: where pixels are handed out.
        """
        self.stores = stores if isinstance(stores, tuple) else tuple(stores)
        self.index, self.device = index, device

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> torch.Size:
        """Return `(n, C, H, W)`."""
        return torch.Size((len(self), *self.stores[0].shape))

    def numel(self) -> int:
        """Return the number of values."""
        return self.shape.numel()

    def __getitem__(self, index: int | slice | torch.Tensor) -> torch.Tensor:
        """Return the pixels of some images, float32 in [0, 1]: one image for a number, else `(m, C, H, W)`."""
        if isinstance(index, int):
            return self[torch.tensor([index])][0]
        rows = self.index[index.cpu() if isinstance(index, torch.Tensor) else index]
        return torch.from_numpy(self._read(rows)).to(self.device)

    def _read(self, rows: torch.Tensor) -> npt.NDArray[np.float32]:
        if len(self.stores) == 1:
            return self.stores[0].read(rows.tolist())
        found = np.empty((len(rows), *self.stores[0].shape), np.float32)
        for store, places, own in self._by_store(rows):
            found[places] = store.read(own.tolist())
        return found

    def _by_store(
        self, rows: torch.Tensor
    ) -> Iterator[tuple[Store | Held, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        first = 0
        for store in self.stores:
            numbers = rows.numpy() - first
            places = ((numbers >= 0) & (numbers < store.count)).nonzero()[0]
            yield store, places, numbers[places]
            first += store.count

    def taken(self, index: slice | torch.Tensor) -> "Images":
        """Return some of the images, which are not read."""
        return Images(self.stores, self.index[index], self.device)

    def to(self, device: str) -> "Images":
        """Return the same images, whose pixels are handed out on another device."""
        return Images(self.stores, self.index, device)

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """Yield the pixels of so many images at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    @property
    def bytes_on_disk(self) -> int:
        """Return the bytes of the files' images."""
        return sum(store.count * (store.bytes_each + MARK) for store in self.stores if isinstance(store, Store))

    @cached_property
    def marks(self) -> npt.NDArray[np.uint8]:
        """Return each image's digest, `(n, 16)`."""
        marks = np.empty((len(self), MARK), np.uint8)
        for store, places, own in self._by_store(self.index):
            marks[places] = store.marks[own]
        return marks

    @cached_property
    def content_digest(self) -> str:
        """Return a digest of all pixels, in their order."""
        kinds = ",".join(store.kind for store in self.stores)
        return hashlib.sha256(f"{kinds} {tuple(self.shape)}".encode() + self.marks.tobytes()).hexdigest()

    def __getstate__(self) -> dict[str, object]:
        """Return what is sent to another process: no pixels."""
        return {"stores": self.stores, "index": self.index.clone(), "device": self.device}


Inputs = torch.Tensor | Images
"""`(n, C, H, W)` images: in memory, or in a file."""


def taken(inputs: Inputs, index: slice | torch.Tensor) -> Inputs:
    """Return some images: a copy for row numbers of a tensor, a view for a slice, and nothing is read from a store."""
    return inputs.taken(index) if isinstance(inputs, Images) else inputs[index]


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Return images one after another; those that lie in files stay there."""
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if len(tensors) == len(parts):
        return torch.cat(tensors)
    stored = [part if isinstance(part, Images) else _held(part) for part in parts]
    stores = stored[0].stores
    if all(part.stores is stores for part in stored):
        return Images(stores, torch.cat([part.index for part in stored]), stored[0].device)
    index, first = [], 0
    for part in stored:
        index.append(part.index + first)
        first += sum(store.count for store in part.stores)
    return Images([store for part in stored for store in part.stores], torch.cat(index), stored[0].device)


def _held(images: torch.Tensor) -> Images:
    return Images([Held(images.cpu())], torch.arange(len(images)))


def whole(inputs: Inputs) -> torch.Tensor:
    """Return images as a tensor."""
    return inputs[:] if isinstance(inputs, Images) else inputs


def open_store(path: Path) -> Store | None:
    """Open a file of images; None if there is none, or it is not as it was written.

    Args:
        path: what `write_store` wrote.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 10_000)))
        pixels = header["pixels"]
        count, *shape = pixels["shape"]
        store = Store(path, 8 + length, count, tuple(shape), pixels["dtype"])
        if size != store.start + count * (store.bytes_each + MARK):
            return None
        return store if store.is_whole() else None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def write_store(path: Path, count: int, images: Iterator[npt.NDArray[Any]]) -> Store:
    """Write images into a file, whole or not at all.

    Args:
        path: the file; its folder exists.
        count: how many images come.
        images: `(C, H, W)` each, of one shape and type, `uint8` or `uint16`; at least one.

    Returns:
        The store.

    Raises:
        DataError: if the disk has no room for them, or refuses.
    """
    first = next(images)
    kind = {np.dtype("u1"): "U8", np.dtype("u2"): "U16"}[first.dtype]
    total = count * (first.nbytes + MARK)
    free = shutil.disk_usage(path.parent).free
    if total + SPARE > free:
        raise DataError(
            f"{count} images take {total / 2**30:.3g} GiB on disk, and {free / 2**30:.3g} are free",
            culprit=path.parent,
            hint="free some space, give another folder (--cache), or fewer or smaller images",
        )
    end = count * first.nbytes
    header = json.dumps(
        {
            "pixels": {"dtype": kind, "shape": [count, *first.shape], "data_offsets": [0, end]},
            "marks": {"dtype": "U8", "shape": [count, MARK], "data_offsets": [end, end + count * MARK]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    try:
        write_atomically(path, _content(header, TYPES[kind], chain([first], images)))
    except OSError as error:
        raise DataError(
            f"cannot keep the images here ({error.strerror or error})",
            culprit=path.parent,
            hint="free some space, or give another folder (--cache)",
        ) from error
    return Store(path, 8 + len(header), count, first.shape, kind)


def _content(header: bytes, kind: np.dtype[Any], images: Iterable[npt.NDArray[Any]]) -> Iterator[bytes]:
    """Yield a store's file: header, pixels, and the digest of each image."""
    yield len(header).to_bytes(8, "little") + header
    marks = []
    for image in images:
        pixels = np.ascontiguousarray(image, kind).tobytes()
        yield pixels
        marks.append(_mark(pixels))
    yield b"".join(marks)
