"""A fingerprint's bytes: a safetensors file with one spelling (see `formats/fingerprint-2.md`)."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpverify.errors import FingerprintError
from fpverify.fingerprint import canonical

if TYPE_CHECKING:
    from fpverify.fingerprint.model import Fingerprint

FORMAT_VERSIONS = (1, 2)
"""The versions of the file that this release writes and reads; what a fingerprint holds decides which it is."""

MAX_BYTES = 256 * 2**20
"""Largest file, in bytes; 100 keys of 3x224x224 take 60 MB."""

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
    arrays: list[tuple[str, str, str, Any]] = [
        ("labels", "I64", "<i8", fingerprint.labels),
        ("inputs", "F32", "<f4", fingerprint.inputs),
    ]
    if fingerprint.backing is not None:
        controls = fingerprint.backing.controls
        arrays += [
            ("control_labels", "I64", "<i8", controls.labels),
            ("control_inputs", "F32", "<f4", controls.inputs),
            ("answers", "I16", "<i2", fingerprint.backing.answers),
        ]
    return [
        Tensor(name, dtype, array.shape, np.ascontiguousarray(array, kind).reshape(-1).view(np.uint8).data)
        for name, dtype, kind, array in arrays
    ]


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
