"""Reading files whole, within a stated size, and writing them whole or not at all."""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags with which to open a file: opening a pipe in its place returns at once. Windows has neither."""


def regular_file_size(path: str | os.PathLike[str]) -> int:
    """Return a regular file's size in bytes.

    Args:
        path: the file.

    Returns:
        The size.

    Raises:
        OSError: if there is none, or it is a folder, a pipe or a device: opening those could block for ever.
    """
    try:
        status = os.stat(path)
    except ValueError as error:
        raise OSError(None, "no file can have this name", os.fspath(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "is not a regular file", os.fspath(path))
    return status.st_size


def write_atomically(path: str | os.PathLike[str], content: bytes | Iterable[bytes]) -> None:
    """Write a file whole or not at all: whoever opens the path sees the old content or the new, never a part.

    A link is followed. What is there and is no regular file, such as a device or a pipe, is written into.

    Args:
        path: the file; its folder exists.
        content: all of it, or its parts, each of which is made when those before it are written.

    Raises:
        OSError: if the disk or the folder refuses; the path is as it was before, and nothing is left beside it.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(path).st_mode):
                _write_into(path, content)
                return
        target = Path(os.path.realpath(path))
    except ValueError as error:
        raise OSError(None, "no file can have this name", os.fspath(path)) from error
    with _beside(target, content) as name:
        os.replace(name, target)


def write_new(path: str | os.PathLike[str], content: bytes | Iterable[bytes]) -> bool:
    """Write a file that is not there yet, whole or not at all.

    Args:
        path: the file; its folder exists.
        content: as for `write_atomically`.

    Returns:
        Whether it was written; False where there is one, which stays as it is.

    Raises:
        OSError: if the disk or the folder refuses; nothing is left behind.
    """
    target = Path(path)
    with _beside(target, content) as name:
        try:
            os.link(name, target)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if target.exists():
                return False
            os.replace(name, target)
    return True


@contextlib.contextmanager
def _beside(target: Path, content: bytes | Iterable[bytes]) -> Iterator[str]:
    """Write content beside a file, since a rename is atomic only within one file system; at the end it is gone."""
    handle, name = tempfile.mkstemp(prefix=".fpverify-", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(_parts(content))
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a file for its owner alone; a result is as readable as any file that its user writes.
        os.chmod(name, 0o666 & ~_umask())
        yield name
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _parts(content: bytes | Iterable[bytes]) -> Iterable[bytes]:
    return [content] if isinstance(content, bytes) else content


def _write_into(path: str | os.PathLike[str], content: bytes | Iterable[bytes]) -> None:
    # Opened without waiting, so that a pipe without a reader is an error; written with waiting, as any file.
    handle = os.open(path, os.O_WRONLY | NO_WAITING)
    with os.fdopen(handle, "wb") as file:
        if NO_WAITING:
            os.set_blocking(handle, True)
        file.writelines(_parts(content))


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read a regular file that is expected to be small.

    Args:
        path: the file.
        limit: the most bytes to return.

    Returns:
        Its content; one byte more than it had when it was opened, at most, if it grows, and never more than the limit.

    Raises:
        OSError: if there is none, or it is no regular file, even if it became another since it was looked at.
    """
    handle = os.open(path, os.O_RDONLY | NO_WAITING | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "is not a regular file", os.fspath(path))
        return file.read(min(status.st_size + 1, limit))


def _umask() -> int:
    # The only portable way to read it is to set it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sha256_of(path: str | os.PathLike[str]) -> str | None:
    """Return SHA-256 of a regular file as hexadecimal digits; None if there is none that can be read."""
    try:
        regular_file_size(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
