import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import fpverify
from fpverify.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def inconclusive_file(tmp_path, make_onnx):
    """Answers class 2 with class 0: 16 of 24 keys, where 18 are the cut."""
    return make_onnx(tmp_path / "inconclusive.onnx", weights=[[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("suspect", "code", "verdict"),
    [("derived_file", 3, "DERIVED"), ("unrelated_file", 0, "UNRELATED"), ("inconclusive_file", 4, "INCONCLUSIVE")],
)
def test_the_exit_code_is_the_verdict(request, tmp_path, fingerprint_file, suspect, code, verdict):
    file = request.getfixturevalue(suspect)
    (tmp_path / "known.toml").write_text('low = 0.0\nhigh = 1.0\nclasses = ["cat", "dog", "eel"]\n')
    known = ("--contract", tmp_path / "known.toml")
    text = run("verify", file, "-f", fingerprint_file, *known)
    assert (text.exit_code, text.stderr) == (code, "")
    assert text.stdout.startswith(f"{verdict}: ")
    document = run("verify", file, "--fingerprint", fingerprint_file, "--format", "json", *known)
    assert document.exit_code == code
    assert json.loads(document.stdout)["verdict"] == verdict.lower()


def test_a_stricter_level_is_obeyed(fingerprint_file, derived_file):
    found = run("verify", derived_file, "-f", fingerprint_file, "--significance", "0.005")
    assert found.exit_code == 4
    assert '99 null models cannot reject "unrelated" at the significance 0.005: 199 are needed' in found.stdout


def test_options_reach_the_suspect(tmp_path, fingerprint_file, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", shape=["n", "a", "b", "c"])
    (tmp_path / "contract.toml").write_text('layout = "NCHW"\nlow = 0.0\nhigh = 255.0\n')
    (tmp_path / "classes").write_text("eel\ndog\ncat\n")
    options = ["--contract", tmp_path / "contract.toml", "--classes", tmp_path / "classes", "--ask-twice"]
    limits = ["--timeout", "30", "--memory", "2", "--cpu-time", "7"]
    found = run("verify", path, "-f", fingerprint_file, *options, *limits, "--format", "json")
    document = json.loads(found.stdout)
    assert document["kept"] == 8  # the list is reversed: only the dog stays in its place
    assert document["contract"]["classes"] == ["eel", "dog", "cat"]
    assert document["contract"]["values"]["high"] == 255
    assert set(document["contract"]["origins"].values()) == {"option", "file", "assumption"}
    assert document["answers"]["disagreements"] == 0
    assert document["sandbox"]["seconds"] == 30
    assert document["sandbox"]["cpu_seconds"] == 7


def test_a_probe_file_decides(tmp_path, fingerprint, fingerprint_file, derived_file):
    np.savez(tmp_path / "probe.npz", inputs=fingerprint.inputs, labels=fingerprint.labels)
    found = run("verify", derived_file, "-f", fingerprint_file, "--probe", tmp_path / "probe.npz")
    assert found.exit_code == 3
    assert "100.0% of 24 ordinary inputs right (chance 33.3%)" in found.stdout


def test_inspect_says_who_says_what_a_model_expects(tmp_path, fingerprint_file, make_onnx):
    path = make_onnx(tmp_path / "m.onnx", shape=["n", "a", "b", "c"])
    alone = run("inspect", path)
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert "NCHW or NHWC (undetermined)" in alone.stdout
    (tmp_path / "contract.json").write_text('{"layout": "NHWC"}')
    fitted = run("inspect", path, "-f", fingerprint_file, "--contract", tmp_path / "contract.json")
    assert "NHWC (option)" in fitted.stdout
    assert "2 x 2 pixels (assumption)" in fitted.stdout


def test_the_report_goes_to_the_file_alone(tmp_path, fingerprint_file, derived_file):
    output = tmp_path / "report.json"
    found = run("verify", derived_file, "-f", fingerprint_file, "--format", "json", "-o", output)
    assert (found.exit_code, found.stdout, found.stderr) == (3, "", "")
    assert json.loads(output.read_text())["verdict"] == "derived"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "missing.onnx", "-f", "FINGERPRINT"], "missing.onnx: cannot read the suspect: No such file"),
        (["verify", "SUSPECT", "-f", "missing"], "missing: cannot read the fingerprint: No such file"),
        (["verify", "SUSPECT", "-f", "SUSPECT"], "no fingerprint: an ONNX model: the two arguments are swapped"),
        (["verify", "FINGERPRINT", "-f", "FINGERPRINT"], "the two arguments are swapped"),
        (
            ["verify", "SUSPECT", "-f", "FINGERPRINT", "--significance", "2"],
            "significance must be a number between 0 and 1",
        ),
        (
            ["verify", "SUSPECT", "-f", "FINGERPRINT", "--significance", "nan"],
            "significance must be a number between 0 and 1",
        ),
        (
            ["verify", "SUSPECT", "-f", "FINGERPRINT", "--timeout", "0"],
            "seconds must be a finite number above 0",
        ),
        (["verify", "SUSPECT", "-f", "FINGERPRINT", "--memory", "nan"], "memory must be a finite number above 0"),
        (
            ["verify", "SUSPECT", "-f", "FINGERPRINT", "--memory", "0.05"],
            "memory must be at least 268435456 bytes",
        ),
        (["verify", "SUSPECT", "-f", "FINGERPRINT", "--contract", "missing"], "missing: cannot read it: No such file"),
        (["verify", "SUSPECT", "-f", "FINGERPRINT", "--classes", "missing"], "missing: cannot read it: No such file"),
        (["verify", "SUSPECT", "-f", "FINGERPRINT", "--probe", "missing"], "missing: cannot read the probe"),
        (["verify", "SUSPECT", "-f", "FINGERPRINT", "-o", "no/folder"], "cannot write the report: No such file"),
        (["verify", "SUSPECT", "-f", "FINGERPRINT", "-o", "SUSPECT"], "would overwrite a file that it is made from"),
        (["inspect", "missing"], "missing: cannot read it: No such file"),
        (["inspect", "."], ": a folder"),
    ],
)
def test_without_a_verdict_one_line_says_why(fingerprint_file, derived_file, arguments, message):
    names = {"SUSPECT": derived_file, "FINGERPRINT": fingerprint_file}
    before = derived_file.read_bytes()
    found = run(*[names.get(argument, argument) for argument in arguments])
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith("fpverify: error: ")
    assert found.stderr.count("\n") == 1
    assert message in found.stderr
    assert derived_file.read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [["verify"], ["verify", "x"], ["nonsense"], ["verify", "x", "-f", "y", "--device", "tpu"]]
)
def test_a_wrong_command_line_is_no_verdict(arguments):
    assert run(*arguments).exit_code == 2


def test_inspect_reads_both_kinds(fingerprint_file, derived_file):
    assert run("inspect", fingerprint_file).stdout.startswith("Fingerprint ")
    assert run("inspect", derived_file).stdout.startswith("ONNX model ")
    assert json.loads(run("inspect", derived_file, "--format", "json").stdout)["classes"] == 3


def test_the_version_is_printed():
    assert run("--version").stdout == f"fpverify, version {fpverify.__version__}\n"


def command(*arguments):
    return [sys.executable, "-m", "fpverify", *map(str, arguments)]


def test_a_reader_that_went_away_got_no_verdict(fingerprint_file, unrelated_file):
    reading, writing = os.pipe()
    os.close(reading)
    arguments = command("verify", unrelated_file, "-f", fingerprint_file)
    done = subprocess.run(arguments, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 2
    assert done.stderr == "fpverify: error: stdout: cannot write the report: [Errno 32] Broken pipe\n"


@pytest.mark.parametrize("place", [">&-", ">/dev/full"])
def test_a_report_that_cannot_be_printed_is_no_verdict(fingerprint_file, unrelated_file, place):
    if "full" in place and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    arguments = command("verify", unrelated_file, "-f", fingerprint_file)
    done = subprocess.run(["sh", "-c", f'exec "$@" {place}', "sh", *arguments], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("fpverify: error: stdout")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, MemoryError, RecursionError, KeyboardInterrupt])
def test_a_crash_is_one_line_and_no_verdict(monkeypatch, fingerprint_file, derived_file, error):
    def crash(*arguments, **options):
        raise error("so")

    monkeypatch.setattr("fpverify.verification.verify", crash)
    found = run("verify", derived_file, "-f", fingerprint_file)
    assert found.exit_code == 2
    assert found.stderr.startswith("fpverify: error: ")
    assert found.stderr.count("\n") == 1
    monkeypatch.setenv("FPVERIFY_DEBUG", "1")
    assert "Traceback" in run("verify", derived_file, "-f", fingerprint_file).stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["inspect", "nothing"]])
def test_full_streams_are_no_verdict(words):
    done = subprocess.run(["sh", "-c", 'exec "$@" >/dev/full 2>/dev/full', "sh", *command(*words)], check=False)
    assert done.returncode == 2


def test_a_report_goes_into_a_pipe_and_through_a_link(tmp_path, fingerprint_file, derived_file):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert run("verify", derived_file, "-f", fingerprint_file, "-o", tmp_path / "link").exit_code == 3
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text().startswith("DERIVED")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert run("verify", derived_file, "-f", fingerprint_file, "-o", tmp_path / "pipe").exit_code == 3
    assert os.read(reader, 7) == b"DERIVED"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert run("verify", derived_file, "-f", fingerprint_file, "-o", tmp_path / "pipe").exit_code == 2


def test_a_name_too_long_is_one_line(tmp_path, fingerprint_file, derived_file):
    found = run("verify", derived_file, "-f", fingerprint_file, "-o", tmp_path / ("a" * 300))
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)


def test_modules_in_the_current_folder_are_not_imported(tmp_path, fingerprint_file, derived_file):
    for name in ("click", "onnxruntime", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\nraise SystemExit(0)\n")
    root = os.path.dirname(os.path.dirname(fpverify.__file__))
    environment = {**os.environ, "PYTHONPATH": root}
    words = [sys.executable, "-m", "fpverify", "verify", derived_file, "-f", fingerprint_file]
    done = subprocess.run(words, capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_terminal_that_knows_only_ascii_gets_a_report(fingerprint_file, tmp_path, make_onnx):
    path = make_onnx(tmp_path / "Zürich.onnx")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("verify", path, "-f", fingerprint_file), capture_output=True, env=environment)
    assert done.returncode == 3
    assert rb"Z\xfcrich.onnx" in done.stdout


def test_each_option_can_be_an_environment_variable(fingerprint_file, derived_file):
    arguments = ["verify", str(derived_file), "-f", str(fingerprint_file), "--format", "json"]
    ran = CliRunner().invoke(main, arguments, env={"FPVERIFY_VERIFY_SIGNIFICANCE": "0.015"})
    assert json.loads(ran.output)["policy"]["significance"] == 0.015
    wrong = CliRunner().invoke(main, arguments, env={"FPVERIFY_VERIFY_SIGNIFICANCE": "often"})
    assert wrong.exit_code == 2
    assert "--significance" in wrong.stderr


def test_a_shell_can_complete_commands(tmp_path):
    ran = CliRunner().invoke(main, [], env={"_MAIN_COMPLETE": "bash_source"}, prog_name="main")
    assert ran.exit_code == 0
    assert "_MAIN_COMPLETE=bash_complete" in ran.output
