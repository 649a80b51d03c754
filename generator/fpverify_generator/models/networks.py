"""Trains many networks: in stacks, side by side, each finished stack in the cache at once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fpverify_generator.models.ensembles import stacks, structure, train_together
from fpverify_generator.models.heads import on_features
from fpverify_generator.models.training import PGD_STEPS, TrainingTask, initial, set_mode, train_sequentially
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.progress import Stage


@dataclass(frozen=True)
class Trained:
    """A network with what it cost."""

    module: nn.Module
    """In evaluation mode, on the CPU."""
    seconds: float
    """Its share of the wall time of the stack that it was trained in, when it was trained."""


def train_all(tasks: Sequence[TrainingTask], work: RunContext, what: str) -> list[nn.Module]:
    """Train networks as `train_timed` does, and return them alone."""
    return [trained.module for trained in train_timed(tasks, work, what)]


def train_timed(tasks: Sequence[TrainingTask], work: RunContext, what: str) -> list[Trained]:
    """Train networks in stacks; each finished stack lands in the cache at once, so that a kill loses one per process.

    Args:
        tasks: what to train.
        work: cache, device, processes and progress.
        what: names the networks in the progress.

    Returns:
        The networks in the order of the tasks, and what each cost.
    """
    heads = on_features(tasks, work)
    tasks = heads.done
    # the longest first: at the end no processor waits long for another
    groups = sorted(stacks(tasks), key=lambda members: -len(members) * effort(tasks[members[0]]))
    pieces = {}
    for members in groups:
        chosen = [tasks[number] for number in members]
        pieces[_key(chosen, work.device)] = _Training(chosen, work.device)
    stage = Stage(work.log, what, len(tasks), "trained")
    trained: dict[int, Trained] = {}
    for members, found in zip(groups, run_pieces(pieces, work), strict=True):
        seconds = float(found[SECONDS]) / len(members)
        for place, number in enumerate(members):
            prefix, module = f"{place}/", initial(tasks[number])
            module.load_state_dict({k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)})
            set_mode(module, training=False)
            trained[number] = Trained(heads.whole(number, module).requires_grad_(False), seconds)
        stage.done(len(trained))
    return [trained[number] for number in range(len(tasks))]


def effort(task: TrainingTask) -> float:
    """Return about how many operations a training takes; only the order of such numbers means something."""
    module = initial(task).eval()
    kind = structure(module), tuple(task.inputs.shape[1:])
    if kind not in _OPERATIONS:  # hundreds of networks share an architecture, and a large one takes a while to ask
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(task.inputs[:2])
        _OPERATIONS[kind] = float(counter.get_total_flops())
    passes = 1 + (PGD_STEPS if task.recipe.radius else 0)
    return _OPERATIONS[kind] * task.recipe.batch * task.recipe.steps * passes


_OPERATIONS: dict[tuple[str, tuple[int, ...]], float] = {}
"""Of two images, by a network's structure and the images' shape."""


def train_stack(tasks: Sequence[TrainingTask], device: str) -> list[nn.Module]:
    """Train one tuple of `stacks`: a network by itself, or several together."""
    return [train_sequentially(tasks[0], device)] if len(tasks) == 1 else train_together(tasks, device)


SECONDS = "seconds"
"""Under which name a stack's wall time lies beside its networks."""


@dataclass(frozen=True)
class _Training:
    """One stack's training, as a piece of work."""

    tasks: list[TrainingTask]
    device: str

    def __call__(self) -> dict[str, torch.Tensor]:
        began = time.perf_counter()
        trained = train_stack(self.tasks, self.device)
        states = enumerate(module.state_dict() for module in trained)
        found = {f"{number}/{name}": value for number, state in states for name, value in state.items()}
        return {**found, SECONDS: torch.tensor(time.perf_counter() - began, dtype=torch.float64)}

    def fits(self, found: Mapping[str, torch.Tensor]) -> bool:
        """Say whether these are networks like those that are trained here: same names, shapes and types."""
        wanted = {SECONDS: ((), torch.float64)}
        for number, task in enumerate(self.tasks):
            for name, value in initial(task).state_dict().items():
                wanted[f"{number}/{name}"] = (tuple(value.shape), value.dtype)
        return wanted == {name: (tuple(value.shape), value.dtype) for name, value in found.items()}


def _key(tasks: Sequence[TrainingTask], device: str) -> str:
    parts = [(initial(task), task.seed, task.recipe, task.inputs, task.targets, *_further(task)) for task in tasks]
    return digest("stack without autograd", device, *(part for task in parts for part in task))


def _further(task: TrainingTask) -> tuple[object, ...]:
    """Return what else the result depends on: the rows, and the code of an owner's own architecture."""
    code = (task.architecture.sha256,) if task.architecture is not None and task.architecture.sha256 else ()
    order = () if task.order is None else (task.order,)
    return (*order, *code) if task.rows is None else (task.rows, *order, *code)
