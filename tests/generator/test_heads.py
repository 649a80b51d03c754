"""Networks on a body that stays as it is: the body answers once, and nothing else changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fpverify_generator.models import heads
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.ensembles import Ensemble, OnBody
from fpverify_generator.models.heads import keeps_body
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.training import Recipe, TrainingTask, initial, minibatches, train_sequentially
from fpverify_generator.pools import OwnerData
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from torch import nn

LAST = Recipe(steps=15, batch=16, layers="last")


def on_one_body(owner: OwnerData, count: int, recipe: Recipe = LAST) -> list[TrainingTask]:
    """Return trainings that begin with one network, each with a last layer of its own."""
    body = initialise(ARCHITECTURES["resnet-8"], Task((1, 8, 8), 10), 0)
    again = replace(recipe, reinitialise=True)
    return [
        TrainingTask("t", seed, None, owner.query.inputs, owner.query.targets, again, body) for seed in range(count)
    ]


@pytest.mark.parametrize("rows", [None, torch.arange(5, 200)], ids=["all", "some rows"])
@pytest.mark.parametrize("again", [False, True], ids=["kept", "drawn anew"])
def test_a_last_layer_is_trained_on_features_as_in_the_whole_network(
    owner: OwnerData, tmp_path: Path, again: bool, rows: torch.Tensor | None
) -> None:
    (task,) = on_one_body(owner, 1)
    task = replace(task, asked=replace(LAST, reinitialise=again), rows=rows)
    (found,) = train_all([task], RunContext(0, Cache(tmp_path)), "x")
    expected = train_sequentially(task)
    assert not torch.equal(found[-1].weight, initial(task)[-1].weight)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-3, atol=2e-4)


def test_one_body_answers_once_about_each_image_however_many_are_trained(
    owner: OwnerData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, true = [], heads.features
    monkeypatch.setattr(heads, "features", lambda body, inputs, device: (seen.append(inputs), true(body, inputs))[1])
    tasks = on_one_body(owner, 3)
    trained = train_all(tasks, RunContext(0, Cache(tmp_path)), "x")
    assert torch.equal(torch.cat(seen), owner.query.inputs)
    assert len({tuple(module[-1].bias.tolist()) for module in trained}) == 3
    again = RunContext(0, Cache(tmp_path))
    train_all(tasks, again, "x")
    assert (again.cache.made, torch.equal(torch.cat(seen), owner.query.inputs)) == (0, True)


@pytest.mark.parametrize(
    ("name", "recipe", "kept"),
    [
        ("resnet-8", LAST, True),
        ("resnet-8", replace(LAST, layers="all"), False),
        ("resnet-8", replace(LAST, noise=0.1), False),
        ("resnet-8", replace(LAST, augment=1), False),
        ("resnet-8", replace(LAST, mixup=0.5), False),
        ("resnet-8", replace(LAST, radius=0.1), False),
        ("resnet-8", replace(LAST, prune=0.5), False),
        ("perceptron", LAST, False),  # it trains in a stack as it is
        ("resnet-8 from nothing", LAST, False),  # it trains all its layers, whatever the recipe says
    ],
)
def test_features_serve_where_the_body_and_the_images_stay(
    owner: OwnerData, name: str, recipe: Recipe, kept: bool
) -> None:
    task = TrainingTask("t", 0, ARCHITECTURES[name], owner.query.inputs, owner.query.targets, recipe)
    assert keeps_body(task) is kept


def test_an_architecture_has_steps_and_a_rate_of_its_own(owner: OwnerData) -> None:
    made = replace(ARCHITECTURES["resnet-8"], steps=4, learning_rate=0.5, layers="all")
    task = TrainingTask("t", 0, made, owner.query.inputs, owner.query.targets, replace(LAST, learning_rate=0.02))
    assert (task.recipe.steps, task.recipe.learning_rate, task.recipe.layers) == (60, 0.01, "all")
    # from weights that are there, a network is trained as it is asked
    assert replace(task, architecture=None, start=initial(task)).recipe == task.asked


def ensemble_on_one_body(owner: OwnerData, count: int) -> list[nn.Module]:
    return [initial(task).eval() for task in on_one_body(owner, count)]


def test_networks_on_one_body_are_asked_in_one_pass_and_answer_as_each_alone(owner: OwnerData) -> None:
    modules, passes = ensemble_on_one_body(owner, 4), []
    other = initialise(ARCHITECTURES["resnet-8"], Task((1, 8, 8), 10), 9)
    mixed = [modules[0], other, *modules[1:]]
    for module in modules:
        module[0].register_forward_pre_hook(lambda *_: passes.append(1))
    ensemble = Ensemble(mixed)
    images = owner.start.inputs[:7].clone().requires_grad_()
    passes.clear()
    scores = ensemble.scores(images)
    assert len(passes) == 1
    expected = torch.stack([module(images) for module in mixed])
    torch.testing.assert_close(scores, expected)
    gradients = [torch.autograd.grad(some.square().sum(), images)[0] for some in (scores, expected)]
    torch.testing.assert_close(*gradients)


def test_a_part_of_networks_on_one_body_is_drawn_anew(owner: OwnerData) -> None:
    modules, images = ensemble_on_one_body(owner, 6), owner.start.inputs[:5]
    whole, draw, seen = Ensemble(modules), torch.Generator().manual_seed(0), set()
    part, scores = whole.part(0.5), whole.scores(images)
    for _ in range(20):
        part.draw(draw)
        equal = torch.isclose(part.scores(images)[:, None], scores[None], rtol=1e-4, atol=1e-5).flatten(2).all(2)
        assert equal.sum(1).tolist() == [1] * 3
        seen |= set(equal.nonzero()[:, 1].tolist())
    assert seen == set(range(6))
    assert isinstance(whole._groups[0], OnBody)


def test_two_ensembles_on_one_body_ask_it_once_and_the_gradient_is_the_same(owner: OwnerData) -> None:
    modules, passes = ensemble_on_one_body(owner, 6), []
    for module in modules:
        module[0].register_forward_pre_hook(lambda *_: passes.append(1))
    one, two = Ensemble(modules[:3]), Ensemble(modules[3:]).part(0.7)
    images, found = owner.start.inputs[:7].clone().requires_grad_(), []
    for seen in ({}, None):
        passes.clear()
        loss = one.scores(images, seen).square().sum() + two.scores(images, seen).sum()
        assert len(passes) == (2 if seen is None else 1)
        found.append(torch.autograd.grad(loss, images)[0])
    torch.testing.assert_close(*found)


def test_varied_views_are_seen_once_and_mixed_as_features(owner: OwnerData, tmp_path: Path) -> None:
    rows = torch.arange(40, 100)
    recipe = replace(LAST, noise=0.02, mixup=0.5, views=2)
    (task,) = on_one_body(owner, 1, recipe)
    task = replace(task, rows=rows)
    assert keeps_body(task)
    (done,) = heads.on_features([task], RunContext(0, Cache(tmp_path))).done
    # the views that the minibatches draw of two for each image, and no others
    every = minibatches(replace(task, rows=torch.arange(2 * len(rows))))
    seen = every.unique()
    assert len(rows) < len(seen) < 2 * len(rows)
    assert len(done.inputs) == len(done.targets) == len(seen)
    assert torch.equal(seen[minibatches(done)], every)
    images = rows[seen % len(rows)]
    assert torch.equal(done.targets, owner.query.targets[images])
    assert (done.recipe.noise, done.recipe.mixup, done.rows) == (0, 0.5, None)
    plain = heads.features(initial(task)[:-1], owner.query.inputs[images])[:, :, None, None]
    assert len(done.inputs.flatten(1).unique(dim=0)) == len(seen)
    # a noisy view is not the image, and more like it than another image is
    assert 0 < float((done.inputs - plain).norm()) < float((plain.roll(1, 0) - plain).norm())
    assert len(train_all([task], RunContext(0, Cache(tmp_path)), "x")) == 1


def test_images_that_are_only_mixed_are_seen_once_for_all(owner: OwnerData, tmp_path: Path) -> None:
    tasks = on_one_body(owner, 2, replace(LAST, views=1)) + on_one_body(owner, 2, replace(LAST, views=1, mixup=0.5))
    found = heads.on_features(tasks, RunContext(0, Cache(tmp_path))).done
    assert all(one.inputs is found[0].inputs for one in found)
    assert [one.recipe.mixup for one in found] == [0, 0, 0.5, 0.5]
