"""What is checked before hours of training: the file's size, the source's answers, the accuracy of the networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fpverify.fingerprint.encoding import MAX_BYTES, MAX_VALUES
from fpverify.result import Policy
from fpverify.statistics import by_chance
from fpverify.verdict import nulls_for
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.store import Images, Inputs, marks_of
from fpverify_generator.errors import DataError, PresetError
from fpverify_generator.models.asked import Asked
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.passes import sent
from fpverify_generator.models.source import Source
from fpverify_generator.models.stacked import is_stackable
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import OwnerData, measured_on
from fpverify_generator.presets import Preset
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.progress import Stage
from fpverify_generator.run.seeds import derive_seed

TOLD = 64
"""Images whose answers tell models apart that have the same digest."""

WARN, REFUSE = 1.25, 1.5
"""Error of a network of the preset, over the source's, from which there is a warning, and from which there is no build.
At 1.5 (errors of 0.75 and 0.5) four of five stolen copies of a network were called unrelated."""

LEVEL = 0.01
"""At which level chance must be rejected before a network counts as worse than the source."""


def require_room(data: DataSet, preset: Preset) -> None:
    """Refuse a preset whose fingerprint would be larger than one may be.

    Args:
        data: the owner's images.
        preset: numbers of keys, controls and models.

    Raises:
        PresetError: saying how many keys there is room for.
    """
    size, images = data.inputs[0].numel(), preset.keys + preset.controls
    models = preset.surrogates.calibration + preset.references.calibration + preset.nulls
    # keys are 8-bit images where the preset says so; controls always are
    total = size * (preset.keys * (1 if preset.eight_bit else 4) + preset.controls) + 2 * models * preset.keys
    if size * images <= MAX_VALUES and total + RESERVE <= MAX_BYTES:
        return
    each = size if preset.eight_bit else 4 * size
    room = min(
        MAX_VALUES // size - preset.controls,
        (MAX_BYTES - RESERVE - size * preset.controls) // (each + 2 * models),
    )
    shape = "x".join(map(str, data.inputs.shape[1:]))
    raise PresetError(
        f"{preset.keys} keys and {preset.controls} control images of {shape} do not fit into a fingerprint",
        hint=f"ask for at most {room} keys (--keys), or give smaller images"
        if room >= 1
        else "give smaller images, as the source takes them",
    )


def require_enough(data: OwnerData, preset: Preset) -> None:
    """Refuse a preset that needs more images than there are.

    Args:
        data: the owner's, shared out.
        preset: numbers of keys and controls.

    Raises:
        PresetError: saying how many there are.
    """
    for what, wanted, there in (
        ("keys, and each is made from a start point", preset.keys, len(data.start)),
        ("control images, which the source never learnt", preset.controls, len(data.query)),
    ):
        if there < wanted:
            raise PresetError(
                f"{wanted} {what}, are wanted of {there} images that are left for them",
                hint="give more images (those of --unseen, where they are given), or ask for fewer",
            )


def undecided(nulls: int, surrogates: int) -> list[str]:
    """Return what a fingerprint cannot decide, whatever the suspect, a sentence each.

    Args:
        nulls: how many null models it has.
        surrogates: how many held-out surrogates.
    """
    found, policy = [], Policy()
    for count, level, word, kind in (
        (nulls, policy.significance, "derived", "null models"),
        (surrogates, policy.derived_significance, "unrelated", "held-out surrogates"),
    ):
        if count < nulls_for(level):
            found.append(
                f"no suspect will be called {word} at the significance {level:g}: "
                f"that takes {nulls_for(level)} {kind}, and there are {count}"
            )
    return found


def require_apart(one: Inputs, other: Inputs, names: tuple[str, str], why: str, log: Callable[[str], None]) -> None:
    """Refuse two sets of images that share more than a few.

    Args:
        one: `(n, C, H, W)`.
        other: `(m, C, H, W)`.
        names: what they are called.
        why: what they must not be the same for.
        log: takes a warning where a few are shared.

    Raises:
        DataError: if more than `SHARED` of the second are in the first.
    """
    first = {mark.tobytes() for mark in _marks(one)}
    shared = sum(mark.tobytes() in first for mark in _marks(other))
    found = f"{shared} of the {len(other)} images of {names[1]} are in {names[0]}, too"
    if shared > SHARED * len(other):
        raise DataError(f"{found}: {why}", culprit=names[1], hint="give other images")
    if shared:
        log(f"warning: {found}")


def _marks(inputs: Inputs) -> npt.NDArray[np.uint8]:
    return inputs.marks if isinstance(inputs, Images) else marks_of(inputs)


SHARED = 0.01
"""Share of images that two sets may have in common: large collections hold some twice."""

RESERVE = 2**23
"""Bytes of a fingerprint that are left for what is said of its models."""


@dataclass(frozen=True)
class Asking:
    """A source's answers to some images, as a piece of work."""

    source: Source
    inputs: Inputs

    def __call__(self) -> dict[str, torch.Tensor]:
        """Ask."""
        labels, soft = self.source.answers(self.inputs)
        return {"labels": labels} if soft is None else {"labels": labels, "probabilities": soft}


def is_slow(source: Source) -> bool:
    """Say whether a source takes long to answer: one from a file may, and so does a network that is no small chain."""
    return bool(source.reading) or source.module is None or not is_stackable(source.module)


def ask_once(source: Source, images: Inputs, work: RunContext) -> Source:
    """Ask a source about each of some images, once, in cached pieces.

    Args:
        source: the owner's model, which answers attackers thousands of times.
        images: `(n, C, H, W)` what they ask about.
        work: cache, device, processes and progress.

    Returns:
        The source, which looks these answers up.

    Raises:
        SourceError: if it cannot be asked.
        CacheError: if finished work cannot be written.
    """
    first = source.answers(images[:TOLD])  # a model may keep its weights in files beside it
    pieces = {
        digest("asked", source.sha256, source.reading, work.device, *first, chunk): Asking(source, chunk)
        for chunk in sent(images)
    }
    stage = Stage(work.log, "source", len(images), "images asked")
    labels, soft = [], []
    for found in run_pieces(pieces, work):
        labels.append(found["labels"])
        soft += [found["probabilities"]] if "probabilities" in found else []
        stage.done(sum(map(len, labels)))
    return source.remembering(Asked.of(images, torch.cat(labels), torch.cat(soft) if soft else None))


def peer_tasks(data: OwnerData, preset: Preset, seed: int) -> dict[str, TrainingTask]:
    """Return the training of one network of each architecture, by name, on all images but the start points."""
    known, tasks = data.known, {}
    for architecture in preset.family.members:
        task_seed = derive_seed(seed, "peer", architecture.name)
        tasks[architecture.name] = TrainingTask(
            "peer", task_seed, architecture, known.inputs, known.targets, preset.recipe
        )
    return tasks


def require_peers(source: Source, data: OwnerData, preset: Preset, work: RunContext, weak: bool = False) -> None:
    """Train one network of each architecture as the preset says, and compare it with the source.

    Surrogates and references that are much worse than the source stand for nobody's model: keys made with them pass to
    no copy, and every copy is called unrelated. Where they are much better, nobody's model with the source's own faults
    of training is among the null models.

    Args:
        source: the owner's model.
        data: the owner's images, of which the start points are seen by neither.
        preset: architectures and recipe.
        work: seed, cache, device, processes and progress.
        weak: whether to go on all the same.

    Raises:
        PresetError: if the best of them makes `REFUSE` times the source's errors, beyond chance.
    """
    tried = peer_tasks(data, preset, work.seed)
    modules = train_all(list(tried.values()), work, "one network of each architecture")
    start = measured_on(data, work.seed)
    ours = source.labels(start.inputs) == start.labels
    right = dict(zip(tried, Ensemble(modules, work.device).labels(start.inputs) == start.labels, strict=True))
    rates = {name: float(one.double().mean()) for name, one in right.items()}
    best, accuracy = max(rates, key=rates.__getitem__), float(ours.double().mean())
    work.log(f"networks of the preset: accuracy {_listed(rates)}")
    ratio = (1 - rates[best]) / max(1 - accuracy, 1 / len(start))
    if ratio * WARN <= 1 and by_chance(right[best].numpy(), ours.numpy()) <= LEVEL:
        work.log(
            f"warning: the preset's networks err {ratio:.1f} times as often as the source on {len(start)} images kept "
            f"apart (accuracy {rates[best]:.1%} against {accuracy:.1%}), so it was trained in another way, or on fewer "
            "images. Somebody else's model that was trained as the source was can then be accused: give its recipe "
            "(--recipe)"
        )
    if ratio < WARN or by_chance(ours.numpy(), right[best].numpy()) > LEVEL:
        return
    found = (
        f"the preset's networks reach {rates[best]:.1%} at best ({best}) on {len(start)} images kept apart, where the "
        f"source reaches {accuracy:.1%}: {ratio:.1f} times its errors"
    )
    if ratio < REFUSE or weak:
        work.log(f"warning: {found}; copies of the source may be missed")
        return
    raise PresetError(
        f"{found}. Keys made with such networks do not pass to copies of the source",
        hint="if the source has learnt these images, give others (--unseen); else train longer (--recipe), give the "
        "source's own architecture (--family FILE.py:NAME), or go on all the same with --weak-models",
    )


def _listed(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {rate:.1%}" for name, rate in sorted(rates.items(), key=lambda item: -item[1]))
