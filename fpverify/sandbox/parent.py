"""The parent's side of a suspect's process: starts it, waits no longer than allowed, and says how it ended."""

import json
import os
import re
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from fpverify.errors import SuspectError
from fpverify.result import HeldLimits
from fpverify.sandbox import spawn
from fpverify.sandbox.copies import Copies
from fpverify.sandbox.limits import Limits, in_gibibytes, threads
from fpverify.sandbox.replies import Reply, check_held, check_text, limits_of, read_reply
from fpverify.text import one_line

Buffer: TypeAlias = bytes | memoryview

NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : |Load model from .*? failed:|"
    r"/onnxruntime_src/\S+:\d+ [^()]*\([^()]*(?:\([^()]*\)[^()]*)*\) (?:const )?"
)
"""What ONNX Runtime puts around what it has to say."""

MAX_MESSAGE = 2000
"""Maximum length of an error message taken from the child, in characters."""

MAX_OPEN_FILES = 256
"""Files that the child may hold open, as it sets for itself."""

DEVICES = ("cpu", "cuda")
"""Where a suspect can run."""


class Sandbox:
    """A process that runs one suspect; use it as a context manager, or close it.

    Starting one returns at once: ONNX Runtime is being imported in the child while the parent does something else.
    """

    def __init__(self, limits: Limits, device: str = "cpu") -> None:
        if device not in DEVICES:
            raise SuspectError(where="device", expected=f"one of {', '.join(DEVICES)}", found=f"{device!r}")
        self.limits, self.device = limits, device
        self._left, self._alive = limits.seconds, True
        try:
            self._process = spawn.take()
        except OSError as error:
            raise SuspectError(f"cannot start a process for the suspect: {error.strerror or error}") from error
        self._memory = 0
        self._private = False
        self._loading: _Exchange | None = None
        self._ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Say whether the process can still be asked: it has kept to its limits and to the protocol."""
        return self._alive

    @property
    def runtime(self) -> str:
        """Return ONNX Runtime's version; a model is loaded."""
        return one_line(str(self._ready["runtime"])[:MAX_MESSAGE], 40)

    @property
    def held(self) -> HeldLimits:
        """Return which limits the process runs under; a model is loaded."""
        return HeldLimits(seconds=self.limits.seconds, private_copy=self._private, **self._ready["held"])

    @property
    def copies(self) -> Copies | None:
        """Return where private copies of the suspect's files go; None where the system has no such place."""
        return self._process.copies

    def start_loading(self, files: Sequence[str], size: int, private: bool) -> None:
        """Let the child limit itself and load a model, and do not wait.

        Args:
            files: the model's file and all that it reads; they were checked as far as can be without running them.
            size: bytes of them all.
            private: whether the child is to run `copies`, which are complete and sealed, and not the files.
        """
        self._memory, self._private = self.limits.memory_for(size), private
        readable = [] if private else list(map(os.path.abspath, files))
        limit = {"do": "limit", "device": self.device, "memory": self._memory, "files": readable}
        load = {"do": "load", "device": self.device, "threads": threads(), "file": os.path.abspath(files[0])}
        load |= {"external": {}, "data": None}
        if private and self.copies is not None:
            load |= {"file": f"/proc/self/fd/{self.copies.model}", "external": self.copies.parts}
            load["data"] = self.copies.data
        self._loading = self._begin((limit, b""), (load, b""), check=self._limited)

    def loaded(self) -> str:
        """Wait until the model is loaded.

        Returns:
            What runs it, as ONNX Runtime names it.

        Raises:
            SuspectError: if it cannot be loaded within the limits; the message begins with a verb.
        """
        if self._loading is None:
            raise SuspectError("was not loaded")
        _, reply = self._finish(self._loading, "load")
        return one_line(check_text(reply.header, "provider", "what runs the model"), 80)

    def _limited(self, reply: Reply) -> None:
        """Check which limits hold, before the child is told of the model."""
        asked = {"memory": self._memory, "cpu_seconds": self.limits.processor_seconds, "open_files": MAX_OPEN_FILES}
        self._ready = check_held(reply.header, asked)
        self._ready["held"] |= limits_of(self._process.pid, asked) or {}
        if self.limits.sandbox and not self.held.fenced:
            raise SuspectError(
                "was not judged: this system cannot keep it from other files, the network and other programs "
                "(Landlock and seccomp of Linux, on the CPU)",
                hint="judge it elsewhere, or without --require-sandbox",
            )

    def run(self, request: dict[str, Any], inputs: Buffer) -> Reply:
        """Ask a loaded model.

        Args:
            request: `input`, `dtype`, `bfloat16`, `shape`, `chunk` and `pad`, as `child.Model.answer` takes them.
            inputs: the array's bytes.

        Returns:
            The outputs.

        Raises:
            SuspectError: if it does not answer within the limits; the message begins with a verb.
        """
        (reply,) = self._finish(self._begin(({"do": "run", **request}, inputs)), "run")
        return reply

    def stop(self) -> None:
        """Let the process end, and do not wait for it."""
        spawn.kill(self._process)

    def close(self) -> None:
        """End the process, whatever it does, with everything that it may have started."""
        spawn.close(self._process)

    def _begin(
        self, *frames: tuple[dict[str, Any], Buffer], check: Callable[[Reply], None] | None = None
    ) -> "_Exchange":
        limits = {"seconds": self.limits.seconds, "cpu_seconds": self.limits.processor_seconds}
        whole = [({**header, **limits, "bytes": memoryview(body).nbytes}, body) for header, body in frames]
        return _Exchange(self._process, whole, check)

    def _finish(self, exchange: "_Exchange", doing: str) -> list[Reply]:
        began = time.perf_counter()
        finished = exchange.wait(self._left)
        self._left = max(0.0, self._left - (time.perf_counter() - began))
        self._alive = exchange.complete
        if not finished:
            spawn.kill(self._process)
            raise SuspectError(f"took longer than {self.limits.seconds:g} s (--timeout)")
        if exchange.error is not None:
            spawn.kill(self._process)
            raise exchange.error
        for reply in exchange.replies:
            if (error := reply.header.get("error")) is not None:
                raise SuspectError(self._failure(str(error), reply.header.get("message"), doing))
        if not exchange.complete:
            raise SuspectError(self._how_it_ended(doing))
        return exchange.replies

    def _how_it_ended(self, doing: str) -> str:
        if not spawn.has_ended(self._process, seconds=1):
            spawn.kill(self._process)
            return "closed its connection without an answer"
        spawn.kill(self._process)  # it is dead; what it may have started is not
        status = self._process.wait()
        memory = f"{in_gibibytes(self._memory)} (--memory)"
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
        said = one_line(NOISE.sub("", str(message)[:MAX_MESSAGE]), 300)
        match kind:
            case "missing":
                install = 'pip install "fpverify[cpu]" or pip install "fpverify[gpu]"'
                return f"needs ONNX Runtime, which cannot be imported: {install} ({said})"
            case "old":
                return f"needs ONNX Runtime 1.28.1 or later, found {said}: older ones read memory that they should not"
            case "device":
                hint = 'it needs an NVIDIA GPU and pip install "fpverify[gpu]" instead of the extra cpu'
                return f"cannot run on the device {self.device}: {said}; {hint}"
            case "memory":
                return f"needs more memory than the limit of {in_gibibytes(self._memory)} (--memory): {said}"
        return f"cannot be {'loaded' if doing == 'load' else 'run'} by ONNX Runtime: {said}"


class _Exchange:
    """Frames sent and as many awaited, in a thread: pipes have no time limit of their own on every platform."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        frames: list[tuple[dict[str, Any], Buffer]],
        check: Callable[[Reply], None] | None,
    ) -> None:
        """Begin.

        Args:
            process: whom to ask.
            frames: what to send, each after the reply to the one before.
            check: checks the reply to the first before the second is sent; it may raise.
        """
        self.replies: list[Reply] = []
        self.error: SuspectError | None = None
        self._process, self._frames, self._check = process, frames, check
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def complete(self) -> bool:
        """Say whether every frame was answered."""
        return len(self.replies) == len(self._frames)

    def wait(self, seconds: float) -> bool:
        """Wait; return whether it came to an end."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._process.stdout is None:
            return
        try:
            for header, body in self._frames:
                sent = self._send(header, body)
                # a process that has failed may be gone before all is sent; what it said of that is still in the pipe
                reply = read_reply(self._process.stdout)
                failed = "error" in reply.header
                if sent or failed:
                    self.replies.append(reply)
                if failed or not sent:
                    return
                if self._check is not None and len(self.replies) == 1:
                    self._check(self.replies[0])
        except SuspectError as error:
            self.error = error
        except Exception:  # noqa: BLE001, S110
            pass  # how the process ended says more

    def _send(self, header: dict[str, Any], body: Buffer) -> bool:
        """Send a frame; return whether the process took all of it."""
        if self._process.stdin is None:
            return False
        text = json.dumps(header).encode()
        try:
            for part in (struct.pack("<Q", len(text)) + text, body):
                left = memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"")
                while left:
                    left = left[self._process.stdin.write(left) :]
        except OSError:
            return False
        return True
