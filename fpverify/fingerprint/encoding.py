"""A fingerprint's bytes: a safetensors file with one spelling (see `formats/fingerprint-1.md`)."""

import hashlib
from dataclasses import asdict
from typing import Any

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
    labels = fingerprint.labels.astype("<i8").tobytes()
    inputs = fingerprint.inputs.astype("<f4").tobytes()
    document = describe(fingerprint)
    document["digest"] = content_digest(document, labels, inputs)
    header = {
        "__metadata__": {"fpverify": canonical.dumps(document, "metadata")},
        "inputs": {
            "data_offsets": [len(labels), len(labels) + len(inputs)],
            "dtype": "F32",
            "shape": list(fingerprint.inputs.shape),
        },
        "labels": {"data_offsets": [0, len(labels)], "dtype": "I64", "shape": [len(fingerprint)]},
    }
    text = canonical.dumps(header, "header").encode("ascii")
    # Spaces up to a multiple of eight, so that the tensors are aligned as safetensors recommends.
    text += b" " * (-len(text) % 8)
    size = 8 + len(text) + len(labels) + len(inputs)
    if len(text) > MAX_HEADER_BYTES or size > MAX_BYTES:
        limits = f"{MAX_BYTES} in all and {MAX_HEADER_BYTES} of metadata"
        raise FingerprintError(f"too large: {size} bytes, {len(text)} of them metadata; the limits are {limits}")
    return b"".join([len(text).to_bytes(8, "little"), text, labels, inputs])


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


def content_digest(document: dict[str, Any], labels: bytes, inputs: bytes) -> str:
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
