"""References: unrelated models on true labels, varied in architecture, data and seed."""

from fpverify_generator.data import DataSet, split
from fpverify_generator.owner import OwnerData
from fpverify_generator.presets import Preset
from fpverify_generator.seeds import derive_seed
from fpverify_generator.training import TrainingTask


def reference_tasks(data: OwnerData, count: int, preset: Preset, seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of unrelated models, on true labels.

    Half of them have the source's architecture, and half learn from exactly the source's training images: a model that
    shares both is the likeliest to be accused. The others take turns over the other architectures, and each draws its
    own part of what the owner has.

    Args:
        data: the owner's.
        count: how many.
        preset: the family, the recipe, and the share of the images in a draw.
        seed: the run's seed.
        role: what they are for.

    Returns:
        One task each.
    """
    base, *others = preset.architectures.names
    known, tasks = data.known, []
    for number in range(count):
        architecture = base if number % 2 == 0 else others[number // 2 % len(others)]
        part: DataSet = data.train
        if number // 2 % 2:
            share = preset.reference_share
            part = split(known, (share, 1 - share), seed, f"{role} {number}")[0] if share < 1 else known
        task_seed = derive_seed(seed, role, number)
        tasks.append(TrainingTask("reference", task_seed, architecture, part.inputs, part.targets, preset.recipe))
    return tasks
