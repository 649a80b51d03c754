"""A study's fingerprints: CEM, variants of it that are measured against it, and the baselines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from fpverify.fingerprint import Calibration, save_fingerprint
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.baselines import BASELINES, Baseline, ScoreBaseline
from fpverify_generator.build import describe, held_out_models, method_of, train_surrogates, train_unrelated
from fpverify_generator.calibration import calibrate, retentions
from fpverify_generator.errors import CalibrationError
from fpverify_generator.keys import Keys, cem_keys
from fpverify_generator.pools import Owner, Pool, simulated_attacks
from fpverify_generator.presets import Preset, Rule
from fpverify_generator.report.rows import FEWER_STARTS
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.study.presets import StudyPreset


@dataclass(frozen=True)
class Method:
    """One way to make a fingerprint, made."""

    name: str
    """What tables call it."""
    group: str
    """`cem`, `baseline`, `ablation`, `epsilon` or `ensemble`."""
    keys: Keys
    """Its keys, best first."""
    baseline: Baseline | None = None
    """Which, if it is one."""
    value: float | None = None
    """Of a sweep: the radius, or the number of surrogates."""
    epsilon: float = 0.0
    """Max-norm radius of its keys around images; 0 for none or another."""
    ensemble: int = 0
    """Surrogates that it optimised against."""
    files: Mapping[int, Path] = field(default_factory=dict)
    """Number of queries -> fingerprint file; none for a method that compares scores."""

    @property
    def compares_scores(self) -> bool:
        """Say whether its statistic compares the suspect's scores with the source's: then it has no fingerprint."""
        return isinstance(self.baseline, ScoreBaseline)


Variant = Callable[[Owner], Owner]
"""What an ablation changes: the owner's preset, or its models."""


def _preset(**changes: Any) -> Variant:
    return lambda owner: replace(owner, preset=replace(owner.preset, **changes))


def _cem(**changes: Any) -> Variant:
    return lambda owner: _preset(cem=replace(owner.preset.cem, **changes))(owner)


def _retrained(owner: Owner) -> Owner:
    """Leave out the surrogates that optimise and choose keys and were not made by retraining."""
    parts = {}
    for role, count in asdict(owner.preset.surrogates).items():
        names = simulated_attacks(owner.source, owner.preset, role, count)
        modules: list[nn.Module] = getattr(owner.surrogates, role)
        kept = [ATTACKS[name].category == "retraining" for name in names]
        parts[role] = [module for module, stays in zip(modules, kept, strict=True) if stays]
    return replace(owner, surrogates=Pool(parts["cem"], parts["selection"], owner.surrogates.calibration))


def _fewer(count: int) -> Variant:
    def change(owner: Owner) -> Owner:
        surrogates, references = (replace(pool, cem=pool.cem[:count]) for pool in (owner.surrogates, owner.references))
        return replace(owner, surrogates=surrogates, references=references)

    return change


def _attackers(preset: Preset) -> tuple[object, ...]:
    """Return what a preset says of the images of simulated attackers."""
    return preset.simulated_on, preset.simulated_draw, preset.simulated_apart


def _learning(**changes: Any) -> Variant:
    """Return a variant whose surrogates, or references, that make and choose keys learn from other images."""

    def change(owner: Owner) -> Owner:
        preset = replace(owner.preset, **changes)
        if _attackers(preset) != _attackers(owner.preset):
            return replace(
                owner, preset=preset, surrogates=train_surrogates(owner.source, owner.data, preset, owner.work)
            )
        if preset.peers_on != owner.preset.peers_on:
            references, _ = train_unrelated(owner.data, preset, owner.work)
            return replace(owner, preset=preset, references=references)
        return owner

    return change


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "objective=paper": _cem(objective="paper"),
        "objective=direct": _cem(objective="direct"),
        "dropout=none": _cem(dropout_of="none"),
        "noise=0.05": _cem(noise=0.05),
        "criterion=separation": _preset(criterion="separation"),
        "labels=any": _preset(most_of_label=1000.0),
        "selection=none": _preset(selection="none"),
        "selection=cem": _preset(selection="cem"),
        "selection=held-out": _preset(selection="held-out"),
        "starts=random": _preset(starts="random"),
        "surrogates=retrained": _retrained,
        **{f"simulated_on={images}": _learning(simulated_on=images) for images in ("known", "unseen", "both")},
        "simulated_apart=0": _learning(simulated_apart=0.0),
        **{f"peers_on={images}": _learning(peers_on=images) for images in ("known", "unseen")},
        "paper throughout": lambda owner: _preset(selection="none", starts="random")(_cem(objective="paper")(owner)),
    }
)
"""Each ablation by name."""


def make_methods(owner: Owner, study: StudyPreset, folder: Path) -> list[Method]:
    """Make every fingerprint of one seed, and write their files.

    Args:
        owner: source, data and models.
        study: which methods.
        folder: receives `METHOD-QUERIES.safetensors`.

    Returns:
        The methods; the first is CEM.

    Raises:
        PresetError: if CEM finds too few keys.
    """
    main = Method(
        "cem",
        "cem",
        cem_keys(owner),
        epsilon=owner.preset.cem.epsilon,
        ensemble=len(owner.surrogates.cem),
    )
    methods = [main, *_baselines(owner, study), *_variants(owner, study)]
    held_out = held_out_models(owner)
    written = []
    for method in methods:
        if method.compares_scores:
            written.append(method)
            continue
        answers = held_out.answers(method.keys, owner.work.device)
        files = {}
        for count in study.budgets:
            kept = [(one == method.keys.labels)[:, :count] for one in answers]
            calibration = _calibration(kept, owner.preset.threshold)
            backing = held_out.backing([one[:, :count] for one in answers])
            path = folder / f"{method.name.replace(' ', '-').replace('=', '-')}-{count}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            described = _described(method, owner)
            save_fingerprint(describe(method.keys.first(count), owner, described, calibration, backing), path)
            files[count] = path
        written.append(replace(method, files=files))
    owner.work.log(f"fingerprints: {len(methods)} methods")
    return written


def _calibration(kept_by_role: Sequence[torch.Tensor], rule: Rule) -> Calibration:
    """Calibrate; where held-out models are not told apart, nothing less than every key counts as derived."""
    surrogates, references, nulls = kept_by_role
    try:
        return calibrate(surrogates, references, nulls, rule)
    except CalibrationError:
        kept, unrelated, null = map(retentions, kept_by_role)
        return Calibration(kept, unrelated, null, 1.0, "every key: held-out surrogates keep no more than references")


def _described(method: Method, owner: Owner) -> dict[str, object]:
    if method.baseline is not None:
        return {"name": method.name, "settings": repr(method.baseline)}
    return {**method_of(owner.source, owner.preset), "variant": method.name}


def _variants(owner: Owner, study: StudyPreset) -> list[Method]:
    base = owner
    if study.ablation_candidates:
        base = _preset(candidates=study.ablation_candidates)(owner)
    names = VARIANTS if study.ablations is None else study.ablations
    # the main method at the variants' size comes first: it is what they are compared with
    wanted: list[tuple[str, str, float | None, Variant]] = []
    if base.preset != owner.preset:
        wanted.append((FEWER_STARTS, "ablation", None, lambda owner: owner))
    wanted += [(f"cem {name}", "ablation", None, VARIANTS[name]) for name in names]
    wanted += [(f"cem epsilon={value:g}", "epsilon", value, _cem(epsilon=value)) for value in study.epsilons]
    wanted += [(f"cem ensemble={count}", "ensemble", float(count), _fewer(count)) for count in study.ensembles]
    methods = []
    for name, group, value, variant in wanted:
        changed = variant(base)
        keys = cem_keys(changed, least=1)  # a weak variant finds fewer than are wanted
        size, radius = len(changed.surrogates.cem), changed.preset.cem.epsilon
        methods.append(Method(name, group, keys, value=value, epsilon=radius, ensemble=size))
    return methods


@dataclass(frozen=True)
class _Baselined:
    """One baseline's keys, as a piece of work."""

    baseline: Baseline
    owner: Owner
    count: int

    def __call__(self) -> dict[str, torch.Tensor]:
        keys = self.baseline(self.owner, self.count)
        return {"inputs": keys.inputs, "labels": keys.labels}


def _baselines(owner: Owner, study: StudyPreset) -> list[Method]:
    work, count = owner.work, max(study.budgets)
    alone = replace(owner, work=RunContext(work.seed, work.cache, work.device))
    models = (*owner.surrogates.cem, *owner.surrogates.selection, *owner.references.cem, *owner.references.selection)
    everything = digest(
        owner.source.sha256, owner.data.start.inputs, owner.data.train.inputs, repr(owner.preset), work.seed, *models
    )
    pieces = {}
    for name in study.baselines:
        baseline = BASELINES[name]
        pieces[digest("baseline", name, baseline, count, everything)] = _Baselined(baseline, alone, count)
    methods = []
    for name, found in zip(study.baselines, run_pieces(pieces, work), strict=True):
        keys = Keys(found["inputs"], found["labels"])
        methods.append(Method(name, "baseline", keys, BASELINES[name]))
        work.log(f"baseline {name}: {len(keys.labels)} keys")
    return methods
