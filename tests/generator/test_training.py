"""Training draws from its own seed alone, and its adversarial examples stay where they may be."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from fpverify_generator.errors import SourceError
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise, last_layer
from fpverify_generator.models.networks import effort, train_all
from fpverify_generator.models.training import (
    Recipe,
    TrainingTask,
    adversarial,
    initial,
    minibatches,
    rate_at,
    recoloured,
    train_sequentially,
)
from fpverify_generator.pools import OwnerData
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext
from torch import nn


def test_the_same_task_gives_the_same_bytes_whatever_the_process_drew_before(owner: OwnerData) -> None:
    task = TrainingTask("t", 3, ARCHITECTURES["perceptron"], owner.query.inputs, owner.query.targets, Recipe(steps=5))
    first = train_sequentially(task).state_dict()
    torch.rand(100)
    state = torch.get_rng_state()
    second = train_sequentially(task).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert torch.equal(state, torch.get_rng_state())


def test_adversarial_examples_stay_in_the_ball_and_the_box_and_raise_the_loss(
    network: torch.nn.Module, owner: OwnerData
) -> None:
    inputs, targets = owner.start.inputs[:64], owner.start.targets[:64]
    found = adversarial(
        network, inputs, targets, 0.1, torch.rand(inputs.shape, generator=torch.Generator().manual_seed(0))
    )
    assert float((found - inputs).abs().max()) <= 0.1 + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    before, after = (-(targets * network(x).log_softmax(1)).sum(1).mean() for x in (inputs, found))
    assert after > before


def test_initial_weights_are_pytorchs_own_for_the_same_seed() -> None:
    made = initialise(ARCHITECTURES["perceptron"], Task((1, 8, 8), 10), 7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = torch.nn.Linear(64, 64)
    assert torch.equal(made[1].weight, expected.weight)


def test_longer_and_larger_trainings_are_handed_out_first(owner: OwnerData, tmp_path: Path) -> None:
    def task(name: str, **recipe: float) -> TrainingTask:
        made = Recipe(**{"steps": 2, "batch": 4, **recipe})  # type: ignore[arg-type]
        return TrainingTask(name, 0, ARCHITECTURES[name], owner.query.inputs, owner.query.targets, made)

    small, large = task("convolutional-narrow"), task("convolutional-wide")
    long, adversarial_one = task("convolutional-narrow", steps=6), task("convolutional-narrow", radius=0.1)
    assert effort(large) > effort(small) > 0
    assert effort(long) == effort(adversarial_one) == 3 * effort(small)

    cache = Cache(tmp_path)
    made: list[str] = []
    kept = cache.get
    cache.get = lambda key, make: made.append(make.tasks[0].name) or kept(key, make)  # type: ignore[method-assign, attr-defined, func-returns-value]
    found = train_all([small, large], RunContext(0, cache), "t")
    assert made == ["convolutional-wide", "convolutional-narrow"]
    assert [sum(p.numel() for p in one.parameters()) for one in found] == [
        sum(p.numel() for p in initial(one).parameters()) for one in (small, large)
    ]


def test_the_rate_rises_over_the_warm_up_and_then_falls_to_zero() -> None:
    recipe = Recipe(steps=10, learning_rate=0.8, warm_up=0.4)
    assert [round(rate_at(recipe, step), 6) for step in range(10)] == [
        *(0.2, 0.4, 0.6, 0.8),
        *(0.8, 0.666667, 0.533333, 0.4, 0.266667, 0.133333),
    ]
    plain = Recipe(steps=4, learning_rate=0.8)
    assert [rate_at(plain, step) for step in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("name", ["convolutional", "resnet-8"])
def test_a_recipe_names_its_optimiser(owner: OwnerData, kind: str, name: str, tmp_path: Path) -> None:
    recipe = Recipe(steps=3, batch=8, learning_rate=0.01, optimizer=kind, weight_decay=0.1, warm_up=0.5)  # type: ignore[arg-type]
    task = TrainingTask("t", 1, ARCHITECTURES[name], owner.query.inputs, owner.query.targets, recipe)
    found = train_all([task, replace(task, seed=2)], RunContext(0, Cache(tmp_path)), "t")[0]
    # the same steps with PyTorch's own optimiser and no code of ours around them
    network = initial(task)
    network.train(name != "convolutional")
    classes = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}
    steps = classes[kind](network.parameters(), lr=1.0, weight_decay=0.1)
    for step, rows in enumerate(minibatches(task)):
        steps.param_groups[0]["lr"] = (0.005, 0.01, 0.01)[step]
        steps.zero_grad()
        torch.nn.functional.cross_entropy(network(owner.query.inputs[rows]), owner.query.labels[rows]).backward()
        steps.step()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(found.state_dict()[key], value, rtol=1e-2, atol=2e-3)


def test_frozen_layers_keep_their_weights_and_the_others_do_not(owner: OwnerData, tmp_path: Path) -> None:
    recipe = Recipe(steps=3, batch=8, freeze=("0.", "3"))
    task = TrainingTask("t", 1, ARCHITECTURES["resnet-8"], owner.query.inputs, owner.query.targets, recipe)
    (found,) = train_all([task], RunContext(0, Cache(tmp_path)), "t")
    before = dict(initial(task).named_parameters())
    kept = {name for name, value in found.named_parameters() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith(("0.", "3"))}
    assert kept
    assert kept != set(before)


def test_half_precision_trains_to_nearly_the_same(owner: OwnerData) -> None:
    task = TrainingTask("t", 1, ARCHITECTURES["resnet-8"], owner.query.inputs, owner.query.targets, Recipe(steps=2))
    whole, half = (
        train_sequentially(replace(task, asked=replace(task.asked, precision=precision)))  # type: ignore[arg-type]
        for precision in ("float32", "bfloat16")
    )
    difference = max(
        float((one - two).abs().max()) for one, two in zip(whole.parameters(), half.parameters(), strict=True)
    )
    assert 0 < difference < 0.05


def test_colours_change_by_at_most_the_share_and_each_image_by_its_own_draw() -> None:
    images = torch.full((6, 3, 4, 4), 0.5)
    images[:, 0] = 0.4
    found = recoloured(images, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(recoloured(images, 0.0, torch.Generator().manual_seed(0)), images)
    assert len({round(float(image.mean()), 5) for image in found}) == 6
    assert float((found.mean((1, 2, 3)) / images.mean((1, 2, 3)) - 1).abs().max()) <= 0.2 + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    grey = torch.full((2, 1, 4, 4), 0.5)
    assert recoloured(grey, 0.2, torch.Generator().manual_seed(0)).shape == grey.shape


def test_a_network_may_end_in_a_convolution(owner: OwnerData) -> None:
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_layer(network) == ("2.weight", "2.bias")
    recipe = Recipe(steps=3, layers="last", reinitialise=True)
    task = TrainingTask("x", 0, None, owner.train.inputs, owner.train.targets, recipe, network)
    begun, trained = initial(task), train_sequentially(task)
    bound = 6**-0.5
    assert 0.5 * bound < float(begun[2].weight.detach().abs().max()) <= bound
    assert torch.equal(trained[0].weight, network[0].weight)
    assert not torch.equal(trained[2].weight, begun[2].weight)


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(SourceError, match="no linear layer and no convolution"):
        last_layer(nn.Flatten())
