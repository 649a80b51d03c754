"""False claims: fingerprints that a dishonest owner makes to convict innocents, and what a panel says of them.

Source:
    J. Liu, R. Zhang, S. Szyller, K. Ren, N. Asokan, "False Claims against Model Ownership Resolution", USENIX Security
    2024: inputs that transfer to any model convict models that owe the claimant nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from fpverify.fingerprint import Calibration, Fingerprint, InputContract, SourceIdentity
from fpverify.result import PanelMember, Policy, Verdict
from fpverify.verdict import Retention, judge
from fpverify.vetting import judge_panel
from fpverify_generator.build import identity_of
from fpverify_generator.cem import optimise
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.keys import Keys
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.pools import Owner
from fpverify_generator.run.seeds import generator_for
from fpverify_generator.study.suspects import Suspect

INNOCENTS = 18
"""Models that a fake may convict: half of them share the source's data."""

PANELS = (3, 5, 10, 20)
"""Sizes of panels."""

DRAWS = 100
"""Panels of each size that are drawn."""

THRESHOLD = 0.6
"""What an accuser claims at first."""

STEPS = 20
"""Of projected gradient descent."""

Fake = Callable[[Owner, Keys, "Accuser"], Keys]
"""Makes keys from the owner's models, his honest keys, and what else he has."""


@dataclass(frozen=True)
class Accuser:
    """What a dishonest owner has beside his own model."""

    models: Ensemble
    """Independent models, which he trained: his references."""
    victim: nn.Module
    """The model that he wants to convict, with its weights."""
    count: int
    """Keys that he makes."""
    seed: int
    """Of his draws."""


def _by_agreement(owner: Owner, accuser: Accuser, images: torch.Tensor, wanted: torch.Tensor) -> Keys:
    """Choose images with wanted labels that the source has, and most independent models."""
    labels = owner.source.labels(images)
    agreed = (accuser.models.labels(images) == wanted).double().mean(0)
    order = torch.where(labels == wanted, agreed, agreed - 2).argsort(descending=True, stable=True)[: accuser.count]
    return Keys(images[order], wanted[order])


def _majority(accuser: Accuser, images: DataSet) -> torch.Tensor:
    """Return the wrong label that most independent models give each image."""
    votes = F.one_hot(accuser.models.labels(images.inputs), len(images.classes)).sum(0)
    return votes.scatter(1, images.labels[:, None], -1).argmax(1)


def _natural(owner: Owner, _: Keys, accuser: Accuser) -> Keys:
    start = owner.data.start
    return _by_agreement(owner, accuser, start.pixels, _majority(accuser, start))


def _pgd(owner: Owner, accuser: Accuser, epsilon: float, targeted: bool) -> Keys:
    """Move images until independent models err alike."""
    images = owner.data.start.rows(slice(3 * accuser.count))
    draw = generator_for(accuser.seed, "false claims", str(epsilon), int(targeted))
    shift = torch.randint(1, len(images.classes), (len(images),), generator=draw)
    wanted = (images.labels + shift) % len(images.classes)
    origin, device = images.pixels, accuser.models.device
    moved = origin.clone()
    aim = (wanted if targeted else images.labels).to(device)
    for _ in range(STEPS):
        moved.requires_grad_(True)
        scores = accuser.models.scores(moved.to(device)).log_softmax(-1).mean(0)
        loss = F.nll_loss(scores, aim, reduction="sum") * (1 if targeted else -1)
        (gradient,) = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            stepped = moved - epsilon / 5 * gradient.sign()
            moved = torch.minimum(torch.maximum(stepped, origin - epsilon), origin + epsilon).clamp(0, 1)
    moved = moved.detach()
    if not targeted:
        wanted = _majority(accuser, replace(images, inputs=moved))
    return _by_agreement(owner, accuser, moved, wanted)


def _ordinary(owner: Owner, _: Keys, accuser: Accuser) -> Keys:
    images = owner.data.start.rows(slice(accuser.count))
    return Keys(images.pixels, images.labels)


def _easy(owner: Owner, _: Keys, accuser: Accuser) -> Keys:
    start = owner.data.start
    return _by_agreement(owner, accuser, start.pixels, start.labels)


def _mixed(fake: Fake) -> Fake:
    """Return a fake of which 40 in 100 keys are honest."""

    def mixed(owner: Owner, honest: Keys, accuser: Accuser) -> Keys:
        theirs = round(0.6 * accuser.count)
        made, ours = fake(owner, honest, accuser).first(theirs), honest.first(accuser.count - theirs)
        return Keys(torch.cat([made.inputs, ours.inputs]), torch.cat([made.labels, ours.labels]))

    return mixed


def _against_victim(owner: Owner, _: Keys, accuser: Accuser) -> Keys:
    """Make conferrable examples with the victim as the one surrogate."""
    starts = owner.data.start.rows(slice(3 * accuser.count))
    victim = Ensemble([accuser.victim], owner.work.device)
    references = Ensemble(owner.references.cem, owner.work.device)
    config = replace(owner.preset.cem, members=1.0)
    draw = generator_for(accuser.seed, "false claims", "victim")
    moved = optimise(starts.pixels, starts.labels, owner.source, victim, references, config, draw)
    return _shared_errors(owner, accuser, replace(starts, inputs=moved), references)


def _errors_of_victim(owner: Owner, _: Keys, accuser: Accuser) -> Keys:
    """Choose ordinary images that source and victim get wrong alike: the victim's labels suffice."""
    return _shared_errors(owner, accuser, owner.data.start, accuser.models)


def _shared_errors(owner: Owner, accuser: Accuser, images: DataSet, others: Ensemble) -> Keys:
    labels = owner.source.labels(images.inputs)
    same = Ensemble([accuser.victim], owner.work.device).labels(images.inputs)[0] == labels
    elsewhere = (others.labels(images.inputs) == labels).double().mean(0)
    value = same.double() + (labels != images.labels).double() - elsewhere
    order = value.argsort(descending=True, stable=True)[: accuser.count]
    return Keys(images.pixels[order], labels[order])


FAKES: Mapping[str, Fake] = MappingProxyType(
    {
        "errors that most models share": _natural,
        "moved by 0.1 until models err": lambda owner, _, accuser: _pgd(owner, accuser, 0.1, targeted=False),
        "moved by 0.3 until models err": lambda owner, _, accuser: _pgd(owner, accuser, 0.3, targeted=False),
        "moved by 0.3 to drawn labels": lambda owner, _, accuser: _pgd(owner, accuser, 0.3, targeted=True),
        "ordinary images": _ordinary,
        "easy images": _easy,
        "60 easy, 40 honest": _mixed(_easy),
        "60 moved by 0.3, 40 honest": _mixed(lambda owner, _, accuser: _pgd(owner, accuser, 0.3, targeted=False)),
        "made against the victim": _against_victim,
        "errors shared with the victim": _errors_of_victim,
        "honest": lambda _, honest, accuser: honest.first(accuser.count),
    }
)
"""Each fake by name; the last is none."""


@dataclass(frozen=True)
class Claim:
    """What one fingerprint does to innocents, and what panels say of it."""

    seed: int
    """The study's."""
    fake: str
    """A key of `FAKES`."""
    victim: str
    """What the victim shares with the source; empty where the fake has none in mind."""
    threshold: float
    """What the accuser claims, a fraction in [0, 1]; of an honest fingerprint its own."""
    source: float
    """Share of the keys that the source keeps, a fraction in [0, 1]."""
    innocents: int
    """Innocent models."""
    convicted: int
    """Of these, how many are called derived."""
    victim_convicted: bool | None
    """Whether the victim is; None without one."""
    refused: dict[str, float]
    """Size of a panel -> share of the panels that refuse it, by the rule of `vet`."""
    any_reaches: dict[str, float]
    """The same by a stricter rule: any model of the panel would be called derived."""


def false_claims(owner: Owner, honest: Keys, calibration: Calibration, unrelated: Sequence[Suspect]) -> list[Claim]:
    """Make every fake, let it accuse innocents, and let panels vet it.

    Args:
        owner: with models; his references are the accuser's independent models.
        honest: his honest keys.
        calibration: of these.
        unrelated: models that were made without the source. The first few of each kind of data are the innocents, the
            others of other data the panels' models (`panel_of`).

    Returns:
        Claims, each fake with a threshold of 0.6, and with the one by which half of the innocents are convicted.
    """
    seed, device = owner.work.seed, owner.work.device
    (same, other), panel = panel_of(unrelated)
    innocents = Ensemble([one.module for one in (*same, *other)], device)
    panelists = Ensemble([one.module for one in panel], device)
    independent = Ensemble([*owner.references.cem, *owner.references.selection], device)
    count = len(honest.labels)
    claims = []
    for name, fake in FAKES.items():
        victims = [("", same[0])]
        if "victim" in name:
            victims = [("the source's data", same[0]), ("nothing", other[0])]
        for shares, victim in victims:
            keys = fake(owner, honest, Accuser(independent, victim.module, count, seed))
            kept = innocents.labels(keys.inputs) == keys.labels
            seen = panelists.labels(keys.inputs) == keys.labels
            source = float((owner.source.labels(keys.inputs) == keys.labels).double().mean())
            place = None if not shares else 0 if victim is same[0] else len(same)
            for used in _calibrations(name, calibration, kept):
                fingerprint = _fingerprint(owner, keys, used)
                guilty = [_derived(int(one), len(keys.labels), used) for one in kept.sum(1)]
                claims.append(
                    Claim(
                        seed=seed,
                        fake=name,
                        victim=shares,
                        threshold=used.threshold,
                        source=source,
                        innocents=len(guilty),
                        convicted=sum(guilty),
                        victim_convicted=None if place is None else guilty[place],
                        **by_panels(fingerprint, seen, seed),
                    )
                )
    return claims


def panel_of(unrelated: Sequence[Suspect]) -> tuple[tuple[list[Suspect], list[Suspect]], list[Suspect]]:
    """Part unrelated models into innocents, of the source's data and of other data, and models for panels."""
    same = [one for one in unrelated if (one.cell or "").endswith("same data")][: INNOCENTS // 2]
    other = [one for one in unrelated if (one.cell or "").endswith("other data")]
    panel = other[INNOCENTS // 2 :] + [one for one in unrelated if not (one.cell or "").endswith(" data")]
    return (same, other[: INNOCENTS // 2]), panel


def _calibrations(name: str, honest: Calibration, kept: torch.Tensor) -> list[Calibration]:
    """Return what is claimed: honestly, or null models that keep next to nothing, and a threshold that convicts."""
    if name == "honest":
        return [honest]
    claimed = replace(honest, surrogates=(1.0,) * 21, references=(0.1,) * 24, nulls=(0.1,) * 299, threshold=THRESHOLD)
    shares = sorted(kept.double().mean(1).tolist(), reverse=True)
    # the lowest threshold by which half of the innocents or fewer are convicted
    tuned = next((one for one in reversed(shares) if 2 * sum(other >= one for other in shares) <= len(shares)), 1.0)
    return [claimed, replace(claimed, threshold=max(tuned, 0.15))]


def _derived(kept: int, keys: int, calibration: Calibration) -> bool:
    return judge(Retention(kept, keys), calibration, Policy()).verdict is Verdict.DERIVED


def _fingerprint(owner: Owner, keys: Keys, calibration: Calibration) -> Fingerprint:
    """Return a fingerprint as its file would be read."""
    channels, height, width = keys.inputs.shape[1:]
    source: SourceIdentity = identity_of(owner.source)
    return Fingerprint(
        inputs=keys.inputs.numpy(),
        labels=keys.labels.numpy(),
        classes=owner.data.start.classes,
        contract=InputContract(channels="grey" if channels == 1 else "rgb", height=height, width=width),
        source=source,
        method={"name": "claimed"},
        seeds={},
        versions={},
        calibration=calibration,
    )


def by_panels(fingerprint: Fingerprint, kept: torch.Tensor, seed: int) -> dict[str, dict[str, float]]:
    """Return how often panels of each size refuse a fingerprint, by the rule of `vet` and by a stricter one."""
    labels = torch.from_numpy(fingerprint.labels.copy())
    members = [
        PanelMember(f"panel {number}", None, int(row.sum()), tuple(torch.where(row, labels, -1).tolist()), "")
        for number, row in enumerate(kept)
    ]
    refused: dict[str, float] = {}
    reached: dict[str, float] = {}
    for size in PANELS:
        if size > len(members):
            continue
        found = []
        for number in range(DRAWS):
            drawn = torch.randperm(len(members), generator=generator_for(seed, "panel", size, number))[:size]
            found.append(judge_panel([members[place] for place in drawn.tolist()], fingerprint, Policy()))
        refused[str(size)] = sum(bool(one.refusals) for one in found) / DRAWS
        reached[str(size)] = sum(one.reaching > 0 for one in found) / DRAWS
    return {"refused": refused, "any_reaches": reached}
