"""What of the keys survives where an endpoint takes images as JPEG, or resizes them.

    python tests/benchmarks/lossy.py
    python tests/benchmarks/lossy.py --fingerprint F --copies A.onnx B.onnx --others C.onnx --normalise

Without options: the models of `fixtures/study`. `--normalise`: models of other names than `retrain-…` and `ftal` expect
images normalised with ImageNet's mean and standard deviation, as those of `walked_path` do.
"""

import argparse
import io
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from PIL import Image

from fpverify import load_fingerprint
from fpverify.questions import eight_bit
from fpverify.suspects.endpoints.protocols import jpeg

STUDY = Path(__file__).parents[2] / "fixtures/study"
MEAN, STD = (np.array(one, np.float32)[:, None, None] for one in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def as_jpeg(quality):
    """Return what makes a JPEG of an image and reads it."""
    return lambda image: np.array(Image.open(io.BytesIO(jpeg(image, quality)))).reshape(image.shape)


def resized(side):
    """Return what brings an image to another size, and back, bilinearly."""

    def change(image):
        whole = Image.fromarray(image.squeeze())
        there = whole.resize((side, side), Image.Resampling.BILINEAR)
        return np.array(there.resize(whole.size, Image.Resampling.BILINEAR)).reshape(image.shape)

    return change


def kept_by(path, sent, labels, normalised):
    """Return the share of the keys that a model keeps."""
    session = onnxruntime.InferenceSession(str(path))
    inputs = (sent - MEAN) / STD if normalised else sent
    name = session.get_inputs()[0].name
    scores = np.concatenate([session.run(None, {name: inputs[row : row + 20]})[0] for row in range(0, len(sent), 20)])
    return float((scores.argmax(1) == labels).mean())


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--fingerprint", type=Path, default=STUDY / "fingerprint.safetensors")
    options.add_argument("--copies", type=Path, nargs="+", default=sorted(STUDY.glob("derived-*.onnx")))
    options.add_argument("--others", type=Path, nargs="+", default=sorted(STUDY.glob("unrelated-*.onnx")))
    options.add_argument("--normalise", action="store_true")
    chosen = options.parse_args()
    fingerprint = load_fingerprint(chosen.fingerprint)
    images = eight_bit(fingerprint.inputs, fingerprint.contract)
    size = images.shape[1]
    ways = {"as they are": lambda image: image}
    ways |= {f"JPEG, quality {quality}": as_jpeg(quality) for quality in (95, 90, 85, 75)}
    ways |= {f"resized to {side} pixels and back": resized(side) for side in (2 * size, size * 3 // 2, size * 3 // 4)}
    print("| images | copies keep (median, lowest) | unrelated models keep (highest) |\n|---|---|---|")
    for name, way in ways.items():
        sent = np.stack([way(image) for image in images]).astype(np.float32).transpose(0, 3, 1, 2) / 255
        copies, others = (
            [
                kept_by(
                    path, sent, fingerprint.labels, chosen.normalise and not path.name.startswith(("retrain", "ftal"))
                )
                for path in some
            ]
            for some in (chosen.copies, chosen.others)
        )
        print(f"| {name} | {median(copies):.2f}, {min(copies):.2f} | {max(others):.2f} |")


if __name__ == "__main__":
    main()
