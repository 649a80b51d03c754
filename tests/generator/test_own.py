"""An owner's own architectures, recipes and presets, and the package as a library."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fpverify_generator
import pytest
import torch
from click.testing import CliRunner
from fpverify_generator.cli import main
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import PresetError, SourceError
from fpverify_generator.models.architectures import FAMILIES, Task
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.own import load_family, load_network, require_fit
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import PRESETS, Preset, load_preset, preset_for
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from safetensors.torch import save_file

FAMILY = '''
from dataclasses import dataclass

from torch import nn

from fpverify_generator import FAMILIES, Architecture, Family


@dataclass
class Size:
    width: "int" = 8


class Pooled(nn.Module):
    """Sums what a convolution sees, wherever it sees it."""

    def __init__(self, task, width):
        super().__init__()
        self.see = nn.Conv2d(task.shape[0], width, 3, padding=1)
        self.say = nn.Linear(width, task.classes)

    def forward(self, images):
        return self.say(self.see(images).relu().mean((2, 3)))


small = Architecture("pooled", lambda task: Pooled(task, Size().width))
large = Architecture("pooled-wide", lambda task: Pooled(task, 16))
MINE = Family(small, small, large, FAMILIES["small"].other)
NUMBER = 5
HALF = Family(small, small, large, 5)
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FAMILY)
    return path


def test_an_owners_architectures_carry_the_digest_of_their_file(mine: Path) -> None:
    family = load_family(f"{mine}:MINE")
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert [architecture.sha256 for architecture in family.members] == [sha256, sha256, sha256, ""]
    assert family.name == "mine.py:MINE"
    assert load_preset("quick", family=f"{mine}:MINE").files == {"family": sha256}
    assert load_preset("quick", family="residual").family is FAMILIES["residual"]


def test_an_owners_architectures_are_trained_by_workers_and_exported(
    mine: Path, tmp_path: Path, owner: OwnerData
) -> None:
    family, data = load_family(f"{mine}:MINE"), owner.train
    recipe = replace(PRESETS["quick"].recipe, steps=20)
    tasks = [TrainingTask("t", seed, family.base, data.inputs, data.targets, recipe) for seed in range(3)]
    mine.unlink()  # workers get the code, not the file
    here = train_all(tasks, RunContext(0, Cache(tmp_path / "a")), "t")
    there = train_all(tasks, RunContext(0, Cache(tmp_path / "b"), jobs=2), "t")
    for first, second in zip(here, there, strict=True):
        assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))
    assert len(Exporter().write(here[0], data.inputs[:8], tmp_path / "pooled.onnx")) == 64


def test_other_code_of_the_same_network_is_other_work(mine: Path, tmp_path: Path, owner: OwnerData) -> None:
    data, cache = owner.train, Cache(tmp_path / "cache")
    recipe = replace(PRESETS["quick"].recipe, steps=2)
    for _ in range(2):
        base = load_family(f"{mine}:MINE").base
        train_all([TrainingTask("t", 0, base, data.inputs, data.targets, recipe)], RunContext(0, cache), "t")
        mine.write_text(FAMILY.replace(".relu()", ".tanh()"))
    assert (cache.made, cache.reused) == (2, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "nosuch",
            "no family of architectures 'nosuch'; expected small, residual-small, residual, efficientnet-lite, "
            "FILE.py:NAME or timm:NAME",
        ),
        ("none.py:MINE", r"none\.py: cannot read the file \(No such file"),
        ("mine.py:NOSUCH", r"mine\.py: NOSUCH must be a Family of fpverify_generator, found nothing"),
        ("mine.py:NUMBER", r"NUMBER must be a Family of fpverify_generator, found int"),
        ("mine.py:HALF", r"HALF\.other must be an Architecture, found int"),
        ("broken.py:MINE", r"broken\.py: raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_family_is_named(mine: Path, text: str, says: str) -> None:
    (mine.parent / "broken.py").write_text("1 / 0")
    with pytest.raises(PresetError, match=says):
        load_family(text, mine.parent)


def test_an_architecture_that_does_not_fit_the_data_is_named_before_anything_is_trained(
    mine: Path, tmp_path: Path, source: Source, splits: tuple[DataSet, ...], tiny: Preset
) -> None:
    mine.write_text(FAMILY.replace("task.classes", "3"))
    preset = replace(tiny, family=load_family(f"{mine}:MINE"))
    cache = tmp_path / "cache"
    says = r"architecture 'pooled' of family 'mine.py:MINE': expected scores of shape \(2, 10\) .* found \(2, 3\)"
    with pytest.raises(PresetError, match=says):
        fpverify_generator.build_fingerprint(source, splits[0], preset, RunContext(0, Cache(cache)))
    assert not list(cache.iterdir())
    with pytest.raises(PresetError, match="cannot take images of shape"):
        require_fit(preset.family, Task((0, 8, 8), 10))


PRESET = """
base = "quick"
keys = 40
family = "mine.py:MINE"

[recipe]
steps = 77
learning_rate = 1

[surrogates]
calibration = 25

[variation]
noise = [0.1, 0.2]
"""


def test_a_preset_from_a_file_replaces_what_it_names(mine: Path, tmp_path: Path) -> None:
    path, quick = tmp_path / "preset.toml", PRESETS["quick"]
    path.write_text(PRESET)
    (tmp_path / "recipe.toml").write_text("batch = 32")
    preset = load_preset(str(path), tmp_path / "recipe.toml")
    assert preset == replace(
        quick,
        keys=40,
        family=preset.family,
        recipe=replace(quick.recipe, steps=77, learning_rate=1.0, batch=32),
        surrogates=replace(quick.surrogates, calibration=25),
        variation=replace(quick.variation, noise=(0.1, 0.2)),
        files=preset.files,
    )
    assert preset.family.name == "mine.py:MINE"
    digests = {name: hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for name, file in (
        ("preset", "preset.toml"), ("recipe", "recipe.toml"), ("family", "mine.py"))}  # fmt: skip
    assert preset.files == digests


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("key = 40", "key"),
        ("[recipe]\nstep = 5", "step.*recipe"),
        ('keys = "40"', "expected int, found '40'.*keys"),
        ("keys = true", "expected int, found True"),
        ("keys = 0", "expected 1 to 600 keys"),
        ('starts = "anywhere"', "anywhere|starts"),
        ("[recipe]\nsteps = 0", "steps must be"),
        ("[recipe]\nlearning_rate = -1", "learning_rate must be"),
        ("[cem]\nepsilon = 2", "epsilon must be"),
        ("[variation]\nnoise = [0.1]", "noise"),
        (
            'base = "huge"',
            "base must be one of digits, quick, .*, backbone-frozen, found 'huge'",
        ),
        ('family = "huge"', "no family of architectures 'huge'"),
        ("files = {}", "files: it is written, not given"),
        ("keys = ", "no TOML"),
    ],
)
def test_a_preset_that_makes_no_sense_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "preset.toml"
    path.write_text(text)
    with pytest.raises(PresetError, match=says) as caught:
        load_preset(str(path))
    assert caught.value.culprit == str(path)
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_not_there_is_named() -> None:
    with pytest.raises(PresetError, match=r"none\.toml: cannot read the settings"):
        load_preset("none.toml")
    with pytest.raises(
        PresetError,
        match=r"no preset 'huge'; expected digits, quick, .*, backbone-frozen or a \.toml",
    ):
        load_preset("huge")


@pytest.mark.parametrize(("side", "name"), [(8, "digits"), (16, "digits"), (17, "cifar10-small"), (300, "cifar10")])
def test_images_of_a_size_have_a_preset(side: int, name: str) -> None:
    assert preset_for(side) == name


def test_a_build_with_an_owners_files_states_their_digests(mine: Path, tmp_path: Path) -> None:
    preset = tmp_path / "preset.toml"
    preset.write_text(
        "keys = 5\ncandidates = 60\nnulls = 19\n[recipe]\nsteps = 60\n[cem]\nsteps = 3\n"
        "[surrogates]\ncem = 3\nselection = 2\ncalibration = 2\n[references]\ncem = 2\nselection = 2\ncalibration = 2\n"
    )
    out = tmp_path / "f.safetensors"
    arguments = ["build", "--data", "digits", "-o", str(out), "--preset", str(preset), "--jobs", "1"]
    CliRunner().invoke(main, [*arguments, "--family", f"{mine}:MINE"], catch_exceptions=False)
    done = CliRunner().invoke(main, [*arguments, "--family", "small"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    from fpverify import load_fingerprint

    method = load_fingerprint(out).method
    assert method["family"] == "small"
    assert method["files"] == {"preset": hashlib.sha256(preset.read_bytes()).hexdigest()}


def test_each_public_name_is_there_and_importing_loads_nothing() -> None:
    assert all(getattr(fpverify_generator, name) is not None for name in fpverify_generator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        fpverify_generator.nosuch  # noqa: B018
    code = "import sys, fpverify_generator; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_file_that_ends_the_program_is_an_error(tmp_path: Path) -> None:
    """Exit code 0 would be a verdict: unrelated."""
    (tmp_path / "ends.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(PresetError, match="raised SystemExit: 0"):
        load_family(f"{tmp_path / 'ends.py'}:FAMILY", tmp_path)
    (tmp_path / "later.py").write_text("import sys\n\ndef make():\n    sys.exit(0)\n")
    with pytest.raises(SourceError, match="raised SystemExit: 0"):
        load_network(f"{tmp_path / 'later.py'}:make")


def test_the_identity_of_a_network_is_its_files_digest(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\n\ndef make():\n    return nn.Linear(2, 3)\n")
    torch.manual_seed(0)
    save_file(torch.nn.Linear(2, 3).state_dict(), tmp_path / "w.safetensors")
    network, found = load_network(f"{tmp_path / 'mine.py'}:make", tmp_path / "w.safetensors")
    assert found == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(SourceError, match=r"expected a state_dict of torch\.save, found list"):
        load_network(f"{tmp_path / 'mine.py'}:make", tmp_path / "list.pt")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "nested.pt")
    with pytest.raises(SourceError, match="the weights lie in its 'state_dict': save these alone"):
        load_network(f"{tmp_path / 'mine.py'}:make", tmp_path / "nested.pt")
