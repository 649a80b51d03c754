"""Surrogates: which attacks can be simulated on a source, and the runs of a pool of them."""

import math
from collections.abc import Sequence

from fpverify_generator.attacks import ATTACKS, easiest, hardest
from fpverify_generator.attacks.attacker import Attacker, BlackBox
from fpverify_generator.attacks.running import Run
from fpverify_generator.data import DataSet
from fpverify_generator.presets import Preset
from fpverify_generator.seeds import derive_seed
from fpverify_generator.source import Source


def attack_runs(
    source: Source,
    data: DataSet,
    names: Sequence[str],
    preset: Preset,
    seed: int,
    role: str,
    foreign: DataSet | None = None,
) -> list[Run]:
    """Return runs of attacks, all by one attacker.

    Args:
        source: what is stolen.
        data: the attacker's images.
        names: keys of `ATTACKS`.
        preset: the architectures and how they are trained.
        seed: the run's seed.
        role: what the surrogates are for.
        foreign: the attacker's images of another domain.

    Returns:
        One run per name, each with a black box of its own.
    """
    return [
        Run(
            name,
            ATTACKS[name],
            Attacker(
                BlackBox(source, len(data.classes)),
                source.module,
                data,
                preset.architectures,
                preset.recipe,
                preset.cem,
                foreign,
            ),
            derive_seed(seed, role, name, number),
        )
        for number, name in enumerate(names)
    ]


def simulated_attacks(source: Source, preset: Preset, role: str, count: int) -> list[str]:
    """Return the attacks whose surrogates fill a role, in turn from a list.

    Args:
        source: decides which attacks can be simulated: an oracle's weights cannot be changed.
        preset: names the attacks that the owner simulates.
        role: `calibration` measures every attack alike; what makes and chooses keys leaves the easiest out and
            takes the hardest more often, which moved the lowest retention of unseen surrogates up.
        count: how many surrogates the role wants.

    Returns:
        `count` keys of `ATTACKS`, of those that an owner simulates.
    """
    usable = [name for name in preset.simulated if source.module is not None or not ATTACKS[name].needs_weights]
    if role != "calibration":
        usable = [name for name in usable if name not in easiest()] + [name for name in hardest() if name in usable]
    # steps of about the golden ratio, so that the first few are as varied as all
    step = max(1, round(0.618 * len(usable)))
    while math.gcd(step, len(usable)) > 1:
        step -= 1
    return [usable[number * step % len(usable)] for number in range(count)]
