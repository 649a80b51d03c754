"""The stacked pass is, network for network, PyTorch's own pass."""

import pytest
import torch
from fpverify_generator.models.architectures import ARCHITECTURES, FAMILIES, Task, initialise
from fpverify_generator.models.stacked import is_stackable, stack, stacked_forward
from torch import nn

TASKS = [Task((1, 8, 8), 10), Task((3, 11, 9), 4)]


@pytest.mark.parametrize("task", TASKS, ids=str)
@pytest.mark.parametrize("name", [member.name for member in FAMILIES["small"].members])
def test_scores_and_gradients_equal_those_of_each_network_alone(name: str, task: Task) -> None:
    modules = [initialise(ARCHITECTURES[name], task, seed).double() for seed in range(3)]
    inputs = torch.rand(3, 5, *task.shape, dtype=torch.float64, requires_grad=True)
    parameters = {key: value.requires_grad_() for key, value in stack(modules).items()}
    stacked = stacked_forward(modules[0], parameters, inputs)
    alone = torch.stack([module(batch) for module, batch in zip(modules, inputs, strict=True)])
    torch.testing.assert_close(stacked, alone)
    weights = torch.rand_like(stacked)
    first = torch.autograd.grad((stacked * weights).sum(), [inputs, *parameters.values()])
    second = torch.autograd.grad((alone * weights).sum(), inputs, retain_graph=True)
    torch.testing.assert_close(first[0], second[0])
    for key, gradient in zip(parameters, first[1:], strict=True):
        own = [dict(module.named_parameters())[key] for module in modules]
        expected = torch.autograd.grad((alone * weights).sum(), own, retain_graph=True)
        torch.testing.assert_close(gradient, torch.stack(expected))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(1, 2, (3, 1)), nn.Conv2d(1, 2, 3, dilation=2), nn.BatchNorm2d(1)],
    ids=repr,
)
def test_a_layer_that_the_stack_does_not_know_is_not_stacked(layer: nn.Module) -> None:
    assert not is_stackable(nn.Sequential(layer))
