"""Starts the suspect's process: what it inherits, and where it works.

The process imports ONNX Runtime at once, which takes a tenth of a second. `prepare` starts one before it is known
whether it will be needed; so this module imports little.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from fpverify.sandbox.copies import Copies, make_copies

CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
"""The script that the process runs."""

PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "CUDA_PATH", "CUDA_VISIBLE_DEVICES")
"""What the child's environment takes from ours: where libraries are, and nothing that could be a secret."""

FIXED = {
    # A device cannot hold a folder, so no file is left in a home or a temporary folder.
    "HOME": os.devnull,
    "TMPDIR": os.devnull,
    "LANG": "C.UTF-8",
    "PATH": "",
    # NumPy's own threads have nothing to do in the child, and each would reserve address space.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # ONNX Runtime's own packages since 1.29 report each model to their maker, unless told not to before they start.
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
}
"""The rest of the child's environment."""


class Child(subprocess.Popen[bytes]):
    """A suspect's process."""

    copies: Copies | None
    """Where private copies of its files go; None where the system has no such place."""


_prepared: list[Child] = []


def prepare() -> None:
    """Start a process for the suspect that is about to come; it ends with this one if none does."""
    with contextlib.suppress(OSError):  # `take` raises the same error
        _prepared.append(_start())
        atexit.register(_clear)


def take() -> Child:
    """Return the process that was prepared, or start one.

    Raises:
        OSError: if none can be started.
    """
    return _prepared.pop() if _prepared else _start()


def kill(process: Child) -> None:
    """Kill a process and its group: it leads a session of its own."""
    if process.returncode is not None:
        return  # its number may be another's by now
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def has_ended(process: Child, seconds: float) -> bool:
    """Wait for a process, but leave its number to it, so that its group can still be killed.

    Args:
        process: which.
        seconds: the longest to wait.

    Returns:
        Whether it has ended.
    """
    if not hasattr(os, "waitid"):  # Windows, which knows no groups either
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    deadline = time.monotonic() + seconds
    while process.returncode is None:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def close(process: Child) -> None:
    """Kill a process, wait for its end, close its pipes, and give the copies' memory back."""
    kill(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()
    if process.copies is not None:
        process.copies.close()
        process.copies = None


def _clear() -> None:
    while _prepared:
        close(_prepared.pop())


def _new_folder() -> str | None:
    """Return a folder of its own for the process; None where nothing can be written, as in a read-only container."""
    try:
        return tempfile.mkdtemp(prefix="fpverify-")
    except OSError:
        return None


def _start() -> Child:
    folder = _new_folder()
    copies = make_copies()
    try:
        # -I and -S: no variable, no start-up file and no folder of the user decides what is imported.
        process = Child(
            [
                sys.executable,
                "-I",
                "-S",
                "-B",
                CHILD,
                json.dumps([os.path.abspath(entry) for entry in sys.path]),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # a buffer's lock would let closing wait for a thread that reads
            cwd=folder or os.path.abspath(os.sep),
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | FIXED,
            start_new_session=True,
            pass_fds=() if copies is None else (copies.model, copies.data),
        )
    except BaseException:
        if copies is not None:
            copies.close()
        raise
    finally:
        # The working directory is deleted after the start: nothing can be created in it, and nothing of it is left,
        # however this process ends. Windows does not remove a folder that a process works in.
        if folder is not None:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    process.copies = copies
    return process
