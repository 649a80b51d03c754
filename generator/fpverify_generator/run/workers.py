"""Processes of this machine that work for this one: they end when it ends, however that comes about."""

import contextlib
import ctypes
import inspect
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

import joblib

from fpverify_generator.errors import WorkerError

PR_SET_PDEATHSIG = 1
"""Of `prctl(2)`: which signal a process gets when the one that started it ends."""

SECONDS = 1.0
"""How often a worker looks whether the process that started it is still there."""

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments; both can be sent to another process."""


def in_workers(calls: Sequence[Call], jobs: int) -> Generator[None, None, None]:
    """Make calls on several processes; few at a time are sent ahead, since each carries its data.

    Args:
        calls: functions and arguments.
        jobs: number of processes.

    Yields:
        Once for each call, in their order, when it has returned.

    Raises:
        WorkerError: if a process was ended from outside, which is what the system does when memory runs out.
    """
    start: dict[str, Any] = {}
    if "backend_kwargs" in inspect.signature(joblib.Parallel).parameters:  # joblib 1.5: also workers that wait for work
        start = {"initializer": end_with, "initargs": (os.getpid(),)}
    parallel = joblib.Parallel(
        n_jobs=jobs, backend="loky", return_as="generator", pre_dispatch="2*n_jobs", batch_size=1, **start
    )
    results = parallel(joblib.delayed(_call)(os.getpid(), *call) for call in calls)
    try:
        for _ in results:
            yield
    except BrokenExecutor as error:
        raise WorkerError(
            "a worker process was ended from outside, as the system does when memory runs out",
            hint="finished work stays in the cache: start the same command again, with fewer --jobs",
        ) from error
    finally:
        with warnings.catch_warnings():
            # joblib ends its workers when somebody stops in the middle, and warns of results that nobody took
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def _call(parent: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    end_with(parent)
    function(*arguments)


_ended_with: set[int] = set()
"""Whose end this process waits for."""


def end_with(parent: int) -> None:
    """Make this process end when its parent does.

    Args:
        parent: number of the process that started this one; nothing happens in any other, or in that process itself.
    """
    if parent in _ended_with or os.getpid() == parent:
        return
    _ended_with.add(parent)
    # Ctrl-C reaches all processes of a terminal: the parent decides, and its workers print nothing.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if sys.platform != "win32":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
        _end_if_alone(parent)


def _watch(parent: int) -> None:
    while True:
        _end_if_alone(parent)
        time.sleep(SECONDS)


def _end_if_alone(parent: int) -> None:
    # a process whose parent has ended is given to another one
    if os.getppid() != parent:
        os._exit(2)
