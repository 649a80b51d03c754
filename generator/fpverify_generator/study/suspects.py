"""A study's suspects: surrogates by every attack, and unrelated models of every kind."""

from dataclasses import dataclass, field

from torch import nn

from fpverify_generator.architectures import Family
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.attacks.running import run_attacks
from fpverify_generator.owner import OwnerData
from fpverify_generator.seeds import derive_seed
from fpverify_generator.source import Source
from fpverify_generator.study.domains import Domain
from fpverify_generator.study.presets import StudyPreset
from fpverify_generator.surrogates import attack_runs
from fpverify_generator.training import TrainingTask
from fpverify_generator.workshop import Workshop, train_timed


@dataclass(frozen=True)
class Suspect:
    """One model that is judged, with the truth about it."""

    name: str
    """Unlike every other of the seed."""
    kind: str
    """`derived` or `unrelated`."""
    module: nn.Module = field(repr=False)
    """The network."""
    architecture: str
    """What it is made of, in words."""
    attack: str | None = None
    """Of a derived one: a key of `ATTACKS`."""
    cell: str | None = None
    """Of an unrelated one: whether its architecture and its data are the source's."""
    classes: tuple[str, ...] = ()
    """Names of its classes where they are not the source's."""
    random: bool = False
    """Whether its answers draw random numbers."""
    queries: int = 0
    """What the attack asked the source."""
    seconds: float = 0.0
    """What making it took."""


def derived_suspects(source: Source, domain: Domain, preset: StudyPreset, work: Workshop) -> list[Suspect]:
    """Run every attack, with the attacker's own data alone."""
    names = [name for name in preset.attacks for _ in range(preset.per_attack)]
    runs = attack_runs(source, domain.attacker, names, preset.build, work.seed, "suspect", domain.foreign)
    suspects = []
    for number, (name, outcome) in enumerate(zip(names, run_attacks(runs, work, "derived suspects"), strict=True)):
        stolen = outcome.stolen
        suspects.append(
            Suspect(
                name=f"{name} {number % preset.per_attack + 1}" if preset.per_attack > 1 else name,
                kind="derived",
                module=stolen.module,
                architecture=_architecture(name, preset.build.architectures),
                attack=name,
                classes=stolen.classes,
                random=stolen.random,
                queries=outcome.queries,
                seconds=outcome.seconds,
            )
        )
    return suspects


def _architecture(attack: str, family: Family) -> str:
    if attack == "ensemble-vote":
        return " + ".join(family.names)
    kind = getattr(ATTACKS[attack], "architecture", "base")
    return str(getattr(family, kind))


def unrelated_suspects(data: OwnerData, domain: Domain, preset: StudyPreset, work: Workshop) -> list[Suspect]:
    """Train models on true labels: on the source's own training data or the attacker's; half of its architecture."""
    family, tasks, cells = preset.build.architectures, [], []
    for where, images in (("same data", data.train), ("other data", domain.attacker)):
        for number in range(preset.unrelated):
            same = number % 2 == 0
            architecture = family.base if same else family.names[1 + number // 2 % 3]
            cells.append(f"{'same' if same else 'other'} architecture, {where}")
            seed = derive_seed(work.seed, "unrelated suspect", where, number)
            name = f"{architecture}, {where}, {number + 1}"
            tasks.append(TrainingTask(name, seed, architecture, images.inputs, images.targets, preset.build.recipe))
    trained = train_timed(tasks, work, "unrelated suspects")
    return [
        Suspect(task.name, "unrelated", one.module, task.architecture, cell=cell, seconds=one.seconds)
        for task, cell, one in zip(tasks, cells, trained, strict=True)
    ]
