"""What `fpverify verify` costs as a whole, against the shortest script that runs the same inputs, paired in one run.

    python tests/benchmarks/verify_overhead.py [--rounds N]

Two networks with random weights, of the size of a ResNet-20 (3x32x32) and of a ResNet-50 (3x224x224), are asked 100
random keys, and half of them again, one at a time, by both. Wall time is measured without anything that watches;
memory in further runs, sampled every 10 ms.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = 100
SAMPLE_SECONDS = 0.01
MEMORY_BAR = 1.2
ROLLUP = Path("/proc/self/smaps_rollup").exists()
"""Whether Linux tells the proportional set size of a process; else resident sizes are added up."""

BASELINE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
inputs = numpy.load(sys.argv[2])
session.run(None, {"input": inputs})
for one in inputs[::2]:
    session.run(None, {"input": one[None]})
"""


@dataclass(frozen=True)
class Network:
    """A residual network; the widths are those of its stages' inner convolutions."""

    title: str
    name: str
    size: int
    classes: int
    stem: int
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    expansion: int
    rounds: int
    bar: float


NETWORKS = (
    Network("ResNet-20 (0.27 M parameters, 41 M multiply-adds)", "r20", 32, 10, 16, (3,) * 3, (16, 32, 64), 1, 7, 1.5),
    Network(
        "ResNet-50 (25.6 M parameters, 4.1 G multiply-adds)",
        "r50",
        224,
        1000,
        64,
        (3, 4, 6, 3),
        (64, 128, 256, 512),
        4,
        3,
        1.1,
    ),
)


class Builder:
    """Writes a residual network with folded BatchNorm and He's initialisation, and counts what it takes."""

    def __init__(self, network: Network) -> None:
        import numpy as np

        self.network, self.rng, self.nodes, self.weights = network, np.random.default_rng(0), [], []
        self.parameters = self.products = 0

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def weight(self, shape: tuple[int, ...], spread: float) -> str:
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        array = self.rng.normal(0, spread, shape).astype("float32")
        self.weights.append(numpy_helper.from_array(array, name))
        self.parameters += array.size
        return name

    def convolution(self, value: str, ends: tuple[int, int], kernel: int, stride: int, side: int, gain: float) -> str:
        fan, out = ends[0] * kernel * kernel, ends[1]
        self.products += fan * out * (side // stride) ** 2
        weights = self.weight((out, ends[0], kernel, kernel), gain * (2 / fan) ** 0.5)
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return self.node("Conv", value, weights, self.weight((out,), 0.1), **attributes)

    def block(self, value: str, ends: tuple[int, int], inner: int, stride: int, side: int) -> str:
        gain = sum(self.network.blocks) ** -0.5  # or the sum would grow with each block
        shortcut = value if ends[0] == ends[1] and stride == 1 else self.convolution(value, ends, 1, stride, side, 0.7)
        if self.network.expansion == 1:
            value = self.node("Relu", self.convolution(value, (ends[0], inner), 3, stride, side, 1))
            value = self.convolution(value, (inner, ends[1]), 3, 1, side // stride, gain)
        else:
            value = self.node("Relu", self.convolution(value, (ends[0], inner), 1, 1, side, 1))
            value = self.node("Relu", self.convolution(value, (inner, inner), 3, stride, side, 1))
            value = self.convolution(value, (inner, ends[1]), 1, 1, side // stride, gain)
        return self.node("Relu", self.node("Add", value, shortcut))

    def write(self, path: Path) -> None:
        import onnx
        from onnx import TensorProto, helper

        network, side, width = self.network, self.network.size, self.network.stem
        large = side > 64
        value = self.convolution("input", (3, width), 7 if large else 3, 2 if large else 1, side, 1)
        value = self.node("Relu", value)
        if large:
            value = self.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
            side //= 4
        for stage, (count, inner) in enumerate(zip(network.blocks, network.widths, strict=True)):
            for number in range(count):
                stride = 2 if stage and not number else 1
                value = self.block(value, (width, inner * network.expansion), inner, stride, side)
                width, side = inner * network.expansion, side // stride
        value = self.node("Flatten", self.node("GlobalAveragePool", value))
        head = self.weight((width, network.classes), width**-0.5), self.weight((network.classes,), 0.1)
        self.products += width * network.classes
        value = self.node("Gemm", value, *head)
        sizes = ["batch", 3, network.size, network.size]
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, sizes)
        scores = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", network.classes])
        graph = helper.make_graph(self.nodes, network.name, [image], [scores], self.weights)
        opset = [helper.make_opsetid("", 13)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def write_case(network: Network, folder: Path) -> None:
    """Write the model, the keys alone, and the fingerprint of the keys with the model's answers."""
    import numpy as np
    import onnxruntime

    from fpverify import Calibration, Fingerprint, InputContract, SourceIdentity, save_fingerprint

    builder = Builder(network)
    builder.write(folder / f"{network.name}.onnx")
    print(f"{network.title}: {builder.parameters / 1e6:.2f} M parameters, {builder.products / 1e6:.0f} M multiply-adds")
    inputs = np.random.default_rng(1).random((KEYS, 3, network.size, network.size), np.float32)
    np.save(folder / f"{network.name}.npy", inputs)
    session = onnxruntime.InferenceSession(folder / f"{network.name}.onnx", providers=["CPUExecutionProvider"])
    scores = np.concatenate([session.run(None, {"input": part})[0] for part in np.split(inputs, 10)])
    fingerprint = Fingerprint(
        inputs=inputs,
        labels=scores.argmax(1).astype(np.int64),
        classes=tuple(f"class {number}" for number in range(network.classes)),
        contract=InputContract(channels="rgb", height=network.size, width=network.size),
        source=SourceIdentity(sha256="ab" * 32),
        method={"name": "random"},
        seeds={"keys": 1},
        versions={},
        calibration=Calibration(
            surrogates=(0.9,), references=(0.1,), nulls=(0.1,) * 99, threshold=0.5, rule="by hand, for this benchmark"
        ),
    )
    save_fingerprint(fingerprint, folder / f"{network.name}.safetensors")


@dataclass(frozen=True)
class Cost:
    """What one process and its children took."""

    seconds: float
    largest: float
    """Of the largest process, its peak resident size in MiB: wait4 reports the largest of a process and those that
    it waited for. A process starts with its parent's peak, so this script itself imports nothing large."""
    together: float
    """Peak of the sum over all processes in MiB; 0 if it was not watched."""


def cost(command: list[str], watch: bool = False) -> Cost:
    """Run a command to its end; sample the memory of its processes if asked."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    together = 0.0
    while watch and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        together = max(together, sum(map(mebibytes, family(process.pid))))
        time.sleep(SAMPLE_SECONDS)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3, 4):
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(seconds, usage.ru_maxrss / unit, together)


def family(root: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc") if ROLLUP else ():
        if entry.isdigit():
            text = read(f"/proc/{entry}/stat")
            parents[int(entry)] = int(text.rpartition(")")[2].split()[1]) if text else 0
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    yield from found


def mebibytes(process: int) -> float:
    """Return the memory of a process now: its proportional set size where the system tells it."""
    text = read(f"/proc/{process}/smaps_rollup")
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    if match:
        return int(match[1]) / 2**10
    return int((read(f"/proc/{process}/statm") or "0 0").split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def read(path: str) -> str:
    """Return a file's text; nothing if the process has ended meanwhile."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def rows(network: Network, folder: Path, rounds: int) -> Iterator[str]:
    """Measure one network in alternation, and yield lines of the table."""
    model, keys, fingerprint = (str(folder / f"{network.name}.{end}") for end in ("onnx", "npy", "safetensors"))
    base = [sys.executable, "-c", BASELINE, model, keys]
    own = [sys.executable, "-m", "fpverify", "verify", model, "-f", fingerprint]
    pairs = [(cost(base), cost(own)) for _ in range(rounds + 1)][1:]
    watched = [(cost(base, True), cost(own, True)) for _ in range(rounds // 2 or 1)]
    summed = "all processes, sum of PSS" if ROLLUP else "all processes, sum of RSS"
    for what, unit, digits, bar, found in (
        ("wall time", "s", 2, network.bar, [(a.seconds, b.seconds) for a, b in pairs]),
        ("largest process, RSS", "MiB", 0, MEMORY_BAR, [(a.largest, b.largest) for a, b in pairs]),
        (summed, "MiB", 0, MEMORY_BAR, [(a.together, b.together) for a, b in watched]),
    ):
        one, two = (f"{statistics.median(column):.{digits}f} {unit}" for column in zip(*found, strict=True))
        ratios = sorted(b / a for a, b in found)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        yield f"| {network.title} | {what} | {one} | {two} | {statistics.median(ratios):.2f} ({spread}) | {bar:.1f} |"


def machine() -> str:
    """Name what was measured on, and with."""
    processor = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    programs = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("fpverify", "onnxruntime", "numpy"))
    python = f"Python {platform.python_version()}"
    return f"{processor[1] if processor else platform.machine()}, {cores} cores, {python}, {programs}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="pairs for each network, after one that warms up; default 7 and 3")
    parser.add_argument("--write", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        name, folder = options.write
        write_case(next(network for network in NETWORKS if network.name == name), Path(folder))
        return
    print(machine())
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            # In a process of its own, whose memory does not count.
            subprocess.run([sys.executable, __file__, "--write", network.name, folder], check=True)
            table += rows(network, Path(folder), options.rounds or network.rounds)
    print("| model | measured | ONNX Runtime alone | fpverify verify | ratio (range) | bar |")
    print("|---" * 6 + "|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
