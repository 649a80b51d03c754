"""Twin sources: trained alike, seeds apart, each with its fingerprint."""

from pathlib import Path

import pytest
from fpverify_generator.data.load import load_data
from fpverify_generator.models.source import load_source
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext
from fpverify_generator.twins import build_twins

from fpverify import load_fingerprint, verify


def test_twins_rank_a_suspect(tiny: Preset, work: RunContext, tmp_path: Path) -> None:
    data = load_data("digits", 3)
    said = build_twins(data, 3, tiny, work, tmp_path)
    assert "p of 0.333 at least" in said
    found = [load_fingerprint(file) for file in sorted(tmp_path.glob("*.safetensors"))]
    assert len({one.source.sha256 for one in found}) == len(found) == 3
    assert len({one.sha256 for one in found}) == 3
    result = verify(found[1], tmp_path / "twin-02.onnx", twins=tmp_path)
    assert result.retention == 1
    assert result.twins is not None
    assert (result.twins.twins, result.twins.above) == (3, 0)
    again = build_twins(data, 3, tiny, work, tmp_path)
    assert again == said


def test_a_source_that_is_there_is_the_first_twin(tiny: Preset, work: RunContext, tmp_path: Path) -> None:
    data = load_data("digits", 3)
    build_twins(data, 3, tiny, work, tmp_path / "first")
    source = load_source(tmp_path / "first" / "twin-01.onnx", data)
    said = build_twins(data, 3, tiny, work, tmp_path / "second", source)
    assert "the source's accuracy is reached by" in said
    assert sorted(file.name for file in (tmp_path / "second").glob("*.safetensors")) == [
        "source.safetensors",
        "twin-01.safetensors",
        "twin-02.safetensors",
    ]
    assert load_fingerprint(tmp_path / "second" / "source.safetensors").source.sha256 == source.sha256


@pytest.mark.parametrize("count", [2])
def test_too_few_twins_are_refused(count: int, tmp_path: Path) -> None:
    from click.testing import CliRunner
    from fpverify_generator.cli import main

    result = CliRunner().invoke(main, ["twins", "--data", "digits", "--twins", str(count), "-o", str(tmp_path / "t")])
    assert result.exit_code == 2
