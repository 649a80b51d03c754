"""Reads and writes small files of evidence: strictly, whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fpverify.errors import FingerprintError, FpverifyError, OutputError
from fpverify.files import read_bounded, write_atomically
from fpverify.fingerprint import canonical

Content = TypeVar("Content")

MAX_BYTES = 2**24
"""Largest file: a key of a commitment takes 67 bytes."""


def strict_json(data: bytes, what: str, error: type[FpverifyError]) -> Any:
    """Return the JSON of a file.

    Args:
        data: the whole file.
        what: its name, for the error.
        error: raised if it is no strict JSON in ASCII.
    """
    try:
        return canonical.loads(data.decode("ascii"), what)
    except (UnicodeDecodeError, FingerprintError) as reason:
        raise error(f"not a {what}: no strict JSON in ASCII") from reason


def load(
    path: str | os.PathLike[str],
    what: str,
    parsed: Callable[[bytes], Content],
    error: type[FpverifyError],
    most: int = MAX_BYTES,
) -> Content:
    """Return what a file holds; whatever is wrong with it names the file.

    Args:
        path: the file.
        what: its name, for errors.
        parsed: reads its bytes.
        error: raised by it, and where the file cannot be read.
        most: bytes that it may have.
    """
    try:
        return parsed(read_file(path, what, error, most))
    except error as reason:
        raise reason.about(os.fspath(path)) from reason


def read_file(path: str | os.PathLike[str], what: str, error: type[FpverifyError], most: int = MAX_BYTES) -> bytes:
    """Return the bytes of a file of at most so many; other arguments as for `load`."""
    try:
        data = read_bounded(path, most + 1)
    except (OSError, ValueError) as reason:
        problem = (isinstance(reason, OSError) and reason.strerror) or str(reason)
        raise error(f"cannot read the {what}: {problem}", culprit=os.fspath(path)) from reason
    if len(data) > most:
        raise error(f"no {what}: more than {most} bytes", culprit=os.fspath(path))
    return data


def save(
    content: bytes, path: str | os.PathLike[str], what: str, private: bool = False, inputs: Iterable[Any] = ()
) -> None:
    """Write a file, whole or not at all.

    Args:
        content: all of it.
        path: the file, in a folder that exists.
        what: its name, for the error.
        private: whether it is for its owner alone, and must be new: who lost a secret cannot prove anything any more.
        inputs: files that it must not replace: those that it is made from.

    Raises:
        OutputError: if the disk or the folder refuses, it is one of the inputs, or a private file is there already.
    """
    try:
        if not private:
            keep(path, inputs)
            write_atomically(path, content)
            return
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)
            raise
    except FileExistsError as error:
        raise OutputError(f"there is a {what} already; it is not replaced", culprit=os.fspath(path)) from error
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise OutputError(f"cannot write the {what}: {reason}", culprit=os.fspath(path)) from error


def require_writable(output: str | os.PathLike[str], inputs: Iterable[Any]) -> None:
    """Refuse an output, before long work, that cannot be written, or is one of the files that it is made from.

    Raises:
        OutputError: if it is so.
    """
    keep(output, inputs)
    folder = os.path.dirname(os.path.abspath(output))
    if os.path.isdir(output):
        raise OutputError("cannot write it: it is a folder", culprit=os.fspath(output))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        reason = "its folder cannot be written to" if os.path.isdir(folder) else "there is no such folder"
        raise OutputError(f"cannot write it: {reason}", culprit=os.fspath(output))


def keep(output: str | os.PathLike[str], inputs: Iterable[Any]) -> None:
    """Refuse an output that is one of the files that it is made from.

    Raises:
        OutputError: if it is, or no file can have this name.
    """
    try:
        there = os.stat(output)
    except FileNotFoundError:  # as a journal that is not begun yet may be
        if os.path.realpath(output) in {os.path.realpath(path) for path in inputs}:
            raise OutputError("would overwrite a file that it is made from", culprit=os.fspath(output)) from None
        return
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no file can have this name"
        raise OutputError(f"cannot write it: {reason}", culprit=os.fspath(output)) from error
    for path in inputs:
        # What cannot be read is complained about by whoever reads it.
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(there, os.stat(path)):
                raise OutputError("would overwrite a file that it is made from", culprit=os.fspath(output))
