"""Networks trained as a stack are those that the sequential trainer gives."""

import pytest
import torch
from fpverify_generator.attacks import SIMULATED
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

    tasks = [replace(t, recipe=replace(t.recipe, steps=20)) for t in tasks_of(source, owner, names)]
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
