"""Runs attacks side by side: whatever they want trained at the same time trains as stacks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from fpverify_generator.attacks.interface import Attack, Attacker, Steps, Surrogate
from fpverify_generator.models.networks import Trained, train_timed
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.run.context import RunContext


@dataclass(frozen=True)
class Run:
    """One attack that is to be run."""

    name: str
    """What to call it."""
    attack: Attack
    """Which it is."""
    attacker: Attacker
    """Who runs it; each run has a black box of its own, which counts."""
    seed: int
    """Of all its draws."""


@dataclass(frozen=True)
class Outcome:
    """What a run ended with, and what it cost."""

    stolen: Surrogate
    """The surrogate."""
    queries: int
    """Inputs that the source was asked."""
    seconds: float
    """Of training and of all else that the attack did, on this machine."""


def run_attacks(runs: Sequence[Run], work: RunContext, what: str) -> list[Outcome]:
    """Run attacks side by side.

    Args:
        runs: which.
        work: cache, device, processes and progress.
        what: names the networks in the progress.

    Returns:
        One outcome per run, in that order.

    Raises:
        AttackError: if one cannot be run.
    """
    under_way = [_UnderWay(run) for run in runs]
    for one in under_way:
        one.go_on(None)
    while waiting := [one for one in under_way if one.stolen is None]:
        tasks = [task for one in waiting for task in one.wanted]
        trained = iter(train_timed(tasks, work, what))
        for one in waiting:
            one.go_on([next(trained) for _ in one.wanted])
    return [one.outcome() for one in under_way]


class _UnderWay:
    """One attack between its steps."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._steps: Steps = run.attack(run.attacker, run.seed)
        self._seconds = 0.0
        self.wanted: list[TrainingTask] = []
        self.stolen: Surrogate | None = None

    def go_on(self, trained: list[Trained] | None) -> None:
        began = time.perf_counter()
        modules: list[nn.Module] = [one.module for one in trained or []]
        try:
            self.wanted = next(self._steps) if trained is None else self._steps.send(modules)
        except StopIteration as end:
            self.stolen, self.wanted = end.value, []
        self._seconds += time.perf_counter() - began + sum(one.seconds for one in trained or [])

    def outcome(self) -> Outcome:
        if self.stolen is None:
            raise RuntimeError(f"{self._run.name} is still under way")
        return Outcome(self.stolen, self._run.attacker.box.queries, self._seconds)
