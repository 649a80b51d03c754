"""What of the keys survives where an endpoint takes images as JPEG, or resizes them: retention on `fixtures/study`.

python tests/benchmarks/lossy.py
"""

import io
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from PIL import Image

from fpverify import load_fingerprint
from fpverify.questions import eight_bit
from fpverify.suspects.endpoint import jpeg

STUDY = Path(__file__).parents[2] / "fixtures/study"


def as_jpeg(quality):
    """Return what makes a JPEG of an image and reads it."""
    return lambda image: np.array(Image.open(io.BytesIO(jpeg(image, quality))))


def resized(side):
    """Return what brings an image to another size, and back, bilinearly."""

    def change(image):
        whole = Image.fromarray(image[..., 0])
        there = whole.resize((side, side), Image.Resampling.BILINEAR)
        return np.array(there.resize(whole.size, Image.Resampling.BILINEAR))

    return change


def main() -> None:
    """Print a table."""
    fingerprint = load_fingerprint(STUDY / "fingerprint.safetensors")
    images = eight_bit(fingerprint.inputs, fingerprint.contract)
    size = images.shape[1]
    ways = {"as they are": lambda image: image[..., 0]}
    ways |= {f"JPEG, quality {quality}": as_jpeg(quality) for quality in (95, 90, 85, 75)}
    ways |= {f"resized to {side} pixels and back": resized(side) for side in (2 * size, size * 3 // 2, size * 3 // 4)}
    print("| images | copies keep (median, lowest) | unrelated models keep (highest) |\n|---|---|---|")
    for name, way in ways.items():
        sent = np.stack([way(image) for image in images]).astype(np.float32)[:, None] / 255
        kept = {"derived": [], "unrelated": []}
        for path in sorted(STUDY.glob("*.onnx")):
            session = onnxruntime.InferenceSession(str(path))
            scores = session.run(None, {session.get_inputs()[0].name: sent})[0]
            kept[path.name.split("-")[0]].append(float((scores.argmax(1) == fingerprint.labels).mean()))
        copies, others = kept["derived"], kept["unrelated"]
        print(f"| {name} | {median(copies):.2f}, {min(copies):.2f} | {max(others):.2f} |")


if __name__ == "__main__":
    main()
