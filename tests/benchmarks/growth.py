"""Measures how time grows with the size of the work, and draws docs/growth.png.

    python tests/benchmarks/growth.py --out docs/growth.png [--only build cem verify scan]

Processor seconds on one thread (`build`, `cem`), wall seconds (`verify`, `scan`); medians of three runs after one that
warms up. The numbers stand beside the picture, in a file of the same name that ends in `.json`; parts that are not
measured are taken from there. Networks and images are random: they cost what others cost.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import onnx
import torch
from fpverify_generator.build import prepare
from fpverify_generator.cem import CemConfig, optimise
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.models.architectures import FAMILIES, Task, initialise
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import Recipe
from fpverify_generator.pools import share_data
from fpverify_generator.presets import PRESETS, Roles
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from matplotlib.figure import Figure
from onnx import TensorProto, helper, numpy_helper

import fpverify

RUNS = 3
MEMBERS = FAMILIES["small"].members

Curve = dict[float, float]
"""Size -> seconds."""


def median(run: Callable[[], float]) -> float:
    """Return the median of several runs' seconds, after one that is not counted."""
    run()
    return statistics.median(run() for _ in range(RUNS))


def processor(work: Callable[[], object]) -> Callable[[], float]:
    """Return what does some work and says how many processor seconds that took."""

    def timed() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return timed


def images(count: int, side: int, channels: int = 3) -> DataSet:
    """Return images of ten classes that networks can tell apart: noise on ten levels."""
    draw, labels = torch.Generator().manual_seed(0), torch.arange(count) % 10
    noise = torch.rand((count, channels, side, side), generator=draw)
    return DataSet(
        0.7 * noise + 0.03 * labels.view(-1, 1, 1, 1), labels, torch.arange(count), tuple(map(str, range(10)))
    )


def level(images: Any) -> Any:
    """Return the classes of such images."""
    return np.clip(np.rint((images.mean((1, 2, 3)) - 0.35) / 0.03), 0, 9).astype(np.int64)


def pools(models: int, count: int, side: int) -> Callable[[], float]:
    """Return a run that trains so many surrogates and references, and 19 null models, on so many images."""
    third = models // 6
    roles = Roles(third, third, models // 2 - 2 * third)
    recipe = Recipe(steps=30)
    preset = replace(PRESETS["digits"], surrogates=roles, references=roles, nulls=19, recipe=recipe)
    data = images(count, side)
    source = Source("ab" * 32, None, level)

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            work = RunContext(0, Cache(Path(folder)))
            return processor(lambda: prepare(source, share_data(data, preset, 0), preset, work))()

    return run


def build() -> dict[str, Curve]:
    """Training of surrogates and references."""
    return {
        "models (2,000 images, 16x16)": {n: median(pools(n, 2000, 16)) for n in (24, 48, 96, 192)},
        "images (48 models, 16x16)": {n: median(pools(48, n, 16)) for n in (1000, 4000, 16_000)},
        "pixels of an image (24 models, 2,000 images)": {n * n: median(pools(24, 2000, n)) for n in (8, 16, 32)},
    }


def candidates(count: int, members: int, side: int) -> Callable[[], float]:
    """Return a run of ten steps of CEM."""
    task = Task((1, side, side), 10)
    nets = [initialise(MEMBERS[seed % 4], task, seed).requires_grad_(False) for seed in range(2 * members + 1)]
    ensembles = Ensemble(nets[:members]), Ensemble(nets[members:-1])
    data = images(count, side, 1)

    def work() -> object:
        draw = torch.Generator().manual_seed(0)
        return optimise(data.inputs, data.labels, Source(None, nets[-1]), *ensembles, CemConfig(steps=10), draw)

    return processor(work)


def cem() -> dict[str, Curve]:
    """Optimisation of candidates."""
    return {
        "candidates (24 + 24 models)": {n: median(candidates(n, 24, 8)) for n in (10, 30, 100, 300)},
        "surrogates, and as many references (100 candidates)": {n: median(candidates(100, n, 8)) for n in (4, 12, 48)},
    }


def write_model(path: Path, width: int, seed: int = 0) -> None:
    """Write a network of two dense layers on images of 3x32x32."""
    draw, sizes = np.random.default_rng(seed), (3072, width, 10)
    weights, nodes, value = [], [helper.make_node("Flatten", ["input"], ["h0"])], "h0"
    for number, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        array = draw.standard_normal((rows, columns), np.float32) * np.float32(rows**-0.5)
        weights.append(numpy_helper.from_array(array, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{number}"], [f"m{number}"]))
        nodes.append(helper.make_node("Relu", [f"m{number}"], [f"h{number + 1}"]))
        value = f"h{number + 1}"
    nodes.pop()
    shapes = ("input", ["batch", 3, 32, 32]), ("m1", ["batch", 10])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_fingerprint(path: Path, keys: int, seed: int = 0) -> None:
    """Write a fingerprint of random keys with random labels."""
    draw = np.random.default_rng(seed)
    calibration = fpverify.Calibration((0.9,), (0.1,), (0.1,) * 99, 0.5, "by hand, for this benchmark")
    fingerprint = fpverify.Fingerprint(
        inputs=draw.random((keys, 3, 32, 32), np.float32),
        labels=draw.integers(0, 10, keys),
        classes=tuple(map(str, range(10))),
        contract=fpverify.InputContract(channels="rgb", height=32, width=32),
        source=fpverify.SourceIdentity(sha256="ab" * 32),
        method={"name": "random"},
        seeds={},
        versions={},
        calibration=calibration,
    )
    fpverify.save_fingerprint(fingerprint, path)


def verify() -> dict[str, Curve]:
    """Run the command `fpverify verify`, which includes the start of two processes."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)

        def judged(keys: int, width: int) -> float:
            write_model(folder / "m.onnx", width)
            write_fingerprint(folder / "f.safetensors", keys)
            command = [sys.executable, "-m", "fpverify", "verify", "m.onnx", "-f", "f.safetensors"]

            def run() -> float:
                began = time.perf_counter()
                code = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode
                if code not in (0, 3, 4):
                    raise SystemExit(f"exit code {code}: {' '.join(command)}")
                return time.perf_counter() - began

            return median(run)

        return {
            "keys (a model of 1.3 MB)": {n: judged(n, 100) for n in (20, 100, 500, 2500)},
            "megabytes of the model (100 keys)": {n: judged(100, round(n * 1e6 / 12_328)) for n in (1, 10, 100, 1000)},
        }


def scan() -> dict[str, Curve]:
    """Ask `verify_each` in this process: each model once, by all fingerprints."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for number in range(32):
            write_model(folder / f"{number}.onnx", 100, number)
            write_fingerprint(folder / f"{number}.safetensors", 100, number)
        fingerprints = [fpverify.load_fingerprint(folder / f"{number}.safetensors") for number in range(32)]

        def judged(models: int, count: int) -> float:
            def run() -> float:
                began = time.perf_counter()
                for number in range(models):
                    for found in fpverify.verify_each(fingerprints[:count], folder / f"{number}.onnx"):
                        if isinstance(found, fpverify.SuspectError):
                            raise found
                return time.perf_counter() - began

            return median(run)

        return {
            "models (4 fingerprints)": {n: judged(n, 4) for n in (1, 4, 16, 32)},
            "fingerprints (4 models)": {n: judged(4, n) for n in (1, 4, 16, 32)},
        }


PARTS: dict[str, Callable[[], dict[str, Curve]]] = {"build": build, "cem": cem, "verify": verify, "scan": scan}


def panels(found: dict[str, Any]) -> Iterator[tuple[str, str, Sequence[float], Sequence[float]]]:
    """Yield part, what grows, sizes and seconds of each curve."""
    for part in filter(found.get, PARTS):
        for what, curve in found[part].items():
            yield part, what, [float(size) for size in curve], list(curve.values())


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw every curve, with the line on which time grows as the size does."""
    mpl.rcParams.update({"font.size": 8.0, "axes.titlesize": "medium"})
    shown = list(panels(found))
    figure = Figure(figsize=(9, 2.3 * -(-len(shown) // 3)), layout="constrained")
    for place, (part, what, sizes, seconds) in enumerate(shown, 1):
        axes = figure.add_subplot(-(-len(shown) // 3), 3, place)
        line = [seconds[-1] * size / sizes[-1] for size in sizes]
        axes.loglog(sizes, line, color="0.6", linestyle="--", label="in proportion")
        axes.loglog(sizes, seconds, color="#1f5fa8", marker="o", label="measured")
        axes.set_title(part, loc="left", fontweight="bold")
        axes.set_xlabel(what)
        axes.set_xticks(sizes, [f"{size:,g}" for size in sizes])
        axes.minorticks_off()
        axes.set_ylabel("seconds")
        if place == 1:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def main() -> None:
    """Measure, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    numbers = options.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(numbers.read_text()) if numbers.exists() else {}
    for part in options.only:
        found[part] = {what: {f"{n:g}": round(s, 4) for n, s in curve.items()} for what, curve in PARTS[part]().items()}
        found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__}"
        numbers.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found[part], indent=1), flush=True)
    draw(found, options.out)


if __name__ == "__main__":
    main()
