"""The suspect's process: a script that limits itself, and then runs one model.

Of fpverify it knows nothing but how it is fenced in and how outputs are described, so that it starts fast and holds no
more than the model and its inputs. It reads frames from stdin and answers each with one frame on what was stdout;
anything that the model or ONNX Runtime prints goes nowhere. ONNX Runtime is imported at once. The first frame sets the
limits, the second names the model, every further one holds inputs.

A frame is the length of its header as eight bytes, little-endian, the header as JSON, and the bytes of its arrays.
"""

import json
import math
import mmap
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

OLDEST_RUNTIME = (1, 28, 1)
"""Before it, ONNX Runtime read memory that it should not for some files; before 1.24.4, external data from anywhere."""

MAX_MESSAGE = 1000
"""Characters of an error that are sent."""

MAX_OPEN_FILES = 256
"""Enough for a model, its external data and the libraries."""

SILENT = 4
"""ONNX Runtime's log severity for nothing but fatal errors."""

PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # Without TensorFloat-32, which keeps 10 bits of a product and would flip labels that lie close together.
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
}
"""ONNX Runtime's providers for each device, best first."""


class ChildError(Exception):
    """What goes back instead of an answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main() -> None:
    """Serve frames until stdin ends."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    sys.path[:] = json.loads(sys.argv[1])
    # Found only now that the search path is the parent's; it costs nothing, for the package imports nothing.
    from fpverify.sandbox import fence

    fence.end_with_parent(int(sys.argv[2]))
    model: Model | None = None
    runtime = import_runtime()
    while (frame := receive(source)) is not None:
        header, body = frame
        arrays: list[Any] = []
        try:
            start_clock(header["seconds"])
            match header["do"]:
                case "limit":
                    reply = {"runtime": version_of(runtime), "held": {**limit(header), **fenced(header)}}
                case "load":
                    model = Model(runtime, header)
                    reply = {"provider": model.session.get_providers()[0]}
                case _:
                    if model is None:
                        raise ChildError("protocol", "inputs before a model")
                    reply, arrays = model.answer(header, body)
        except ChildError as failure:
            reply, arrays = {"error": failure.kind, "message": str(failure)[:MAX_MESSAGE]}, []
        except Exception as error:  # noqa: BLE001  every exception is reported to the parent
            reply, arrays = {"error": kind_of(error), "message": f"{error}"[:MAX_MESSAGE]}, []
        stop_clock()
        send(sink, reply, arrays)


def receive(source: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read a frame of the parent, which is trusted; None at the end."""
    beginning = source.read(8)
    if len(beginning) < 8:
        return None
    header = json.loads(source.read(struct.unpack("<Q", beginning)[0]))
    return header, source.read(header.get("bytes", 0))


def send(sink: BinaryIO, header: dict[str, Any], arrays: list[Any]) -> None:
    """Write a frame."""
    text = json.dumps(header).encode()
    sink.write(struct.pack("<Q", len(text)) + text)
    for array in arrays:
        sink.write(array.tobytes())
    sink.flush()


def limit(header: dict[str, Any]) -> dict[str, Any]:
    """Take rights away from this process, and say which limits hold; what the platform lacks stays None."""
    held: dict[str, Any] = {"memory": None, "cpu_seconds": None, "no_writing": False, "open_files": None}
    try:
        import resource
    except ImportError:
        return held

    def hold(which: int, value: int) -> bool:
        try:
            _, most = resource.getrlimit(which)
            value = value if most == resource.RLIM_INFINITY else min(value, most)
            resource.setrlimit(which, (value, value))
        except (OSError, ValueError):
            return False
        return resource.getrlimit(which)[0] == value

    hold(resource.RLIMIT_CORE, 0)
    held["no_writing"] = hold(resource.RLIMIT_FSIZE, 0)
    if header["device"] == "cpu":
        held["open_files"] = MAX_OPEN_FILES if hold(resource.RLIMIT_NOFILE, MAX_OPEN_FILES) else None
        # macOS accepts the limit and does not hold it.
        if sys.platform != "darwin" and hold(resource.RLIMIT_AS, header["memory"]):
            held["memory"] = header["memory"]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    if hold(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + header["cpu_seconds"])):
        held["cpu_seconds"] = header["cpu_seconds"]
    return held


def fenced(header: dict[str, Any]) -> dict[str, Any]:
    """Give up what a model does not need, and say what holds; a GPU's driver needs more than can be listed."""
    from fpverify.sandbox import described, fence  # noqa: F401  imported now: later no file can be opened

    if header["device"] != "cpu":
        return {"landlock": 0, "seccomp": False}
    return fence.put_up(header["files"])


def start_clock(seconds: float) -> None:
    """Let the system end this process by wall time even if the parent is gone."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # The parent stops it first and says why; this is for when there is no parent any more.
        signal.setitimer(signal.ITIMER_REAL, seconds + 5)


def stop_clock() -> None:
    """Let an idle process live."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def import_runtime() -> Any:
    """Import ONNX Runtime, before anybody asks for it; return the module, or why there is none."""
    try:
        import onnxruntime
    except ImportError as error:
        return error
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()  # on Windows, where no variable does
    return onnxruntime


def version_of(runtime: Any) -> str:
    """Say which ONNX Runtime there is."""
    if isinstance(runtime, ImportError):
        raise ChildError("missing", str(runtime))
    version = str(runtime.__version__)
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:3])
    if numbers < OLDEST_RUNTIME:
        raise ChildError("old", version)
    return version


def kind_of(error: BaseException) -> str:
    """Tell "out of memory" from other errors: ONNX Runtime says so in words alone."""
    text = str(error).lower()
    signs = (
        "bad_alloc",
        "bad allocation",
        "length_error",
        "out of memory",
        "failed to allocate",
        "allocate memory",
        "failed to map segment",  # a library found no room
        "pthread_create failed",  # a thread found none
    )
    return "memory" if isinstance(error, MemoryError) or any(sign in text for sign in signs) else "failed"


class Weights:
    """Copies of the files that a model reads, in one descriptor."""

    def __init__(self, external: dict[str, list[int]], descriptor: int | None) -> None:
        self.parts: list[memoryview] = []
        if descriptor is None:
            return
        end = max((offset + size for offset, size in external.values()), default=0)
        whole = memoryview(mmap.mmap(descriptor, end, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if end else b"")
        self.parts = [whole[offset : offset + size] for offset, size in external.values()]


class Model:
    """A loaded model."""

    def __init__(self, onnxruntime: Any, header: dict[str, Any]) -> None:
        device = header["device"]
        wanted = f"{device.upper()}ExecutionProvider"
        if wanted not in onnxruntime.get_available_providers():
            raise ChildError("device", f"this ONNX Runtime has no {wanted}")
        if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # finds CUDA's libraries where pip has put them
        options = onnxruntime.SessionOptions()
        options.log_severity_level = SILENT
        options.intra_op_num_threads = header["threads"]
        options.inter_op_num_threads = 1
        # A file decides by its content in which format it is; only one was surveyed by the parent.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # Threads that spin while they wait would cost the machine more than they save one short run.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        weights = Weights(header["external"], header["data"])
        if header["external"]:
            names, sizes = list(header["external"]), [size for _, size in header["external"].values()]
            options.add_external_initializers_from_files_in_memory(names, weights.parts, sizes)
        self.session = onnxruntime.InferenceSession(header["file"], options, providers=PROVIDERS[device])
        del weights  # ONNX Runtime has copied what it needs
        # Where CUDA does not start, ONNX Runtime quietly takes the CPU.
        if self.session.get_providers()[0] != wanted:
            raise ChildError("device", f"{wanted} did not start")
        self.options = onnxruntime.RunOptions()
        self.options.log_severity_level = SILENT
        self.names = [output.name for output in self.session.get_outputs()]

    def answer(self, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], list[Any]]:
        """Run inputs in chunks of one size, the last padded with zeros where the file fixes the size."""
        import numpy as np

        from fpverify.sandbox.described import MAX_REPLY_BYTES, describe, rows_of

        inputs = np.frombuffer(body, header["dtype"]).reshape(header["shape"])
        count, size = len(inputs), header["chunk"]
        parts: list[list[Any]] = []
        for start in range(0, count, size):
            chunk = inputs[start : start + size]
            here = len(chunk)
            if header["pad"] and here < size:
                chunk = np.concatenate([chunk, np.zeros((size - here, *chunk.shape[1:]), chunk.dtype)])
            answers = self.run(header["input"], chunk, header["bfloat16"])
            parts.append([rows_of(answer, len(chunk), here) for answer in answers])
        entries, arrays, left = [], [], MAX_REPLY_BYTES
        # Joined output by output, so that no more than one is held twice.
        for number, name in enumerate(self.names):
            entry, array = describe(name, [part[number] for part in parts], left)
            entries.append(entry)
            if array is not None:
                arrays.append(array)
                left -= array.nbytes
        return {"outputs": entries}, arrays

    def run(self, name: str, chunk: Any, bfloat16: bool) -> list[Any]:
        """Run one chunk; NumPy has no bfloat16, so its bits travel as uint16."""
        if not bfloat16:
            answers: list[Any] = self.session.run(None, {name: chunk}, self.options)
            return answers
        import onnxruntime

        number = 16  # TensorProto.BFLOAT16
        value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(chunk, number)
        return [answer.numpy() for answer in self.session.run_with_ort_values(None, {name: value}, self.options)]


if __name__ == "__main__":
    main()
