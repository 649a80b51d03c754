"""Finished work on disk, keyed by a digest of everything it depends on: a killed run resumes where it was."""

import hashlib
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from fpverify.files import write_atomically
from fpverify_generator.errors import CacheError

Part = str | int | float | torch.Tensor | nn.Module | tuple[object, ...]


def digest(*parts: object) -> str:
    """Return one SHA-256 for everything that a piece of work depends on.

    Args:
        parts: tensors count with their bytes, networks with their layers' `repr` and their bytes, everything else with
            its `repr`; PyTorch's version and thread count are always counted: both can change a result's last bits.

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


class Cache:
    """A folder of finished tensors, one file per piece of work, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Open or make the folder.

        Raises:
            CacheError: if it cannot be made.
        """
        self.folder = folder
        self.reused = 0
        """How many pieces of work this run found finished."""
        self.made = 0
        """How many it made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"{folder}: cannot make the cache folder ({error.strerror}); try --cache") from error

    def holds(self, key: str) -> bool:
        """Say whether work under this key was finished."""
        return self._path(key).is_file()

    def drop(self, key: str) -> None:
        """Forget finished work: what it left elsewhere is gone."""
        self._path(key).unlink(missing_ok=True)

    def read(self, key: str) -> dict[str, torch.Tensor] | None:
        """Return finished work, or None if there is none; an unreadable file is work to do again."""
        try:
            found: dict[str, torch.Tensor] = load(self._path(key).read_bytes())
        except (OSError, SafetensorError):
            return None
        return found

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def get(self, key: str, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Return the work under this key, made now if it was not finished before.

        Args:
            key: a `digest` of all that the work depends on.
            make: does the work, returns tensors by name.

        Raises:
            CacheError: if the result cannot be written (a full disk, say); what was there stays.
        """
        found = self.read(key)
        if found is not None:
            self.reused += 1
            return found
        made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        path = self._path(key)
        try:
            write_atomically(path, save(made))
        except OSError as error:
            raise CacheError(f"{path}: cannot write ({error.strerror}); free some space or try --cache") from error
        self.made += 1
        return made
