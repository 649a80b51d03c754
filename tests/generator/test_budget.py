"""A build that is fitted into the time that there is."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fpverify_generator import budget as budgets
from fpverify_generator.budget import LEAST, fit_budget, shrunk
from fpverify_generator.cli import main
from fpverify_generator.errors import PresetError
from fpverify_generator.feasible import undecided
from fpverify_generator.models.source import Source
from fpverify_generator.plan import Plan, Step
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import PRESETS, Preset
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext

DIGITS = PRESETS["digits"]


def made_plan(preset: Preset, jobs: int = 2) -> Plan:
    """Return a plan in which the source takes 40 s, each model 1 s and each candidate half a second."""
    surrogates, references = (sum(vars(roles).values()) for roles in (preset.surrogates, preset.references))
    steps = (
        Step("images that the source is asked", 100, 40),
        Step("networks of simulated attacks", surrogates, surrogates),
        Step("references and null models", references + preset.nulls, references + preset.nulls),
        Step("candidates", preset.candidates, preset.candidates / 2),
    )
    return Plan({}, steps, jobs, 0, 0, 1 / (preset.nulls + 1))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Preset]:
    """Return the presets that were planned."""
    asked: list[Preset] = []
    monkeypatch.setattr(budgets, "plan_build", lambda _, __, preset, *___: asked.append(preset) or made_plan(preset))
    return asked


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_pools_shrink_until_the_build_fits(
    share: float, plans: list[Preset], source: Source, owner: OwnerData, tmp_path: Path
) -> None:
    seconds, said = share * made_plan(DIGITS).seconds, []
    work = RunContext(0, Cache(tmp_path), log=said.append)
    found = fit_budget(source, owner, DIGITS, seconds, work)
    assert 0.7 * seconds < made_plan(found).seconds <= seconds
    assert found.keys == DIGITS.keys
    (line,) = said
    assert f"{found.nulls} instead of 299 null models" in line
    assert line.endswith(f"the smallest p-value is 0.0033 and becomes {1 / (found.nulls + 1):.2g}")
    # started again, it does the same without another plan, however busy the machine is
    plans.clear()
    assert fit_budget(source, owner, DIGITS, seconds, RunContext(0, Cache(tmp_path))) == found
    assert not plans


def test_a_build_that_fits_stays_as_it_is(
    plans: list[Preset], source: Source, owner: OwnerData, tmp_path: Path
) -> None:
    said: list[str] = []
    work = RunContext(0, Cache(tmp_path), log=said.append)
    assert fit_budget(source, owner, DIGITS, 10**6, work) == DIGITS
    assert (len(plans), said) == (1, [])


def test_too_little_time_is_refused_with_what_it_takes(
    plans: list[Preset], source: Source, owner: OwnerData, tmp_path: Path
) -> None:
    with pytest.raises(PresetError, match=r"--budget: the smallest pools take about .* and 30 s are allowed"):
        fit_budget(source, owner, DIGITS, 30, RunContext(0, Cache(tmp_path)))
    assert shrunk(DIGITS, 0) in plans


def test_the_smallest_pools_still_decide_something_and_grow_with_no_preset() -> None:
    least = shrunk(DIGITS, 0)
    assert (least.surrogates, least.references, least.nulls, least.candidates) == (LEAST, LEAST, 49, 200)
    small = replace(DIGITS, nulls=19, candidates=120)
    assert (shrunk(small, 0.5).nulls, shrunk(small, 0.5).candidates) == (19, 120)
    assert shrunk(DIGITS, 1) == DIGITS
    assert undecided(least.nulls, least.surrogates.calibration) == []
    assert [text[:50] for text in undecided(48, 18)] == [
        "no suspect will be called derived at the significa",
        "no suspect will be called unrelated at the signifi",
    ]


@pytest.mark.parametrize("text", ["8", "0h", "-1h", "eight hours", "1h30", "nan s"])
def test_a_time_that_is_none_is_refused_in_one_line(text: str) -> None:
    found = CliRunner().invoke(main, ["build", "--data", "digits", "-o", "x", "--budget", text])
    assert found.exit_code == 2
    assert "is no time; expected 8h, 90min or 600s" in found.output.replace("\n", " ")
