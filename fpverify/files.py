"""Reading files whole, within a stated size, and writing them whole or not at all."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path


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


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: whoever opens the path sees the old content or the new, never a part.

    Args:
        path: the file; its folder exists.
        content: all of it.

    Raises:
        OSError: if the disk or the folder refuses; the path is as it was before, and nothing is left beside it.
    """
    target = Path(path)
    if "\0" in str(target):
        raise OSError(None, "no file can have this name", os.fspath(path))
    # In the same folder, because a rename is atomic only within one file system.
    handle, name = tempfile.mkstemp(prefix=".fpverify-", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a file for its owner alone; a result is as readable as any file that its user writes.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    # The only portable way to read it is to set it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
