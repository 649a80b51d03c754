"""Fits a build into the time that there is: smaller pools of models, and what that costs."""

from dataclasses import replace

import torch

from fpverify_generator.errors import PresetError
from fpverify_generator.models.source import Source
from fpverify_generator.plan import Plan, in_words, plan_build
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext

LEAST = Roles(4, 2, 19)
"""Surrogates, and as many references, of the smallest pools: fewer held-out surrogates cannot reject "derived"."""

LEAST_NULLS, LEAST_CANDIDATES = 49, 2
"""Null models of the smallest pools: fewer cannot reject "unrelated". And candidates for each key."""

TRIES = 4
"""Plans that are made at most: pools do not shrink in proportion to time."""


def fit_budget(
    source: Source | None, data: OwnerData, preset: Preset, seconds: float, work: RunContext, given: int = 0
) -> Preset:
    """Shrink a preset's pools until a build takes no longer than it may, by estimate.

    What is chosen is kept in the cache, so that a run that is started again does the same work on a machine that is
    busier or quieter by then.

    Args:
        source: the owner's model; None if one would be trained.
        data: the owner's images, shared out.
        preset: sizes and hyper-parameters.
        seconds: of wall time, that a build may take.
        work: seed, cache, device, processes and progress.
        given: how many null models the owner has beside those of the preset.

    Returns:
        The preset, or a copy with fewer surrogates, references, null models and candidates.

    Raises:
        PresetError: if the smallest pools take longer by estimate.
        CacheError: if the choice cannot be written.
    """
    sha256 = None if source is None else source.sha256
    key = digest("budget", seconds, sha256, data.every.inputs, data.trained, repr(preset), work.seed, work.jobs)
    found = work.cache.get(key, lambda: {"share": torch.tensor(_share(source, data, preset, seconds, work, given))})
    fitted = shrunk(preset, float(found["share"]))
    if fitted != preset:
        p_values = (f"{1 / (one.nulls + given + 1):.2g}" for one in (preset, fitted))
        changes = ", ".join(
            f"{theirs} instead of {ours} {what}" for what, ours, theirs in _sizes(preset, fitted) if ours != theirs
        )
        work.log(
            f"budget: {changes}, so that the build takes about {in_words(seconds)}; the smallest p-value is "
            f"{' and becomes '.join(p_values)}"
        )
    return fitted


def shrunk(preset: Preset, share: float) -> Preset:
    """Return a preset with a share of its models and candidates, not less than the smallest pools; 1 for itself."""

    def some(count: int, least: int) -> int:
        return min(count, max(least, round(share * count)))

    def roles(whole: Roles) -> Roles:
        return Roles(
            some(whole.cem, LEAST.cem),
            some(whole.selection, LEAST.selection),
            some(whole.calibration, LEAST.calibration),
        )

    return replace(
        preset,
        surrogates=roles(preset.surrogates),
        references=roles(preset.references),
        nulls=some(preset.nulls, LEAST_NULLS),
        candidates=some(preset.candidates, LEAST_CANDIDATES * preset.keys),
    )


def _share(
    source: Source | None, data: OwnerData, preset: Preset, seconds: float, work: RunContext, given: int
) -> float:
    share, smallest = 1.0, shrunk(preset, 0.0)
    for _ in range(TRIES):
        tried = shrunk(preset, share)
        plan = plan_build(source, data, tried, work, given)
        if plan.seconds <= seconds:
            return share
        if tried == smallest:
            break
        fixed = _fixed(plan)
        share *= max(0.0, 0.95 * (seconds - fixed) / (plan.seconds - fixed))
    else:
        plan = plan_build(source, data, smallest, work, given)
        if plan.seconds <= seconds:
            return 0.0
    raise PresetError(
        f"the smallest pools take about {in_words(plan.seconds)} by estimate, and {in_words(seconds)} are allowed",
        culprit="--budget",
        hint="allow more, train for fewer steps (--recipe), or give smaller images or cheaper networks (--family)",
    )


def _fixed(plan: Plan) -> float:
    """Return the wall time of what does not shrink with the pools: what comes before the simulated attacks."""
    return sum(step.seconds for step in plan.steps[:-3]) / plan.jobs


def _sizes(ours: Preset, theirs: Preset) -> list[tuple[str, int, int]]:
    def total(roles: Roles) -> int:
        return roles.cem + roles.selection + roles.calibration

    return [
        ("surrogates", total(ours.surrogates), total(theirs.surrogates)),
        ("references", total(ours.references), total(theirs.references)),
        ("null models", ours.nulls, theirs.nulls),
        ("candidates", ours.candidates, theirs.candidates),
    ]
