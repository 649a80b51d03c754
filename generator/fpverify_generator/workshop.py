"""What every step of one run shares, and training through the cache: a kill loses at most one stack's work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fpverify_generator.cache import Cache, digest
from fpverify_generator.ensembles import stacks, train_together
from fpverify_generator.training import TrainingTask, initial, train_sequentially


@dataclass(frozen=True)
class Workshop:
    """What every step of one run shares."""

    seed: int
    """The run's seed."""
    cache: Cache
    """Where finished work lands."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    say: Callable[[str], None] = lambda _: None
    """Takes one line of progress for people."""


def train_all(tasks: Sequence[TrainingTask], work: Workshop, what: str) -> list[nn.Module]:
    """Train networks in stacks; each finished stack lands in the cache at once.

    Args:
        tasks: what to train.
        work: cache, device and progress.
        what: names the networks in the progress.

    Returns:
        The networks in the order of the tasks.
    """
    trained: dict[int, nn.Module] = {}
    for members in stacks(tasks):
        modules = _train_stack([tasks[number] for number in members], work)
        trained.update(zip(members, modules, strict=True))
        work.say(f"{what}: {len(trained)} of {len(tasks)} trained")
    return [trained[number] for number in range(len(tasks))]


def _train_stack(tasks: Sequence[TrainingTask], work: Workshop) -> list[nn.Module]:
    modules = [initial(task) for task in tasks]
    parts = [(task.seed, task.recipe, task.inputs, task.targets) for task in tasks]
    key = digest("stack", work.device, *modules, *(part for task in parts for part in task))

    def make() -> dict[str, torch.Tensor]:
        trained = train_together(tasks, work.device) if len(tasks) > 1 else [train_sequentially(tasks[0], work.device)]
        states = enumerate(module.state_dict() for module in trained)
        return {f"{number}/{name}": value for number, state in states for name, value in state.items()}

    found = work.cache.get(key, make)
    for number, module in enumerate(modules):
        prefix = f"{number}/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)})
    return [module.requires_grad_(False) for module in modules]
