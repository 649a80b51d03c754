"""The recipes for other frameworks' models, where the framework is installed: each ends with a source that is used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.models.source import load_source

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
RECIPES = re.findall(r"^```python (\w+)\n(.*?)^```", PAGE.read_text(), re.M | re.S)

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


def _environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "torch"}
