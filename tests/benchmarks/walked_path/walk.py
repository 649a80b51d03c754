"""An owner's path from images to verdicts on 224-pixel images and a public backbone, with times and memory.

    python tests/benchmarks/walked_path/walk.py --cifar10 FOLDER --side 224 --folder walk

`FOLDER` has `train` and `test`, each with a folder of images for each class. What has been done is not done again.
The build is killed once on its way and started again. `--to-the-end` and `--private-images`: see their help.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

OWNER = Path(__file__).with_name("owner.py")
PARTS = {"owner": 300, "unseen": 200, "public": 500, "thief": 500, "other": 300, "third": 300}
"""Images of each class: what the source learns, what the owner held back from it, images that nobody labelled, the
thief's, and two other owners'."""
TESTS = 50
MODELS = {
    "source": ("owner", 1, 0),
    "innocent-other": ("other", 2, 0),
    "innocent-third": ("third", 3, 0),
    "innocent-other-lite1": ("other", 4, 1),
    "innocent-same": ("owner", 5, 0),
}
"""Images, seed and version of the public network of each model of the owner's script."""
PRESET = """base = "backbone-frozen"
candidates = 160
keys = 80
simulated = [
    "retrain-labels",
    "retrain-probabilities",
    "retrain-labels-wide",
    "retrain-probabilities-wide",
    "retrain-labels-other",
    "retrain-probabilities-other",
]
[cem]
steps = 40
[variation]
steps = [0.1, 0.33, 1.0, 2.0]
[recipe]
"""
RECIPE = """steps = 1500
learning_rate = 0.001
batch = 32
layers = "last"
views = 1
"""
"""Of the owner's simulated models, and of the thief's: some ten rounds over the images."""
CONTRACT = "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
KILLED_AFTER = 240


def write_images(data: Path, folder: Path, side: int) -> None:
    """Bring images to a size, and share them out; none is in two parts."""
    for kind in sorted((data / "train").iterdir()):
        files, begin = sorted(kind.iterdir()), 0
        parts = {name: files[(begin := begin + count) - count : begin] for name, count in PARTS.items()}
        parts["test"] = sorted((data / "test" / kind.name).iterdir())[:TESTS]
        for name, chosen in parts.items():
            target = folder / name / kind.name
            target.mkdir(parents=True, exist_ok=True)
            for file in chosen:
                image = Image.open(file).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
                image.save(target / file.with_suffix(".png").name)


def run(name: str, command: list[str], folder: Path, killed_after: float | None = None) -> None:
    """Run a command unless it has been run, and write its time, the memory of its largest process, and what it said."""
    done = folder / f"{name}.json"
    if done.exists():
        print(done.read_text(), flush=True)
        return
    log = (folder / f"{name}.log").open("a")
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    if killed_after is not None:
        time.sleep(killed_after)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    _, status, usage = os.wait4(process.pid, 0)
    found = {
        "step": name,
        "exit": os.waitstatus_to_exitcode(status),
        "minutes": round((time.perf_counter() - began) / 60, 2),
        "largest process, GiB": round(usage.ru_maxrss / 2**20, 2),
    }
    done.write_text(json.dumps(found))
    print(json.dumps(found), flush=True)


def main() -> None:
    """Walk."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cifar10", type=Path, required=True)
    options.add_argument("--side", type=int, default=224)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--to-the-end", action="store_true", help="the owner trains until all images are learnt")
    options.add_argument("--private-images", action="store_true", help="the owner states that nobody else has them")
    options.add_argument("--public-images", action="store_true", help="the owner has images that nobody labelled")
    chosen = options.parse_args()
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preset.toml").write_text(PRESET + RECIPE)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "contract.toml").write_text(CONTRACT)
    if not (folder / "images.json").exists():
        write_images(chosen.cifar10, folder, chosen.side)
        (folder / "images.json").write_text(json.dumps({**PARTS, "test": TESTS}))
    for name, (images, seed, version) in MODELS.items():
        command = [sys.executable, str(OWNER), images, f"{name}.onnx", f"--seed={seed}", f"--version={version}"]
        run(name, [*command, "--test", "test", *(["--to-the-end"] if chosen.to_the_end else [])], folder)
    tool, how = "fpverify-generator", ["--source-contract", "contract.toml"]
    owner = ["--data", "owner", "--source", "source.onnx", "--unseen", "unseen", *how, "--preset", "preset.toml"]
    owner += ["--private-images"] if chosen.private_images else []
    owner += ["--query-data", "public"] if chosen.public_images else []
    run("plan", [tool, "plan", *owner], folder)
    output = ["-o", "fingerprint.safetensors"]
    run("build", [tool, "build", *owner, *output], folder, KILLED_AFTER)
    for attack, source in (
        ("retrain-labels", "source.onnx"),
        ("retrain-probabilities", "source.onnx"),
        ("retrain-labels-wide", "source.onnx"),
        ("ftal", "source.pt2"),
    ):
        theft = ["--data", "thief", "--source", source, *how, "--preset", "backbone-frozen", "--seed", "7"]
        theft += ["-o", f"{attack}.onnx", *([] if attack == "ftal" else ["--recipe", "recipe.toml"])]
        run(attack, [tool, "attack", attack, *theft], folder)
    for name in (*MODELS, "retrain-labels", "retrain-probabilities", "retrain-labels-wide", "ftal"):
        theirs = ["--contract", "contract.toml"] if name in MODELS else []
        command = ["fpverify", "verify", f"{name}.onnx", "-f", "fingerprint.safetensors", *theirs]
        run(f"verify-{name}", [*command, "--format", "text"], folder)


if __name__ == "__main__":
    main()
