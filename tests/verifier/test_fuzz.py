"""A short run of the fuzzing, so that the long one still works and its first cases hold."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.mark.parametrize(("kind", "count"), [("fingerprints", 400), ("models", 60)])
def test_the_first_mutated_files_are_refused_or_judged_rightly(tmp_path, kind, count):
    command = [sys.executable, FUZZ, kind, "--count", str(count), "--out", tmp_path / "cases", "--compare", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{count} cases" in done.stdout
    assert "0 violations" in done.stdout
