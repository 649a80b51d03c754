"""What the commands `attack` and `study` do, from arguments to files."""

from pathlib import Path

import torch

from fpverify_generator.attacks import ATTACKS
from fpverify_generator.attacks.interface import Attacker, BlackBox
from fpverify_generator.attacks.run import Run, run_attacks
from fpverify_generator.data.load import load_data
from fpverify_generator.data.textures import textures
from fpverify_generator.errors import AttackError
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.source import load_source
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed
from fpverify_generator.study.presets import find_study

SMALL = 16
"""Pixels a side up to which images are treated like the digits."""


def list_attacks() -> str:
    """Return every attack with its category and its configuration, one a line."""
    width = max(map(len, ATTACKS))
    return "\n".join(f"{name:<{width}}  {attack.category:<12}  {attack!r}" for name, attack in ATTACKS.items())


def attack_command(
    name: str, source_file: Path, where: str, output: Path, budget: int | None, preset: str | None, work: RunContext
) -> str:
    """Run one attack and export its surrogate; returns what to tell the user.

    Raises:
        FpverifyError: if any input or step is at fault; nothing half-written stays.
    """
    if name not in ATTACKS:
        raise AttackError(f"no attack '{name}'; there are {', '.join(ATTACKS)}")
    data = load_data(where, work.seed, "attacker", work.log)
    source = load_source(source_file, data, work.device, work.log)
    shape = (data.inputs.shape[1], data.inputs.shape[2], data.inputs.shape[3])
    build = find_study(preset or ("digits" if max(shape[1:]) <= SMALL else "cifar10-small")).build
    box = BlackBox(source, len(data.classes), budget)
    foreign = textures(len(data), shape, derive_seed(work.seed, "foreign"))
    attacker = Attacker(box, source.module, data, build.architectures, build.recipe, build.cem, foreign)
    (outcome,) = run_attacks([Run(name, ATTACKS[name], attacker, derive_seed(work.seed, name))], work, name)
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
        with torch.no_grad():
            answers = torch.cat([stolen.module(chunk) for chunk in data.inputs.split(512)])
        labels = answers if answers.ndim == 1 else answers.argmax(1)
        same = float((labels == source.labels(data.inputs)).double().mean())
        right = float((labels == data.labels).double().mean())
        lines.append(f"agreement    with the source on {same:.1%} of the attacker's images; accuracy {right:.1%}")
    return "\n".join(lines)
