"""`verify` of several suspects: a row each, corrected for their number, and one that is broken stops none."""

import json

import pytest
from click.testing import CliRunner

from fpverify.cli import main


def run(*arguments):
    return CliRunner().invoke(main, ["verify", *(str(argument) for argument in arguments)])


@pytest.fixture
def rows(fingerprint_file):
    """Judges suspects; returns the run and its rows by the suspect's name."""

    def judge(*arguments):
        done = run(*arguments, "-f", fingerprint_file, "--format", "json")
        return done, {one["suspect"]: one for one in json.loads(done.stdout)}

    return judge


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    return path


def test_each_suspect_is_a_row_and_a_broken_one_says_why(rows, derived_file, unrelated_file, broken, fingerprint_file):
    done, found = rows(derived_file, broken, unrelated_file, derived_file)
    assert done.exit_code == 3
    assert list(found) == [str(derived_file), str(broken), str(unrelated_file)]
    assert found[str(broken)]["result"] is None
    assert str(broken) not in found[str(broken)]["error"] != ""
    verdicts = [found[str(path)]["result"]["verdict"] for path in (derived_file, unrelated_file)]
    alone = run(unrelated_file, "-f", fingerprint_file, "--format", "json")
    assert verdicts == ["derived", json.loads(alone.stdout)["verdict"]]
    assert found[str(derived_file)]["result"]["correction"] == {
        "method": "holm",
        "tests": 2,
        "p_value": 0.02,
        "changed": False,
    }
    assert found[str(derived_file)]["result"]["command"].startswith("fpverify verify ")


def test_many_tests_let_no_suspect_be_accused_by_chance(rows, derived_file, tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.onnx").write_bytes(derived_file.read_bytes())
    done, found = rows(*sorted(tmp_path.glob("?.onnx")))
    assert done.exit_code == 4
    assert {one["result"]["verdict"] for one in found.values()} == {"inconclusive"}
    done, found = rows(*sorted(tmp_path.glob("?.onnx")), "--correction", "none")
    assert done.exit_code == 3
    assert {one["result"]["correction"] for one in found.values()} == {None}


def test_the_files_of_a_folder_are_suspects_unless_it_is_a_models(rows, derived_file, unrelated_file, tmp_path):
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.onnx").write_bytes(derived_file.read_bytes())
    (folder / "deep" / "b.onnx").write_bytes(unrelated_file.read_bytes())
    (folder / "link").symlink_to(tmp_path)
    done, found = rows(folder)
    assert list(found) == [str(folder / "a.onnx"), str(folder / "deep" / "b.onnx"), str(folder / "link")]
    assert "not followed" in found[str(folder / "link")]["error"]
    (folder / "model.onnx").write_bytes(derived_file.read_bytes())
    done = run(folder, "-f", derived_file.parent / "none")
    assert done.exit_code == 2
    (folder / "link").unlink()
    done, found = rows(folder, unrelated_file)
    assert list(found) == [str(folder), str(unrelated_file)]


def test_one_suspect_is_reported_alone(derived_file, fingerprint_file, tmp_path):
    done = run(derived_file, "-f", fingerprint_file, "--format", "json")
    assert json.loads(done.stdout)["correction"] is None
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(empty, "-f", fingerprint_file)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_a_fingerprint_with_a_fault_is_said_once(derived_file, unrelated_file, tmp_path):
    done = run(derived_file, unrelated_file, "-f", tmp_path / "none.safetensors")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_dry_run_is_for_one(fingerprint_file):
    done = run("v2+https://a/v2/models/m", "v2+https://b/v2/models/m", "-f", fingerprint_file, "--dry-run")
    assert done.exit_code == 2
    assert "one endpoint at a time, found 2 suspects" in done.stderr


def test_no_suspect_is_a_usage_error(fingerprint_file):
    assert run("-f", fingerprint_file).exit_code == 2
