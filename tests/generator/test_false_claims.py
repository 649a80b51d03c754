"""False claims: fakes convict innocents, a panel shows the crude ones, and honest keys are let through."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from fpverify_generator.build import fingerprint_of, prepare
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import StudyError
from fpverify_generator.keys import cem_keys
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import OwnerData
from fpverify_generator.presets import Preset
from fpverify_generator.report.claims import claims_table, read_claims
from fpverify_generator.run.context import RunContext
from fpverify_generator.study.false_claims import FAKES, Claim, false_claims, panel_of
from fpverify_generator.study.suspects import Suspect


@pytest.fixture
def claims(
    source: Source, owner: OwnerData, splits: tuple[DataSet, DataSet, DataSet], tiny: Preset, work: RunContext
) -> list[Claim]:
    models = prepare(source, owner, tiny, work)
    tasks, cells = [], []
    for number in range(12):
        images = owner.train if number < 2 else splits[1]
        tasks.append(TrainingTask("innocent", number, tiny.family.base, images.inputs, images.targets, tiny.recipe))
        cells.append(
            "same architecture, same data" if number < 2 else "same architecture, other data" if number < 4 else "more"
        )
    modules = train_all(tasks, work, "innocents")
    unrelated = [
        Suspect(f"m {number}", "unrelated", module, "", cell=cell)
        for number, (module, cell) in enumerate(zip(modules, cells, strict=True))
    ]
    (same, other), panel = panel_of(unrelated)
    assert (len(same), len(other), len(panel)) == (2, 2, 8)
    return false_claims(models, cem_keys(models), fingerprint_of(models).calibration, unrelated)


def test_crude_fakes_convict_all_and_are_refused(claims: list[Claim], tmp_path: Path) -> None:
    assert {claim.fake for claim in claims} == set(FAKES)
    easy, tuned = (claim for claim in claims if claim.fake == "easy images")
    assert (easy.convicted, easy.innocents, easy.threshold, easy.source) == (4, 4, 0.6, 1.0)
    assert easy.refused["5"] == easy.any_reaches["5"] == 1
    assert tuned.threshold >= easy.threshold
    moved = next(claim for claim in claims if claim.fake == "moved by 0.3 until models err")
    assert moved.convicted == 4
    victims = [claim for claim in claims if claim.fake == "made against the victim"]
    assert [claim.victim for claim in victims] == ["the source's data"] * 2 + ["nothing"] * 2
    assert all(claim.victim_convicted for claim in victims if claim.threshold == 0.6)
    (honest,) = (claim for claim in claims if claim.fake == "honest")
    assert (honest.convicted, honest.refused["3"]) == (0, 0)
    path = tmp_path / "false-claims.json"
    path.write_text(json.dumps([asdict(claim) for claim in claims]))
    table = claims_table(read_claims(path))
    assert len(table.lines) == len(claims)
    assert "refused by 5" in table.header
    assert next(line for line in table.lines if line[0] == "easy images")[3] == "100%"


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", '[{"seed": 1}]'])
def test_what_are_no_claims(content: str, tmp_path: Path) -> None:
    path = tmp_path / "false-claims.json"
    path.write_text(content)
    with pytest.raises(StudyError, match=r"false-claims\.json"):
        read_claims(path)
