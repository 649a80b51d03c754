"""A stack's passes are, network for network, PyTorch's own, in float64."""

from collections.abc import Callable

import pytest
import torch
from fpverify_generator.models.architectures import ARCHITECTURES, FAMILIES, Task, initialise
from fpverify_generator.models.stacked import Stack, is_stackable, stack
from torch import nn

TASKS = [Task((1, 8, 8), 10), Task((3, 11, 9), 4)]

ODD: dict[str, Callable[[], nn.Sequential]] = {
    "no ReLU between": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3), *_head(2 * 9 * 7)),
    "kernel wider than two strides": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 4, 5, stride=2, padding=2), nn.ReLU(), *_head(4 * 5 * 4)
    ),
    "places between that no kernel sees": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 4, 1, stride=3), nn.ReLU(), *_head(4 * 3 * 3)
    ),
    "a last row that no kernel sees": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Conv2d(2, 4, 2, stride=4), *_head(4 * 3 * 2)
    ),
    "padding as wide as the kernel": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 2, padding=2), nn.ReLU(), nn.Conv2d(2, 4, 2, stride=2, padding=2), *_head(4 * 9 * 8)
    ),
    "ReLU after flattening, and last": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.Flatten(), nn.ReLU(), nn.Linear(2 * 9 * 7, 4), nn.ReLU()
    ),
    "linear alone": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 11 * 9, 4)),
}


def _head(features: int) -> tuple[nn.Module, ...]:
    return nn.Flatten(), nn.Linear(features, 4)


def networks(name: str, task: Task) -> list[nn.Module]:
    if name in ARCHITECTURES:
        return [initialise(ARCHITECTURES[name], task, seed).double() for seed in range(3)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [ODD[name]().double() for _ in range(3)]


CASES = [(member.name, task) for member in FAMILIES["small"].members for task in TASKS]
CASES += [(name, TASKS[1]) for name in ODD]


@pytest.mark.parametrize("shared", [False, True], ids=["own images", "the same images"])
@pytest.mark.parametrize(("name", "task"), CASES, ids=str)
def test_scores_and_their_gradients_equal_those_of_each_network_alone(name: str, task: Task, shared: bool) -> None:
    modules = networks(name, task)
    together = Stack(modules[0], stack(modules))
    draw = torch.Generator().manual_seed(0)
    for _ in range(2):  # the second pass finds the buffers of the first
        shape = (5, *task.shape) if shared else (3, 5, *task.shape)
        inputs = torch.rand(shape, generator=draw, dtype=torch.float64).requires_grad_()
        scores = together.scores(inputs)
        alone = torch.stack([module(inputs if shared else inputs[k]) for k, module in enumerate(modules)])
        torch.testing.assert_close(scores, alone)
        weights = torch.rand(scores.shape, generator=draw, dtype=torch.float64)
        found, expected = (torch.autograd.grad((one * weights).sum(), inputs)[0] for one in (scores, alone))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("name", "task"), CASES, ids=str)
def test_what_is_learnt_is_the_gradient_of_each_networks_own_loss(name: str, task: Task) -> None:
    modules = networks(name, task)
    together = Stack(modules[0], stack(modules))
    draw = torch.Generator().manual_seed(0)
    for _ in range(2):
        inputs = torch.rand(3, 5, *task.shape, generator=draw, dtype=torch.float64)
        targets = torch.rand(3, 5, task.classes, generator=draw, dtype=torch.float64).softmax(-1)
        together.learn(inputs, targets)
        for k, module in enumerate(modules):
            named = dict(module.named_parameters())
            loss = -(targets[k] * module(inputs[k]).log_softmax(-1)).sum(-1).mean()
            expected = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
            stacked = {key: value[None] for key, value in expected.items()}
            own = Stack(modules[0], {key: value[k : k + 1] for key, value in stack(modules).items()})
            flat = own.flattened(stacked)
            parts = [part[k].flatten() for part in together.by_layer(together.gradients)]
            torch.testing.assert_close(torch.cat(parts), flat)


def test_the_weights_come_back_as_they_were_put_in() -> None:
    modules = networks("convolutional", TASKS[1])
    for name, value in Stack(modules[0], stack(modules)).parameters().items():
        torch.testing.assert_close(value, stack(modules)[name], rtol=0, atol=0)


def test_two_passes_before_the_first_goes_back_do_not_mix() -> None:
    modules = networks("convolutional", TASKS[0])
    together = Stack(modules[0], stack(modules))
    first, second = (torch.rand(4, 1, 8, 8, dtype=torch.float64).requires_grad_() for _ in range(2))
    scores = together.scores(first), together.scores(second)
    for inputs, found in zip((second, first), reversed(scores), strict=True):
        expected = torch.stack([module(inputs) for module in modules])
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(one.sum(), inputs)[0] for one in (found, expected)]
        torch.testing.assert_close(*gradients)


def test_a_gradient_is_taken_once() -> None:
    modules = networks("perceptron", TASKS[0])
    inputs = torch.rand(4, 1, 8, 8, dtype=torch.float64).requires_grad_()
    scores = Stack(modules[0], stack(modules)).scores(inputs)
    torch.autograd.grad(scores.sum(), inputs, retain_graph=True)
    with pytest.raises(RuntimeError, match="was taken before"):
        torch.autograd.grad(scores.sum(), inputs)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(2, 2, 3, groups=2)],
        [nn.Conv2d(1, 2, (3, 1))],
        [nn.Conv2d(1, 2, 3, dilation=2)],
        [nn.Conv2d(1, 2, 3, bias=False)],
        [nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")],
        [nn.BatchNorm2d(1)],
        [nn.ReLU()],
        [],
    ],
    ids=str,
)
def test_a_network_that_a_stack_does_not_know_is_not_stacked(layers: list[nn.Module]) -> None:
    assert not is_stackable(nn.Sequential(*layers, nn.Flatten()))
    assert not is_stackable(nn.Sequential(*layers, nn.Flatten(2), nn.Linear(8, 4)))
    assert not is_stackable(nn.Sequential(nn.Linear(8, 4), *layers))
