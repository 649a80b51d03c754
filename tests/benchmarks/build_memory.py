"""Peak memory of a build on many images that lie in folders: training is short, so that it is the data that counts.

python tests/benchmarks/build_memory.py --images 100000 --side 224
"""

import argparse
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import psutil
import torch
from fpverify_generator import Architecture, Family, open_run
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.commands import build_command
from fpverify_generator.presets import PRESETS
from PIL import Image
from torch import nn

CLASSES, FIRST, STEP = 10, 80, 6
"""How many classes there are, and how bright their images are, of 255."""


def write_images(folder: Path, side: int, numbers: range) -> None:
    """Write RGB images whose classes differ in their brightness, not beyond doubt."""
    for number in numbers:
        draw = np.random.default_rng(number)
        label = number % CLASSES
        few = np.clip(draw.normal(FIRST + STEP * label, 40, (12, 12, 3)), 0, 255).astype(np.uint8)
        path = folder / f"class {label}" / f"{number:07}.jpg"
        Image.fromarray(few).resize((side, side)).save(path, quality=85)


def make_data(folder: Path, count: int, side: int) -> None:
    """Write a folder with ten folders of images."""
    for label in range(CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
    parts = [range(start, min(start + 500, count)) for start in range(0, count, 500)]
    with Pool() as pool:
        for _ in pool.imap_unordered(partial(write_images, folder, side), parts):
            pass


def brightness() -> nn.Sequential:
    """Return the source: of all classes it names the one whose brightness is nearest to that of the image."""
    last = nn.Linear(3, CLASSES)
    levels = (FIRST + STEP * torch.arange(CLASSES)) / 255
    # -(mean - level)^2, but for what all classes share
    last.weight.data = 4000 * levels[:, None].expand(CLASSES, 3) / 3
    last.bias.data = -2000 * levels.square()
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)


def coarse(stride: int, width: int) -> Architecture:
    """Return a network that looks at an image in patches."""

    def build(task) -> nn.Module:
        patches = nn.Conv2d(task.shape[0], width, stride, stride)
        return nn.Sequential(patches, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, CLASSES))

    return Architecture(f"coarse-{stride}-{width}", build)


class Peak(threading.Thread):
    """Watches the memory of this process and of those that it starts."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        """Look five times a second."""
        this = psutil.Process()
        while True:
            total = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.bytes = max(self.bytes, total)
            time.sleep(0.2)


def main() -> None:
    """Build, and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60, help="of training")
    options = parser.parse_args()
    family = Family(coarse(16, 16), coarse(32, 16), coarse(16, 32), coarse(32, 32))
    quick = PRESETS["quick"]
    recipe = replace(quick.recipe, steps=options.steps, batch=64)
    preset = replace(quick, family=family, recipe=recipe, cem=replace(quick.cem, steps=10), candidates=100, keys=20)
    object.__setattr__(ATTACKS["train-away"], "steps", 1)  # its optimisation takes time, too, and no further memory
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder / "data", options.images, options.side)
        source = folder / "source.pt2"
        shape = (2, 3, options.side, options.side)
        batch = {0: torch.export.Dim("batch")}
        torch.export.save(torch.export.export(brightness(), (torch.zeros(shape),), dynamic_shapes=(batch,)), source)
        peak, began = Peak(), time.perf_counter()
        peak.start()
        work = open_run(folder / "cache", jobs=options.jobs, log=partial(print, flush=True))
        try:
            print(build_command(str(folder / "data"), source, folder / "f.safetensors", preset, work, weak=True))
        except Exception as error:  # noqa: BLE001 (keys of barely trained networks may decide nothing; memory counts)
            print(f"no fingerprint: {error}")
        minutes = (time.perf_counter() - began) / 60
        held = options.images * 3 * options.side**2 * 4 / 2**30
        print(
            f"{options.images} images of {options.side} pixels, {held:.1f} GiB as float32; {options.jobs} processes "
            f"and this one: peak {peak.bytes / 2**30:.2f} GiB, {minutes:.0f} minutes"
        )


if __name__ == "__main__":
    main()
