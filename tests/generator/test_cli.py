"""The owner's commands: bad input is one line and exit code 2, and leaves no file."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from click.testing import CliRunner
from fpverify_generator.cli import main

import fpverify


def constant_data(folder: Path) -> list[str]:
    """Labels that have nothing to do with the images: no source can learn them."""
    draw = np.random.default_rng(0)
    np.savez(folder / "d.npz", inputs=draw.random((400, 1, 8, 8), dtype=np.float32), labels=draw.integers(0, 2, 400))
    return ["--data", str(folder / "d.npz"), "--preset", "quick"]


BAD = {
    "no data": (lambda folder: ["--data", str(folder / "none")], "no such data"),
    "no source": (lambda folder: ["--data", "digits", "--source", str(folder / "m.onnx")], "no such file"),
    "chance": (constant_data, "not above chance"),
    "surrogates": (lambda folder: ["--data", "digits", "--surrogates", "3"], "too few surrogates to hold some out"),
    "preset": (lambda folder: ["--data", "digits", "--preset", "huge"], "no preset 'huge'"),
    "nulls": (lambda folder: ["--data", "digits", "--nulls", "1"], "cannot reject"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_code_2_and_no_output(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    output = tmp_path / "f.safetensors"
    result = CliRunner().invoke(main, ["build", *make(tmp_path), "-o", str(output)])
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if not line.startswith("[")]
    assert len(errors) == 1
    assert errors[0].startswith("fpverify-generator: error: ")
    assert message in errors[0]
    assert not output.exists()
    assert not list(tmp_path.glob("*.onnx"))


def failing(error: BaseException) -> Callable[..., Any]:
    def command(*_: Any) -> NoReturn:
        raise error

    return command


UNEXPECTED: list[tuple[BaseException, str]] = [
    (
        RuntimeError("first\nsecond"),
        "unexpected RuntimeError: first; for its traceback: fpverify-generator --debug ...",
    ),
    (RecursionError(), "unexpected RecursionError; for its traceback: fpverify-generator --debug ..."),
    (ValueError("\x1b[2Jx" * 500), "unexpected ValueError"),
    (MemoryError(), "out of memory"),
    (EOFError(), "unexpected EOFError"),
    (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
    (OSError(28, "No space left on device"), "output: No space left on device"),
    (KeyboardInterrupt(), "interrupted; finished work stays in the cache"),
]


@pytest.mark.parametrize(("error", "message"), UNEXPECTED, ids=lambda value: type(value).__name__)
def test_any_exception_is_one_line_and_exit_code_2(
    error: BaseException, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpverify_generator.commands.build_command", failing(error))
    arguments = ["build", "--data", "digits", "-o", str(tmp_path / "f")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"fpverify-generator: error: {message}")
    assert line.isprintable()
    assert len(line) < 600


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_traceback_is_shown_on_demand(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpverify_generator.commands.build_command", failing(RuntimeError("first")))
    arguments = ["build", "--data", "digits", "-o", str(tmp_path / "f")]
    if how == "option":
        arguments = ["--debug", *arguments]
    else:
        monkeypatch.setenv("FPVERIFY_DEBUG", "1")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("fpverify-generator: error: unexpected RuntimeError: first")


def run(shell: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m fpverify_generator {shell}"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, **settings)


CLOSED = "fpverify-generator: error: standard output or standard error is closed; redirect it to /dev/null instead\n"
REDIRECTIONS = {
    "> /dev/full": "fpverify-generator: error: output: No space left on device\n",
    ">&-": CLOSED,
    "2>&-": "",
    ">&- 2>&-": "",
    "> /dev/full 2> /dev/full": "",
}


@pytest.mark.parametrize("redirection", REDIRECTIONS)
@pytest.mark.parametrize("arguments", ["attacks", "--help"])
def test_an_output_that_cannot_be_written_ends_in_exit_code_2(redirection: str, arguments: str) -> None:
    result = run(f"{arguments} {redirection}")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", REDIRECTIONS[redirection])


def test_a_pipe_that_nobody_reads_ends_in_exit_code_2() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "fpverify_generator", "attacks"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 2
    assert done.stderr == "fpverify-generator: error: output: Broken pipe\n"


def test_cuda_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "d"), "--device", "cuda"])
    assert result.exit_code == 2
    assert "no CUDA device" in result.stderr


def test_the_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys, fpverify_generator.cli as c; c.main(['--help'], standalone_mode=False);"
        "print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "False"


SMALLER = """
base = "quick"
candidates = 120
keys = 40
nulls = 60
surrogates = { cem = 14, selection = 7, calibration = 21 }
references = { cem = 14, selection = 7, calibration = 8 }
"""
"""A preset for the tests: half of `quick`."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    preset = folder / "smaller.toml"
    preset.write_text(SMALLER)
    result = CliRunner().invoke(main, ["demo", "--out", str(folder), "--preset", str(preset)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return folder, result.stdout


def test_a_demo_parts_derived_from_unrelated_suspects(demo: tuple[Path, str]) -> None:
    report = json.loads((demo[0] / "demo.json").read_text())
    # of a small preset; the default preset's bar is that of tests/benchmarks/demo_seeds.py
    assert report["roc_auc"] >= 0.95
    unrelated = [row for row in report["suspects"] if row["kind"] == "unrelated"]
    derived = [row for row in report["suspects"] if row["kind"] == "derived"]
    assert len(derived) >= 12
    assert len(unrelated) >= 12
    assert sum(row["verdict"] == "derived" for row in unrelated) <= 2
    # its 60 null models reject "unrelated" only above all of them; what they do not reject is inconclusive
    assert sum(row["verdict"] == "derived" for row in derived) >= len(derived) / 2
    # "derived" is rejected for 1 copy in 20 by the rule's own significance; which one differs between processors
    assert sum(row["verdict"] == "unrelated" for row in derived) <= 2


def test_each_row_is_what_an_auditor_gets_from_the_files(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    report = json.loads((folder / "demo.json").read_text())
    for row in report["suspects"][::7]:
        result = fpverify.verify(folder / "fingerprint.safetensors", folder / row["file"])
        assert (result.retention, result.p_value, result.verdict.value) == (
            row["retention"],
            row["p_value"],
            row["verdict"],
        )
        assert row["attack"] in printed
    source = fpverify.verify(folder / "fingerprint.safetensors", folder / report["source"]["file"])
    assert source.retention == 1.0
    assert report["lowest_derived"] == min(r["retention"] for r in report["suspects"] if r["kind"] == "derived")


def test_a_demo_leaves_its_splits_and_its_picture(demo: tuple[Path, str]) -> None:
    with np.load(demo[0] / "data.npz") as arrays:
        images = [set(arrays[f"{name}_images"].tolist()) for name in ("owner", "attacker", "test")]
    assert sum(map(len, images)) == len(set.union(*images)) == 1797
    assert (demo[0] / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_a_demo_that_is_run_again_trains_and_judges_nothing_twice(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    report = json.loads((folder / "demo.json").read_text())
    written = {path: path.stat().st_mtime_ns for path in (folder / "cache").glob("*.safetensors")}
    arguments = ["demo", "--out", str(folder), "--preset", str(folder / "smaller.toml")]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    again = json.loads((folder / "demo.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").glob("*.safetensors")} == written
    assert again["suspects"] == report["suspects"]


def test_a_demos_splits_are_data_for_a_build(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder = demo[0]
    arguments = [
        "build",
        "--data",
        str(folder / "data.npz"),
        "--source",
        str(folder / "source.onnx"),
        "--preset",
        "quick",
    ]
    sizes = ["--surrogates", "8", "--references", "8", "--nulls", "19", "--keys", "10", "-o", str(tmp_path / "f")]
    result = CliRunner().invoke(main, [*arguments, *sizes], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert fpverify.verify(tmp_path / "f", folder / "source.onnx").retention == 1.0


def test_an_owners_model_is_not_overwritten_and_an_output_is_tried_first(tmp_path: Path) -> None:
    model = tmp_path / "mine.onnx"
    shutil.copy(Path(__file__).parents[2] / "fixtures" / "digits" / "source.onnx", model)
    before, common = model.read_bytes(), ["--data", "digits", "--source", str(model)]
    for command in (["build", "--preset", "quick"], ["attack", "retrain-labels"]):
        found = CliRunner().invoke(main, [*command, *common, "-o", str(model)])
        assert (found.exit_code, model.read_bytes()) == (2, before)
        assert "would overwrite a file that it is made from" in found.stderr
        elsewhere = ["--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "none" / "x")]
        found = CliRunner().invoke(main, [*command, *common, *elsewhere])
        assert found.exit_code == 2
        assert "cannot write it: there is no such folder" in found.stderr
        assert "accuracy" not in found.stderr  # nothing was trained, or asked
