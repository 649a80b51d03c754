"""A fingerprint's bytes: a safetensors file with one spelling (see `formats/fingerprint-3.md`)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import FingerprintError
from fpverify.fingerprint import canonical

if TYPE_CHECKING:
    from fpverify.fingerprint.model import Fingerprint, InputContract

FORMAT_VERSIONS = (1, 2, 3)
"""The versions of the file that this release writes and reads; what a fingerprint holds decides which it is."""

MAX_BYTES = 256 * 2**20
"""Largest file, in bytes; 100 keys of 3x224x224 take 60 MB, or 15 MB as 8-bit images."""

MAX_VALUES = 2**27
"""Most values of all images, whatever a file takes for each: as float32 they take 512 MiB."""

IMAGES = ("F32", "U8")
"""Types that keys and controls may have, and nothing else has."""

EIGHT_BIT = 3
"""The version from which on 8-bit images take one byte a value."""

MAX_HEADER_BYTES = 16 * 2**20
"""Largest safetensors header, in bytes."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file."""

    name: str
    """Its name."""
    dtype: str
    """Its type, as safetensors names it."""
    shape: tuple[int, ...]
    """Its sizes."""
    data: memoryview
    """Its bytes, little-endian, the last axis fastest."""


def serialise(fingerprint: "Fingerprint") -> bytes:
    """Return the fingerprint's bytes; the same content always gives the same.

    The file is written here and not by the safetensors package, whose header's order and padding are its own affair
    and may change between releases.

    Args:
        fingerprint: a valid one.

    Returns:
        A safetensors file.

    Raises:
        FingerprintError: if it would be larger than a fingerprint may be.
    """
    stored = tensors(fingerprint)
    digest = content_digest(describe(fingerprint), stored)
    return b"".join([beginning(fingerprint, stored, digest), *(tensor.data for tensor in stored)])


def tensors(fingerprint: "Fingerprint") -> list[Tensor]:
    """Return the tensors in the order of the file, without a copy where the machine is little-endian."""
    whole = fingerprint.format_version >= EIGHT_BIT

    def images(name: str, values: NDArray[np.float32]) -> tuple[str, str, str, Any]:
        found = as_bytes(values, fingerprint.contract) if whole else None
        return (name, "F32", "<f4", values) if found is None else (name, "U8", "|u1", found)

    arrays: list[tuple[str, str, str, Any]] = [
        ("labels", "I64", "<i8", fingerprint.labels),
        images("inputs", fingerprint.inputs),
    ]
    if fingerprint.backing is not None:
        controls = fingerprint.backing.controls
        arrays += [
            ("control_labels", "I64", "<i8", controls.labels),
            images("control_inputs", controls.inputs),
            ("answers", "I16", "<i2", fingerprint.backing.answers),
        ]
    return [
        Tensor(name, dtype, array.shape, np.ascontiguousarray(array, kind).reshape(-1).view(np.uint8).data)
        for name, dtype, kind, array in arrays
    ]


def check_values(count: int) -> None:
    """Refuse images that would take too much memory.

    Args:
        count: of all their values.

    Raises:
        FingerprintError: if there are more than `MAX_VALUES`.
    """
    if count > MAX_VALUES:
        raise FingerprintError(f"too large: its images hold {count} values, {MAX_VALUES} at most")


def as_bytes(images: NDArray[np.float32], contract: "InputContract") -> NDArray[np.uint8] | None:
    """Return what a file of version 3 stores of images: `levels` of them, where the contract's range is [0, 1]."""
    return levels(images) if (contract.low, contract.high) == (0, 1) else None


def levels(images: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Return 8-bit images as bytes.

    Args:
        images: `(n, C, H, W)`.

    Returns:
        The same shape, of which `from_levels` makes the same images; None if there are none.
    """
    if images.min() < 0 or images.max() > 1:
        return None
    found = np.empty(images.shape, np.uint8)
    for one, into in zip(images, found, strict=True):  # one by one: all at once would take four times their memory
        into[...] = np.rint(one * np.float32(255))
        if not np.array_equal(from_levels(into), one):
            return None
    return found


def from_levels(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images in [0, 1]: each byte as float32, divided by 255 in single precision."""
    images: NDArray[np.float32] = stored.astype(np.float32)
    images /= np.float32(255)
    return images


def beginning(fingerprint: "Fingerprint", stored: Sequence[Tensor], digest: str) -> bytes:
    """Return the bytes before the tensors.

    Args:
        fingerprint: a valid one.
        stored: its tensors.
        digest: its content's, of `content_digest`.

    Returns:
        The header's length and the header.

    Raises:
        FingerprintError: if the file would be larger than a fingerprint may be.
    """
    document = canonical.dumps({**describe(fingerprint), "digest": digest}, "metadata")
    header: dict[str, Any] = {"__metadata__": {"fpverify": document}}
    total = 0
    for tensor in stored:
        end = total + tensor.data.nbytes
        header[tensor.name] = {"data_offsets": [total, end], "dtype": tensor.dtype, "shape": list(tensor.shape)}
        total = end
    check_values(sum(math.prod(tensor.shape) for tensor in stored if tensor.dtype in IMAGES))
    text = canonical.dumps(header, "header").encode("ascii")
    # Spaces up to a multiple of eight, so that the tensors are aligned as safetensors recommends.
    text += b" " * (-len(text) % 8)
    size = 8 + len(text) + total
    if len(text) > MAX_HEADER_BYTES or size > MAX_BYTES:
        limits = f"{MAX_BYTES} in all and {MAX_HEADER_BYTES} of metadata"
        raise FingerprintError(f"too large: {size} bytes, {len(text)} of them metadata; the limits are {limits}")
    return len(text).to_bytes(8, "little") + text


def describe(fingerprint: "Fingerprint") -> dict[str, Any]:
    """Return the JSON document of a fingerprint: everything but the tensors and the digest.

    Args:
        fingerprint: a valid one.

    Returns:
        JSON values (tuples stand for lists).
    """
    document = {
        "format_version": fingerprint.format_version,
        "classes": fingerprint.classes,
        "contract": asdict(fingerprint.contract),
        "source": asdict(fingerprint.source),
        "method": fingerprint.method,
        "seeds": fingerprint.seeds,
        "versions": fingerprint.versions,
        "calibration": asdict(fingerprint.calibration),
    }
    if fingerprint.backing is not None:
        document["models"] = [asdict(model) for model in fingerprint.backing.models]
        document["controls"] = {"source_accuracy": fingerprint.backing.controls.source_accuracy}
    return document


def content_digest(document: dict[str, Any], stored: Sequence[Tensor]) -> str:
    """Return the digest that the file holds about itself.

    Args:
        document: the metadata without its digest.
        stored: the tensors.

    Returns:
        SHA-256 over the canonical JSON and the tensors' bytes in the order of the file, as hexadecimal digits.
    """
    content = hashlib.sha256(canonical.dumps(document, "metadata").encode("ascii"))
    for tensor in stored:
        content.update(tensor.data)
    return content.hexdigest()
