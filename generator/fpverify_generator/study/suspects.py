"""A study's suspects, and the derived ones among them: surrogates by every attack."""

from dataclasses import dataclass, field

from torch import nn

from fpverify_generator.attacks.run import Outcome, run_attacks
from fpverify_generator.models.source import Source
from fpverify_generator.pools import attack_runs
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext
from fpverify_generator.study.domains import Domain
from fpverify_generator.study.presets import StudyPreset


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
    """Of an unrelated one: its group."""
    classes: tuple[str, ...] = ()
    """Names of its classes where they are not the source's."""
    random: bool = False
    """Whether its answers draw random numbers."""
    queries: int = 0
    """What the attack asked the source."""
    seconds: float = field(default=0.0, repr=False)
    """What making it took; it differs from run to run, so the suspect's cache key must not hold it."""

    def file(self, seed: int) -> str:
        """Return where it is exported to, relative to the study's folder."""
        name = self.name.replace(" ", "-").replace(",", "")
        return f"suspects/seed-{seed}/{self.kind}/{name}.onnx"


def derived_suspects(source: Source, domain: Domain, preset: StudyPreset, work: RunContext) -> list[Suspect]:
    """Run every attack, with the attacker's own data alone."""
    names = [name for name in preset.attacks for _ in range(preset.per_attack)]
    runs = attack_runs(source, domain.attacker, names, preset.build, work.seed, "suspect", domain.foreign)
    suspects = []
    for number, (name, outcome) in enumerate(zip(names, run_attacks(runs, work, "derived suspects"), strict=True)):
        unique = f"{name} {number % preset.per_attack + 1}" if preset.per_attack > 1 else name
        suspects.append(derived_suspect(unique, name, outcome, preset.build))
    return suspects


def derived_suspect(name: str, attack: str, outcome: Outcome, preset: Preset) -> Suspect:
    """Return what an attack ended with as a suspect.

    Args:
        name: unlike every other of the seed.
        attack: a key of `ATTACKS`.
        outcome: of that attack.
        preset: whose architecture it has, where the attack chose none.
    """
    stolen = outcome.stolen
    return Suspect(
        name=name,
        kind="derived",
        module=stolen.module,
        architecture=stolen.architecture or preset.family.base.name,
        attack=attack,
        classes=stolen.classes,
        random=stolen.random,
        queries=outcome.queries,
        seconds=outcome.seconds,
    )
