"""What a build would train, and about how long that takes: one timed step of each kind of work, and nothing else."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.attacks.run import Run
from fpverify_generator.build import simulated_runs, unrelated_tasks
from fpverify_generator.cem import optimise
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import Images, Inputs
from fpverify_generator.feasible import peer_tasks
from fpverify_generator.models.architectures import Task, initialise
from fpverify_generator.models.ensembles import Ensemble, stacks, structure
from fpverify_generator.models.heads import drawn_views, features, head_task, keeps_body, parted, parts_of
from fpverify_generator.models.networks import train_stack
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask, initial
from fpverify_generator.pools import OwnerData, share_data
from fpverify_generator.presets import Preset
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext

FEW = 3
"""Images of each class with which attacks are followed."""

ASKED = 8
"""Images about which the source is asked."""

SIDE, MANY, SOME = 64, 100, 8
"""Up to so many pixels a side, CEM is timed on `MANY` candidates, and on `SOME` of larger images."""


@dataclass(frozen=True)
class Step:
    """One kind of work."""

    what: str
    """What is done."""
    count: int
    """How many networks, candidates or images."""
    seconds: float
    """On one process, by estimate."""


@dataclass(frozen=True)
class Plan:
    """What a build would do."""

    images: dict[str, int]
    """Part of the owner's data -> images."""
    steps: tuple[Step, ...]
    """In the order of the build."""
    jobs: int
    """Processes that work at the same time."""
    memory: int
    """Bytes of the images as float32, 0 where they lie in a file; networks and what they compute come on top."""
    disk: int
    """Bytes of finished work in the cache, and of images."""
    smallest_p: float
    """The smallest p-value that the null models support."""

    @property
    def seconds(self) -> float:
        """Return the wall time of all steps on all processes, by estimate."""
        return sum(step.seconds for step in self.steps) / self.jobs


def plan_build(
    source: Source | None,
    data: DataSet | OwnerData,
    preset: Preset,
    work: RunContext,
    given: int = 0,
    public: int = 0,
) -> Plan:
    """Estimate a build.

    Args:
        source: the owner's model, which is asked about a few images; None if one would be trained.
        data: the owner's images; as `share_data` shares them out, or whole.
        preset: sizes and hyper-parameters.
        work: seed, device and number of processes; its cache is not used.
        given: how many null models the owner has.
        public: how many images without labels simulated attackers have.

    Returns:
        The plan. Times are those of one step, times the number of steps: on a busy machine they are too long.

    Raises:
        AttackError: if an attack cannot be simulated.
    """
    shared = data if isinstance(data, OwnerData) else share_data(data, preset, work.seed)
    data, asking = shared.every, []
    few = _few(shared)
    channels, height, width = data.inputs.shape[1:]
    task = Task((channels, height, width), len(data.classes))
    known = Source(None, initialise(preset.family.base, task, 0).eval()) if source is None else source
    if known.reading:
        each = _timed(lambda: known.answers(data.inputs[:ASKED])) / min(ASKED, len(data))
        asking.append(Step("images that the source is asked", len(data) + public, each * (len(data) + public)))
    stub = Stub(known.sha256, known.module, device=known.device, classes=len(data.classes))
    followed = [_followed(run) for run in simulated_runs(stub, few, preset, work.seed)]
    attacks = [task for tasks, _ in followed for task in tasks]
    others = unrelated_tasks(shared, preset, work.seed)
    clock = _Clock(few.every, work.device)
    peers = list(peer_tasks(shared, preset, work.seed).values())
    compared = [Step("networks compared with the source", len(peers), clock.training(peers))] if known.reading else []
    one_pass, candidate = _seconds_of_cem(known, data, task, preset, work.device)
    more = len(shared.known) / len(few.known)
    again = more * sum(passes for _, passes in followed)
    weights = sum(value.numel() for task in (*attacks, *others) for value in initial(task).parameters())
    return Plan(
        {"train": len(shared.train), "query": len(shared.query), "start": len(shared.start)},
        (
            *asking,
            *compared,
            Step("networks of simulated attacks", len(attacks), clock.training(attacks, more) + again * one_pass),
            Step("references and null models", len(others), clock.training(others)),
            Step("candidates", preset.candidates, preset.candidates * preset.cem.steps * candidate),
        ),
        work.jobs,
        0 if isinstance(data.inputs, Images) else 4 * data.inputs.numel(),
        4 * (weights + preset.candidates * data.inputs[0].numel()) + _on_disk(data),
        1 / (preset.nulls + given + 1),
    )


def _on_disk(data: DataSet) -> int:
    return data.inputs.bytes_on_disk if isinstance(data.inputs, Images) else 0


@dataclass(frozen=True)
class Stub(Source):
    """A source that answers at once, and always the same, with the true one's weights where there are some."""

    classes: int = 2

    def answers(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Answer with one class after another."""
        labels = torch.arange(len(inputs)) % self.classes
        return labels, 0.9 * F.one_hot(labels, self.classes).float() + 0.1 / self.classes


def _few(shared: OwnerData) -> OwnerData:
    """Return a few images of each class in each part: how much an attack trains does not depend on their number."""
    parts = []
    for part in (shared.train, shared.query, shared.start):
        labels = torch.arange(FEW * len(part.classes)) % len(part.classes)
        rows = torch.arange(len(labels)) % len(part)
        parts.append((part.inputs[rows], labels, part.images[rows]))
    inputs, labels, images = (torch.cat(column) for column in zip(*parts, strict=True))
    count = FEW * len(shared.every.classes)
    return OwnerData(DataSet(inputs, labels, images, shared.every.classes), count, count, shared.private)


def _followed(run: Run) -> tuple[list[TrainingTask], int]:
    """Follow an attack with networks that are not trained; return what it would train, and its passes beside that."""
    steps, tasks, passes = run.attack(run.attacker, run.seed), [], 0
    try:
        wanted = next(steps)
        while True:
            done: list[nn.Module | dict[str, torch.Tensor]] = []
            for item in wanted:
                if isinstance(item, TrainingTask):
                    tasks.append(item)
                    done.append(initial(item).requires_grad_(False))
                else:
                    passes += item.passes
                    done.append(item.undone())
            wanted = steps.send(done)
    except StopIteration:
        return tasks, passes


@dataclass(frozen=True)
class _Clock:
    """Times one step of each kind of stack, once."""

    few: DataSet
    device: str
    known: dict[str, float] = field(default_factory=dict)

    def training(self, tasks: Sequence[TrainingTask], more: float = 1.0) -> float:
        """Return the seconds of training these networks on one process.

        Args:
            tasks: of the networks.
            more: how many times as many images there are as the tasks hold, for bodies that answer once about each.
        """
        kept = [keeps_body(task) for task in tasks]
        total = more * self._bodies([task for task, keeps in zip(tasks, kept, strict=True) if keeps])
        tasks = [_head_alone(task) if keeps else task for task, keeps in zip(tasks, kept, strict=True)]
        for members in stacks(tasks):
            chosen = [tasks[number] for number in members]
            recipe = chosen[0].recipe
            kind = f"{structure(initial(chosen[0]))} {len(chosen)} {recipe.batch} {recipe.radius > 0} {recipe.layers}"
            if kind not in self.known:
                self.known[kind] = _step(partial(self._train, chosen))
            total += self.known[kind] * recipe.steps
        return total

    def _bodies(self, tasks: Sequence[TrainingTask]) -> float:
        """Return the seconds in which each body answers once about each image of its tasks."""
        bodies: dict[str, nn.Module] = {}
        seen: dict[tuple[str, int, int], int] = {}  # images by body, and by the data or the training that they are of
        for number, task in enumerate(tasks):
            body, _ = parts_of(task)
            kind = digest(body)
            bodies.setdefault(kind, body)
            drawn = drawn_views(task)
            if drawn is None:
                seen[kind, -1, id(task.inputs)] = len(task.inputs)
            else:
                seen[kind, number, 0] = len(drawn.rows)
        for kind, one in bodies.items():
            if kind not in self.known:
                some = self.few.inputs[:MANY]
                self.known[kind] = _timed(partial(features, one, some, self.device)) / len(some)
        return sum(self.known[kind] * count for (kind, *_), count in seen.items())

    def _train(self, tasks: Sequence[TrainingTask], steps: int) -> object:
        small = []
        for task in tasks:
            sees_features = task.inputs.shape[1:] != self.few.inputs.shape[1:]
            inputs = task.inputs if sees_features else self.few.inputs
            targets = task.targets[torch.arange(len(inputs)) % len(task.targets)]
            # from its first weights on, so that its architecture does not multiply the steps
            begun = replace(task, architecture=None, start=initial(task), asked=replace(task.recipe, steps=steps))
            small.append(replace(begun, inputs=inputs, targets=targets, rows=None, order=None))
        return train_stack(small, self.device)


def _head_alone(task: TrainingTask) -> TrainingTask:
    """Return the training of a last layer on features of as many images as the task has, which say nothing."""
    _, last = parts_of(task)
    return head_task(task, last, torch.zeros(len(task.inputs), last.in_features, 1, 1))


def _seconds_of_cem(source: Source, data: DataSet, task: Task, preset: Preset, device: str) -> tuple[float, float]:
    """Return the seconds of one step of CEM for one candidate.

    Returns:
        Those of one network, as their mean over the architectures; and those of all that are asked at a step.
    """
    count = min(MANY if max(data.inputs.shape[2:]) <= SIDE else SOME, len(data))
    sizes = preset.surrogates.cem, preset.references.cem
    kinds = [initialise(member, task, 0) for member in preset.family.members]
    shares = preset.recipe.layers == "last" and any(parted(kind) is not None for kind in kinds)
    if not shares:  # then each network takes its own time, and a few are enough
        sizes = (2 * len(kinds),) * 2

    def ensemble(size: int) -> Ensemble:
        kinds = preset.family.members
        networks = (initialise(kinds[number % len(kinds)], task, number) for number in range(size))
        return Ensemble([network.eval().requires_grad_(False) for network in networks], device)

    surrogates, references = map(ensemble, sizes)

    def optimised(steps: int) -> object:
        config = replace(preset.cem, steps=steps, members=preset.cem.members if shares else 1.0)
        draw = torch.Generator().manual_seed(0)
        return optimise(data.inputs[:count], data.labels[:count], source, surrogates, references, config, draw)

    step = _step(optimised) / count
    if shares:
        return step / sum(sizes), step
    asked = preset.cem.members * (preset.surrogates.cem + preset.references.cem)
    return step / sum(sizes), asked * step / sum(sizes)


def _step(run: Callable[[int], object]) -> float:
    """Return the seconds of one step, without what comes before the first; the first is not counted."""
    run(1)
    one, three = (_timed(partial(run, steps)) for steps in (1, 3))
    return max((three - one) / 2, 1e-7)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def as_text(plan: Plan) -> str:
    """Return a plan for people."""
    rows = [(step.what, f"{step.count:,}", in_words(step.seconds)) for step in plan.steps]
    wide, counts = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = ["images       " + ", ".join(f"{count:,} {part}" for part, count in plan.images.items())]
    lines += [f"  {what:<{wide}}  {count:>{counts}}  {seconds}" for what, count, seconds in rows]
    return "\n".join(
        [
            *lines,
            f"time         about {in_words(plan.seconds)} on {plan.jobs} processes; the times above are of one process",
            f"memory       {_of_images(plan)}; what networks compute comes on top",
            f"disk         {in_bytes(plan.disk)} of finished work in the cache",
            f"p-value      at least {plan.smallest_p:.2g}, with so many null models",
        ]
    )


def _of_images(plan: Plan) -> str:
    return f"{in_bytes(plan.memory)} for the images" if plan.memory else "images are read from the disk"


def in_bytes(size: int) -> str:
    """Return a size with its unit."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"


def in_words(seconds: float) -> str:
    """Return a time as people say it."""
    for size, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} s"
