"""No file harms who judges it: one line, exit code 2, within the limit, and nothing left behind."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
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
SECONDS = 6
HANG_SECONDS = 60
"""Far above the limit and what the parent needs by itself, so that a busy machine fails no test."""
CODES = {"error": {2}, "inconclusive": {4}, "any": {0, 2, 3, 4}}


class LateError(BaseException):
    """Not a TimeoutError: that is an OSError, which a command may take for a file that cannot be read."""


def write(case, folder):
    if case.needs and not hasattr(os, case.needs):
        pytest.skip(f"this platform has no os.{case.needs}")
    path = folder / "files" / "suspect.onnx"
    path.parent.mkdir()
    case.write(path)
    return path


def printable(text):
    return all(sign.isprintable() or sign == "\n" for sign in text)


def working_below(folder):
    """Return the processes that work in a folder, or in one below it that is gone; none where there is no /proc."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            place = os.readlink(link)
        except OSError:  # it has ended, or is another user's
            continue
        if place.startswith(f"{folder}{os.sep}"):
            found.append(link.parent.name)
    return found


@pytest.fixture
def late():
    """Raises an error in what is still running after the time for an inspection."""

    def ring(number, frame):
        raise LateError

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", hostile.HOSTILE.values(), ids=hostile.HOSTILE)
def test_a_hostile_file_gets_one_line_in_time(case, tmp_path):
    path = write(case, tmp_path)
    before = sorted(path.parent.rglob("*"))
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    command = [sys.executable, "-m", "fpverify", "verify", path, "-f", FINGERPRINT]
    limits = ["--timeout", str(SECONDS), "--memory", "1"]
    done = subprocess.run(
        [*command, *limits],
        cwd=here,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
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
    assert sorted(path.parent.rglob("*")) == before
    assert not list(here.iterdir())
    assert not list(temporary.iterdir())
    assert not working_below(tmp_path)


@pytest.mark.parametrize("case", hostile.HOSTILE.values(), ids=hostile.HOSTILE)
def test_a_hostile_file_is_inspected_or_refused_in_one_line(case, tmp_path, late):
    path = write(case, tmp_path)
    found = CliRunner().invoke(main, ["inspect", str(path), "-f", str(FINGERPRINT)], catch_exceptions=False)
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
    assert re.search(r"Note: \d+ keys were answered differently when they were asked again", found.stdout)


def test_a_model_that_looks_at_the_other_inputs_of_its_batch_is_found_by_asking_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("fpverify.suspects.onnx_file.CHUNK_BYTES", 256 * 7)  # so that the neighbours change
    path = write(hostile.HOSTILE["batch-dependent"], tmp_path)
    found = CliRunner().invoke(main, ["verify", str(path), "-f", str(FINGERPRINT), "--ask-twice"])
    assert re.search(r"Note: \d+ keys were answered differently when they were asked again", found.stdout)
