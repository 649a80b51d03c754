"""The parent's side of a suspect's process: starts it, waits no longer than allowed, and says how it ended."""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fpverify.errors import SuspectError
from fpverify.plaintext import one_line
from fpverify.sandbox.limits import GIBIBYTE, HeldLimits, Limits, threads

if TYPE_CHECKING:
    from fpverify.sandbox.replies import Reply

CHILD = Path(__file__).with_name("child.py")
"""The script that the process runs."""

PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "CUDA_PATH", "CUDA_VISIBLE_DEVICES")
"""What the child's environment takes from ours: where libraries are, and nothing that could be a secret."""

DEVICES = ("cpu", "cuda")
"""Where a suspect can run."""


class Sandbox:
    """A process that runs one suspect; use it as a context manager, or close it.

    Starting one returns at once: ONNX Runtime is being imported in the child while the parent does something else.
    """

    def __init__(self, limits: Limits, device: str = "cpu") -> None:
        if device not in DEVICES:
            raise SuspectError(f"device must be one of {', '.join(DEVICES)}, found {device!r}")
        self.limits, self.device = limits, device
        self._left = limits.seconds
        self._folder = tempfile.mkdtemp(prefix="fpverify-")
        self._process = _start(self._folder)
        # A folder that is gone is the emptiest: nothing can be made in it, and nothing is left of it if we are killed.
        # Windows does not remove a folder that a process works in.
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)
        self._pending: _Exchange | None = self._begin(
            {"do": "limit", "path": [os.path.abspath(entry) for entry in sys.path], "device": device}, b""
        )
        self._ready: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def renew(self) -> None:
        """Give the suspect its whole wall time once more, for a new task."""
        self._left = self.limits.seconds

    @property
    def alive(self) -> bool:
        """Say whether the process can still be asked."""
        return self._process.poll() is None

    @property
    def runtime(self) -> str:
        """Return ONNX Runtime's version.

        Raises:
            SuspectError: if it cannot be imported.
        """
        return one_line(str(self._prepared()["runtime"]), 40)

    @property
    def held(self) -> HeldLimits:
        """Return which limits the process runs under.

        Raises:
            SuspectError: if it could not be prepared.
        """
        held = self._prepared()["held"]
        return HeldLimits(seconds=self.limits.seconds, **held)

    def load(self, path: str) -> str:
        """Load a model.

        Args:
            path: the file, of which everything was checked that can be checked without running it.

        Returns:
            What runs it, as ONNX Runtime names it.

        Raises:
            SuspectError: if it cannot be loaded within the limits; the message begins with a verb.
        """
        self._prepared()
        header = {"do": "load", "file": os.path.abspath(path), "device": self.device, "threads": threads()}
        return one_line(str(self._ask(header, b"", "load").header.get("provider")), 80)

    def run(self, request: dict[str, Any], inputs: bytes) -> "Reply":
        """Ask a loaded model.

        Args:
            request: `input`, `dtype`, `bfloat16`, `shape`, `chunk` and `pad`, as `child.Model.answer` takes them.
            inputs: the array's bytes.

        Returns:
            The outputs.

        Raises:
            SuspectError: if it does not answer within the limits; the message begins with a verb.
        """
        return self._ask({"do": "run", **request}, inputs, "run")

    def close(self) -> None:
        """End the process, whatever it does, with everything that it may have started."""
        _kill(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _prepared(self) -> dict[str, Any]:
        if self._ready is None:
            pending, self._pending = self._pending, None
            if pending is None:
                raise SuspectError("the suspect's process could not be prepared")
            header = self._finish(pending, "prepare").header
            self._ready = _checked_ready(header)
        return self._ready

    def _ask(self, header: dict[str, Any], body: bytes, doing: str) -> "Reply":
        return self._finish(self._begin(header, body), doing)

    def _begin(self, header: dict[str, Any], body: bytes) -> "_Exchange":
        limits = {
            "seconds": self.limits.seconds,
            "cpu_seconds": self.limits.processor_seconds,
            "memory": int(self.limits.memory),
        }
        return _Exchange(self._process, {**header, **limits, "bytes": len(body)}, body)

    def _finish(self, exchange: "_Exchange", doing: str) -> "Reply":
        began = time.perf_counter()
        finished = exchange.wait(self._left)
        self._left = max(0.0, self._left - (time.perf_counter() - began))
        if not finished:
            _kill(self._process)
            raise SuspectError(f"took longer than {self.limits.seconds:g} s (--timeout)")
        if exchange.error is not None:
            _kill(self._process)
            raise exchange.error
        if exchange.reply is None:
            raise SuspectError(self._how_it_ended(doing))
        if (error := exchange.reply.header.get("error")) is not None:
            raise SuspectError(self._failure(str(error), exchange.reply.header.get("message"), doing))
        return exchange.reply

    def _how_it_ended(self, doing: str) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            _kill(self._process)
            return "closed its connection without an answer"
        memory = f"{self.limits.memory / GIBIBYTE:g} GiB (--memory)"
        if status >= 0:
            return f"ended its process with status {status} without an answer; the memory limit is {memory}"
        match -status:
            case signal.SIGXCPU:
                return f"used more than {self.limits.processor_seconds:g} s of processor time (--cpu-time)"
            case signal.SIGKILL:
                return f"was killed by the system, which does so where memory runs out; the limit is {memory}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        what = {"load": " while loading it", "run": " while running it"}.get(doing, "")
        return f"crashed ONNX Runtime{what} ({name}; the memory limit is {memory})"

    def _failure(self, kind: str, message: Any, doing: str) -> str:
        said = one_line(str(message), 300)
        match kind:
            case "missing":
                install = 'pip install "fpverify[cpu]" or pip install "fpverify[gpu]"'
                return f"needs ONNX Runtime, which cannot be imported: {install} ({said})"
            case "old":
                return f"needs ONNX Runtime 1.24.4 or later, found {said}: older ones read files outside its folder"
            case "device":
                hint = 'it needs an NVIDIA GPU and pip install "fpverify[gpu]" instead of the extra cpu'
                return f"cannot run on the device {self.device}: {said}; {hint}"
            case "memory":
                return f"needs more memory than the limit of {self.limits.memory / GIBIBYTE:g} GiB (--memory): {said}"
        return f"cannot be {'loaded' if doing == 'load' else 'run'} by ONNX Runtime: {said}"


class _Exchange:
    """One frame sent and one awaited, in a thread: pipes have no time limit of their own on every platform."""

    def __init__(self, process: "subprocess.Popen[bytes]", header: dict[str, Any], body: bytes) -> None:
        self.reply: Reply | None = None
        self.error: SuspectError | None = None
        self._process, self._header, self._body = process, header, body
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait; return whether it came to an end."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._process.stdin is None or self._process.stdout is None:
            return
        # Here and not above: it needs NumPy, which this process can load while the child gets ready.
        from fpverify.sandbox.replies import read_reply

        text = json.dumps(self._header).encode()
        try:
            self._process.stdin.write(struct.pack("<Q", len(text)) + text)
            self._process.stdin.write(self._body)
            self._process.stdin.flush()
            self.reply = read_reply(self._process.stdout)
        except SuspectError as error:
            self.error = error
        except (OSError, EOFError, ValueError, MemoryError):
            pass  # how the process ended says more


def _start(folder: str) -> "subprocess.Popen[bytes]":
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PATH": ""}
    # NumPy's own threads have nothing to do here, and each would reserve address space.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        # -I and -S: no variable, no start-up file and no folder of the user decides what is imported.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", os.fspath(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise SuspectError(f"cannot start a process for the suspect: {error.strerror or error}") from error


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and its group: it leads a session of its own."""
    if process.returncode is not None:
        return  # its number may be another's by now
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _checked_ready(header: dict[str, Any]) -> dict[str, Any]:
    held = header.get("held")
    if not isinstance(held, dict) or set(held) != {"memory", "cpu_seconds", "no_writing", "open_files"}:
        raise SuspectError("answered with something that is no reply: it does not say which limits hold")
    if not isinstance(header.get("runtime"), str):
        raise SuspectError("answered with something that is no reply: it does not say which ONNX Runtime it is")
    return header
