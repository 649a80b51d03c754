"""No file harms who judges it: one line, exit code 2, within the limit, and nothing left behind."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from fpverify.cli import main

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("hostile", ROOT / "fixtures" / "hostile.py")
hostile = importlib.util.module_from_spec(SPEC)
sys.modules["hostile"] = hostile  # dataclasses look their module up
SPEC.loader.exec_module(hostile)

FINGERPRINT = ROOT / "fixtures" / "digits" / "fingerprint.safetensors"
SECONDS = 3
CODES = {"error": {2}, "inconclusive": {4}, "any": {0, 2, 3, 4}}


def write(case, folder):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this platform has no pipes with names")
    path = folder / "files" / "suspect.onnx"
    path.parent.mkdir()
    case.write(path)
    return path


def printable(text):
    return all(sign.isprintable() or sign == "\n" for sign in text)


@pytest.mark.parametrize("case", hostile.HOSTILE.values(), ids=hostile.HOSTILE)
def test_a_hostile_file_gets_one_line_in_time(case, tmp_path):
    path = write(case, tmp_path)
    before = sorted(path.parent.rglob("*"))
    (tmp_path / "here").mkdir()
    command = [sys.executable, "-m", "fpverify", "verify", path, "-f", FINGERPRINT]
    limits = ["--timeout", str(SECONDS), "--memory", "1"]
    began = time.perf_counter()
    done = subprocess.run([*command, *limits], cwd=tmp_path / "here", capture_output=True, text=True, timeout=60)
    seconds = time.perf_counter() - began
    assert done.returncode in CODES[case.outcome], done.stderr
    assert printable(done.stdout)
    assert printable(done.stderr)
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        assert done.stdout == ""
        assert re.fullmatch(r"fpverify: error: [^\n]+\n", done.stderr)
        assert re.search(case.says, done.stderr, re.IGNORECASE)
    else:
        assert done.stderr == ""
    assert seconds < SECONDS + 5
    assert sorted(path.parent.rglob("*")) == before
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("case", hostile.HOSTILE.values(), ids=hostile.HOSTILE)
def test_a_hostile_file_is_inspected_or_refused_in_one_line(case, tmp_path):
    path = write(case, tmp_path)
    found = CliRunner().invoke(main, ["inspect", str(path), "-f", str(FINGERPRINT)])
    assert found.exit_code in (0, 2)
    assert printable(found.output)
    if found.exit_code == 2:
        assert re.fullmatch(r"fpverify: error: [^\n]+\n", found.stderr)


def test_the_parent_never_imports_onnx_runtime():
    arguments = ["verify", str(FINGERPRINT.parent / "source.onnx"), "-f", str(FINGERPRINT)]
    code = (
        "import sys\nfrom fpverify.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: print(end.code, 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "3 False"


def test_a_random_model_is_announced_and_doubted_when_asked_twice(tmp_path):
    path = write(hostile.HOSTILE["random-answers"], tmp_path)
    arguments = ["verify", str(path), "-f", str(FINGERPRINT), "--ask-twice"]
    found = CliRunner().invoke(main, arguments)
    assert "Note: the file draws random numbers (RandomNormalLike), so its answers may vary." in found.stdout
    assert re.search(r"Note: \d+ keys got another answer when they were asked again", found.stdout)


def test_a_model_that_looks_at_the_other_inputs_of_its_batch_is_found_by_asking_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("fpverify.suspects.onnx_file.CHUNK_BYTES", 256 * 7)  # so that the neighbours change
    path = write(hostile.HOSTILE["batch-dependent"], tmp_path)
    found = CliRunner().invoke(main, ["verify", str(path), "-f", str(FINGERPRINT), "--ask-twice"])
    assert re.search(r"Note: \d+ keys got another answer when they were asked again", found.stdout)
