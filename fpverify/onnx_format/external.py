"""Files beside a model that hold its weights: which may be read, and what they are.

A location is the suspect's author's choice. ONNX Runtime opens it in the child; everything that could lead out of the
model's folder is refused here first.
"""

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

from fpverify.errors import SuspectError
from fpverify.onnx_format.wrong_files import data_is
from fpverify.text import one_line

MAX_FILES = 10_000
"""Files that one model may read."""

PART = 2**22
"""Bytes that are hashed between two looks at the clock."""

IN_MEMORY = "*/_ORT_MEM_ADDR_/*"
"""What ONNX Runtime takes for an address in its own memory instead of a file's name."""


def external_files(model: str, locations: Sequence[str]) -> dict[str, str]:
    """Check the locations of external data.

    Args:
        model: the model's path.
        locations: as its file has them.

    Returns:
        The path of each location.

    Raises:
        SuspectError: if one is absolute or has `..`, is or passes through a link, is missing or no regular file, or
            has a second name (a hard link), so that it may be a file from elsewhere. Where the model itself is a link,
            as in the cache of Hugging Face, a link to a file beside the real model is followed.
    """
    if len(locations) > MAX_FILES:
        raise SuspectError(f"reads {len(locations)} files, at most {MAX_FILES} are allowed", culprit=model)
    folder = os.path.dirname(os.path.abspath(model))
    return {location: _checked(model, folder, location) for location in locations}


def digest_of(path: str, until: float) -> str | None:
    """Return a file's SHA-256, unless that takes too long: a file with holes can claim terabytes and take no disk.

    Args:
        path: the file.
        until: when to give up, as `time.monotonic` counts.

    Returns:
        Hexadecimal digits, or None if the time was up.

    Raises:
        OSError: if it cannot be read.
    """
    content = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while part := file.read(PART):
            content.update(part)
            if time.monotonic() > until:
                return None
    return content.hexdigest()


def _checked(model: str, folder: str, location: str) -> str:
    where = f"{model}: its external data {one_line(location, 120)!r}"
    pure, windows = PurePosixPath(location), PureWindowsPath(location)
    parts = windows.parts
    if not parts or "\0" in location or location == IN_MEMORY:
        raise SuspectError(f"{where} is no file's name")
    if pure.is_absolute() or windows.is_absolute() or windows.drive or windows.root or ".." in parts:
        raise SuspectError(f"{where} lies outside the model's folder", hint="only files beside the model are read")
    path = folder
    for part in PurePosixPath(location).parts:
        path = os.path.join(path, part)
        try:
            status = os.lstat(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
            raise SuspectError(f"{where} cannot be read: {reason}") from error
        if stat.S_ISLNK(status.st_mode):
            real, beside = os.path.realpath(path), os.path.dirname(os.path.realpath(model))
            if beside == os.path.realpath(folder) or os.path.dirname(real) != beside:
                raise SuspectError(
                    f"{where} is a link, which can lead out of the model's folder",
                    hint="judge a copy of the folder with the files in the links' places (cp -L -r)",
                )
            path, status = real, os.lstat(real)
    if not stat.S_ISREG(status.st_mode):
        raise SuspectError(f"{where} is not a regular file")
    if status.st_nlink > 1:
        raise SuspectError(
            f"{where} has {status.st_nlink} names (hard links), so it may be a file from elsewhere", hint="copy it"
        )
    if (what := data_is(path)) is not None:
        raise SuspectError(f"{where} is {what}")
    return path
