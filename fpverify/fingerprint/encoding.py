"""A fingerprint's bytes: a safetensors file with one spelling (see `formats/fingerprint-1.md`)."""

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from fpverify.errors import FingerprintError
from fpverify.fingerprint import canonical
from fpverify.fingerprint.content import Fingerprint

FORMAT_VERSION = 1
"""The one version of the file that this release writes and reads."""

MAX_BYTES = 256 * 2**20
"""Largest file, in bytes; 100 keys of 3x224x224 take 60 MB."""

MAX_HEADER_BYTES = 16 * 2**20
"""Largest safetensors header, in bytes."""


def serialise(fingerprint: Fingerprint) -> bytes:
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
    labels, inputs = tensors(fingerprint)
    digest = content_digest(describe(fingerprint), labels, inputs)
    return b"".join([beginning(fingerprint, digest), labels, inputs])


def tensors(fingerprint: Fingerprint) -> tuple[memoryview, memoryview]:
    """Return the bytes of the labels and of the inputs, little-endian, without a copy where the machine is so."""
    labels = np.ascontiguousarray(fingerprint.labels, "<i8")
    inputs = np.ascontiguousarray(fingerprint.inputs, "<f4")
    return labels.data.cast("B"), inputs.data.cast("B")


def beginning(fingerprint: Fingerprint, digest: str) -> bytes:
    """Return the bytes before the tensors.

    Args:
        fingerprint: a valid one.
        digest: its content's, of `content_digest`.

    Returns:
        The header's length and the header.

    Raises:
        FingerprintError: if the file would be larger than a fingerprint may be.
    """
    labels, inputs = fingerprint.labels.size * 8, fingerprint.inputs.size * 4
    header = {
        "__metadata__": {"fpverify": canonical.dumps({**describe(fingerprint), "digest": digest}, "metadata")},
        "inputs": {"data_offsets": [labels, labels + inputs], "dtype": "F32", "shape": list(fingerprint.inputs.shape)},
        "labels": {"data_offsets": [0, labels], "dtype": "I64", "shape": [len(fingerprint)]},
    }
    text = canonical.dumps(header, "header").encode("ascii")
    # Spaces up to a multiple of eight, so that the tensors are aligned as safetensors recommends.
    text += b" " * (-len(text) % 8)
    size = 8 + len(text) + labels + inputs
    if len(text) > MAX_HEADER_BYTES or size > MAX_BYTES:
        limits = f"{MAX_BYTES} in all and {MAX_HEADER_BYTES} of metadata"
        raise FingerprintError(f"too large: {size} bytes, {len(text)} of them metadata; the limits are {limits}")
    return len(text).to_bytes(8, "little") + text


def describe(fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the JSON document of a fingerprint: everything but the tensors and the digest.

    Args:
        fingerprint: a valid one.

    Returns:
        JSON values (tuples stand for lists).
    """
    return {
        "format_version": FORMAT_VERSION,
        "classes": fingerprint.classes,
        "contract": asdict(fingerprint.contract),
        "source": asdict(fingerprint.source),
        "method": fingerprint.method,
        "seeds": fingerprint.seeds,
        "versions": fingerprint.versions,
        "calibration": asdict(fingerprint.calibration),
    }


def content_digest(document: dict[str, Any], labels: memoryview, inputs: memoryview) -> str:
    """Return the digest that the file holds about itself.

    Args:
        document: the metadata without its digest.
        labels: the tensor's bytes.
        inputs: the tensor's bytes.

    Returns:
        SHA-256 over the canonical JSON, the labels and the inputs, as hexadecimal digits.
    """
    content = hashlib.sha256(canonical.dumps(document, "metadata").encode("ascii"))
    content.update(labels)
    content.update(inputs)
    return content.hexdigest()
