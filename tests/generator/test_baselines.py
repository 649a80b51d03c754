"""One table drives the tests of all baselines."""

import copy
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from fpverify_generator.baselines import BASELINES
from fpverify_generator.baselines.boundary import IpGuard
from fpverify_generator.baselines.correlation import SampleCorrelation
from fpverify_generator.baselines.trajectories import Trajectories
from fpverify_generator.build import prepare
from fpverify_generator.errors import SourceError, StudyError
from fpverify_generator.keys import Keys
from fpverify_generator.models.source import Source
from fpverify_generator.pools import Owner, OwnerData
from fpverify_generator.presets import Preset
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext

COUNT = 20
WITHIN = ("fgsm", "pgd", "universal", "frontier-stitching")
"""Baselines whose keys lie within CEM's epsilon of an image."""
WRONG = ("natural", "akh", "sac")
"""Baselines whose keys are images that the source gets wrong."""


@pytest.fixture(scope="module")
def whole(source: Source, owner: OwnerData, tiny: Preset, shared_cache) -> Owner:
    return prepare(source, owner, tiny, RunContext(0, Cache(shared_cache)))


@pytest.fixture(scope="module")
def made(whole: Owner) -> dict[str, Keys]:
    return {name: baseline(whole, COUNT) for name, baseline in BASELINES.items()}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baselines_keys_are_inputs_with_the_sources_labels(name: str, made: dict[str, Keys], whole: Owner) -> None:
    keys = made[name]
    assert keys.inputs.shape == (COUNT, 1, 8, 8)
    assert keys.inputs.dtype == torch.float32
    assert 0 <= float(keys.inputs.min()) <= float(keys.inputs.max()) <= 1
    assert torch.equal(keys.labels, whole.source.labels(keys.inputs))
    assert len({key.numpy().tobytes() for key in keys.inputs}) == COUNT


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_bytes_and_leaves_source_and_random_state_as_they_were(
    name: str, made: dict[str, Keys], whole: Owner
) -> None:
    before = {key: value.clone() for key, value in whole.source.module.state_dict().items()}
    np.random.rand(3)
    torch.rand(3)
    states = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()
    again = BASELINES[name](whole, COUNT)
    assert torch.equal(again.inputs, made[name].inputs)
    assert torch.equal(again.labels, made[name].labels)
    assert np.array_equal(states[0], np.random.get_state()[1])
    assert torch.equal(states[1], torch.get_rng_state())
    assert states[2] == random.getstate()
    assert all(torch.equal(value, before[key]) for key, value in whole.source.module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in whole.source.module.parameters())


@pytest.mark.parametrize("name", WITHIN)
def test_keys_lie_within_epsilon_of_an_unused_image(name: str, made: dict[str, Keys], whole: Owner) -> None:
    distance = (made[name].inputs[:, None] - whole.data.start.inputs[None]).abs().flatten(2).amax(2).amin(1)
    assert float(distance.max()) <= whole.preset.cem.epsilon + 1e-5
    assert float(distance.min()) > 0


@pytest.mark.parametrize("name", WRONG)
def test_natural_keys_are_unused_images_that_the_source_gets_wrong(name: str, made: dict[str, Keys], whole) -> None:
    distance, row = (made[name].inputs[:, None] - whole.data.start.inputs[None]).abs().flatten(2).amax(2).min(1)
    assert float(distance.max()) == 0
    assert bool((whole.data.start.labels[row] != made[name].labels).all())


@pytest.mark.parametrize("name", ["fgsm", "pgd", "deepfool", "cw-linf"])
def test_adversarial_keys_fool_the_source(name: str, made: dict[str, Keys], whole: Owner) -> None:
    nearest = (made[name].inputs[:, None] - whole.data.start.inputs[None]).abs().flatten(2).amax(2).argmin(1)
    fooled = whole.data.start.labels[nearest] != made[name].labels
    assert float(fooled.float().mean()) > 0.8


def test_ipguards_keys_lie_between_two_classes(made: dict[str, Keys], whole: Owner) -> None:
    with torch.no_grad():
        top = whole.source.module(made["ipguard"].inputs).topk(2).values
        ordinary = whole.source.module(whole.data.train.inputs).topk(2).values
    assert float((top[:, 0] - top[:, 1]).median()) < float((ordinary[:, 0] - ordinary[:, 1]).median()) / 3


def test_ipguards_objective_is_equation_4() -> None:
    logits = torch.tensor([[2.0, 1.0, 3.0], [1.0, 4.0, 0.0]])
    found = IpGuard(k=0.5)._objective(logits, torch.tensor([0, 0]), torch.tensor([1, 1]))
    # ReLU(2 - 1 + 0.5) + ReLU(3 - 2); ReLU(1 - 4 + 0.5) + ReLU(0 - 1)
    assert found.tolist() == [2.5, 0.0]


def test_frontier_stitching_takes_as_many_that_are_wrong_as_right(made: dict[str, Keys], whole: Owner) -> None:
    keys = made["frontier-stitching"]
    nearest = (keys.inputs[:, None] - whole.data.start.inputs[None]).abs().flatten(2).amax(2).argmin(1)
    wrong = whole.data.start.labels[nearest] != keys.labels
    assert wrong[::2].float().mean() > 0.8
    assert wrong[1::2].float().mean() < 0.2


def test_trajectories_cross_classes_and_a_prefix_is_whole_chains(made: dict[str, Keys], whole: Owner) -> None:
    chains = made["adv-tra"].labels.view(-1, Trajectories().length)
    assert float((torch.tensor([len(set(chain.tolist())) for chain in chains]) >= 2).float().mean()) > 0.7
    fewer = BASELINES["adv-tra"](whole, 10)
    assert torch.equal(fewer.inputs[0], made["adv-tra"].inputs[0])


def test_similarity_is_one_for_the_source_and_less_for_an_unrelated_model(made: dict[str, Keys], whole: Owner) -> None:
    inputs, baseline = made["sac"].inputs, SampleCorrelation()
    derived = copy.deepcopy(whole.source.module)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in derived.parameters():
            parameter += 0.03 * parameter.std() * torch.randn(parameter.shape, generator=draw)
    models = (whole.source.module, derived, whole.references.calibration[0])
    with torch.no_grad():
        ours, derived, unrelated = (model(inputs).softmax(-1).numpy() for model in models)
    assert baseline.similarity(ours, ours) == 1
    assert baseline.similarity(ours, ours[:, ::-1]) == pytest.approx(1)
    assert baseline.similarity(ours, unrelated) < baseline.similarity(ours, derived) < 1
    # by hand: rows that point the same way against rows at right angles
    assert baseline.similarity(np.array([[1.0, 0.0], [1.0, 0.0]]), np.eye(2)) == 0.5


@pytest.mark.parametrize("name", [name for name, baseline in BASELINES.items() if baseline.needs_weights])
def test_a_label_oracle_has_no_gradients(name: str, whole: Owner) -> None:
    oracle = Source("0" * 64, None, lambda inputs: whole.source.labels(torch.from_numpy(inputs)).numpy())
    with pytest.raises(SourceError, match="needs the source's gradients"):
        BASELINES[name](replace(whole, source=oracle), COUNT)


@pytest.mark.parametrize("name", [name for name, baseline in BASELINES.items() if not baseline.needs_weights])
def test_what_needs_no_gradient_asks_an_oracle(name: str, whole: Owner) -> None:
    oracle = Source("0" * 64, None, lambda inputs: whole.source.labels(torch.from_numpy(inputs)).numpy())
    assert len(BASELINES[name](replace(whole, source=oracle), COUNT).labels) == COUNT


def test_without_the_toolbox_the_error_says_what_to_install(whole: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "art.estimators.classification", None)
    with pytest.raises(StudyError, match=r'pgd: needs .* pip install "fpverify-generator\[study\]"'):
        BASELINES["pgd"](whole, COUNT)


def test_a_baselines_repr_is_its_configuration() -> None:
    assert repr(BASELINES["ipguard"]) == "IpGuard(k=0.5, steps=300, learning_rate=0.01)"
