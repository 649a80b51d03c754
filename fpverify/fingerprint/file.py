"""A fingerprint's file: reading it, which accepts exactly the bytes that `serialise` writes, and writing it."""

import hashlib
import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fpverify.errors import FingerprintError, OutputError
from fpverify.files import read_bounded, regular_file_size, write_atomically
from fpverify.fingerprint import canonical
from fpverify.fingerprint.encoding import (
    EIGHT_BIT,
    FORMAT_VERSIONS,
    IMAGES,
    MAX_BYTES,
    MAX_HEADER_BYTES,
    beginning,
    check_values,
    content_digest,
    from_levels,
    serialise,
    tensors,
)
from fpverify.fingerprint.model import (
    Backing,
    Calibration,
    Controls,
    Fingerprint,
    HeldOut,
    InputContract,
    SourceIdentity,
)
from fpverify.text import one_line
from fpverify.version import __version__

PLAIN: dict[str, tuple[str, ...]] = {"inputs": ("F32",), "labels": ("I64",)}
BACKING: dict[str, tuple[str, ...]] = {"answers": ("I16",), "control_labels": ("I64",)}
DTYPES: dict[int, dict[str, tuple[str, ...]]] = {
    1: PLAIN,
    2: PLAIN | BACKING | {"control_inputs": ("F32",)},
    3: PLAIN | BACKING | {"inputs": IMAGES, "control_inputs": IMAGES},
}
"""Of each version and tensor: its types as safetensors names them."""

NUMPY = {"F32": "<f4", "I16": "<i2", "I64": "<i8", "U8": "|u1"}
"""The same types as NumPy names them."""

COMMON = {"format_version", "classes", "contract", "source", "method", "seeds", "versions", "calibration", "digest"}
BACKED = COMMON | {"models", "controls"}
KEYS = {1: COMMON, 2: BACKED, 3: BACKED}
"""What the metadata of each version holds, no more and no less."""


@dataclass(frozen=True)
class Header:
    """The first part of a safetensors file."""

    document: dict[str, Any]
    """The fingerprint's metadata, of a version that can be read."""
    tensors: dict[str, Any]
    """What the file says of each tensor, unchecked."""


def parse(data: bytes) -> Fingerprint:
    """Read a fingerprint.

    Args:
        data: a whole file.

    Returns:
        The fingerprint, every part of it checked.

    Raises:
        FingerprintError: if the bytes are not exactly what `serialise` writes for some fingerprint.
    """
    header = read_header(data)
    version = header.document["format_version"]
    arrays = _arrays(data, header.tensors, version)
    if set(header.document) != KEYS[version]:
        raise FingerprintError(_wrong_keys("metadata", set(header.document), KEYS[version]))
    document = {name: value for name, value in header.document.items() if name != "digest"}
    # Built before the digest is compared: the most specific complaint is the most useful one.
    fingerprint = _fingerprint(document, arrays)
    claimed = header.document["digest"]
    fingerprint.__dict__["format_version"] = version  # what is read again must have the same bytes
    stored = tensors(fingerprint)
    if version == EIGHT_BIT and not any(tensor.dtype == "U8" for tensor in stored):
        raise FingerprintError(f"not in canonical form: version {version} holds 8-bit images in [0, 1]")
    found = content_digest(document, stored)
    if claimed != found:
        raise FingerprintError(f"altered: its content has the digest {found}, but it says {claimed!r:.100}")
    # With the same header, and nothing after the tensors, the tensors lie where `serialise` puts them.
    first = beginning(fingerprint, stored, found)
    if not data.startswith(first) or len(data) != len(first) + sum(tensor.data.nbytes for tensor in stored):
        raise FingerprintError("not in canonical form: the same content has other bytes than its format prescribes")
    fingerprint.__dict__["sha256"] = hashlib.sha256(data).hexdigest()  # what the cached property would find
    return fingerprint


def read_header(data: bytes) -> Header:
    """Read what comes before the tensors.

    Args:
        data: a whole file.

    Returns:
        The header.

    Raises:
        FingerprintError: if it is no safetensors header, holds no fingerprint, or one of another version.
    """
    if len(data) < 8:
        raise FingerprintError(f"truncated: {len(data)} bytes, where a header's length alone takes 8")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise FingerprintError(f"not a fingerprint: its header would take {length} bytes, {MAX_HEADER_BYTES} at most")
    if len(data) < 8 + length:
        raise FingerprintError(f"truncated: {len(data)} bytes, where the header alone takes {8 + length}")
    try:
        text = data[8 : 8 + length].decode("ascii")
    except UnicodeDecodeError as error:
        raise FingerprintError("not a fingerprint: its header is not ASCII text") from error
    tensors = canonical.loads(text, "header")
    metadata = tensors.pop("__metadata__", None) if isinstance(tensors, dict) else None
    if not isinstance(metadata, dict) or set(metadata) != {"fpverify"} or not isinstance(metadata["fpverify"], str):
        raise FingerprintError("not a fingerprint: a safetensors file without the one metadata entry 'fpverify'")
    document = canonical.loads(metadata["fpverify"], "metadata")
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is not int or version not in FORMAT_VERSIONS:
        reads = f"fpverify {__version__} reads versions {FORMAT_VERSIONS[0]} to {FORMAT_VERSIONS[-1]}"
        raise FingerprintError(f"unknown format version {version!r:.100}; {reads}")
    return Header(document, tensors)


def _arrays(data: bytes, tensors: dict[str, Any], version: int) -> dict[str, Any]:
    # Imported where it is used: `fpverify --help` needs no tensors.
    from safetensors import SafetensorError, deserialize

    dtypes = DTYPES[version]
    if set(tensors) != set(dtypes):
        raise FingerprintError(_wrong_keys("tensors", set(tensors), set(dtypes)))
    types: dict[str, Any] = {
        name: tensors[name].get("dtype") if isinstance(tensors[name], dict) else None for name in dtypes
    }
    for name, expected in dtypes.items():
        if types[name] not in expected:
            raise FingerprintError(f"{name} must have the type {' or '.join(expected)}", found=f"{types[name]!r:.100}")
    reader: Any = deserialize  # it has no types in every release
    try:
        views = dict(reader(data))
    except SafetensorError as error:
        raise FingerprintError(
            f"truncated or damaged: the tensors do not fill the file ({one_line(str(error), 200)})"
        ) from error
    arrays = {
        name: np.frombuffer(view["data"], dtype=NUMPY[types[name]]).reshape(view["shape"])
        for name, view in views.items()
    }
    check_values(sum(arrays[name].size for name, dtype in types.items() if dtype in IMAGES))
    return {name: from_levels(array) if array.dtype == np.uint8 else array for name, array in arrays.items()}


def _fingerprint(document: dict[str, Any], arrays: dict[str, Any]) -> Fingerprint:
    plain = {name: document[name] for name in ("classes", "method", "seeds", "versions")}
    backing = None
    if document["format_version"] > 1:
        models, controls = document["models"], document["controls"]
        if not isinstance(models, list):
            raise FingerprintError(where="models", expected="a list", found=f"{models!r:.100}")
        if not isinstance(controls, dict) or set(controls) != {"source_accuracy"}:
            raise FingerprintError("controls must hold exactly source_accuracy")
        backing = Backing(
            tuple(_part(HeldOut, model, "models") for model in models),
            arrays["answers"],
            Controls(arrays["control_inputs"], arrays["control_labels"], controls["source_accuracy"]),
        )
    return Fingerprint(
        inputs=arrays["inputs"],
        labels=arrays["labels"],
        backing=backing,
        **plain,
        contract=_part(InputContract, document["contract"], "contract"),
        source=_part(SourceIdentity, document["source"], "source"),
        calibration=_part(Calibration, document["calibration"], "calibration"),
    )


def _part(kind: type[Any], value: Any, where: str) -> Any:
    names = {field.name for field in fields(kind)}
    if not isinstance(value, dict) or set(value) != names:
        raise FingerprintError(_wrong_keys(where, set(value) if isinstance(value, dict) else set(), names))
    return kind(**value)


def _wrong_keys(where: str, found: set[str], expected: set[str]) -> str:
    missing, extra = sorted(expected - found), sorted(found - expected)
    return f"{where} must hold exactly {sorted(expected)}; missing {missing}, unknown {extra!r:.100}"


def save_fingerprint(fingerprint: Fingerprint, path: str | os.PathLike[str]) -> str:
    """Write a fingerprint, whole or not at all.

    Args:
        fingerprint: what to write.
        path: the file, in a folder that exists; one that is there is replaced.

    Returns:
        The file's SHA-256, as hexadecimal digits.

    Raises:
        OutputError: if the disk or the folder refuses; the path is then as it was before.
        FingerprintError: if the fingerprint is larger than one may be.
    """
    content = serialise(fingerprint)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OutputError(
            f"cannot write the fingerprint: {error.strerror or error}", culprit=os.fspath(path)
        ) from error
    return hashlib.sha256(content).hexdigest()


def load_fingerprint(path: str | os.PathLike[str]) -> Fingerprint:
    """Read a fingerprint and check all of it.

    Args:
        path: the file.

    Returns:
        The fingerprint.

    Raises:
        FingerprintError: if the file cannot be read, or is not exactly what `save_fingerprint` writes.
    """
    name = os.fspath(path)
    try:
        data = _read(path)
    except OSError as error:
        raise FingerprintError(f"cannot read the fingerprint: {error.strerror or error}", culprit=name) from error
    try:
        return parse(data)
    except FingerprintError as error:
        raise error.about(name) from error


def _read(path: str | os.PathLike[str]) -> bytes:
    size = regular_file_size(path)
    if size == 0:
        raise FingerprintError("empty: 0 bytes", culprit=os.fspath(path))
    if size > MAX_BYTES:
        raise FingerprintError(f"oversized: {size} bytes, {MAX_BYTES} at most", culprit=os.fspath(path))
    # Bounded, because the file may have grown since it was measured.
    return read_bounded(path, MAX_BYTES + 1)
