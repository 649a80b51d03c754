"""Finished work on disk, keyed by a digest of everything it depends on: a killed run resumes where it was.

An entry is one safetensors file. Its metadata hold a SHA-256 of the key and of the whole file, which is checked each
time the entry is read: an entry that is damaged, renamed or of an older version is made again.
"""

import contextlib
import hashlib
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from fpverify.files import regular_file_size, write_atomically
from fpverify_generator.errors import CacheError


@runtime_checkable
class Digested(Protocol):
    """Something large that knows the digest of its content."""

    @property
    def content_digest(self) -> str:
        """Return it."""


def digest(*parts: object) -> str:
    """Return one SHA-256 for everything that a piece of work depends on.

    Args:
        parts: tensors count with their bytes, networks with their layers' `repr` and their bytes, what is `Digested`
            with its digest, everything else with its `repr`; PyTorch's version and thread count are always counted:
            both can change a result's last bits.

    Returns:
        64 hexadecimal digits.
    """
    total = hashlib.sha256(f"{torch.__version__} {torch.get_num_threads()}".encode())
    for part in parts:
        if isinstance(part, torch.Tensor):
            total.update(_content(part).encode())
        elif isinstance(part, nn.Module):
            total.update(repr(part).encode())
            for name, value in part.state_dict().items():
                total.update(f"{name}{digest(value)}".encode())
        elif isinstance(part, Digested):
            total.update(part.content_digest.encode())
        else:
            total.update(f"{type(part).__name__}{part!r}".encode())
    return total.hexdigest()


_SEEN: dict[int, tuple[weakref.ref[torch.Tensor], int, str]] = {}
"""Digests of large tensors by identity: a data set is part of hundreds of keys."""

LARGE = 2**20
"""Elements from which a tensor's digest is kept."""


def _content(tensor: torch.Tensor) -> str:
    """Return the digest of a tensor's type, shape and bytes."""
    seen = _SEEN.get(id(tensor))
    if seen is not None and seen[0]() is tensor and seen[1] == tensor._version:
        return seen[2]
    found = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    found.update(tensor.detach().cpu().contiguous().numpy().data)
    if tensor.numel() >= LARGE:
        _SEEN[id(tensor)] = (weakref.ref(tensor), tensor._version, found.hexdigest())
    return found.hexdigest()


MARK = b'"sha256":"'
"""What stands before the digest in an entry's header; JSON escapes quotes, so no name in it can contain this."""

BLANK = b"0" * 64
"""Stands in the digest's place while the file is digested."""


def _seal(key: str, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return an entry's bytes, with their digest among them."""
    content = bytearray(save(dict(tensors), {"sha256": BLANK.decode()}))
    start = content.index(MARK) + len(MARK)
    content[start : start + len(BLANK)] = hashlib.sha256(key.encode() + content).hexdigest().encode()
    return bytes(content)


def _is_sealed(key: str, content: bytes) -> bool:
    """Say whether an entry is, byte for byte, what was written under this key."""
    start = content.find(MARK) + len(MARK)
    if start < len(MARK):
        return False
    view = memoryview(content)
    found = hashlib.sha256(key.encode())
    for part in (view[:start], BLANK, view[start + len(BLANK) :]):
        found.update(part)
    return found.hexdigest().encode() == content[start : start + len(BLANK)]


class Cache:
    """A folder of finished tensors, one file per piece of work, each written whole or not at all."""

    def __init__(self, folder: Path, worker: bool = False) -> None:
        """Open or make the folder, and remove what a killed run left half-written.

        Args:
            folder: where finished work lands.
            worker: whether this process works for another one that has opened the folder; it removes nothing.

        Raises:
            CacheError: if it cannot be made.
        """
        self.folder = folder
        self.reused = 0
        """How many pieces of work this run found finished."""
        self.made = 0
        """How many it made."""
        self.damaged: set[str] = set()
        """Keys of entries that this run found and did not use, because their digest is wrong or missing."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(
                f"cannot make the cache folder ({error.strerror})", culprit=folder, hint="try --cache"
            ) from error
        lock = None if worker else _clean(folder)
        if lock is not None:
            weakref.finalize(self, os.close, lock)

    def holds(self, key: str) -> bool:
        """Say whether work under this key was finished, and is as it was written."""
        return self._content(key) is not None

    def drop(self, key: str) -> None:
        """Forget finished work: what it left elsewhere is gone."""
        self._path(key).unlink(missing_ok=True)

    def read(self, key: str) -> dict[str, torch.Tensor] | None:
        """Return finished work, or None if there is none that is as it was written."""
        content = self._content(key)
        if content is None:
            return None
        try:
            found: dict[str, torch.Tensor] = load(content)
        except SafetensorError:
            self.damaged.add(key)
            return None
        return found

    def _content(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            regular_file_size(path)
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            content = b""
        if not _is_sealed(key, content):
            self.damaged.add(key)
            return None
        return content

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Return the work under this key, made now if it was not finished before.

        Args:
            key: a `digest` of all that the work depends on.
            make: does the work, returns tensors by name. If it has a method `fits`, a finished result counts only where
                that says so of its tensors.

        Raises:
            CacheError: if the result cannot be written (a full disk, say); what was there stays.
        """
        found = self.read(key)
        if found is not None and fits(make, found):
            self.reused += 1
            return found
        if found is not None:
            self.damaged.add(key)
        made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        path = self._path(key)
        try:
            if not path.is_file() and not path.is_dir():  # a pipe or a device there would be written into
                path.unlink(missing_ok=True)
            write_atomically(path, _seal(key, made))
        except OSError as error:
            raise CacheError(
                f"cannot write ({error.strerror})", culprit=path, hint="free some space or try --cache"
            ) from error
        self.made += 1
        return made


def fits(make: object, found: Mapping[str, torch.Tensor]) -> bool:
    """Say whether a finished result has the tensors that this piece of work makes, as far as the piece can tell."""
    check = getattr(make, "fits", None)
    return check is None or bool(check(found))


def _clean(folder: Path) -> int | None:
    """Remove half-written files, unless another run works in the folder.

    Returns:
        A descriptor that holds the folder's lock while this run works in it, and that a killed run loses; None where
        the system has no such lock, and then nothing is removed.
    """
    try:
        import fcntl

        lock = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.glob(".fpverify-*.part"):
                with contextlib.suppress(OSError):
                    path.unlink()
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # the file system knows no locks, or another run is cleaning at this moment
        os.close(lock)
        return None
    return lock
