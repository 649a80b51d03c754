"""What `fpverify verify` costs as a whole, against the shortest script that runs the same inputs, paired in one run.

    python tests/benchmarks/verify_overhead.py [--rounds N] [--only NAME]

Networks with random weights (`overhead_models.py`), from the size of a ResNet-20 to 2.2 GB, are asked random keys, and
half of them again, one at a time, by both. Wall time is measured without anything that watches; memory in further runs,
sampled every 10 ms.
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

MODELS = Path(__file__).with_name("overhead_models.py")
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


def rows(title: str, bar: float, stem: Path, rounds: int) -> Iterator[str]:
    """Measure one network in alternation, and yield lines of the table."""
    model, keys, fingerprint = (f"{stem}.{end}" for end in ("onnx", "npy", "safetensors"))
    base = [sys.executable, "-c", BASELINE, model, keys]
    own = [sys.executable, "-m", "fpverify", "verify", model, "-f", fingerprint]
    pairs = [(cost(base), cost(own)) for _ in range(rounds + 1)][1:]
    watched = [(cost(base, True), cost(own, True)) for _ in range(rounds // 2 or 1)]
    summed = "all processes, sum of PSS" if ROLLUP else "all processes, sum of RSS"
    for what, unit, digits, most, found in (
        ("wall time", "s", 2, bar, [(a.seconds, b.seconds) for a, b in pairs]),
        ("largest process, RSS", "MiB", 0, MEMORY_BAR, [(a.largest, b.largest) for a, b in pairs]),
        (summed, "MiB", 0, MEMORY_BAR, [(a.together, b.together) for a, b in watched]),
    ):
        one, two = (f"{statistics.median(column):.{digits}f} {unit}" for column in zip(*found, strict=True))
        ratios = sorted(b / a for a, b in found)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        yield f"| {title} | {what} | {one} | {two} | {statistics.median(ratios):.2f} ({spread}) | {most:.1f} |"


def machine() -> str:
    """Name what was measured on, and with."""
    processor = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    programs = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("fpverify", "onnxruntime", "numpy"))
    python = f"Python {platform.python_version()}"
    return f"{processor[1] if processor else platform.machine()}, {cores} cores, {python}, {programs}"


def main() -> None:
    """Print the table."""
    names = re.findall(r'^    "(\w+)": Network\(', MODELS.read_text(), re.MULTILINE)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="pairs for each network, after one that warms up; default 3 to 7")
    parser.add_argument("--only", choices=names, help="measure this network alone")
    options = parser.parse_args()
    print(machine())
    table = []
    for name in [options.only] if options.only else names:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, MODELS, name, folder], check=True, stdout=subprocess.PIPE, text=True)
            title, bar, rounds = done.stdout.splitlines()
            table += rows(title, float(bar), Path(folder, name), options.rounds or int(rounds))
            print(title, file=sys.stderr)
    print("| model | measured | ONNX Runtime alone | fpverify verify | ratio (range) | bar |")
    print("|---" * 6 + "|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
