"""A plan names what a build trains, asks next to nothing, and tells a long build from a short one."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fpverify_generator import plan as planning
from fpverify_generator.build import prepare
from fpverify_generator.cli import main
from fpverify_generator.models import networks
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import Recipe
from fpverify_generator.plan import as_text, in_bytes, in_words, plan_build
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from PIL import Image

SMALL = Preset(
    surrogates=Roles(6, 4, 14), references=Roles(3, 2, 2), nulls=19, candidates=40, keys=10, recipe=Recipe(steps=3)
)


def test_a_plan_counts_the_networks_that_a_build_trains(
    source: Source, owner: OwnerData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = networks.train_timed
    count = lambda tasks, *rest: trained.append(len(tasks)) or train(tasks, *rest)  # type: ignore[func-returns-value]  # noqa: E731
    monkeypatch.setattr("fpverify_generator.attacks.run.train_timed", count)
    monkeypatch.setattr(networks, "train_timed", count)
    work = RunContext(0, Cache(tmp_path))
    found = plan_build(source, owner.every, SMALL, work)
    assert not trained
    assert not list(tmp_path.iterdir())
    prepare(source, owner, SMALL, work)
    assert [step.count for step in found.steps] == [sum(trained[:-1]), trained[-1], 40]
    assert found.images == {"train": len(owner.train), "query": len(owner.query), "start": len(owner.start)}
    assert found.smallest_p == 0.05


def test_a_longer_training_takes_longer(source: Source, owner: OwnerData, tmp_path: Path) -> None:
    work = RunContext(0, Cache(tmp_path))
    one, ten = (
        plan_build(source, owner.every, replace(SMALL, recipe=Recipe(steps=steps)), work) for steps in (30, 3000)
    )
    assert ten.steps[1].seconds > 10 * one.steps[1].seconds
    assert replace(ten, jobs=4).seconds == pytest.approx(ten.seconds / 4)


def test_a_source_of_ones_own_is_asked_about_a_few_images(owner: OwnerData, tmp_path: Path) -> None:
    asked = []

    def answer(inputs: np.ndarray) -> np.ndarray:
        asked.append(len(inputs))
        return np.arange(len(inputs)) % 10

    oracle = Source("1" * 64, None, answer, reading="as it is")
    found = plan_build(oracle, owner.every, SMALL, RunContext(0, Cache(tmp_path)))
    assert found.steps[0].count == len(owner.every)
    assert asked[0] == planning.ASKED
    assert len(asked) < 20  # the steps of CEM that are timed ask too


def test_the_command_says_it_in_a_few_lines() -> None:
    done = CliRunner().invoke(main, ["plan", "--data", "digits", "--preset", "quick", "--jobs", "2"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines if not line.startswith(" ")] == [
        "images", "time", "memory", "disk", "p-value"
    ]  # fmt: skip
    assert "on 2 processes" in done.stdout
    assert "at least 0.01" in lines[-1]


def test_times_and_sizes_in_words() -> None:
    assert [in_words(seconds) for seconds in (0.1, 119, 150, 7200, 360_000)] == [
        "1 s", "119 s", "2.5 minutes", "2 hours", "100 hours"
    ]  # fmt: skip
    assert [in_bytes(size) for size in (2**20, 3 * 2**29)] == ["1 MiB", "1.5 GiB"]
    plan = planning.Plan({"train": 1}, (planning.Step("x", 1, 1.0),), 1, 0, 0, 0.5)
    assert "  x  1  1 s" in as_text(plan)
    assert torch.is_grad_enabled()


def test_images_without_labels_are_asked_once(owner: OwnerData, tmp_path: Path) -> None:
    source, folder = tmp_path / "source.onnx", tmp_path / "public"
    shutil.copy(Path(__file__).parents[2] / "fixtures" / "digits" / "source.onnx", source)
    (folder / "some").mkdir(parents=True)
    for number in range(27):
        where = folder if number % 2 else folder / "some"
        Image.new("L", (8, 8), 9 * number).save(where / f"{number}.png")
    options = ["plan", "--data", "digits", "--source", str(source), "--preset", "quick", "--query-data", str(folder)]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"images that the source is asked +3,047 ", result.stdout)
    Image.new("RGB", (9, 8)).save(folder / "27.png")
    result = CliRunner().invoke(main, options)
    assert (result.exit_code, result.stdout) == (2, "")
    np.savez(tmp_path / "p.npz", inputs=np.zeros((3, 3, 8, 8), np.float32))
    result = CliRunner().invoke(main, [*options[:-1], str(tmp_path / "p.npz")])
    assert "channels x height x width must be 1 x 8 x 8, found 3 x 8 x 8; give --size" in result.stderr
    result = CliRunner().invoke(main, [*options[:-1], str(tmp_path / "none")])
    assert "no such images; expected an .npz file or a folder of images" in result.stderr
    np.savez(tmp_path / "few.npz", inputs=np.zeros((3, 1, 8, 8), np.float32))
    result = CliRunner().invoke(main, [*options[:-1], str(tmp_path / "few.npz")])
    assert "--query-data: expected at least 20 images, found 3" in result.stderr
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(main, [*options[:-1], str(tmp_path / "empty")])
    assert "there is no image (" in result.stderr


def test_private_images_need_those_that_a_given_source_never_learnt() -> None:
    source = str(Path(__file__).parents[2] / "fixtures" / "digits" / "source.onnx")
    options = ["plan", "--data", "digits", "--source", source, "--private-images"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 2
    assert "nothing says which images a given source never learnt" in result.stderr
    assert "--unseen" in result.stderr
