"""An owner's own files as null models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator.build import HeldOutModels, files_of, held_out_models, prepare
from fpverify_generator.errors import SourceError
from fpverify_generator.keys import Keys, cem_keys
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.given import Folders, as_network, load_given, parted_by_use
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
    found = prepare(source, owner, preset, RunContext(0, Cache(tmp_path / "cache")), folders=Folders(nulls=folder))
    held_out = held_out_models(found)
    groups = [model.group for model in held_out.models if model.role == "null"]
    assert len(groups) == 21
    assert [group.split(",")[0] for group in groups[-2:]] == ["file 1.onnx", "file 2.onnx"]
    assert min(model.accuracy for model in held_out.models[-2:]) > 0.6
    keys = Keys(owner.start.inputs[:30], owner.start.labels[:30])
    _, _, nulls = held_out.answers(keys, "cpu")
    assert torch.equal(nulls[-1], load_source(folder / "2.onnx", owner.start).labels(keys.inputs))


def test_a_label_that_the_owner_does_not_know_is_none(owner: OwnerData, source: Source, folder: Path) -> None:
    (given, _) = load_given(Folders(nulls=folder), owner.start, source).nulls
    strange = replace(given.model, oracle=lambda images: np.full(len(images), -1))
    trained = [initialise(ARCHITECTURES["perceptron"], Task((1, 8, 8), 10), 0)]
    held_out = HeldOutModels((trained, trained, trained), (), None, [replace(given, model=strange)])  # type: ignore[arg-type]
    _, _, nulls = held_out.answers(Keys(owner.start.inputs[:5], owner.start.labels[:5]), "cpu")
    assert nulls.shape == (2, 5)
    assert nulls[1].tolist() == [-1] * 5


def test_no_model_has_two_roles(source: Source, owner: OwnerData, folder: Path) -> None:
    first = load_source(folder / "1.onnx", owner.start)
    with pytest.raises(SourceError, match=r"1\.onnx: is the source itself: no model may have two roles"):
        load_given(Folders(nulls=folder), owner.start, first)
    (folder / "3.onnx").write_bytes((folder / "2.onnx").read_bytes())
    with pytest.raises(SourceError, match=r"3\.onnx: is the same model as 2\.onnx"):
        load_given(Folders(nulls=folder), owner.start, source)


def test_a_folder_without_models_and_a_model_without_skill_are_refused(
    source: Source, owner: OwnerData, folder: Path, tmp_path: Path
) -> None:
    for empty in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SourceError, match=r"expected a folder of models \(\.pt2 or \.onnx\), found none"):
            load_given(Folders(references=empty), owner.start, source)
    task = TrainingTask(
        "x", 3, ARCHITECTURES["perceptron"], owner.train.inputs, owner.train.targets.roll(1, 0), Recipe(steps=1)
    )
    Exporter().write(train_sequentially(task), owner.train.inputs[:8], folder / "4.onnx")
    with pytest.raises(SourceError, match=r"4\.onnx: accuracy .* is not above chance"):
        load_given(Folders(nulls=folder), owner.start, source)


@pytest.fixture
def mixed(owner: OwnerData, folder: Path) -> Path:
    """Three files that only answer, and one that keeps its weights."""
    inputs, targets = owner.train.inputs, owner.train.targets
    for seed, suffix in ((3, "onnx"), (4, "pt2")):
        task = TrainingTask("x", seed, ARCHITECTURES["convolutional-narrow"], inputs, targets, Recipe(steps=100))
        network, path = train_sequentially(task), folder / f"{seed}.{suffix}"
        if suffix == "onnx":
            Exporter().write(network, inputs[:8], path)
        else:
            batch = ({0: torch.export.Dim("batch")},)
            torch.export.save(torch.export.export(network, (inputs[:2],), dynamic_shapes=batch), path)
    return folder


def test_references_from_files_serve_the_role_that_they_can(
    source: Source, owner: OwnerData, mixed: Path, tmp_path: Path
) -> None:
    preset = replace(
        Preset(), surrogates=FOUR, references=FOUR, nulls=19, recipe=Recipe(steps=2), candidates=40, keys=5
    )
    work = RunContext(0, Cache(tmp_path / "cache"))
    found = prepare(source, owner, preset, work, folders=Folders(references=mixed))
    assert [len(vars(found.references)[role]) for role in vars(found.references)] == [2, 3, 3]
    names = {role: [one.name for one in some] for role, some in parted_by_use(found.given.references).items()}
    assert names == {"cem": ["4.pt2"], "selection": ["1.onnx", "3.onnx"], "calibration": ["2.onnx"]}
    held_out = held_out_models(found)
    groups = [model.group.split(",")[0] for model in held_out.models if model.role == "reference"]
    assert groups[-1] == "file 2.onnx"
    keys = cem_keys(found)  # the file with weights takes part in CEM, and label oracles choose
    _, references, _ = held_out.answers(keys, "cpu")
    assert torch.equal(references[-1], load_source(mixed / "2.onnx", owner.start).labels(keys.inputs))
    assert files_of(found.given)["given"]["references"]["calibration"] == [found.given.references[1].group]


def test_a_model_is_in_one_folder_alone(source: Source, owner: OwnerData, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "copy.onnx").write_bytes((mixed / "1.onnx").read_bytes())
    with pytest.raises(SourceError, match=r"copy\.onnx: is the same model as 1\.onnx"):
        load_given(Folders(surrogates=mixed, nulls=tmp_path / "others"), owner.start, source)


def test_labels_of_no_class_stay_what_they_are_in_an_ensemble(owner: OwnerData, source: Source, folder: Path) -> None:
    (given, _) = load_given(Folders(nulls=folder), owner.start, source).nulls
    strange = replace(given, model=replace(given.model, oracle=lambda images: np.full(len(images), -1)))
    trained = initialise(ARCHITECTURES["perceptron"], Task((1, 8, 8), 10), 0)
    labels = Ensemble([as_network(strange), trained, as_network(given)]).labels(owner.start.inputs[:600])
    assert labels[0].tolist() == [-1] * 600
    assert torch.equal(labels[1], trained(owner.start.inputs[:600]).argmax(1))
    assert torch.equal(labels[2], given.model.labels(owner.start.inputs[:600]))


def test_the_source_is_no_null_model_however_it_is_read(owner: OwnerData, folder: Path) -> None:
    """The source has a contract, which a pool has not: its copy there answers otherwise, and is the source anyway."""
    text = {"mean": [0.5], "std": [0.2]}
    source = load_source(folder / "1.onnx", owner.start, contract=text)
    with pytest.raises(SourceError, match="is the source itself: no model may have two roles"):
        load_given(Folders(nulls=folder), owner.start, source)
    (folder / "1.onnx").rename(folder / "1.ONNX")
    with pytest.raises(SourceError, match=r"1\.ONNX: is the source itself"):
        load_given(Folders(nulls=folder), owner.start, source)
