"""Training draws from its own seed alone, and its adversarial examples stay where they may be."""

from pathlib import Path

import torch
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.networks import effort, train_all
from fpverify_generator.models.training import Recipe, TrainingTask, adversarial, initial, train_sequentially
from fpverify_generator.pools import OwnerData
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext


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
