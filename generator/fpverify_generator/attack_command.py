"""What the commands `attacks` and `attack` do, from arguments to files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpverify.documents import require_writable
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.attacks.interface import Attack, Attacker, BlackBox
from fpverify_generator.attacks.run import Outcome, Run, run_attacks
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.images import Size
from fpverify_generator.data.load import load_data
from fpverify_generator.data.textures import textures
from fpverify_generator.errors import AttackError
from fpverify_generator.models.architectures import Task
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.own import require_fit
from fpverify_generator.models.passes import answers_of, at_most
from fpverify_generator.models.source import Source, load_source
from fpverify_generator.presets import PRESETS, Preset, preset_for
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed

FOREIGN = 2**28
"""Values of the images of another domain that are rendered for an attacker, at most: 1 GiB."""


def list_attacks() -> str:
    """Return every attack with its category and its configuration, one a line."""
    width = max(map(len, ATTACKS))
    return "\n".join(f"{name:<{width}}  {attack.category:<12}  {attack!r}" for name, attack in ATTACKS.items())


def run_attack(
    attack: str | Attack,
    source: Source,
    data: DataSet,
    work: RunContext,
    preset: Preset | None = None,
    budget: int | None = None,
) -> Outcome:
    """Steal a source by one removal attack.

    Args:
        attack: a key of `ATTACKS`, or an attack of one's own.
        source: what is stolen.
        data: the attacker's labelled images. Images of another domain are rendered, where the attack asks for some.
        work: cache, seed, device and progress.
        preset: its architectures and recipe are the attacker's; None for the first that suits the images' size.
        budget: queries that the source answers at most; None for no limit.

    Returns:
        The surrogate, and what it cost.

    Raises:
        AttackError: if there is no such attack, or it cannot be run on this source within the budget.
        PresetError: if an architecture does not take the images.
    """
    chosen, name = (_find(attack), attack) if isinstance(attack, str) else (attack, type(attack).__name__)
    channels, height, width = data.inputs.shape[1:]
    shape = (channels, height, width)
    preset = preset or PRESETS[preset_for(max(height, width))]
    require_fit(preset.family, Task(shape, len(data.classes)), preset.recipe.freeze)
    box = BlackBox(source, len(data.classes), budget)
    foreign = textures(at_most(math.prod(shape), len(data), FOREIGN), shape, derive_seed(work.seed, "foreign"))
    attacker = Attacker(box, source.module, data, preset.family, preset.recipe, preset.cem, foreign)
    (outcome,) = run_attacks([Run(name, chosen, attacker, derive_seed(work.seed, name))], work, name)
    return outcome


def _find(name: str) -> Attack:
    if name not in ATTACKS:
        raise AttackError(f"no attack '{name}'; there are {', '.join(ATTACKS)}")
    return ATTACKS[name]


def attack_command(
    name: str,
    source_file: Path,
    where: str,
    output: Path,
    budget: int | None,
    preset: Preset | None,
    work: RunContext,
    contract: Mapping[str, Any] | None = None,
    size: Size | None = None,
    weights: Path | None = None,
) -> str:
    """Run one attack and export its surrogate; returns what to tell the user.

    Raises:
        FpverifyError: if any input or step is at fault; nothing half-written stays.
    """
    _find(name)  # before anything is read
    require_writable(output, [path for path in (source_file, weights, Path(where)) if path is not None])
    data = load_data(where, work.seed, "attacker", work.log, size, work.cache.folder)
    source = load_source(source_file, data, work.device, work.log, contract, weights)
    outcome = run_attack(name, source, data, work, preset, budget)
    stolen = outcome.stolen
    sha256 = Exporter().write(stolen.module, data.inputs[:64], output, stolen.random)
    lines = [
        f"surrogate    {output}",
        f"sha256       {sha256}",
        f"attack       {ATTACKS[name]!r}",
        f"queries      {outcome.queries}",
        f"seconds      {outcome.seconds:.1f}",
    ]
    if stolen.classes:
        lines.append(f"classes      {', '.join(stolen.classes)}")
    else:
        answers = answers_of(stolen.module, data.inputs)
        labels = answers if answers.ndim == 1 else answers.argmax(1)
        same = float((labels == source.labels(data.inputs)).double().mean())
        right = float((labels == data.labels).double().mean())
        lines.append(f"agreement    with the source on {same:.1%} of the attacker's images; accuracy {right:.1%}")
    return "\n".join(lines)
