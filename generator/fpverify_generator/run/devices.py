"""Which GPU a process works on: where a machine has several, each process has one of its own."""

import contextlib
import itertools
import os
import sys
from pathlib import Path

import torch

_taken: list[int] = []
"""Open lock files of this process; the system unlocks them when it ends, however that comes about."""


def default_jobs(device: str, cores: int) -> int:
    """Return how many processes work at the same time: one a core, or one a GPU.

    Args:
        device: `cpu` or `cuda`.
        cores: of this machine.
    """
    return max(1, torch.cuda.device_count()) if device == "cuda" else cores


def take_gpu(folder: Path) -> None:
    """Let this process work on a GPU that no other process has; where all are taken, on one that few have.

    A process that has one already, or sees only one, stays as it is: a worker of a cluster that hands out GPUs, say.

    Args:
        folder: of lock files, named by the UUID of each GPU; it is made.
    """
    count = torch.cuda.device_count()
    if _taken or count < 2:
        return
    if sys.platform == "win32":
        torch.cuda.set_device(os.getpid() % count)
        return
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    uuids = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
    for turn in itertools.count():
        for number, uuid in enumerate(uuids):
            handle = os.open(folder / f"{uuid}-{turn}", os.O_RDWR | os.O_CREAT, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _taken.append(handle)
                torch.cuda.set_device(number)
                return
            os.close(handle)
