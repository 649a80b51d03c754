"""An owner's own files as null models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator.build import HeldOutModels, held_out_models, prepare
from fpverify_generator.errors import SourceError
from fpverify_generator.keys import Keys
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.given import load_given
from fpverify_generator.models.source import Source, load_source
from fpverify_generator.models.training import Recipe, TrainingTask, train_sequentially
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext

FOUR = Roles(1, 1, 2)


@pytest.fixture
def folder(owner: OwnerData, tmp_path: Path) -> Path:
    """Two independent networks."""
    (tmp_path / "models").mkdir()
    for seed in (1, 2):
        inputs, targets = owner.train.inputs, owner.train.targets
        task = TrainingTask("x", seed, ARCHITECTURES["convolutional-narrow"], inputs, targets, Recipe(steps=100))
        Exporter().write(train_sequentially(task), inputs[:8], tmp_path / "models" / f"{seed}.onnx")
    (tmp_path / "models" / "README.txt").write_text("not a model")
    return tmp_path / "models"


def test_files_are_null_models_beside_those_that_are_trained(
    source: Source, owner: OwnerData, folder: Path, tmp_path: Path
) -> None:
    preset = replace(Preset(), surrogates=FOUR, references=FOUR, nulls=19, recipe=Recipe(steps=2))
    found = prepare(source, owner, preset, RunContext(0, Cache(tmp_path / "cache")), null_models=folder)
    held_out = held_out_models(found)
    groups = [model.group for model in held_out.models if model.role == "null"]
    assert len(groups) == 21
    assert [group.split(",")[0] for group in groups[-2:]] == ["file 1.onnx", "file 2.onnx"]
    assert min(model.accuracy for model in held_out.models[-2:]) > 0.6
    keys = Keys(owner.start.inputs[:30], owner.start.labels[:30])
    _, _, nulls = held_out.answers(keys, "cpu")
    assert torch.equal(nulls[-1], load_source(folder / "2.onnx", owner.start).labels(keys.inputs))


def test_a_label_that_the_owner_does_not_know_is_none(owner: OwnerData, source: Source, folder: Path) -> None:
    (given, _) = load_given(folder, owner.start, source)
    strange = replace(given.model, oracle=lambda images: np.full(len(images), -1))
    trained = [initialise(ARCHITECTURES["perceptron"], Task((1, 8, 8), 10), 0)]
    held_out = HeldOutModels((trained, trained, trained), (), None, [replace(given, model=strange)])  # type: ignore[arg-type]
    _, _, nulls = held_out.answers(Keys(owner.start.inputs[:5], owner.start.labels[:5]), "cpu")
    assert nulls.shape == (2, 5)
    assert nulls[1].tolist() == [-1] * 5


def test_no_model_has_two_roles(source: Source, owner: OwnerData, folder: Path) -> None:
    first = load_source(folder / "1.onnx", owner.start)
    with pytest.raises(SourceError, match=r"1\.onnx: is the source itself: no model may have two roles"):
        load_given(folder, owner.start, first)
    (folder / "3.onnx").write_bytes((folder / "2.onnx").read_bytes())
    with pytest.raises(SourceError, match=r"3\.onnx: is the same model as 2\.onnx"):
        load_given(folder, owner.start, source)


def test_a_folder_without_models_and_a_model_without_skill_are_refused(
    source: Source, owner: OwnerData, folder: Path, tmp_path: Path
) -> None:
    for empty in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SourceError, match=r"expected a folder of models \(\.pt2 or \.onnx\), found none"):
            load_given(empty, owner.start, source)
    task = TrainingTask(
        "x", 3, ARCHITECTURES["perceptron"], owner.train.inputs, owner.train.targets.roll(1, 0), Recipe(steps=1)
    )
    Exporter().write(train_sequentially(task), owner.train.inputs[:8], folder / "4.onnx")
    with pytest.raises(SourceError, match=r"4\.onnx: accuracy .* is not above chance"):
        load_given(folder, owner.start, source)
