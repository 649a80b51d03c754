"""The ordinary images from which a fingerprint's keys were made, where the owner shows them.

A report then shows each key beside its image, and by how much they differ: that is measured, not stated.
"""

import json
import os

import numpy as np
from numpy.typing import NDArray

from fpverify.documents import read_file
from fpverify.errors import FingerprintError, OutputError
from fpverify.files import write_atomically
from fpverify.fingerprint import Fingerprint
from fpverify.questions import eight_bit
from fpverify.text import one_line

HEADER = 2**16
"""Bytes of such a file beside its images, at most."""


def save_starts(images: NDArray[np.uint8], fingerprint: Fingerprint, path: str | os.PathLike[str]) -> None:
    """Write the images as a safetensors file.

    Args:
        images: `(n, H, W, C)`, one for each key, in their order.
        fingerprint: whose keys they became.
        path: the file.

    Raises:
        OutputError: if it cannot be written.
    """
    from safetensors.numpy import save

    try:
        write_atomically(path, save({"images": images}, {"fingerprint": fingerprint.sha256}))
    except OSError as error:
        raise OutputError(f"cannot write it: {error.strerror or error}", culprit=os.fspath(path)) from error


def load_starts(path: str | os.PathLike[str], fingerprint: Fingerprint) -> NDArray[np.uint8]:
    """Read the images from which the keys of a fingerprint were made, `(n, H, W, C)` in the order of the keys.

    Args:
        path: what `save_starts` wrote.
        fingerprint: whose keys they became.

    Raises:
        FingerprintError: if it is no such file, or the images do not fit the fingerprint.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    keys = eight_bit(fingerprint.inputs, fingerprint.contract)
    data = read_file(path, "file of start images", FingerprintError, keys.nbytes + HEADER)
    try:
        images = load(data).get("images")
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        of = header.get("__metadata__", {}).get("fingerprint")
    except (SafetensorError, ValueError, KeyError) as error:
        raise FingerprintError(f"is no file of start images: {error}", culprit=os.fspath(path)) from error
    if of != fingerprint.sha256:
        raise FingerprintError(
            "holds start images of another fingerprint",
            culprit=os.fspath(path),
            expected=f"SHA-256 {fingerprint.sha256}",
            found=one_line(str(of), 100),
        )
    if images is None or images.dtype != np.uint8 or images.shape != keys.shape:
        found = "none" if images is None else f"{images.dtype} of shape {images.shape}"
        raise FingerprintError(
            culprit=os.fspath(path), where="images", expected=f"uint8 of shape {keys.shape}", found=found
        )
    checked: NDArray[np.uint8] = images
    return checked


def differences(images: NDArray[np.uint8], keys: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return by how many of 255 steps each value of `(n, H, W, C)` keys lies above the image's that it started from."""
    return keys.astype(np.int16) - images.astype(np.int16)


def magnified(difference: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return a difference `(H, W, C)` as an image: grey where nothing changed, and the largest change at full range."""
    most = max(1, int(np.abs(difference).max()))
    levels: NDArray[np.uint8] = np.rint(127.5 + difference * (127.5 / most)).astype(np.uint8)
    return levels
