"""Mutates models or fingerprints, and checks that fpverify refuses them as it promises or judges them rightly.

    python tests/benchmarks/fuzz.py models|fingerprints --out DIR [--count N] [--seed N] [--jobs N] [--compare P]
    python tests/benchmarks/fuzz.py models|fingerprints --out DIR [--seed N] --case INDEX

Started again with the same folder, it goes on where it was stopped. A case follows from kind, seed and index alone;
`--case` makes one again, prints what became of it, and leaves its file in DIR/failures, where the failures' are.

A model must be judged, or be refused with an FpverifyError of one printable line, within its time; of some that are
judged, ONNX Runtime is asked directly and must agree. A mutated fingerprint must be refused; one whose digest was made
to fit may load, and then must be saved with the same bytes. No case may end the process, which is why each runs in a
worker, nor leave files or threads open.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fuzzing.fingerprints import Fingerprints
from fuzzing.models import DEADLINE, Judge, Models

MEMORY = 2**32
"""Address space of a worker in bytes: a file must not make fpverify's own process grow."""


KINDS: dict[str, type[Judge]] = {"models": Models, "fingerprints": Fingerprints}


def serve(kind: str, seed: int, share: float) -> None:
    """Judge the cases whose numbers come in on stdin: what a worker does."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, "cases")
        folder.mkdir()
        judge = KINDS[kind](seed, folder, share)
        print("ready", file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps(judge.run(int(line))), file=replies, flush=True)


class Worker:
    """A process that judges cases, and is started again when one ends it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.command = [sys.executable, __file__, options.kind, "--serve"]
        self.command += ["--seed", str(options.seed), "--compare", str(options.compare)]
        self.process: subprocess.Popen[str] | None = None

    def judge(self, index: int) -> dict[str, Any]:
        """Return a case's line of the log."""
        if self.process is None:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, text=True)
            if self.process.stdout is None or not self.process.stdout.readline():
                raise SystemExit("a worker cannot start")  # which is no case's fault
        process = self.process
        began = time.perf_counter()
        timer = threading.Timer(DEADLINE, process.kill)
        timer.start()
        with contextlib.suppress(BrokenPipeError):
            print(index, file=process.stdin, flush=True)
        line = process.stdout.readline() if process.stdout else ""
        timer.cancel()
        if line:
            entry: dict[str, Any] = json.loads(line)
            return entry
        self.process, seconds = None, time.perf_counter() - began
        what = "hung" if seconds >= DEADLINE else f"died with exit code {process.wait()}"
        violations = [f"the worker {what}"]
        return {"index": index, "mutations": [], "outcome": what, "seconds": seconds, "violations": violations}

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


class Log:
    """The lines that were written, in this run and in earlier ones."""

    def __init__(self, out: Path, kind: str, seed: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path, self.entries = out / "cases.jsonl", {}
        self.first = {"kind": kind, "seed": seed}
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]  # the last is cut if it was stopped while writing
        if whole and json.loads(whole[0]) != self.first:
            raise SystemExit(f"{self.path} holds {whole[0].strip()}; take another folder")
        if not whole or whole != lines:
            self.path.write_text("".join(whole) or json.dumps(self.first) + "\n")
        self.entries = {entry["index"]: entry for entry in map(json.loads, whole[1:])}

    def add(self, entry: dict[str, Any]) -> None:
        self.entries[entry["index"]] = entry
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def keep(options: argparse.Namespace, entry: dict[str, Any]) -> None:
    """Make a case's file again, and keep it."""
    failures = options.out / "failures"
    failures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, "cases")
        folder.mkdir()
        judge = KINDS[options.kind](options.seed, folder)
        content, entry["mutations"] = judge.make(entry["index"])
    (failures / f"{entry['index']}{judge.suffix}").write_bytes(content)
    print(json.dumps(entry, indent=2), flush=True)


def run(options: argparse.Namespace, log: Log) -> float:
    """Judge the cases that are not in the log yet; return how many a second."""
    todo = [index for index in range(options.count) if index not in log.entries]
    indices, lock, began = iter(todo), threading.Lock(), time.perf_counter()

    def work() -> None:
        worker = Worker(options)
        while True:
            with lock:
                index = next(indices, None)
            if index is None:
                return worker.close()
            entry = worker.judge(index)
            with lock:
                if entry["violations"]:
                    keep(options, entry)
                log.add(entry)

    with ThreadPoolExecutor(options.jobs) as pool:
        for future in [pool.submit(work) for _ in range(options.jobs)]:
            future.result()
    return len(todo) / (time.perf_counter() - began)


def shape_of(outcome: str) -> str:
    """Return an outcome without what differs from file to file."""
    text = re.sub(r"^(\w+Error): …\S*: ", r"\1: ", outcome)
    text = re.sub(r"'[^']*'|\"[^\"]*\"|[\[{(].*", "…", text)
    text = re.sub(r"\b[0-9a-f]{32,}", "DIGEST", text)
    return re.sub(r"\d+", "N", text)[:100]


def summarise(log: Log, rate: float) -> int:
    """Print what became of the cases; return how many broke a promise."""
    entries = list(log.entries.values())
    for shape, count in Counter(shape_of(entry["outcome"]) for entry in entries).most_common(40):
        print(f"{count:7d}  {shape}")
    slowest = sorted(entries, key=lambda entry: -entry["seconds"])[:5]
    print("slowest: " + ", ".join(f"{entry['index']} ({entry['seconds']:.1f} s)" for entry in slowest))
    broken = sorted(entry["index"] for entry in entries if entry["violations"])
    print(f"{len(entries)} cases, {rate:.1f} a second in this run, {len(broken)} violations {broken[:20] or ''}")
    return len(broken)


def main() -> int:
    """Run the cases that are left; return 1 if any of them breaks a promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--compare", type=float, default=0.02, metavar="P", help="share of verdicts to check directly")
    parser.add_argument("--case", type=int, metavar="INDEX")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.kind, options.seed, options.compare)
        return 0
    if options.out is None:
        parser.error("--out is needed")
    if options.case is not None:
        worker = Worker(options)
        keep(options, entry := worker.judge(options.case))
        worker.close()
        return 1 if entry["violations"] else 0
    log = Log(options.out, options.kind, options.seed)
    return 1 if summarise(log, run(options, log)) else 0


if __name__ == "__main__":
    sys.exit(main())
