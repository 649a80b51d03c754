"""References: unrelated models on true labels, varied in architecture, data and seed."""

from fpverify_generator.data import DataSet, split
from fpverify_generator.presets import Preset
from fpverify_generator.seeds import derive_seed
from fpverify_generator.training import TrainingTask


def reference_tasks(data: DataSet, count: int, preset: Preset, seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of unrelated models, on true labels.

    Args:
        data: what they may learn from.
        count: how many.
        preset: the family, the recipe, and the share of the images for three models of four; every fourth sees all.
        seed: the run's seed.
        role: what they are for.

    Returns:
        One task each, taking turns over the architectures.
    """
    names, share = preset.architectures.names, preset.reference_share
    tasks = []
    for number in range(count):
        # a step of architectures every four, so that each architecture meets each share
        architecture = names[(number + number // 4) % len(names)]
        part = data
        if number % 4 != 3 and share < 1:
            part = split(data, (share, 1 - share), seed, f"{role} {number}")[0]
        task_seed = derive_seed(seed, role, number)
        tasks.append(TrainingTask("reference", task_seed, architecture, part.inputs, part.targets, preset.recipe))
    return tasks
