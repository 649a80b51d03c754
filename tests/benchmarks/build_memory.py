"""Peak memory of a build on many images: training is one step, so that it is the data that takes memory, not time.

python tests/benchmarks/build_memory.py --images 50000 --side 32
"""

import argparse
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.commands import build_command
from fpverify_generator.presets import PRESETS
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext


def images(count: int, side: int) -> dict[str, np.ndarray]:
    """Return 8-bit RGB images of ten classes that one step of training can tell apart: noise on ten levels."""
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 10
    levels = (labels * 20 + 30).astype(np.uint8)[:, None, None, None]
    return {"inputs": draw.integers(0, 20, (count, 3, side, side), np.uint8) + levels, "labels": labels}


def main() -> None:
    """Build, and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    quick = PRESETS["quick"]
    preset = replace(
        quick,
        recipe=replace(quick.recipe, steps=20, batch=64),
        cem=replace(quick.cem, steps=1),
    )
    object.__setattr__(ATTACKS["train-away"], "steps", 1)  # its optimisation takes time, too, and no further memory
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, **images(options.images, options.side))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        work = RunContext(0, Cache(Path(folder) / "cache"), log=lambda line: print(line, flush=True))
        try:
            build_command(str(data), None, Path(folder) / "f.safetensors", preset, work)
        except Exception as error:  # noqa: BLE001 (keys of barely trained networks may decide nothing; memory counts)
            print(f"no fingerprint: {error}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        held = options.images * 3 * options.side**2 * 4 / 2**30
        print(f"images as float32: {held:.2f} GiB; before the build: {before:.2f} GiB; peak: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
