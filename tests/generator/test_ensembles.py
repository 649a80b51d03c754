"""Networks trained as a stack are those that the sequential trainer gives."""

import pytest
import torch
from fpverify_generator.attacks import SIMULATED
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.ensembles import STACK, Ensemble, stacks, train_together
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask, train_sequentially
from fpverify_generator.pools import OwnerData, attack_runs
from fpverify_generator.presets import Preset


def tasks_of(source: Source, owner: OwnerData, names: list[str]) -> list[TrainingTask]:
    runs = attack_runs(source, owner.query, names, Preset(), 0, "test")
    return [task for run in runs for task in next(run.attack(run.attacker, run.seed))]


@pytest.mark.parametrize(
    "names",
    [
        ["retrain-labels", "retrain-probabilities", "retrain-labels"],
        ["retrain-labels-other", "retrain-probabilities-other"],
        ["ftll", "ftll"],
        ["rtal", "rtal"],
        ["prune-0.4", "prune-0.7"],
        ["adversarial-0.05", "adversarial-0.1"],
    ],
    ids="+".join,
)
def test_a_stack_ends_with_the_same_weights_as_one_network_after_another(
    names: list[str], source: Source, owner: OwnerData
) -> None:
    from dataclasses import replace

    tasks = [replace(t, asked=replace(t.recipe, steps=20)) for t in tasks_of(source, owner, names)]
    for together, task in zip(train_together(tasks), tasks, strict=True):
        alone = train_sequentially(task)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name], value, rtol=1e-3, atol=2e-4)


def test_stacks_hold_only_what_can_train_together_and_at_most_so_many(source: Source, owner: OwnerData) -> None:
    tasks = tasks_of(source, owner, [*SIMULATED, *["retrain-labels"] * (STACK + 1)])
    groups = stacks(tasks)
    assert sorted(number for group in groups for number in group) == list(range(len(tasks)))
    assert max(map(len, groups)) <= STACK
    for group in groups:
        assert len({tasks[number].recipe.learning_rate for number in group}) == 1
        assert len({tasks[number].recipe.layers for number in group}) == 1


def test_an_ensemble_answers_in_the_order_of_its_networks(source: Source, owner: OwnerData) -> None:
    names = ["retrain-labels", "retrain-labels-other", "retrain-labels", "retrain-labels-wide"]
    from fpverify_generator.models.training import initial

    modules = [initial(task) for task in tasks_of(source, owner, names)]
    scores = Ensemble(modules).scores(owner.start.inputs[:7])
    torch.testing.assert_close(scores, torch.stack([module(owner.start.inputs[:7]) for module in modules]))


def test_a_part_of_an_ensemble_asks_a_share_of_each_architecture_drawn_anew(owner: OwnerData) -> None:
    task = Task((1, 8, 8), 10)
    kinds = [*["convolutional"] * 5, *["perceptron"] * 3, *["resnet-8"] * 4]
    modules = [initialise(ARCHITECTURES[name], task, seed).eval() for seed, name in enumerate(kinds)]
    whole, draw, images = Ensemble(modules), torch.Generator().manual_seed(0), owner.start.inputs[:7]
    part, scores, seen = whole.part(0.5), whole.scores(images), set()
    for _ in range(20):
        part.draw(draw)
        equal = torch.isclose(part.scores(images)[:, None], scores[None], rtol=1e-4, atol=1e-5).flatten(2).all(2)
        asked = tuple(equal.nonzero()[:, 1].sort().values.tolist())
        assert equal.sum(1).tolist() == [1] * len(asked)
        assert [sum(low <= one < high for one in asked) for low, high in ((0, 5), (5, 8), (8, 12))] == [2, 2, 2]
        seen.add(asked)
    assert len(seen) > 10
    assert {one for asked in seen for one in asked} == set(range(12))


def test_the_gradient_of_a_part_is_that_of_its_networks(owner: OwnerData) -> None:
    modules = [initialise(ARCHITECTURES["convolutional"], Task((1, 8, 8), 10), seed) for seed in range(4)]
    part = Ensemble(modules).part(0.5)
    for seed in range(2):
        part.draw(torch.Generator().manual_seed(seed))
        images = owner.start.inputs[:5].clone().requires_grad_()
        (found,) = torch.autograd.grad(part.scores(images).square().sum(), images)
        rows = torch.randperm(4, generator=torch.Generator().manual_seed(seed))[:2].tolist()
        alone = torch.stack([modules[row](images) for row in rows])
        (expected,) = torch.autograd.grad(alone.square().sum(), images)
        torch.testing.assert_close(found, expected)


def test_of_large_images_layers_are_computed_again_and_the_gradient_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, passes = initialise(ARCHITECTURES["resnet-8"], Task((3, 16, 16), 10), 0).eval(), []
    network.register_forward_pre_hook(lambda *_: passes.append(1))
    ensemble, draw, found = Ensemble([network]), torch.Generator().manual_seed(0), []
    images = torch.rand(4, 3, 16, 16, generator=draw)
    for most in (2**20, 100):
        monkeypatch.setattr("fpverify_generator.models.ensembles.MOST_HELD", most)
        passes.clear()
        inputs = images.clone().requires_grad_()
        found.append(torch.autograd.grad(ensemble.scores(inputs).square().sum(), inputs)[0])
        assert len(passes) == (1 if most > 100 else 2)
    torch.testing.assert_close(*found)
