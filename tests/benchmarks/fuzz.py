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
import hashlib
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mutations import mutate_bytes, mutate_json, mutate_model, nest, read_json, write_json
from onnx import TensorProto, helper
from onnx.parser import parse_model

import fpverify
from fpverify import Calibration, Fingerprint, InputContract, Source, report
from fpverify.fingerprint import serialise
from fpverify.inspection import inspect_file
from fpverify.suspects.contract import Values

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits"
SECONDS = 3.0
"""Wall time that a model may take."""
GRACE = 3.0
"""What fpverify may take beyond it, in seconds."""
DEADLINE = 60.0
"""When a worker counts as hung, in seconds."""
MEMORY = 2**32
"""Address space of a worker in bytes: a file must not make fpverify's own process grow."""


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
            self.check_report(lambda: report.summary_as_text(summary))
            self.attempt("inspect --format json", GRACE, lambda: report.summary_as_json(summary))
        result, outcome = self.attempt(
            "verify", SECONDS + GRACE, lambda: fpverify.verify(self.fingerprint, path, limits=self.limits)
        )
        if result is None:
            return outcome
        self.check_report(lambda: report.result_as_text(result))
        self.attempt("verify --format json", GRACE, lambda: report.result_as_json(result))
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


class Fingerprints(Judge):
    """Fingerprints: as they are damaged by chance, and with the digest made to fit."""

    suffix = ".safetensors"

    def __init__(self, seed: int, folder: Path, share: float = 0.0) -> None:
        super().__init__(seed, folder, share)
        self.corpus = [(DIGITS / "fingerprint.safetensors").read_bytes(), *small_fingerprints()]

    def make(self, index: int) -> tuple[bytes, list[str]]:
        rng = self.rng(index)
        number = rng.randrange(len(self.corpus))
        content, done = self.corpus[number], [f"fingerprint {number}"]
        family = rng.choice(("bytes", "header", "sealed", "sealed"))
        count = rng.choice((1, 1, 1, 2, 3))
        if family == "bytes":
            for _ in range(count):
                content, what = mutate_bytes(rng, content, self.corpus)
                done.append(what)
            return content, [*done, "bytes"]
        content, what = mutate_header(rng, content, count, family == "sealed")
        return content, [*done, *what, family]

    def judge(self, index: int, path: Path, mutations: list[str]) -> str:
        content = path.read_bytes()
        sealed = mutations[-1] == "sealed"
        summary, _ = self.attempt("inspect", GRACE, lambda: inspect_file(path))
        loaded, outcome = self.attempt("load", GRACE, lambda: fpverify.load_fingerprint(path))
        if loaded is None:
            if not outcome.startswith("FingerprintError"):
                self.violations.append(f"load: must raise a FingerprintError, raised {outcome}")
            return outcome
        if content in self.corpus:
            return "loaded, unchanged"
        if not sealed:
            self.violations.append("load: takes a file that was altered")
        if summary is not None:
            self.check_report(lambda: report.summary_as_text(summary))
            self.attempt("inspect --format json", GRACE, lambda: report.summary_as_json(summary))
        self.attempt("save", GRACE, lambda: fpverify.save_fingerprint(loaded, path))
        if path.read_bytes() != content:
            self.violations.append("save: other bytes than were loaded")
        return "loaded, digest made to fit"


def mutate_header(rng: random.Random, content: bytes, count: int, sealed: bool) -> tuple[bytes, list[str]]:
    """Mutate the header of a fingerprint; with `sealed`, write the digest of the new content into it."""
    size = 8 + int.from_bytes(content[:8], "little")
    header, body = read_json(content[8:size].decode()), bytearray(content[size:])
    inner = dict(dict(header)["__metadata__"])["fpverify"]
    metadata, done = read_json(inner), []
    for _ in range(count):
        part = rng.choice(("metadata", "metadata", "metadata", "header", "body"))
        if part == "body":
            at = rng.randrange(len(body))
            body[at] = rng.choice((0, 1, 255, body[at] ^ 1))
            done.append(f"body at {at}")
        else:
            done.append(f"{part}: {mutate_json(rng, metadata if part == 'metadata' else header)}")
    text = write_json(metadata)
    if sealed:
        text = sealed_text(text, bytes(body))
    # The outer text holds the inner one as a string, which the header's own mutation may have moved or lost.
    whole = write_json(header).replace(json.dumps(inner), json.dumps(text)).encode("utf-8", "surrogatepass")
    whole += b" " * rng.choice((*(-len(whole) % 8,) * 20, 0, 1, 8))
    length = len(whole) + rng.choice((*(0,) * 40, -1, 1, 8, 2**32, 2**62))
    return length.to_bytes(8, "little") + whole + bytes(body), done


def sealed_text(text: str, body: bytes) -> str:
    """Return metadata with the digest of what they and the tensors now hold, if they are JSON at all."""
    try:
        document = json.loads(text)
        claimed = document.pop("digest")
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return text
    digest = hashlib.sha256(canonical.encode() + body).hexdigest()
    return text.replace(claimed, digest) if isinstance(claimed, str) and len(claimed) == 64 else text


def small_fingerprints() -> list[bytes]:
    """Return fingerprints of few keys, in which more of the bytes matter than in one of many."""

    def make(count: int, contract: InputContract, nulls: int, **changes: Any) -> bytes:
        parts = {
            "inputs": np.random.default_rng(count).random((count, *contract.shape), np.float32),
            "labels": np.arange(count) % 3,
            "classes": ("cat", "dögs\n", "\x1b[2J"),
            "contract": contract,
            "source": Source(sha256="ab" * 32),
            "method": {"name": "cem", "rates": (0.5, 1e-9), "deep": [{"a": None}, True]},
            "seeds": {"run": 2**70},
            "versions": {"fpverify": "0.1.0"},
            "calibration": Calibration((1.0,), (0.0,), (1 / 3,) * nulls, 0.75, "midpoint"),
        }
        return serialise(Fingerprint(**{**parts, **changes}))

    normalised = InputContract(channels="rgb", height=1, width=2, mean=(0.5, 0.4, 1e-7), std=(0.1, 1.0, 2.0))
    grey = InputContract(channels="grey", height=2, width=2, low=-1, high=1.5)
    return [make(12, grey, 39), make(3, normalised, 1), make(1, grey, 2, classes=("a", "b"), seeds={}, versions={})]


def weights() -> bytes:
    """Return 64 x 10 numbers in single precision."""
    return struct.pack("<640f", *(math.sin(number * number) for number in range(640)))


TINY = {
    "gemm": "flat = Flatten(input) scores = Gemm(flat, w)",
    "if": """flat = Flatten(input) m = MatMul(flat, w) s = ReduceSum<keepdims=0>(m) z = Constant<value_float=0.0>()
        c = Greater(s, z) scores = If(c)<then_branch = t () => (float[n,10] y) { y = Identity(m) },
        else_branch = e () => (float[n,10] x) { x = Neg(m) }>""",
    "loop": """flat = Flatten(input) m = MatMul(flat, w) k = Constant<value_int=3>() yes = Constant<value_int=1>()
        c = Cast<to=9>(yes) scores = Loop(k, c, m)<body = b (int64 i, bool g, float[n,10] a) => (bool h, float[n,10] d)
        { h = Identity(g) d = Add(a, m) }>""",
    "function": "scores = local.head(input, w)",
    "constant": """flat = Flatten(input) p = Constant<value = float[10,2] {1,2,3,4,5,6,7,8,9,0,0,9,8,7,6,5,4,3,2,1}>()
        m = MatMul(flat, w) e = MatMul(m, p) scores = Concat<axis=1>(e, e, e, e, e) label = ArgMax<axis=1>(scores)""",
    "external": "flat = Flatten(input) scores = MatMul(flat, w)",
    "names": """flat = Flatten(input) m = MatMul(flat, w) a = ArgMax<axis=1, keepdims=0>(m)
        scores = ai.onnx.ml.LabelEncoder<keys_int64s=[0,1,2,3], values_strings=["0","1","2","3"]>(a)""",
    "quantised": """flat = Flatten(input) s = Constant<value_float=0.01>() z = Constant<value = uint8 {128}>()
        q = QuantizeLinear(flat, s, z) v = QuantizeLinear(w, s, z) a = DequantizeLinear(q, s, z)
        i = MatMulInteger(q, v, z, z) j = Cast<to=1>(i) b = DequantizeLinear(v, s, z) m = MatMul(a, b)
        scores = Add(m, j)""",
    "training": """one = Constant<value_floats=[1.0]>() r = Constant<value_float=0.5>() yes = Constant<value_int=1>()
        t = Cast<to=9>(yes) b, u, v = BatchNormalization<training_mode=1>(input, one, one, one, one)
        d = Dropout(b, r, t) flat = Flatten(d) scores = MatMul(flat, w)""",
    "maps": """flat = Flatten(input) m = MatMul(flat, w)
        scores = ai.onnx.ml.ZipMap<classlabels_int64s=[0,1,2,3,4,5,6,7,8,9]>(m)""",
    "sequence": "flat = Flatten(input) m = MatMul(flat, w) scores = SequenceConstruct(m, m)",
    "random": "flat = Flatten(input) m = MatMul(flat, w) r = RandomNormalLike(m) scores = Add(m, r)",
    "top": "flat = Flatten(input) m = MatMul(flat, w) k = Constant<value_ints=[3]>() scores, best = TopK(m, k)",
}
"""Nodes of small models in ONNX's own text; `w` is an initializer."""
OUTPUTS = {
    "constant": "float[n,10] scores, int64[n,1] label",
    "names": "string[n] scores",
    "maps": "seq(map(int64, float)) scores",
    "sequence": "seq(float[n,10]) scores",
    "top": "float[n,3] scores, int64[n,3] best",
}
FUNCTION = """<domain: "local", opset_import: ["": 17]> head (x, w) => (y) { f = Flatten(x) y = MatMul(f, w) }"""


def tiny_models() -> dict[str, bytes]:
    """Return models of a few nodes, each with something that the digits' models have not."""
    models = {}
    for name, nodes in TINY.items():
        opsets = '"": 17, "ai.onnx.ml": 3, "local": 1'
        graph = f"g (float[n,1,8,8] input) => ({OUTPUTS.get(name, 'float[n,10] scores')}) {{ {nodes} }}"
        functions = FUNCTION if name == "function" else ""
        model = parse_model(f"<ir_version: 8, opset_import: [{opsets}]> {graph} {functions}")
        model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [64, 10], weights(), raw=True))
        if name == "external":
            onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin", 0, 2560)
            model.graph.initializer[0].ClearField("raw_data")
        if name in ("names", "gemm"):
            model.metadata_props.add(key="classes", value=json.dumps([str(number) for number in range(10)]))
        models[name] = model.SerializeToString(deterministic=True)
    return models


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
