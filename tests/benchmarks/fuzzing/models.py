"""Judges mutated models: refused in one line within their time, or judged as ONNX Runtime itself answers."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from fuzzing.corpus import DIGITS, TINY, tiny_models, weights
from fuzzing.mutate_bytes import mutate_bytes, nest
from fuzzing.mutate_models import mutate_model

import fpverify
from fpverify.contract import Values
from fpverify.inspection import inspect_file
from fpverify.reports import FORMATS

SECONDS = 3.0
"""Wall time that a model may take."""
GRACE = 3.0
"""What fpverify may take beyond it, in seconds."""
DEADLINE = 60.0
"""When a worker counts as hung, in seconds."""


class Judge:
    """Makes cases and judges them; one for each worker."""

    suffix = ""

    def __init__(self, seed: int, folder: Path, share: float = 0.0) -> None:
        self.seed, self.folder, self.share = seed, folder, share
        self.violations: list[str] = []

    def rng(self, index: int, purpose: str = "mutate") -> random.Random:
        return random.Random(f"{purpose} {type(self).__name__} {self.seed} {index}")

    def make(self, index: int) -> tuple[bytes, list[str]]:
        """Return a case's file, and what was done to which one."""
        raise NotImplementedError

    def judge(self, index: int, path: Path, mutations: list[str]) -> str:
        """Return what became of a case; put what must not happen among the violations."""
        raise NotImplementedError

    def run(self, index: int) -> dict[str, Any]:
        """Make and judge a case, and return its line of the log."""
        content, mutations = self.make(index)
        path = self.folder / f"case{self.suffix}"
        path.write_bytes(content)
        self.violations = []
        began = time.perf_counter()
        outcome = self.judge(index, path, mutations)
        seconds = time.perf_counter() - began
        path.unlink()
        open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        if open_files > 100 or threading.active_count() > 20:
            self.violations.append(f"leaves open {open_files} files, {threading.active_count()} threads")
        entry = {"index": index, "mutations": mutations, "outcome": outcome, "seconds": round(seconds, 3)}
        return {**entry, "violations": self.violations}

    def attempt(self, what: str, limit: float, work: Callable[[], Any]) -> tuple[Any, str]:
        """Return what work returns, or None, and in words what became of it."""
        began = time.perf_counter()
        result, outcome = None, what
        try:
            result = work()
        except fpverify.FpverifyError as error:
            text = str(error).replace(str(self.folder), "…")
            outcome = f"{type(error).__name__}: {text[:500]}"
            if not str(error).isprintable() or len(str(error)) > 2000:
                self.violations.append(f"{what}: a message too long or not printable: {text[:300]!r}")
        except Exception as error:  # noqa: BLE001  which is what this looks for
            outcome = f"{type(error).__name__} from {what}"
            self.violations.append(f"{what}: {traceback.format_exc()[-2000:]}")
        if (seconds := time.perf_counter() - began) > limit:
            self.violations.append(f"{what}: {seconds:.1f} s, where {limit:g} s are allowed")
        return result, outcome

    def check_report(self, work: Callable[[], str]) -> None:
        """Make a report, whose lines must print."""
        text, _ = self.attempt("report", GRACE, work)
        if text is not None and not text.replace("\n", "").isprintable():
            self.violations.append(f"report: does not print: {text[:1000]!r}")


class Models(Judge):
    """Models, each judged by the fingerprint of the digits."""

    suffix = ".onnx"

    def __init__(self, seed: int, folder: Path, share: float = 0.0) -> None:
        super().__init__(seed, folder, share)
        self.fingerprint = fpverify.load_fingerprint(DIGITS / "fingerprint.safetensors")
        self.limits = fpverify.Limits(seconds=SECONDS, memory=2**30)
        self.corpus = {path.name: path.read_bytes() for path in sorted(DIGITS.glob("*.onnx"))} | tiny_models()
        for name in ("weights.bin", "folder/weights.bin", "twin", "../outside"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(weights())
        os.link(folder / "twin", folder / "twin2")
        os.symlink(folder.parent / "outside", folder / "link")
        os.mkfifo(folder / "pipe")

    def make(self, index: int) -> tuple[bytes, list[str]]:
        rng = self.rng(index)
        # Tiny ones more often: a change of theirs is less likely to be one of weights.
        name = rng.choice([name for name in self.corpus for _ in range(2 if name in TINY else 1)])
        content, done, count = self.corpus[name], [name], rng.choice((1, 1, 1, 2, 3, 4))
        family = rng.choice(("bytes", "structure", "structure", "structure", "both"))
        structural = {"bytes": 0, "structure": count, "both": (count + 1) // 2}[family]
        if structural:
            model = onnx.ModelProto.FromString(content)
            done += [mutate_model(rng, model) for _ in range(structural)]
            content = model.SerializeToString(deterministic=True)
        for _ in range(count - structural):
            content, what = mutate_bytes(rng, content, list(self.corpus.values()))
            done.append(what)
        if rng.random() < 0.01:
            content, what = nest(rng, content)
            done.append(what)
        return content, done

    def judge(self, index: int, path: Path, mutations: list[str]) -> str:
        summary, _ = self.attempt("inspect", GRACE, lambda: inspect_file(path))
        if summary is not None:
            self.check_report(lambda: FORMATS["text"].inspection(summary))
            self.attempt("inspect --format json", GRACE, lambda: FORMATS["json"].inspection(summary))
        result, outcome = self.attempt(
            "verify", SECONDS + GRACE, lambda: fpverify.verify(self.fingerprint, path, limits=self.limits)
        )
        if result is None:
            return outcome
        self.check_report(lambda: FORMATS["text"].result(result))
        self.attempt("verify --format json", GRACE, lambda: FORMATS["json"].result(result))
        outcome = f"verdict {result.verdict}"
        if self.rng(index, "compare").random() < self.share:
            outcome += f", {self.attempt('comparison', DEADLINE, lambda: self.compare(result, path))[0]}"
        return outcome

    def compare(self, result: Any, path: Path) -> str:
        """Ask ONNX Runtime directly, in a process that is thrown away, and compare how many keys are kept."""
        contract, size = result.contract, (result.contract.height, result.contract.width)
        plain = contract.classes is None and contract.values == Values() and contract.channels == "grey"
        if not plain or size != (8, 8) or contract.trailing or contract.reading not in ("scores", "labels"):
            return "cannot be compared"
        if contract.type not in DTYPES or any("chance" in text or "random" in text for text in result.warnings):
            return "cannot be compared"
        np.savez(self.folder / "keys.npz", inputs=self.fingerprint.inputs, labels=self.fingerprint.labels)
        shape = {"NCHW": [1, 8, 8], "NHWC": [8, 8, 1], "NHW": [8, 8]}.get(contract.layout, [64])
        asked = {"model": str(path), "keys": str(self.folder / "keys.npz"), "shape": shape, "batch": contract.batch}
        asked |= {"input": contract.input, "output": contract.output, "dtype": DTYPES[contract.type]}
        command = [sys.executable, "-c", REFERENCE, json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE / 2, check=False)
        if done.stdout.strip() != str(result.kept):
            says = done.stdout.strip() or f"nothing, exit code {done.returncode}: {done.stderr[-300:]}"
            self.violations.append(f"verify: keeps {result.kept} keys; asked directly: {says}")
        return "compared"


DTYPES = {"float": "float32", "double": "float64", "float16": "float16"}
REFERENCE = """
import json, sys, numpy, onnxruntime
asked = json.loads(sys.argv[1])
keys = numpy.load(asked["keys"])
inputs = keys["inputs"].reshape(-1, *asked["shape"]).astype(asked["dtype"])
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
session = onnxruntime.InferenceSession(asked["model"], options, providers=["CPUExecutionProvider"])
size = asked["batch"] or len(inputs)
answers = []
for at in range(0, len(inputs), size):
    here = inputs[at : at + size]
    padded = numpy.concatenate([here, numpy.zeros((size - len(here), *here.shape[1:]), here.dtype)])
    answers.append(session.run([asked["output"]], {asked["input"]: padded})[0].reshape(size, -1)[: len(here)])
answer = numpy.concatenate(answers)
labels = answer[:, 0] if answer.shape[1] == 1 else answer.argmax(1)
print(int((labels == keys["labels"]).sum()))
"""
"""Runs a model without fpverify, and prints how many keys it keeps."""
