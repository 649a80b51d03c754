"""The recipes for other frameworks' models, where the framework is installed: each ends with a source that is used."""

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.load import load_data
from fpverify_generator.models.source import load_source
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
ARCHIVES = ("webdataset", "pyarrow")
BLOCKS = re.findall(r"^```python (\w+)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
RECIPES = [(name, code) for name, code in BLOCKS if name not in ARCHIVES]

ANSWERS = {
    "transformers": "model(pixel_values=torch.from_numpy(images)).logits",
    "timm": "model(torch.from_numpy(images))",
    "torchvision": "model(torch.from_numpy(images))",
    "keras": "torch.as_tensor(keras.ops.convert_to_numpy(model(images.transpose(0, 2, 3, 1))))",
    "skl2onnx": "torch.from_numpy(model.predict_proba(images.reshape(len(images), -1)))",
}
"""How the model of a recipe is asked about `images` without our code."""


def test_there_is_a_recipe_for_each_framework() -> None:
    assert {name for name, _ in RECIPES} == set(ANSWERS)


@pytest.mark.parametrize(
    ("name", "code"), RECIPES, ids=[f"{name} {number}" for number, (name, _) in enumerate(RECIPES)]
)
def test_a_recipe_ends_with_a_source_that_answers_as_the_model_does(name: str, code: str, tmp_path: Path) -> None:
    installed = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, env=_environment())
    if installed.returncode:
        pytest.skip(f"{name} cannot be imported here")
    grey = name == "skl2onnx"
    images = np.random.default_rng(0).random((40, 1, 8, 8) if grey else (40, 3, 32, 32), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    ask = "\n".join(
        [
            "import numpy as np, torch",
            "images = np.load('images.npy')",
            "with torch.no_grad():",
            f"    np.save('labels.npy', {ANSWERS[name]}.argmax(1).numpy())",
        ]
    )
    (tmp_path / "recipe.py").write_text(f"{code}\n{ask}\n")
    done = subprocess.run(
        [sys.executable, "recipe.py"], cwd=tmp_path, capture_output=True, text=True, env=_environment()
    )
    assert done.returncode == 0, done.stderr[-2000:]
    labels = torch.from_numpy(np.load(tmp_path / "labels.npy"))
    (file,) = tmp_path.glob("source.*")
    data = DataSet(torch.from_numpy(images), labels, torch.arange(len(labels)), tuple("abcdefghij"))
    source = load_source(file, data)
    assert torch.equal(source.labels(data.inputs), labels)
    assert (source.module is not None) == (file.suffix == ".pt2")


def in_tar(images: list[tuple[bytes, int]], folder: Path) -> None:
    """Write shards as WebDataset does."""
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for row, (image, label) in enumerate(images[number::2]):
                for kind, content in (("png", image), ("cls", b"%d" % label)):
                    member = tarfile.TarInfo(f"part/{row:06}.{kind}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def in_parquet(images: list[tuple[bytes, int]], folder: Path) -> None:
    """Write a file as Hugging Face's datasets do."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        "image": [{"bytes": image, "path": f"{number}.png"} for number, (image, _) in enumerate(images)],
        "label": [label for _, label in images],
    }
    parquet.write_table(pyarrow.table(columns), folder / "train.parquet", row_group_size=5)


@pytest.mark.parametrize(("name", "write"), [("webdataset", in_tar), ("pyarrow", in_parquet)])
def test_archives_become_a_folder_of_classes(name: str, write: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels, images = draw.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8), []
    for number, each in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(each).save(buffer, "PNG")
        images.append((buffer.getvalue(), number % 12))
    (tmp_path / "shards").mkdir()
    write(images, tmp_path / "shards")
    (tmp_path / "unpack.py").write_text(dict(BLOCKS)[name])
    subprocess.run([sys.executable, "unpack.py"], cwd=tmp_path, check=True)
    data = load_data(str(tmp_path / "my-images"), 0)
    assert data.classes == tuple(f"{label:05}" for label in range(12))
    expected = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float() / 255
    found = {tuple(one.flatten().tolist()): label for one, label in zip(data.inputs, data.labels.tolist(), strict=True)}
    assert found == {tuple(one.flatten().tolist()): number % 12 for number, one in enumerate(expected)}


def _environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "torch"}
