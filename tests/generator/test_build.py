"""A fingerprint is built whole, resumes after a kill, and no model or image has two roles."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fpverify_generator.attacks import ATTACKS, SIMULATED, easiest
from fpverify_generator.attacks.run import Run
from fpverify_generator.build import (
    build_fingerprint,
    destroyed,
    prepare,
    simulated_runs,
    train_unrelated,
    unrelated_tasks,
)
from fpverify_generator.calibration import kept_by
from fpverify_generator.cem import conferrability
from fpverify_generator.errors import CalibrationError, PresetError, SourceError
from fpverify_generator.feasible import peer_tasks
from fpverify_generator.keys import cem_keys
from fpverify_generator.models.source import Source
from fpverify_generator.pools import OwnerData, share_data, simulated_attacks, varied_tasks, with_public
from fpverify_generator.presets import Preset, Roles, Variation, split_roles
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext

from fpverify.fingerprint import HeldOut, save_fingerprint


def test_a_fingerprint_holds_mistakes_of_the_source_within_epsilon_of_unused_images(
    source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    fingerprint = build_fingerprint(source, owner, tiny, work)
    keys, labels = torch.tensor(fingerprint.inputs), torch.tensor(fingerprint.labels)
    assert len(keys) == tiny.keys
    assert torch.equal(source.labels(keys), labels)
    distance = (keys[:, None] - owner.start.inputs[None]).abs().flatten(2).amax(2)
    nearest, row = distance.min(1)
    assert float(nearest.max()) <= tiny.cem.epsilon + 1e-6
    assert not bool((owner.start.labels[row] == labels).any())
    assert len(fingerprint.calibration.nulls) == tiny.nulls
    assert fingerprint.method["cem"]["epsilon"] == tiny.cem.epsilon
    assert fingerprint.seeds == {"run": 0}


def test_the_same_seed_gives_the_same_bytes_from_the_cache(
    source: Source, owner: OwnerData, tiny: Preset, tmp_path: Path
) -> None:
    digests = []
    for _ in range(2):  # from scratch, too: below, where a build is killed
        cache = Cache(tmp_path / "cache")
        fingerprint = build_fingerprint(source, owner, tiny, RunContext(0, cache))
        digests.append((save_fingerprint(fingerprint, tmp_path / "f"), cache.made > 0, cache.reused > 0))
    assert len({digest for digest, _, _ in digests}) == 1
    assert [flags for _, *flags in digests] == [[True, False], [False, True]]


def test_a_source_that_no_file_holds_is_refused_before_anything_is_trained(
    source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    with pytest.raises(SourceError, match="the network is in no file that a fingerprint could name"):
        build_fingerprint(replace(source, sha256=None), owner, tiny, work)
    assert work.cache.made == 0


def test_a_label_oracle_is_fingerprinted_without_its_weights(
    source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    oracle = Source("1" * 64, None, lambda inputs: source.labels(torch.from_numpy(inputs)).numpy())
    fingerprint = build_fingerprint(oracle, owner, replace(tiny, keys=5), work)
    assert torch.equal(oracle.labels(torch.tensor(fingerprint.inputs)), torch.tensor(fingerprint.labels))
    assert fingerprint.method["attacks"]
    assert not any(ATTACKS[name].needs_weights for name in fingerprint.method["attacks"])


def test_calibration_measures_every_attack_alike_and_cem_leaves_the_easiest_out(source: Source) -> None:
    assert sorted(simulated_attacks(source, Preset(), "calibration", len(SIMULATED))) == sorted(SIMULATED)
    assert not set(simulated_attacks(source, Preset(), "cem", 40)) & easiest()


@pytest.mark.parametrize("selection", ["all", "held-out", "cem"])
def test_keys_are_what_their_judges_find_most_conferrable(
    selection: str, source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    prepared = prepare(source, owner, replace(tiny, selection=selection, keys=5, most_of_label=1000.0), work)
    everything = replace(prepared, preset=replace(prepared.preset, selection="none", keys=tiny.candidates))
    candidates, chosen = cem_keys(everything, least=1), cem_keys(prepared)
    pools = prepared.surrogates, prepared.references
    selecting = [
        {"all": pool.cem + pool.selection, "held-out": pool.selection, "cem": pool.cem}[selection] for pool in pools
    ]
    wanted = conferrability(*(kept_by(models, candidates, "cpu").long() for models in selecting), torch.ones(1))
    found = conferrability(*(kept_by(models, chosen, "cpu").long() for models in selecting), torch.ones(1))
    assert torch.equal(found, wanted.sort(descending=True).values[:5])
    assert {tuple(key.flatten().tolist()) for key in chosen.inputs} <= {
        tuple(key.flatten().tolist()) for key in candidates.inputs
    }
    balanced = cem_keys(replace(prepared, preset=replace(prepared.preset, most_of_label=1.0)))
    assert len(balanced.labels.unique()) == min(5, len(candidates.labels.unique()))


def test_no_two_unrelated_models_are_the_same(owner: OwnerData, tiny: Preset, work: RunContext) -> None:
    references, nulls = train_unrelated(owner, tiny, work)
    models = [*references.cem, *references.selection, *references.calibration, *nulls]
    answers = {tuple(model(owner.start.inputs).argmax(1).tolist()) for model in models}
    assert len(answers) == len(models) == sum(vars(tiny.references).values()) + tiny.nulls


def test_the_owners_parts_share_no_image(owner: OwnerData) -> None:
    parts = [set(part.images.tolist()) for part in (owner.train, owner.query, owner.start)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert set(owner.known.images.tolist()) == parts[0] | parts[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surrogates": split_roles(3)}, "too few surrogates to hold some out"),
        ({"references": Roles(4, 0, 4)}, "too few references to hold some out"),
        ({"nulls": 18}, "cannot reject"),
        ({"keys": 61}, "expected 1 to 60 keys"),
        ({"train_share": 0.9, "query_share": 0.2}, "shares must be positive"),
    ],
)
def test_sizes_that_make_no_fingerprint_are_refused(change: dict, message: str, tiny: Preset) -> None:
    with pytest.raises(PresetError, match=message):
        replace(tiny, **change)


def test_too_few_candidates_that_fool_the_source_is_said(
    source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    still = replace(tiny, candidates=500, keys=500, cem=replace(tiny.cem, steps=1, learning_rate=1e-6))
    with pytest.raises(PresetError, match="candidates became keys, 500 are wanted"):
        build_fingerprint(source, owner, still, work)


SHORT = """
nulls = 19
candidates = 60
keys = 20
recipe = { steps = 60 }
cem = { steps = 10 }
surrogates = { cem = 4, selection = 2, calibration = 2 }
references = { cem = 4, selection = 2, calibration = 2 }
"""
"""The tiny preset with short training."""


def test_a_killed_build_resumes_retrains_nothing_finished_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    output, cache, preset = tmp_path / "f.safetensors", tmp_path / "cache", tmp_path / "short.toml"
    preset.write_text(SHORT)
    build = [sys.executable, "-m", "fpverify_generator", "build", "--data", "digits", "--preset", str(preset)]
    command = [*build, "-o", str(output), "--cache", str(cache)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(cache.glob("*.safetensors"))) < 4 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    finished = {path: path.stat().st_mtime_ns for path in cache.glob("*.safetensors")}
    assert len(finished) >= 4
    subprocess.run(command, check=True, capture_output=True)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    other = tmp_path / "g.safetensors"
    fresh = [*build, "-o", str(other), "--cache", str(tmp_path / "fresh")]
    subprocess.run(fresh, check=True, capture_output=True)
    assert output.read_bytes() == other.read_bytes()
    assert output.with_suffix(".source.onnx").read_bytes() == other.with_suffix(".source.onnx").read_bytes()


def test_shares_of_another_seed_are_others(splits, tiny: Preset) -> None:
    first, second = (share_data(splits[0], tiny, seed).start.images for seed in (0, 1))
    assert not torch.equal(first, second)


def test_null_models_differ_in_recipe_within_the_stated_ranges(owner: OwnerData, tiny: Preset) -> None:
    ranges, count = Variation(), 200
    tasks = varied_tasks(owner, count, tiny, 0, "null")
    again = varied_tasks(owner, 3, tiny, 0, "null")
    assert [task.recipe for task in again] == [task.recipe for task in tasks[:3]]
    recipes = [task.recipe for task in tasks]
    assert {recipe.steps for recipe in recipes} == {round(share * tiny.recipe.steps) for share in ranges.steps}
    assert {recipe.learning_rate for recipe in recipes} == {
        share * tiny.recipe.learning_rate for share in ranges.learning_rates
    }
    for name, (low, high) in (("noise", ranges.noise), ("mixup", ranges.mixup)):
        drawn = [getattr(recipe, name) for recipe in recipes if getattr(recipe, name)]
        assert low <= min(drawn) < max(drawn) <= high
        assert 0.2 * count < len(drawn) < 0.65 * count
    assert {task.architecture for task in tasks} == set(tiny.family.members)
    assert sum(task.rows is not None and len(task.rows) == len(owner.train) for task in tasks) > count / 3
    wrong = [float((task.targets.argmax(1) != owner.known.labels).double().mean()) for task in tasks]
    assert 0.3 * count < sum(share > 0 for share in wrong) < 0.7 * count
    assert max(wrong) <= ranges.label_noise[1]
    assert all(int(task.rows.max()) < len(owner.known) for task in tasks if task.rows is not None)


def test_a_fingerprint_that_decides_nothing_is_not_written(
    source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    with pytest.raises(CalibrationError, match="would decide nothing: all its keys have one label"):
        build_fingerprint(source, owner, replace(tiny, keys=1), work)


def test_attackers_are_simulated_on_known_or_unseen_images_or_both_in_turn(source: Source, owner: OwnerData) -> None:
    sizes = {}
    for where in ("known", "unseen", "both"):
        runs = simulated_runs(source, owner, replace(Preset(), simulated_on=where), 0)  # type: ignore[arg-type]
        sizes[where] = [len(run.attacker.data) for run in runs[:4]]
        assert len({run.seed for run in runs}) == len(runs)
    assert sizes["known"] == [len(owner.known)] * 4
    assert sizes["unseen"] == [len(owner.query)] * 4
    assert sizes["both"] == [len(owner.known), len(owner.query)] * 2


def test_held_out_attackers_can_have_images_of_their_own(source: Source, owner: OwnerData) -> None:
    def images(run: Run) -> set[int]:
        return set(run.attacker.data.images.tolist())

    preset = replace(Preset(), simulated_apart=0.4, simulated_on="both")
    every = simulated_runs(source, owner, preset, 0)
    makers, judges = every[: preset.surrogates.cem], every[preset.surrogates.cem :]
    assert not set().union(*map(images, makers)) & set().union(*map(images, judges))
    query = len(owner.query.images.unique())
    assert [len(images(run)) for run in (makers[1], judges[1])] == [round(0.6 * query), query - round(0.6 * query)]
    drawn = simulated_runs(source, owner, replace(preset, simulated_draw=0.5), 0)
    assert len(images(drawn[1])) == round(0.5 * round(0.6 * query))
    assert images(drawn[1]) != images(drawn[3])
    assert images(drawn[1]) | images(drawn[3]) <= images(makers[1])


@pytest.mark.parametrize("changes", [{"simulated_draw": 0.0}, {"simulated_draw": 1.1}, {"simulated_apart": 1.0}])
def test_shares_of_attackers_images_that_make_no_sense_are_named(changes: dict[str, float]) -> None:
    with pytest.raises(PresetError, match="simulated_draw must lie in"):
        replace(Preset(), **changes)  # type: ignore[arg-type]


def test_peers_can_learn_from_unseen_images_alone(owner: OwnerData) -> None:
    preset = replace(Preset(), references=Roles(8, 4, 4), nulls=40, peers_on="unseen")
    unseen = exact = 0
    for task in unrelated_tasks(owner, preset, 0):
        assert task.rows is not None
        images = {tuple(image.flatten().tolist()) for image in task.inputs[task.rows[:50]]}
        learnt = {tuple(image.flatten().tolist()) for image in owner.train.inputs}
        exact += images <= learnt
        unseen += not images & learnt
    assert exact + unseen == 16 + 40
    assert min(exact, unseen) >= 18


@pytest.mark.parametrize("on", ["known", "both"])
@pytest.mark.parametrize("peers_on", ["known", "unseen"])
def test_no_model_learns_from_private_images(source: Source, splits, on: Any, peers_on: Any) -> None:  # type: ignore[no-untyped-def]
    preset = replace(
        Preset(),
        private_images=True,
        references=Roles(8, 4, 4),
        nulls=40,
        simulated_on=on,
        simulated_apart=0.4,
        peers_on=peers_on,
    )
    owner = share_data(splits[0], preset, 0)
    asked = {tuple(image.flatten().tolist()) for image in owner.query.inputs}
    learnt = [run.attacker.data.inputs for run in simulated_runs(source, owner, preset, 0)]
    learnt += [
        task.inputs if task.rows is None else task.inputs[task.rows] for task in unrelated_tasks(owner, preset, 0)
    ]
    learnt += [task.inputs for task in peer_tasks(owner, preset, 0).values()]
    assert len({len(images) for images in learnt}) > 2
    assert all({tuple(image.flatten().tolist()) for image in images} <= asked for images in learnt)


def test_some_attackers_have_images_that_nobody_labelled(source: Source, owner: OwnerData) -> None:
    draw = torch.Generator().manual_seed(0)
    public = torch.rand(300, *owner.every.inputs.shape[1:], generator=draw)
    data = with_public(owner, public, source)
    for on, turns in (("unseen", 2), ("both", 3)):
        preset = replace(Preset(), simulated_on=on, simulated_apart=0.4)  # type: ignore[arg-type]
        runs = simulated_runs(source, data, preset, 0)
        theirs = runs[turns - 1].attacker.data
        assert len(theirs) == 180
        assert all(bool((public == image).flatten(1).all(1).any()) for image in theirs.inputs[:5])
        assert torch.equal(theirs.labels, source.labels(theirs.inputs))
        held_out = [run for run in runs[preset.surrogates.cem :] if len(run.attacker.data) == 120]
        assert held_out
        made = {tuple(image) for image in theirs.inputs.flatten(1).tolist()}
        assert not made & {tuple(image) for image in held_out[0].attacker.data.inputs.flatten(1).tolist()}
        assert [run.attacker.data is theirs for run in runs[:turns]].count(True) == 1
    assert all(len(task.inputs) <= len(owner.known) for task in unrelated_tasks(data, Preset(), 0))


def test_a_fingerprint_says_how_many_images_nobody_labelled(
    source: Source, owner: OwnerData, tiny: Preset, work: RunContext
) -> None:
    public = owner.start.inputs.flip(3)
    made = build_fingerprint(source, owner, tiny, work, public=public)
    assert made.method["public_images"] == len(public)
    assert "public_images" not in build_fingerprint(source, owner, tiny, work).method


def test_attacks_that_destroy_their_copies_are_named() -> None:
    """Copies at chance pull the threshold down, and let no suspect be called unrelated."""
    models = [HeldOut("surrogate", "ftal", 0.75), HeldOut("surrogate", "prune-0.7", 0.11), HeldOut("null", "x", 0.1)]
    assert destroyed(models, 0.64, 10) == ["prune-0.7"]
    assert destroyed([*models, HeldOut("surrogate", "rtal", 0.36)], 0.64, 10) == ["prune-0.7", "rtal"]
    assert destroyed(models, 0.12, 10) == []
