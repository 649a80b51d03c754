"""Runs attacks side by side: whatever they want trained at the same time trains as stacks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fpverify_generator.attacks.interface import Attack, Attacker, Piece, Steps, Surrogate
from fpverify_generator.models.networks import SECONDS, Trained, train_timed
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.run.context import RunContext, run_pieces


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
        wanted = [item for one in waiting for item in one.wanted]
        tasks = [item for item in wanted if isinstance(item, TrainingTask)]
        keys = {id(item): item.key() for item in wanted if not isinstance(item, TrainingTask)}
        pieces = {keys[id(item)]: _Timed(item) for item in wanted if not isinstance(item, TrainingTask)}
        trained = iter(train_timed(tasks, work, what) if tasks else [])
        results = dict(zip(pieces, run_pieces(pieces, work), strict=True))
        for one in waiting:
            done: list[Trained | dict[str, torch.Tensor]] = [
                next(trained) if isinstance(item, TrainingTask) else results[keys[id(item)]] for item in one.wanted
            ]
            one.go_on(done)
    return [one.outcome() for one in under_way]


@dataclass(frozen=True)
class _Timed:
    """A piece of work that says how long it took."""

    piece: Piece

    def __call__(self) -> dict[str, torch.Tensor]:
        began = time.perf_counter()
        found = self.piece()
        return {**found, SECONDS: torch.tensor(time.perf_counter() - began, dtype=torch.float64)}


class _UnderWay:
    """One attack between its steps."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._steps: Steps = run.attack(run.attacker, run.seed)
        self._seconds = 0.0
        self.wanted: Sequence[TrainingTask | Piece] = []
        self.stolen: Surrogate | None = None

    def go_on(self, done: list[Trained | dict[str, torch.Tensor]] | None) -> None:
        began = time.perf_counter()
        came = [one.module if isinstance(one, Trained) else one for one in done or []]
        try:
            self.wanted = next(self._steps) if done is None else self._steps.send(came)
        except StopIteration as end:
            self.stolen, self.wanted = end.value, []
        self._seconds += time.perf_counter() - began
        self._seconds += sum(one.seconds if isinstance(one, Trained) else float(one[SECONDS]) for one in done or [])

    def outcome(self) -> Outcome:
        if self.stolen is None:
            raise RuntimeError(f"{self._run.name} is still under way")
        return Outcome(self.stolen, self._run.attacker.box.queries, self._seconds)
