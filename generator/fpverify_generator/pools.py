"""The owner's data and models: shares of the data, surrogates, references and null models, by role."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import nn

from fpverify.text import one_line
from fpverify_generator.attacks import ATTACKS, easiest, hardest
from fpverify_generator.attacks.interface import Attacker, BlackBox
from fpverify_generator.attacks.run import Run
from fpverify_generator.data.dataset import DataSet, some, split_rows
from fpverify_generator.data.store import Inputs, joined, taken
from fpverify_generator.errors import DataError
from fpverify_generator.models.given import Given, GivenModels, as_network, parted_by_use
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.run.context import RunContext
from fpverify_generator.run.seeds import derive_seed, generator_for


@dataclass(frozen=True)
class OwnerData:
    """The owner's images, shared out by what they are for; no image is in two parts. They are held once, in `every`."""

    every: DataSet
    """All images: those of `train` first, then those of `query`, then those of `start`."""
    trained: int
    """Rows of `train`."""
    asked: int
    """Rows of `query`."""
    private: bool = False
    """Whether nobody else has the images of `train`, as the owner states."""
    public: DataSet | None = None
    """Further images that attackers may have, with the source's answers as their labels; None for none."""

    @cached_property
    def train(self) -> DataSet:
        """Return what the source is trained on."""
        return self.every.rows(slice(self.trained))

    @cached_property
    def query(self) -> DataSet:
        """Return what simulated attackers ask the source, and references learn from."""
        return self.every.rows(slice(self.trained, self.trained + self.asked))

    @cached_property
    def start(self) -> DataSet:
        """Return where keys start: seen by no model that makes, chooses or calibrates them."""
        return self.every.rows(slice(self.trained + self.asked, None))

    @cached_property
    def known(self) -> DataSet:
        """Return what surrogates and references may learn from: all but the start points, or `query` if private."""
        return self.query if self.private else self.every.rows(slice(self.trained + self.asked))

    @property
    def shared(self) -> int:
        """Return how many of `known` the source learnt; they come first."""
        return 0 if self.private else self.trained


MEASURED = 1000
"""Start images at most on which accuracies of models are measured: a standard error of 1.6 points or less."""


def measured_on(data: OwnerData, seed: int) -> DataSet:
    """Return the start images on which accuracies of models are measured, a random part of many."""
    return some(data.start, MEASURED, seed, "accuracies")


def share_data(data: DataSet, preset: Preset, seed: int, unseen: DataSet | None = None) -> OwnerData:
    """Share the owner's data out as the preset says: one copy of it, in the order of the parts.

    Args:
        data: the owner's images.
        preset: the shares.
        seed: the run's seed.
        unseen: images of the same classes that the source never learnt: the query part and the start points are drawn
            from them alone, in the proportion of the preset's shares, and all of `data` counts as what the source
            learnt. None where that is not known, or the source is trained here.

    Raises:
        DataError: if both have other classes or sizes.
    """
    if unseen is not None:
        return _with_unseen(data, unseen, preset, seed)
    rest = 1 - preset.train_share - preset.query_share
    train, query, start = split_rows(data, (preset.train_share, preset.query_share, rest), seed, "owner")
    every = data.rows(torch.cat([train, query, start]))
    return OwnerData(every, len(train), len(query), preset.private_images)


def with_public(data: OwnerData, inputs: Inputs, source: Source) -> OwnerData:
    """Return an owner's data with images that nobody has labelled: attackers ask the source about them.

    Args:
        data: the owner's.
        inputs: `(n, C, H, W)` the images.
        source: whose answers become their labels.
    """
    every = data.every
    images = torch.arange(len(inputs)) + every.images.max() + 1
    return replace(data, public=DataSet(inputs, source.labels(inputs), images, every.classes))


def _with_unseen(data: DataSet, unseen: DataSet, preset: Preset, seed: int) -> OwnerData:
    for name, ours, theirs in (
        ("classes", data.classes, unseen.classes),
        ("channels, height and width", tuple(data.inputs.shape[1:]), tuple(unseen.inputs.shape[1:])),
    ):
        if ours != theirs:
            raise DataError(
                culprit="unseen images", expected=f"the {name} of the data, {_short(ours)}", found=_short(theirs)
            )
    share = preset.query_share / (1 - preset.train_share)
    query, start = split_rows(unseen, (share, 1 - share), seed, "unseen")
    rows = torch.cat([query, start])
    numbers = unseen.images[rows] + data.images.max() + 1
    inputs = joined([data.inputs, taken(unseen.inputs, rows)])
    labels, images = torch.cat([data.labels, unseen.labels[rows]]), torch.cat([data.images, numbers])
    return OwnerData(DataSet(inputs, labels, images, data.classes), len(data), len(query), preset.private_images)


def _short(values: tuple[object, ...]) -> str:
    return one_line(", ".join(map(str, values)), 100)


@dataclass(frozen=True)
class Pool:
    """Networks of one kind, parted by what they are for; none has two roles."""

    cem: list[nn.Module]
    """They make the keys: CEM optimises against them."""
    selection: list[nn.Module]
    """They help to choose the keys, and do not make them."""
    calibration: list[nn.Module]
    """They set the threshold."""

    def selecting(self, selection: str) -> list[nn.Module]:
        """Return the models that choose the keys, by what `Preset.selection` says: `all`, `held-out` or `cem`."""
        return {"all": [*self.cem, *self.selection], "held-out": self.selection, "cem": self.cem}[selection]


def part(modules: Sequence[nn.Module], roles: Roles) -> Pool:
    """Part networks, trained in the order of the roles, into a pool."""
    first, second = roles.cem, roles.cem + roles.selection
    return Pool(list(modules[:first]), list(modules[first:second]), list(modules[second:]))


def with_given(pool: Pool, given: Sequence[Given]) -> Pool:
    """Return a pool with models from files at the end of each role."""
    more = {role: [as_network(one) for one in some] for role, some in parted_by_use(given).items()}
    return Pool(pool.cem + more["cem"], pool.selection + more["selection"], pool.calibration + more["calibration"])


@dataclass(frozen=True)
class Owner:
    """Everything that a method of fingerprinting may use."""

    source: Source
    """The owner's model."""
    data: OwnerData
    """The owner's images."""
    surrogates: Pool
    """Simulated stolen models."""
    references: Pool
    """Unrelated models."""
    nulls: list[nn.Module]
    """Unrelated models that serve the p-value alone: no method may ask them."""
    preset: Preset
    """Sizes and hyper-parameters."""
    work: RunContext
    """Seed, cache, device and progress."""
    given: GivenModels = field(default_factory=GivenModels)
    """Models from the owner's files. Surrogates and references among them are the last of their pool's roles."""


def attackers_images(data: OwnerData, preset: Preset, seed: int, role: str, count: int) -> list[DataSet]:
    """Return what each simulated attacker of a role has.

    Args:
        data: the owner's.
        preset: which of the images, and the share that is set apart and that each draws.
        seed: the run's seed.
        role: what the surrogates are for: `cem`, or one that is held out.
        count: how many attackers there are.
    """
    known, query = data.known, data.query
    apart = preset.simulated_apart

    def of_role(images: DataSet, name: str) -> torch.Tensor:
        return split_rows(images, (1 - apart, apart), seed, f"attackers, {name}")[role != "cem"]

    public: tuple[DataSet, ...] = () if data.public is None else (data.public,)
    if apart:
        asked = of_role(query, "query")
        if not data.private:
            known = known.rows(torch.cat([of_role(data.train, "train"), asked + data.trained]))
        query, public = query.rows(asked), tuple(images.rows(of_role(images, "public")) for images in public)
    on = "unseen" if data.private else preset.simulated_on
    parts = {"known": (known,), "unseen": (query,), "both": (known, query)}[on] + public

    def drawn(images: DataSet, number: int) -> DataSet:
        share = preset.simulated_draw
        if share == 1:
            return images
        return images.rows(split_rows(images, (share, 1 - share), seed, f"attacker {role} {number}")[0])

    return [drawn(parts[number % len(parts)], number) for number in range(count)]


def attack_runs(
    source: Source,
    data: DataSet | Sequence[DataSet],
    names: Sequence[str],
    preset: Preset,
    seed: int,
    role: str,
    foreign: DataSet | None = None,
) -> list[Run]:
    """Return runs of attacks, all by one attacker or each by its own.

    Args:
        source: what is stolen.
        data: the attacker's images; a list for an attacker each.
        names: keys of `ATTACKS`.
        preset: the architectures and how they are trained.
        seed: the run's seed.
        role: what the surrogates are for.
        foreign: the attacker's images of another domain.

    Returns:
        One run per name, each with a black box of its own.
    """
    each = [data] * len(names) if isinstance(data, DataSet) else data
    return [
        Run(
            name,
            ATTACKS[name],
            Attacker(
                BlackBox(source, len(images.classes)),
                source.module,
                images,
                preset.family,
                preset.recipe,
                preset.cem,
                foreign,
            ),
            derive_seed(seed, role, name, number),
        )
        for number, (name, images) in enumerate(zip(names, each, strict=True))
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
        left_out = easiest()
        usable = [name for name in usable if name not in left_out] + [name for name in hardest() if name in usable]
    # steps of about the golden ratio, so that the first few are as varied as all
    step = max(1, round(0.618 * len(usable)))
    while math.gcd(step, len(usable)) > 1:
        step -= 1
    return [usable[number * step % len(usable)] for number in range(count)]


def reference_tasks(data: OwnerData, count: int, preset: Preset, seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of unrelated models, on true labels.

    Half of them have the source's architecture, and half learn from exactly the source's training images: a model that
    shares both is the likeliest to be accused. The others take turns over the other architectures, and each draws its
    own part of what the owner has. Where the source's images are private, the images that it never learnt take their
    place.

    Args:
        data: the owner's.
        count: how many.
        preset: the family, the recipe, and the share of the images in a draw.
        seed: the run's seed.
        role: what they are for.

    Returns:
        One task each.
    """
    base, *others = preset.family.members
    known, tasks = data.known, []
    for number in range(count):
        architecture = base if number % 2 == 0 else others[number // 2 % len(others)]
        rows: torch.Tensor | None = torch.arange(data.shared or len(known))
        if number // 2 % 2 and preset.peers_on == "unseen":
            rows = torch.arange(data.shared, len(known))
        elif number // 2 % 2:
            share = preset.reference_share
            rows = split_rows(known, (share, 1 - share), seed, f"{role} {number}")[0] if share < 1 else None
        task_seed = derive_seed(seed, role, number)
        recipe, inputs, targets = preset.recipe, known.inputs, known.targets
        tasks.append(TrainingTask("reference", task_seed, architecture, inputs, targets, recipe, rows=rows))
    return tasks


def varied_tasks(data: OwnerData, count: int, preset: Preset, seed: int, role: str) -> list[TrainingTask]:
    """Return the training tasks of unrelated models, each with its own draw of `Preset.variation`.

    An unrelated model is somebody else's: trained for longer or shorter, on noisier or moved images, with mixup, with
    wrong labels, on other images, in another architecture. Null models of one recipe rank too low against it, which
    gave it small p-values more often than the level says.

    Args:
        data: the owner's.
        count: how many.
        preset: the family, the recipe, and the ranges of the draws.
        seed: the run's seed.
        role: what they are for.

    Returns:
        One task each.
    """
    known, ranges, classes = data.known, preset.variation, len(data.train.classes)
    base, *others = preset.family.members
    tasks = []
    for number in range(count):
        draw = generator_for(seed, f"{role} recipe", number)

        def uniform(low: float, high: float, draw: torch.Generator = draw) -> float:
            return low + (high - low) * float(torch.rand((), generator=draw))

        def choice(count: int, draw: torch.Generator = draw) -> int:
            return int(torch.randint(count, (), generator=draw))

        architecture = base if choice(2) == 0 else others[choice(len(others))]
        recipe = replace(preset.recipe, steps=round(preset.recipe.steps * ranges.steps[choice(len(ranges.steps))]))
        recipe = replace(
            recipe,
            learning_rate=preset.recipe.learning_rate * ranges.learning_rates[choice(len(ranges.learning_rates))],
        )
        inputs = choice(3)
        if inputs == 0:
            recipe = replace(recipe, noise=uniform(*ranges.noise))
        elif inputs == 1:
            recipe = replace(recipe, augment=recipe.augment + ranges.moved)
        if choice(2):
            recipe = replace(recipe, mixup=uniform(*ranges.mixup))
        wrong = uniform(*ranges.label_noise) if choice(2) else 0.0
        rows = torch.arange(data.shared or len(known))
        if choice(2):
            images = (known if preset.peers_on == "known" else data.query).images.unique()
            size = max(1, round(uniform(*ranges.share) * len(images)))
            drawn = images[torch.randperm(len(images), generator=draw)[:size]]
            rows = torch.isin(known.images, drawn).nonzero()[:, 0]
        targets = mislabelled(known.labels, classes, wrong, draw) if wrong else known.targets
        task_seed = derive_seed(seed, role, number)
        tasks.append(TrainingTask(role, task_seed, architecture, known.inputs, targets, recipe, rows=rows))
    return tasks


def mislabelled(labels: torch.Tensor, classes: int, share: float, draw: torch.Generator) -> torch.Tensor:
    """Return `(n, classes)` one-hot targets, some of them drawn at random.

    Args:
        labels: `(n,)` the true labels.
        classes: how many there are.
        share: of the labels that are drawn, a fraction in [0, 1].
        draw: of which they are, and what they become.
    """
    labels = labels.clone()
    wrong = torch.rand(len(labels), generator=draw) < share
    labels[wrong] = torch.randint(classes, (int(wrong.sum()),), generator=draw)
    return F.one_hot(labels, classes).float()


def kind_of(task: TrainingTask) -> str:
    """Return in words how an unrelated model was trained: the group that the fingerprint's file names it by."""
    recipe = task.recipe
    parts = [task.made_of, f"{recipe.steps} steps at learning rate {recipe.learning_rate:g}"]
    parts += [f"noise {recipe.noise:.2f}"] if recipe.noise else []
    parts += [f"moved by {recipe.augment}"] if recipe.augment else []
    parts += [f"mixup {recipe.mixup:.2f}"] if recipe.mixup else []
    return ", ".join([*parts, f"{len(task.inputs) if task.rows is None else len(task.rows)} images"])
