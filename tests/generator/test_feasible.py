"""What is checked before hours of training, and that nothing is asked twice."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from fpverify_generator.errors import DataError, PresetError, SourceError
from fpverify_generator.feasible import (
    TOLD,
    ask_once,
    peer_tasks,
    require_apart,
    require_enough,
    require_peers,
    require_room,
)
from fpverify_generator.models.asked import Asked
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.exported import Program, load_exported
from fpverify_generator.models.source import Source, load_source
from fpverify_generator.models.training import Recipe
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import Preset, Variation
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext

from fpverify.fingerprint.encoding import MAX_BYTES


def counting(source: Source) -> tuple[Source, list[int]]:
    """Return a label oracle of a source, and the sizes of what it is asked."""
    asked: list[int] = []

    def ask(inputs: np.ndarray) -> np.ndarray:
        asked.append(len(inputs))
        scores = source.answers(torch.from_numpy(inputs))[1]
        assert scores is not None
        return scores.numpy()

    return Source("1" * 64, None, ask), asked


def test_each_image_is_asked_once_in_whatever_order_and_across_runs(
    source: Source, owner: OwnerData, tmp_path: Path
) -> None:
    oracle, asked = counting(source)
    known = ask_once(oracle, owner.every.inputs, RunContext(0, Cache(tmp_path)))
    assert sum(asked) == TOLD + len(owner.every)  # the first few tell one model from another with the same digest
    asked.clear()
    order = torch.randperm(len(owner.every), generator=torch.Generator().manual_seed(0))
    labels, soft = known.answers(owner.every.inputs[order])
    plain, scores = source.answers(owner.every.inputs[order])
    assert not asked
    assert soft is not None
    assert torch.equal(labels, plain)
    torch.testing.assert_close(soft, scores)
    ask_once(oracle, owner.every.inputs, RunContext(0, Cache(tmp_path)))
    assert sum(asked) == TOLD


def test_what_was_not_asked_is_asked(source: Source, owner: OwnerData, tmp_path: Path) -> None:
    oracle, asked = counting(source)
    known = ask_once(oracle, owner.every.inputs, RunContext(0, Cache(tmp_path)))
    asked.clear()
    images = owner.query.inputs[:6].clone()
    images[1], images[4] = images[1].flip(-1), images[4].flip(-2)
    labels, soft = known.answers(images)
    assert asked == [2]
    plain, scores = source.answers(images)
    assert torch.equal(labels, plain)
    torch.testing.assert_close(soft, scores)


def test_an_image_that_differs_where_it_is_not_looked_up_by_is_another() -> None:
    images = torch.zeros(2, 1, 16, 16)
    images[1, 0, 0, 1] = 1  # not among the 64 values by which it is looked up
    asked = Asked.of(images[:1], torch.tensor([3]), None)
    assert asked.rows(images).tolist() == [0, -1]
    assert asked.rows(torch.zeros(1, 1, 8, 8)).tolist() == [-1]


def test_a_fingerprint_that_would_be_too_large_is_refused_before_training(owner: OwnerData) -> None:
    class Images:
        inputs = torch.zeros(1, 1, 1, 1).expand(2, 3, 1024, 1024)

    with pytest.raises(PresetError, match=r"100 keys and 60 control images of 3x1024x1024 do not fit .*smaller images"):
        require_room(Images(), Preset())  # type: ignore[arg-type]
    Images.inputs = torch.zeros(1, 1, 1, 1).expand(2, 3, 600, 600)
    with pytest.raises(PresetError, match=r"ask for at most 64 keys \(--keys\)"):
        require_room(Images(), Preset())  # type: ignore[arg-type]
    require_room(Images(), replace(Preset(), keys=64))  # type: ignore[arg-type]
    assert MAX_BYTES > 3 * 600 * 600 * (64 + 60)
    require_room(owner.every, Preset())


@pytest.mark.parametrize(("steps", "outcome"), [(1, "refused"), (150, "taken")])
def test_networks_that_are_much_worse_than_the_source_are_refused(
    steps: int, outcome: str, source: Source, owner: OwnerData, tmp_path: Path
) -> None:
    said: list[str] = []
    work = RunContext(0, Cache(tmp_path), log=said.append)
    preset = Preset(recipe=Recipe(steps=steps))
    if outcome == "taken":
        require_peers(source, owner, preset, work)
        assert not any("warning" in line for line in said)
        return
    with pytest.raises(PresetError, match=r"times its errors\. Keys made with such networks .*--weak-models"):
        require_peers(source, owner, preset, work)
    require_peers(source, owner, preset, work, weak=True)
    assert said[-1].startswith("warning: the preset's networks reach ")


def test_a_source_that_was_trained_much_worse_than_the_networks_is_warned_of(owner: OwnerData, tmp_path: Path) -> None:
    """Innocent models that were trained as such a source can look like its copies, and no null model was."""

    def said_of(wrong: int) -> list[str]:
        truth = owner.start.labels.clone()
        truth[:wrong] = (truth[:wrong] + 1) % 10
        labels = {
            tuple(image.flatten().tolist()): int(one) for image, one in zip(owner.start.inputs, truth, strict=True)
        }
        answer = lambda inputs: torch.tensor([labels[tuple(image.flatten().tolist())] for image in inputs])  # noqa: E731
        said: list[str] = []
        source = Source("0" * 64, None)
        object.__setattr__(source, "labels", answer)
        require_peers(source, owner, Preset(recipe=Recipe(steps=300)), RunContext(0, Cache(tmp_path), log=said.append))
        return [line for line in said if "warning" in line]

    (warning,) = said_of(len(owner.start) // 2)
    assert "so it was trained in another way, or on fewer images" in warning
    assert "times as often as the source" in warning
    assert said_of(len(owner.start) // 10) == []


def exported(network: torch.nn.Module, images: torch.Tensor, path: Path) -> Path:
    program = torch.export.export(network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, path)
    return path


def in_onnx(network: torch.nn.Module, images: torch.Tensor, path: Path) -> Path:
    Exporter().write(network, images[:8], path)
    return path


@pytest.mark.parametrize(("save", "name"), [(exported, "m.pt2"), (in_onnx, "m.onnx")], ids=["pt2", "onnx"])
def test_a_source_from_a_file_answers_the_same_in_another_process(
    save: Callable[..., Path], name: str, network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    found = load_source(save(network, owner.start.inputs, tmp_path / name), owner.start)
    sent: Source = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own bytes
    (labels, soft), (again, same) = (one.answers(owner.query.inputs[:50]) for one in (found, sent))
    assert torch.equal(labels, again)
    torch.testing.assert_close(soft, same)


def test_a_program_keeps_what_was_trained_when_it_is_sent(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    path = exported(network, owner.start.inputs, tmp_path / "m.pt2")
    program = load_exported(path.read_bytes(), "m.pt2")
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.mul_(0.5)
    sent: Program = pickle.loads(pickle.dumps(program))  # noqa: S301 - our own bytes
    assert torch.equal(sent(owner.start.inputs[:4]), program(owner.start.inputs[:4]))
    assert not any(parameter.requires_grad for parameter in sent.parameters())


def test_a_contract_settles_how_a_source_is_read(network: torch.nn.Module, owner: OwnerData, tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images / 255

    path = in_onnx(torch.nn.Sequential(Scaled(), network), owner.start.inputs, tmp_path / "m.onnx")
    told = load_source(path, owner.start, contract={"low": 0, "high": 255})
    assert "values 0 to 255" in told.reading
    wrong = load_source(path, owner.start, contract={"low": 0, "high": 1})
    assert "values 0 to 1" in wrong.reading
    assert (told.labels(owner.start.inputs) == owner.start.labels).double().mean() > 0.8


def test_the_contract_names_the_output_that_is_the_answer(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    import onnx
    from onnx import helper

    path = in_onnx(network, owner.start.inputs, tmp_path / "m.onnx")
    model = onnx.load(path)
    scores = model.graph.output[0]
    model.graph.node.append(helper.make_node("Neg", [scores.name], ["bad"]))
    model.graph.output.append(helper.make_tensor_value_info("bad", 1, ["n", 10]))
    onnx.save(model, path)
    with pytest.raises(SourceError, match="check that the data's classes are the model's"):
        load_source(path, owner.start)
    found = load_source(path, owner.start, contract={"output": scores.name})
    assert torch.equal(found.labels(owner.start.inputs), network(owner.start.inputs).argmax(1))
    with pytest.raises(SourceError, match="no output 'none'"):
        load_source(path, owner.start, contract={"output": "none"})


@pytest.mark.parametrize("peers_on", ["known", "unseen"])
def test_the_source_is_compared_with_networks_that_learn_from_all_images(
    peers_on: Literal["known", "unseen"], owner: OwnerData
) -> None:
    tasks = peer_tasks(owner, replace(Preset(), peers_on=peers_on), 0)
    assert list(tasks) == [architecture.name for architecture in Preset().family.members]
    assert all(task.rows is None and len(task.inputs) == len(owner.known) for task in tasks.values())


@pytest.mark.parametrize(
    ("save", "name", "contract", "message"),
    [
        ("pt2", "m.pt2", {"classes": list("jihgfedcba")}, "contract's classes cannot be applied to a network"),
        ("onnx", "m.onnx", {"renamed": {"0": "1"}}, "contract's renamed cannot be applied to a source"),
        ("onnx", "m.onnx", {"classes": list("jihgfedcba")}, "classes of the contract must be the data's"),
    ],
)
def test_what_a_contract_says_and_nothing_applies_is_refused(
    save: str,
    name: str,
    contract: dict[str, Any],
    message: str,
    network: torch.nn.Module,
    owner: OwnerData,
    tmp_path: Path,
) -> None:
    path = (exported if save == "pt2" else in_onnx)(network, owner.start.inputs, tmp_path / name)
    with pytest.raises(SourceError, match=re.escape(message)):
        load_source(path, owner.start, contract=contract)


def test_a_contract_gives_the_order_of_the_classes(network: torch.nn.Module, owner: OwnerData, tmp_path: Path) -> None:
    class Reversed(torch.nn.Module):
        def forward(self, scores: torch.Tensor) -> torch.Tensor:
            return scores.flip(1)

    path = in_onnx(torch.nn.Sequential(network, Reversed()), owner.start.inputs, tmp_path / "m.onnx")
    found = load_source(path, owner.start, contract={"classes": list(reversed(owner.start.classes))})
    assert torch.equal(found.labels(owner.start.inputs), network(owner.start.inputs).argmax(1))


def test_images_that_are_in_two_parts_are_refused(owner: OwnerData) -> None:
    images, said = owner.every.inputs, list[str]()
    with pytest.raises(DataError, match="100 of the 200 images of --unseen are in --data, too: it learnt"):
        require_apart(images[:500], images[400:600], ("--data", "--unseen"), "it learnt them", said.append)
    require_apart(images[:500], images[499:699], ("--data", "--unseen"), "it learnt them", said.append)
    assert said == ["warning: 1 of the 200 images of --unseen are in --data, too"]
    require_apart(images[:500], images[500:700], ("--data", "--unseen"), "it learnt them", said.append)
    assert len(said) == 1


def test_more_keys_or_controls_than_images_are_refused_before_training(owner: OwnerData) -> None:
    require_enough(owner, Preset())
    with pytest.raises(PresetError, match="5000 keys, and each is made from a start point, are wanted of"):
        require_enough(owner, replace(Preset(), keys=5000, candidates=5000))
    with pytest.raises(PresetError, match="5000 control images, which the source never learnt, are wanted of"):
        require_enough(owner, replace(Preset(), controls=5000))


@pytest.mark.parametrize(
    "wrong",
    [{"controls": 0}, {"controls": -5}, {"simulated": ("nope",)}, {"simulated": ()}, {"varied_references": 7.0}],
)
def test_presets_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PresetError, match=next(iter(wrong))):
        replace(Preset(), **wrong)
    for steps in ((), (-1.0,)):
        with pytest.raises(PresetError, match="variation: steps"):
            Variation(steps=steps)
