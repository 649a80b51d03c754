"""What a study notes of itself beside its settings, so that its report can say where every figure comes from."""

import inspect
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from fpverify_generator.attacks import ATTACKS
from fpverify_generator.report.facts import Facts
from fpverify_generator.study.domains import Domain
from fpverify_generator.study.presets import StudyPreset

DATA = {
    "digits": "scikit-learn's handwritten digits, each seen four times under fresh pixel noise",
    "cifar10": "CIFAR-10, from a folder of image files",
}
"""A study's domain -> its data in words."""


def gather(study: StudyPreset, domain: Domain, device: str) -> Facts:
    """Return the facts of the run of this process.

    Args:
        study: which.
        domain: the images of one seed; each seed has as many.
        device: where networks are trained.
    """
    parts = {"owner": domain.owner, "attacker": domain.attacker, "test": domain.test, "other domain": domain.foreign}
    return Facts(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_command(),
        data=DATA[study.domain],
        shape=tuple(domain.owner.inputs.shape[1:]),
        classes=len(domain.owner.classes),
        images={name: len(part) for name, part in parts.items()},
        architecture=study.build.family.base.name,
        processor=_processor(),
        cores=os.cpu_count() or 0,
        graphics=torch.cuda.get_device_name() if device == "cuda" else "",
        system=f"{platform.system()} {platform.machine()}",
        attacks={name: inspect.cleandoc(ATTACKS[name].__doc__ or "").partition("\n")[0] for name in study.attacks},
    )


def _command() -> str:
    """Return this process's command line."""
    name = Path(sys.argv[0]).name
    program = ["python", "-m", "fpverify_generator"] if name == "__main__.py" else [name]
    return shlex.join([*program, *sys.argv[1:]])


def _processor() -> str:
    """Return the processor's name; Linux tells it in a file alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
