"""One table drives the tests of all removal attacks."""

import io
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator.attacks import ATTACKS, adaptive, extraction
from fpverify_generator.attacks.adaptive import Guarded, Vote
from fpverify_generator.attacks.extraction import Guesses, Knockoff, SemiSupervised, _drawn, _rewards
from fpverify_generator.attacks.inference import Compression
from fpverify_generator.attacks.interface import Attacker, BlackBox
from fpverify_generator.attacks.modification import FineTuning, Pruning, Quantisation
from fpverify_generator.attacks.run import Run, run_attacks
from fpverify_generator.categories import CATEGORIES
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.textures import KINDS, textures
from fpverify_generator.errors import AttackError
from fpverify_generator.models.architectures import last_layer
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.oracle import load_oracle
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import Recipe
from fpverify_generator.pools import attack_runs
from fpverify_generator.presets import Preset
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from PIL import Image
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def outcomes(source: Source, splits, tmp_path_factory: pytest.TempPathFactory):
    """Every attack, run side by side by one attacker."""
    work = RunContext(0, Cache(tmp_path_factory.mktemp("attacks")))
    before = {key: value.clone() for key, value in source.module.state_dict().items()}
    foreign = textures(2000, (1, 8, 8), 0)
    runs = attack_runs(source, splits[1], list(ATTACKS), Preset(), 5, "test", foreign)
    found = dict(zip(ATTACKS, run_attacks(runs, work, "attacks"), strict=True))
    assert all(torch.equal(value, before[key]) for key, value in source.module.state_dict().items())
    return found


def surrogate(outcomes, name: str) -> torch.nn.Module:
    return outcomes[name].stolen.module


QUERIES = {"retraining": 1.0, "hardening": 1.0, "inference": 0.0, "transfer": 0.0, "modification": 0.0, "adaptive": 1.0}
"""Queries of each family, as a share of the attacker's images; extraction differs by attack."""


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps_its_task_and_asks_what_it_says(name: str, outcomes, splits) -> None:
    stolen, test, attack = outcomes[name].stolen, splits[2], ATTACKS[name]
    with torch.no_grad():
        answers = stolen.module(test.inputs)
    labels = answers if answers.ndim == 1 else answers.argmax(1)
    wanted = test.labels // 2 if name == "transfer-merged" else test.labels
    told = wanted < len(stolen.classes or range(10))
    least = {"knockoff-labels": 0.4, "knockoff-random": 0.4, "knockoff-adaptive": 0.4, "prune-only-0.6": 0.3}
    assert (labels == wanted)[told].float().mean() > least.get(name, 0.6)
    assert attack.category in CATEGORIES
    if attack.category in QUERIES:
        assert outcomes[name].queries == QUERIES[attack.category] * len(splits[1])
    assert stolen.random == (name.startswith(("noise", "randomise")))


def test_an_attack_costs_the_time_of_the_networks_that_it_trains(outcomes) -> None:
    assert all(outcomes[name].seconds > 0 for name in ("retrain-labels", "ftal", "jagielski", "ensemble-vote"))
    assert outcomes["ensemble-vote"].seconds > outcomes["quantise-8"].seconds


def test_extraction_asks_its_share(outcomes, splits) -> None:
    count = len(splits[1])
    assert outcomes["jagielski"].queries == int(0.25 * count)
    assert outcomes["papernot"].queries == int(0.05 * count) * 2**4
    assert outcomes["knockoff-random"].queries == outcomes["knockoff-adaptive"].queries == 1600


def test_attacks_that_make_images_of_their_own_make_fewer_large_ones(
    source: Source, splits, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are in memory: a share of 100,000 photographs would not fit."""
    monkeypatch.setattr(extraction, "MOST_VALUES", 64 * 80)
    monkeypatch.setattr(adaptive, "MOST_VALUES", 64 * 7)
    preset = replace(Preset(), recipe=Recipe(steps=2), cem=replace(Preset().cem, steps=1))
    runs = attack_runs(source, splits[1], ["papernot", "train-away"], preset, 0, "few")
    work = RunContext(0, Cache(tmp_path))
    grown, away = run_attacks(runs, work, "few")
    assert grown.queries == 80
    assert away.queries == len(splits[1])
    made = [found["examples"] for found in map(load_file, tmp_path.rglob("*.safetensors")) if "examples" in found]
    assert [len(one) for one in made] == [7]


@pytest.mark.parametrize("name", ["retrain-labels", "papernot"])
def test_an_attack_over_its_budget_is_refused(name: str, source: Source, splits, work: RunContext) -> None:
    (run,) = attack_runs(source, splits[1], [name], Preset(), 0, "test")
    short = replace(run.attacker, box=BlackBox(source, 10, budget=200))
    with pytest.raises(AttackError, match="its budget is 200"):
        run_attacks([Run(name, run.attack, short, 0)], work, "over budget")
    assert short.box.queries <= 200


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if isinstance(attack, FineTuning)])
def test_fine_tuning_moves_the_layers_it_names_and_no_other(name: str, outcomes, source: Source) -> None:
    before = source.module.state_dict()
    moved = {
        key for key, value in surrogate(outcomes, name).state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved == (set(last_layer(source.module)) if ATTACKS[name].layers == "last" else set(before))


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if isinstance(attack, Pruning)])
def test_pruned_weights_stay_zero_and_are_the_smallest(name: str, outcomes, source: Source) -> None:
    for key, value in surrogate(outcomes, name).state_dict().items():
        original = source.module.state_dict()[key].abs()
        if value.ndim > 1:
            zero = value == 0
            assert int(zero.sum()) == int(value.numel() * ATTACKS[name].share)
            assert original[zero].max() <= original[~zero].min()


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if isinstance(attack, Quantisation)])
def test_a_quantised_channel_has_few_levels_about_zero(name: str, outcomes, source: Source) -> None:
    top = 2 ** (ATTACKS[name].bits - 1) - 1
    for key, value in surrogate(outcomes, name).state_dict().items():
        if value.ndim > 1:
            for channel, before in zip(value.flatten(1), source.module.state_dict()[key].flatten(1), strict=True):
                scale = before.abs().max() / top
                assert len(channel.unique()) <= 2 * top + 1
                torch.testing.assert_close(channel / scale, (channel / scale).round(), atol=1e-3, rtol=0)
                assert float((channel - before).abs().max()) <= float(scale) / 2 + 1e-6


def test_guesses_are_sharpened_averages_of_the_surrogates_answers(network: torch.nn.Module, splits) -> None:
    inputs = splits[1].inputs[:50]
    attack = SemiSupervised(noise=0.0, views=1, temperature=0.5)
    guess = Guesses(network, inputs, torch.Generator().manual_seed(0).get_state(), attack)()["targets"]
    squared = network(inputs).softmax(-1) ** 2
    torch.testing.assert_close(guess, squared / squared.sum(1, keepdim=True))


def test_a_jacobian_step_raises_what_the_source_said_and_stays_in_the_box(network: torch.nn.Module, splits) -> None:
    inputs = splits[1].inputs[:50]
    said = torch.nn.functional.one_hot(network(inputs).argmax(1), 10).float()
    grown = replace(ATTACKS["papernot"], step=0.01)._grown(network, inputs, said, 1)
    with torch.no_grad():
        before, after = ((network(x) * said).sum(1) for x in (inputs, grown))
    assert float((after > before).float().mean()) > 0.9
    assert float((grown - inputs).abs().max()) <= 0.01 + 1e-6
    assert 0 <= float(grown.min()) <= float(grown.max()) <= 1


def test_knockoffs_bandit_prefers_what_was_rewarded_and_draws_each_image_once() -> None:
    attack = Knockoff("adaptive", learning_rate=1.0)
    actions, advantage = torch.tensor([0, 0, 1, 1]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    preference = attack._preferred(torch.zeros(3), actions, advantage)
    # by hand: for each of four queries, advantage * (taken - 1/3)
    torch.testing.assert_close(preference, torch.tensor([0.5, -0.5, 0.0]))
    data = textures(80, (1, 8, 8), 0)
    left = torch.ones(80, dtype=torch.bool)
    left[:8] = False
    policy = torch.tensor([1.0] + [0.0] * 7)
    chosen = _drawn(data, left, policy, 9, torch.Generator().manual_seed(0))
    assert sorted(chosen.tolist()) == list(range(8, 80, 8))
    said = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    rewards = _rewards(said, said[:1], torch.tensor([[0.0, 5.0], [0.0, 0.0]]))
    # certainty 0.8, 0; diversity 0, 0.4; loss large, log 2: each scaled to [0, 1]
    torch.testing.assert_close(rewards, torch.tensor([2.0, 1.0]))


@pytest.mark.parametrize(("quality", "channels"), [(75, 1), (30, 1), (75, 3), (30, 3), (95, 3)])
def test_jpeg_is_what_libjpeg_does(quality: int, channels: int) -> None:
    draw = np.random.default_rng(0)
    smooth = draw.random((channels, 11, 16))
    pixels = np.kron(smooth, np.ones((4, 4))) * 255  # sides of 44 and 64: one is no multiple of 8
    pixels = np.clip(pixels + draw.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    theirs = np.asarray(Image.open(buffer)).reshape(44, 64, channels).transpose(2, 0, 1)
    ours = Compression(quality, channels, 44, 64)(torch.from_numpy(pixels[None]).float() / 255)[0].numpy() * 255
    # theirs rounds in other places, since its transforms are of integers: a tie moves a wave by one step
    error = np.abs(ours - theirs)
    assert error.mean() < 1
    assert (error > 2).mean() < 0.1
    assert error.mean() < np.abs(ours - pixels).mean() / 2


def test_jpeg_rounds_alike_in_every_runtime(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (256, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    inputs = pixels.float() / 255  # some of their colours, and some of their waves, are exact halves before rounding
    compression = Compression(75, 3, 32, 32)
    network = torch.nn.Sequential(compression, torch.nn.Flatten(), torch.nn.Linear(3072, 10)).eval()
    Exporter().write(network, inputs, tmp_path / "jpeg.onnx")
    torch.testing.assert_close(torch.from_numpy(load_oracle(tmp_path / "jpeg.onnx")(inputs.numpy())), network(inputs))
    assert not torch.equal(compression(inputs), inputs)


def test_a_vote_is_the_mean_of_its_members() -> None:
    members = [torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)]
    inputs = torch.rand(4, 3)
    mean = sum(member(inputs).softmax(-1) for member in members) / 2
    torch.testing.assert_close(Vote(members)(inputs).softmax(-1), mean)


@pytest.mark.parametrize("detector", ["unsure", "disputed"])
def test_a_guard_turns_away_about_its_share_and_more_of_the_sources_mistakes(detector: str, outcomes, splits, source):
    guard, test = surrogate(outcomes, f"refuse-{detector}"), splits[2]
    with torch.no_grad():
        refused = guard(test.inputs) == -1
        kept = guard(test.inputs)[~refused]
    mistakes = source.labels(test.inputs) != test.labels
    assert 0.01 < float(refused.float().mean()) < 0.15
    assert float(refused[mistakes].float().mean()) > 2 * float(refused[~mistakes].float().mean())
    assert torch.equal(kept, source.labels(test.inputs)[~refused])


def test_a_randomising_guard_answers_easy_inputs_as_the_network_does(network: torch.nn.Module, splits) -> None:
    inputs = splits[2].inputs
    guard = Guarded(network, None, 0.5, randomise=True)
    scores = network(inputs)
    easy = guard.ease(inputs, scores) >= 0.5
    answers = guard(inputs)
    assert torch.equal(answers[easy], scores[easy])
    assert not torch.equal(answers[~easy], guard(inputs)[~easy])


def test_an_oracle_has_no_weights_to_attack(splits, work: RunContext) -> None:
    oracle = Source("0" * 64, None, lambda inputs: inputs.sum((1, 2, 3)).astype("int64") % 10)
    for name, attack in ATTACKS.items():
        if attack.needs_weights:
            with pytest.raises(AttackError, match="changes the source's weights"):
                run_attacks(attack_runs(oracle, splits[1], [name], Preset(), 0, "test"), work, name)


def test_who_has_no_other_domain_cannot_knock_off(source: Source, splits, work: RunContext) -> None:
    with pytest.raises(AttackError, match="another domain"):
        run_attacks(attack_runs(source, splits[1], ["knockoff-random"], Preset(), 0, "test"), work, "knockoff")


def test_textures_fill_the_box_and_are_the_same_for_the_same_seed() -> None:
    first, second, other = (textures(64, (3, 16, 16), seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert isinstance(first, DataSet)
    assert torch.bincount(first.labels).tolist() == [8] * len(KINDS)
    assert 0 <= float(first.inputs.min()) <= float(first.inputs.max()) <= 1
    assert float(first.inputs.flatten(1).std(1).min()) > 0.01


def test_an_attacks_repr_is_its_configuration() -> None:
    for attack in ATTACKS.values():
        assert all(field.name in repr(attack) for field in fields(attack))
        assert attack == eval(repr(attack), {type(attack).__name__: type(attack)})  # noqa: S307


def test_what_was_stolen_says_whether_its_classes_are_the_sources(outcomes) -> None:
    assert outcomes["transfer-merged"].stolen.classes == ("0+1", "2+3", "4+5", "6+7", "8+9")
    assert outcomes["transfer-subset"].stolen.classes == ("0", "1", "2", "3", "4")
    others = set(ATTACKS) - {"transfer-merged", "transfer-subset"}
    assert all(outcomes[name].stolen.classes == () for name in others)


def test_an_attacker_without_weights_says_so(source: Source, splits) -> None:
    attacker = Attacker(BlackBox(source, 10), None, splits[1], Preset().family, Preset().recipe, Preset().cem)
    with pytest.raises(AttackError, match="gives answers only"):
        attacker.stolen()


def test_all_work_of_an_attack_is_in_the_cache_and_the_same_on_any_process(source: Source, splits, tmp_path) -> None:
    preset, weights = replace(Preset(), recipe=Recipe(steps=10), cem=replace(Preset().cem, steps=2)), []
    runs = attack_runs(source, splits[1], ["train-away", "train-away"], preset, 0, "x")
    for folder, jobs, made in (("a", 1, 5), ("b", 2, 5), ("b", 2, 0)):
        work = RunContext(0, Cache(tmp_path / folder), jobs=jobs)
        first, second = (outcome.stolen.module for outcome in run_attacks(runs, work, "x"))
        assert work.cache.made == made
        weights.append(torch.cat([value.flatten() for value in first.state_dict().values()]))
        assert not torch.equal(weights[-1], torch.cat([value.flatten() for value in second.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
