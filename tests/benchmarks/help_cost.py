"""What `fpverify --help` costs, against the shortest start that loads click and NumPy, paired in one run."""

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 31
"""Pairs that are measured, after one that warms the disk's cache."""

BASELINE = [sys.executable, "-c", "import click, numpy"]
HELP = [sys.executable, "-c", "from fpverify.cli import main; main()", "--help"]


def process_seconds(command: list[str]) -> float:
    """Return the user and system time of a process, in seconds."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    children = after.children_user - before.children_user
    return children + after.children_system - before.children_system


def wall_seconds(command: list[str]) -> float:
    """Return the wall time of a process, in seconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measure in alternation, so that a busy moment hits both, and print medians."""
    for name, measure in (("process time", process_seconds), ("wall time", wall_seconds)):
        pairs = [(measure(BASELINE), measure(HELP)) for _ in range(ROUNDS + 1)][1:]
        ratio = statistics.median(own / base for base, own in pairs)
        base, own = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
        print(f"{name}: import click, numpy {base:.0f} ms; fpverify --help {own:.0f} ms; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
