"""What `fpverify scan` costs, against a script that runs the same inputs in one process; and its memory.

    python tests/benchmarks/scan.py [--models 1000] [--network digits|r20] [--fingerprints 10] [--jobs 2]

The models are one network, each with another note in its file, so that no two are the same. Both sides load every model
once; both ask ten fingerprints' keys, and half of them again, one at a time. The bars: 1,000 models of the size of a
ResNet-20 at 1.3 times the time of the bare calls or less; 1,000 of the digits' size within 150 s on two quiet cores;
memory that does not grow with the number of models.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from fpverify import Calibration, Fingerprint, InputContract, SourceIdentity, load_fingerprint, save_fingerprint

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

BARE = """
import sys, glob, numpy, onnxruntime
(folder,) = sys.argv[1:]
keys = [numpy.load(path) for path in sorted(glob.glob(folder + "/*.npy"))]
for path in sorted(glob.glob(folder + "/models/*.onnx")):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for inputs in keys:
        session.run(None, {name: inputs})
        for one in inputs[: len(inputs) // 2]:
            session.run(None, {name: one[None]})
"""


def make(network: str, models: int, fingerprints: int, folder: Path) -> None:
    """Write models, fingerprints without control images, and their keys for the bare script."""
    (folder / "models").mkdir()
    (folder / "fingerprints").mkdir()
    if network == "digits":
        first, model = load_fingerprint(ROOT / "fixtures/digits/fingerprint.safetensors"), "fixtures/digits/source.onnx"
        whole = onnx.load(ROOT / model)
    else:
        maker = [sys.executable, HERE / "overhead_models.py", network, folder]
        subprocess.run(maker, check=True, stdout=subprocess.DEVNULL)
        first, whole = load_fingerprint(folder / f"{network}.safetensors"), onnx.load(folder / f"{network}.onnx")
        (folder / f"{network}.npy").unlink()
    for number in range(models):
        whole.doc_string = f"copy {number}"
        onnx.save(whole, folder / "models" / f"{number:05}.onnx")
    for number in range(fingerprints):
        keys = np.roll(first.inputs, number, axis=0)
        made = Fingerprint(
            inputs=keys,
            labels=np.roll(first.labels, number),
            classes=first.classes,
            contract=InputContract(channels=first.contract.channels, height=keys.shape[2], width=keys.shape[3]),
            source=SourceIdentity(sha256=f"{number:064x}"),
            method={"name": "benchmark"},
            seeds={"run": number},
            versions={},
            calibration=Calibration((1.0,) * 21, (0.1,) * 5, (0.1,) * 99, 0.9, "none"),
        )
        save_fingerprint(made, folder / "fingerprints" / f"{number}.safetensors")
        np.save(folder / f"{number}.npy", keys)


def cost(command: list[str]) -> tuple[float, float, float]:
    """Return wall seconds, processor seconds of all processes, and the largest process's peak in MiB."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3, 4):
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command)}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, processor, after.ru_maxrss / 2**10


def main() -> None:
    """Print both, and the memory of a tenth of the models."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=1000)
    options.add_argument("--network", default="digits")
    options.add_argument("--fingerprints", type=int, default=10)
    options.add_argument("--jobs", type=int, default=2)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(chosen.network, chosen.models, chosen.fingerprints, folder)
        scan = [sys.executable, "-m", "fpverify", "scan", str(folder / "models"), "-f", str(folder / "fingerprints")]
        scan += ["--jobs", str(chosen.jobs), "-o", str(folder / "scan.csv")]
        few = folder / "few"
        few.mkdir()
        for number in range(max(1, chosen.models // 10)):
            shutil.copy(folder / "models" / f"{number:05}.onnx", few)
        _, _, small = cost([*scan[:4], str(few), *scan[5:]])  # before the larger one: a peak is never taken back
        wall, processor, memory = cost(scan)
        bare_wall, bare_processor, _ = cost([sys.executable, "-c", BARE, str(folder)])
        cached, again = (cost([*scan, "--cache", str(folder / "cache")])[0] for _ in range(2))
    print(f"{chosen.models} models of {chosen.network} x {chosen.fingerprints} fingerprints, {os.cpu_count()} cores")
    print(f"scan  wall {wall:.1f} s, processor {processor:.1f} s, largest process {memory:.0f} MiB")
    print(f"bare  wall {bare_wall:.1f} s, processor {bare_processor:.1f} s")
    print(f"ratio wall {wall / bare_wall:.2f}, processor {processor / bare_processor:.2f}")
    print(f"a tenth of the models: largest process {small:.0f} MiB")
    print(f"with a cache: {cached:.1f} s, again {again:.1f} s")


if __name__ == "__main__":
    main()
