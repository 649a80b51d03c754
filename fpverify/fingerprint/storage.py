"""A fingerprint's file on disk."""

import os

from fpverify.errors import FingerprintError, OutputError
from fpverify.files import read_bounded, regular_file_size, write_atomically
from fpverify.fingerprint.content import Fingerprint
from fpverify.fingerprint.decoding import parse
from fpverify.fingerprint.encoding import MAX_BYTES, serialise


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
        raise OutputError(f"{os.fspath(path)}: cannot write the fingerprint: {error.strerror or error}") from error
    return fingerprint.sha256


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
        raise FingerprintError(f"{name}: cannot read the fingerprint: {error.strerror or error}") from error
    try:
        return parse(data)
    except FingerprintError as error:
        raise FingerprintError(f"{name}: {error}") from error


def _read(path: str | os.PathLike[str]) -> bytes:
    size = regular_file_size(path)
    if size == 0:
        raise FingerprintError(f"{os.fspath(path)}: empty: 0 bytes")
    if size > MAX_BYTES:
        raise FingerprintError(f"{os.fspath(path)}: oversized: {size} bytes, {MAX_BYTES} at most")
    # Bounded, because the file may have grown since it was measured.
    return read_bounded(path, MAX_BYTES + 1)
