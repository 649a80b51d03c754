"""An auditor's panel: independent models that `fpverify vet` takes."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fpverify_generator.cli import main
from fpverify_generator.data.load import load_data
from fpverify_generator.panel import train_panel, write_panel
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext

from fpverify import vet


def test_a_panel_vets_the_published_fingerprint(
    tiny: Preset, work: RunContext, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    data = load_data("digits", 3)
    recipe = replace(tiny.recipe, steps=300)
    panel = train_panel(data, 6, replace(tiny, recipe=recipe), work)
    assert len({one.kind for one in panel}) == 6
    lines = write_panel(panel, data, tmp_path)
    assert re.search(r"panel-006\.onnx  accuracy \d", lines)
    assert (tmp_path / "panel-001.toml").read_text().startswith('classes = ["0", "1"')
    found = vet(pytestconfig.rootpath / "fixtures" / "study" / "fingerprint.safetensors", tmp_path)
    assert len(found.members) == 6
    assert len(found.counted) >= 3
    assert not found.refusals
    again = train_panel(data, 6, replace(tiny, recipe=recipe), work)
    assert [one.accuracy for one in again] == [one.accuracy for one in panel]


def test_a_panel_of_bad_data_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["panel", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "p")])
    assert result.exit_code == 2
    assert "no such data" in result.output
    assert not (tmp_path / "p").exists()
