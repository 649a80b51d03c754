"""What every step of one run shares, and how its pieces of work are done: cached, resumable, on several processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from torch import nn

from fpverify_generator.cache import Cache, digest
from fpverify_generator.ensembles import stacks, train_together
from fpverify_generator.training import TrainingTask, initial, train_sequentially

Make = Callable[[], Mapping[str, torch.Tensor]]
"""Does one piece of work; everything it needs is bound to it and can be sent to another process."""


@dataclass(frozen=True)
class Workshop:
    """What every step of one run shares."""

    seed: int
    """The run's seed."""
    cache: Cache
    """Where finished work lands."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    jobs: int = 1
    """Processes that work at the same time; 1 for none but this one."""
    say: Callable[[str], None] = lambda _: None
    """Takes one line of progress for people."""


def finish(pieces: Mapping[str, Make], work: Workshop) -> Iterator[dict[str, torch.Tensor]]:
    """Do pieces of work that do not depend on each other, those that the cache does not hold.

    Args:
        pieces: cache key -> work. A result does not depend on which process made it.
        work: cache and number of processes.

    Yields:
        Each piece's result, in the order of the pieces, as soon as it and those before it are there.
    """
    missing = [key for key in pieces if not work.cache.holds(key)]
    if work.jobs == 1 or len(missing) < 2:
        yield from (work.cache.get(key, make) for key, make in pieces.items())
        return
    parallel = joblib.Parallel(n_jobs=work.jobs, return_as="generator", pre_dispatch="all", batch_size=1)
    threads = torch.get_num_threads()
    running = parallel(joblib.delayed(_in_worker)(work.cache.folder, key, pieces[key], threads) for key in missing)
    waiting = set(missing)
    for key, make in pieces.items():
        if key in waiting:
            next(running)
            work.cache.made += 1
        found = work.cache.read(key) if key in waiting else None
        yield work.cache.get(key, make) if found is None else found


def _in_worker(folder: Path, key: str, make: Make, threads: int) -> None:
    # The result travels through the cache: it is on disk before anybody hears of it.
    torch.set_num_threads(threads)
    Cache(folder).get(key, make)


def train_all(tasks: Sequence[TrainingTask], work: Workshop, what: str) -> list[nn.Module]:
    """Train networks in stacks; each finished stack lands in the cache at once, so that a kill loses one per process.

    Args:
        tasks: what to train.
        work: cache, device, processes and progress.
        what: names the networks in the progress.

    Returns:
        The networks in the order of the tasks.
    """
    groups = stacks(tasks)
    pieces = {}
    for members in groups:
        chosen = [tasks[number] for number in members]
        pieces[_key(chosen, work.device)] = _Training(chosen, work.device)
    trained: dict[int, nn.Module] = {}
    for members, found in zip(groups, finish(pieces, work), strict=True):
        for place, number in enumerate(members):
            prefix, module = f"{place}/", initial(tasks[number])
            module.load_state_dict({k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)})
            trained[number] = module.requires_grad_(False)
        work.say(f"{what}: {len(trained)} of {len(tasks)} trained")
    return [trained[number] for number in range(len(tasks))]


@dataclass(frozen=True)
class _Training:
    """One stack's training, as a piece of work."""

    tasks: list[TrainingTask]
    device: str

    def __call__(self) -> dict[str, torch.Tensor]:
        one = len(self.tasks) == 1
        trained = [train_sequentially(self.tasks[0], self.device)] if one else train_together(self.tasks, self.device)
        states = enumerate(module.state_dict() for module in trained)
        return {f"{number}/{name}": value for number, state in states for name, value in state.items()}


def _key(tasks: Sequence[TrainingTask], device: str) -> str:
    parts = [(initial(task), task.seed, task.recipe, task.inputs, task.targets) for task in tasks]
    return digest("stack", device, *(part for task in parts for part in task))
