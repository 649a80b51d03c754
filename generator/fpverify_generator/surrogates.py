"""Surrogates: which attacks can be simulated on a source, and the training tasks of a pool of them."""

from collections.abc import Sequence

from fpverify_generator.attacks import ATTACKS, query
from fpverify_generator.data import DataSet
from fpverify_generator.seeds import derive_seed
from fpverify_generator.source import Source
from fpverify_generator.training import TrainingTask

HARDEST = ("ftal", "ftal-strong", "rtal", "rtal-strong", "adversarial-0.1")
"""The attacks that move a surrogate furthest from its source."""
EASIEST = ("ftll", "rtll", "prune-0.4")
"""The attacks after which nearly every key stays, so that they teach CEM nothing."""


def surrogate_tasks(source: Source, data: DataSet, names: Sequence[str], seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of one surrogate per named attack, all by one attacker.

    Args:
        source: what is stolen.
        data: the attacker's images.
        names: keys of `ATTACKS`.
        seed: the run's seed.
        role: what the surrogates are for.

    Returns:
        One task per name.
    """
    queries = query(source, data)
    return [
        ATTACKS[name](source, queries, derive_seed(seed, role, name, number), name) for number, name in enumerate(names)
    ]


def simulated_attacks(source: Source, role: str, count: int) -> list[str]:
    """Return the attacks whose surrogates fill a role, in turn from a list.

    Args:
        source: decides which attacks can be simulated: an oracle's weights cannot be changed.
        role: `calibration` measures every attack alike; what makes and chooses keys leaves the easiest out and
            takes the hardest twice, which moved the lowest retention of unseen surrogates up.
        count: how many surrogates the role wants.

    Returns:
        `count` keys of `ATTACKS`.
    """
    usable = [name for name, attack in ATTACKS.items() if source.module is not None or not attack.needs_weights]
    if role != "calibration" and source.module is not None:
        usable = [name for name in usable if name not in EASIEST] + list(HARDEST)
    return [usable[number % len(usable)] for number in range(count)]
