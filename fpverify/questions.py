"""What a party that runs a suspect is asked: a fingerprint's keys and control images, without their labels.

Keys and controls are mixed, and named by their pixels: answers are matched by these names, never by position.
"""

import csv
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import FingerprintError, OutputError
from fpverify.files import write_atomically
from fpverify.fingerprint import Fingerprint, InputContract

DOMAIN = b"fpverify-image-1"
"""What is hashed before an image."""

NAME = 16
"""Hexadecimal digits of an image's digest in its file's name: the fewest by which answers name it."""


@dataclass(frozen=True)
class Questions:
    """Images for somebody who runs a suspect."""

    images: NDArray[np.uint8]
    """`(n, H, W, C)` the images, in random order."""
    names: tuple[str, ...]
    """SHA-256 of each as hexadecimal digits: what its answer is to be named by."""
    exact: bool
    """Whether the fingerprint's keys are 8-bit images; else they were rounded to such."""

    def npz(self) -> bytes:
        """Return an .npz file with `images` and `digests`."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=self.images, digests=np.array(self.names))
        return buffer.getvalue()

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Yield a file name and a PNG file for each image."""
        for name, image in zip(self.names, self.images, strict=True):
            yield f"{name[:NAME]}.png", png(image)

    def form(self) -> bytes:
        """Return a CSV file with the name of each image, and an empty column for its label."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "label"])
        writer.writerows([f"{name[:NAME]}.png", ""] for name in self.names)
        return text.getvalue().encode()


def questions_of(fingerprint: Fingerprint) -> Questions:
    """Return the keys of a fingerprint and its control images as 8-bit images, in random order.

    Raises:
        FingerprintError: if two of its images are the same once they are rounded, with other labels.
    """
    keys = eight_bit(fingerprint.inputs, fingerprint.contract)
    exact = bool((restored(keys, fingerprint.contract) == fingerprint.inputs).all())
    controls = fingerprint.backing.controls if fingerprint.backing is not None else None
    every, labels = keys, fingerprint.labels
    if controls is not None:
        every = np.concatenate([keys, eight_bit(controls.inputs, fingerprint.contract)])
        labels = np.concatenate([labels, controls.labels])
    found: dict[str, tuple[int, int]] = {}
    for row, image in enumerate(every):
        name, label = digest_of(image), int(labels[row])
        if found.setdefault(name, (row, label))[1] != label:
            raise FingerprintError("two of its images are the same as 8-bit images, and have different labels")
    names = list(found)
    SystemRandom().shuffle(names)
    return Questions(every[[found[name][0] for name in names]], tuple(names), exact)


def eight_bit(inputs: NDArray[np.floating], contract: InputContract) -> NDArray[np.uint8]:
    """Return `(n, C, H, W)` inputs in the contract's range as `(n, H, W, C)` 8-bit images."""
    levels = np.rint((inputs.astype(np.float64) - contract.low) / (contract.high - contract.low) * 255)
    return np.ascontiguousarray(levels.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def restored(images: NDArray[np.uint8], contract: InputContract) -> NDArray[np.float32]:
    """Return `(n, H, W, C)` 8-bit images as `(n, C, H, W)` inputs in the contract's range."""
    span = contract.high - contract.low
    inputs = (contract.low + images.transpose(0, 3, 1, 2) / 255 * span).astype(np.float32)
    return np.clip(inputs, np.float32(contract.low), np.float32(contract.high))


def digest_of(image: NDArray[np.uint8]) -> str:
    """Return SHA-256 of an `(H, W, C)` 8-bit image as hexadecimal digits: of `DOMAIN`, its sizes and its values."""
    return hashlib.sha256(DOMAIN + struct.pack("<3I", *image.shape) + image.tobytes()).hexdigest()


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an `(H, W, 1 or 3)` 8-bit image as a PNG file.

    Source:
        W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", sections 5.3, 9 and 11.2.
    """
    height, width, channels = image.shape
    header = struct.pack(">2I5B", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)  # 0: no filter
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def write_questions(questions: Questions, path: Path, pictures: Path | None) -> None:
    """Write the images as .npz and, where a folder is named, as PNG files with a form for the answers.

    Args:
        questions: what is asked.
        path: the .npz file.
        pictures: a folder that is not there yet, or is empty; None for none.

    Raises:
        OutputError: if something cannot be written; then nothing is left behind.
    """
    made: list[Path] = []
    new = pictures is not None and not pictures.exists()
    try:
        if pictures is not None:
            if not new and (not pictures.is_dir() or any(pictures.iterdir())):
                raise OutputError("must be a folder that is empty, or not there yet", culprit=pictures)
            pictures.mkdir(exist_ok=True)
            for name, content in (*questions.pictures(), ("answers.csv", questions.form())):
                made.append(pictures / name)
                write_atomically(made[-1], content)
        write_atomically(path, questions.npz())
    except BaseException as error:
        for file in made:
            file.unlink(missing_ok=True)
        if new and pictures is not None and pictures.is_dir():
            pictures.rmdir()
        if isinstance(error, OSError):
            where = error.filename or path
            raise OutputError(f"cannot write it: {error.strerror or error}", culprit=os.fspath(where)) from error
        raise
