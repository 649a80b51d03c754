"""`verify` of several suspects: a row each, corrected for their number, and one that is broken stops none."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from fpverify import save_fingerprint
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
    model = onnx.load(derived_file)
    for number in range(6):
        model.doc_string = f"number {number}"
        onnx.save(model, tmp_path / f"{number}.onnx")
    done, found = rows(*sorted(tmp_path.glob("?.onnx")))
    assert done.exit_code == 4
    assert {one["result"]["verdict"] for one in found.values()} == {"inconclusive"}
    gate = rows(*sorted(tmp_path.glob("?.onnx")), "--fail-on", "derived")[0]
    assert gate.exit_code == 0
    assert "6 of 6 rows would be derived but for the correction for many tests, and pass: --fail-on" in gate.stderr
    gate = rows(*sorted(tmp_path.glob("?.onnx")), "--fail-on", "derived", "--fail-on", "suspicious")[0]
    assert (gate.exit_code, gate.stderr) == (4, "")
    done, found = rows(*sorted(tmp_path.glob("?.onnx")), "--correction", "none")
    assert done.exit_code == 3
    assert {one["result"]["correction"] for one in found.values()} == {None}


def test_copies_of_one_file_are_one_test(rows, derived_file, tmp_path):
    """Else a thief who ships his copy ten times is freed by their number."""
    for number in range(10):
        (tmp_path / f"{number}.onnx").write_bytes(derived_file.read_bytes())
    done, found = rows(*sorted(tmp_path.glob("?.onnx")), tmp_path / "." / "0.onnx")
    assert done.exit_code == 3
    assert {one["result"]["verdict"] for one in found.values()} == {"derived"}
    assert {one["result"]["correction"]["tests"] for one in found.values()} == {1}


def test_all_files_of_a_folder_are_suspects(rows, derived_file, unrelated_file, fingerprint_file, tmp_path):
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
    # With model.onnx the folder is a model's, and the other files in it are judged all the same.
    done, found = rows(folder, unrelated_file)
    others = [str(folder / "a.onnx"), str(folder / "deep" / "b.onnx")]
    assert list(found) == [str(folder), *others, str(unrelated_file)]
    for other in others:
        Path(other).unlink()
    assert json.loads(run(folder, "-f", fingerprint_file, "--format", "json").stdout)["verdict"] == "derived"


def test_what_may_be_a_credential_stands_nowhere(rows, derived_file):
    """Nobody listens at these addresses: a row without a verdict names each, and the others' command does, too."""
    secret = ("S3CRETPW", "t'ok=en", "SUFFIX")
    addresses = [
        f"v2+http://user:{secret[0]}@127.0.0.1:9/v2/models/m",
        f"v2+http://127.0.0.1:9/v2/models/m?token={secret[1]}",
        f"v2+http://127.0.0.1:9/v2/models/m?token={secret[1]}{secret[2]}",
        f"V2+HTTP://127.0.0.1:9/v2/models/m?token={secret[2]}",
    ]
    done, found = rows(derived_file, *addresses)
    assert "http://127.0.0.1:9/v2/models/m?…" in json.loads(json.dumps(done.stdout)).replace("\\u2026", "…")
    assert not any(one in done.stdout + done.stderr for one in secret)
    command = found[str(derived_file)]["result"]["command"]
    assert command.count("127.0.0.1:9/v2/models/m") == 4


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--contract", "none.toml"], "none.toml"),
        (["--probe", "none.npz"], "cannot read the probe"),
        (["--twins", "none"], "none"),
        (["--vetting", "none.json"], "none.json"),
        (["--commitment", "none.json"], "none.json"),
    ],
)
def test_the_auditors_own_mistake_is_said_once_and_is_no_row(
    derived_file, unrelated_file, fingerprint_file, options, message
):
    done = run(derived_file, unrelated_file, "-f", fingerprint_file, "--fail-on", "never", *options)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def test_an_endpoint_that_cannot_be_read_is_a_row(derived_file, fingerprint_file, tmp_path):
    (tmp_path / "e.toml").write_text("url = ")
    output = tmp_path / "r.json"
    done = run(derived_file, f"endpoint:{tmp_path / 'e.toml'}", "-f", fingerprint_file, "-o", output)
    assert done.exit_code == 3
    assert [one["outcome"] for one in json.loads(output.read_text())] == ["derived", "no verdict"]


def test_rows_are_shown_again(derived_file, broken, fingerprint_file, tmp_path):
    saved = tmp_path / "many.json"
    run(derived_file, broken, "-f", fingerprint_file, "-o", saved)
    again = CliRunner().invoke(main, ["report", str(saved), "--format", "json"])
    assert (again.exit_code, again.stdout) == (0, saved.read_text())
    assert CliRunner().invoke(main, ["report", str(saved)]).stdout.startswith("2 suspects by 1 fingerprint: 1 derived")
    done = CliRunner().invoke(main, ["recheck", str(saved)])
    assert (done.exit_code, "holds several verdicts; take the 'result' of one row" in done.stderr) == (2, True)
    rows = json.loads(saved.read_text())
    for change in ({"outcome": "unrelated"}, {"suspect": 3}, {"more": 1}):
        saved.write_text(json.dumps([{**rows[0], **change}]))
        done = CliRunner().invoke(main, ["report", str(saved)])
        assert (done.exit_code, "row 1" in done.stderr) == (2, True)


def test_notes_of_rows_are_shown_in_every_format(derived_file, unrelated_file, fingerprint, tmp_path):
    stated = replace(fingerprint, method={**fingerprint.method, "private_images": True})
    save_fingerprint(stated, tmp_path / "f.safetensors")
    for style in ("text", "markdown", "html", "csv", "sarif", "junit", "json"):
        done = run(derived_file, unrelated_file, "-f", tmp_path / "f.safetensors", "--format", style)
        assert "do not hold for a model that learnt from these images" in done.stdout, style


def test_a_callables_module_is_evidence(fingerprint_file, derived_file, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "boom_of_tests.py"
    module.write_text("def zero(inputs):\n    return [0] * len(inputs)\n")
    done = run(derived_file, "boom_of_tests:zero", "-f", fingerprint_file, "-o", module)
    assert (done.exit_code, "would overwrite a file that it is made from" in done.stderr) == (2, True)


def test_a_journal_that_is_not_begun_is_evidence(fingerprint_file, tmp_path):
    (tmp_path / "e.toml").write_text('type = "v2"\nurl = "http://127.0.0.1:9/v2/models/m"\njournal = "j.jsonl"\n')
    done = run(f"endpoint:{tmp_path / 'e.toml'}", "-f", fingerprint_file, "-o", tmp_path / "j.jsonl")
    assert (done.exit_code, "would overwrite a file that it is made from" in done.stderr) == (2, True)


def test_a_name_in_a_line_of_progress_is_harmless(derived_file, unrelated_file, fingerprint_file, tmp_path):
    name = tmp_path / "a\x1b]0;PWNED\x07\nDERIVED: fake.onnx"
    name.write_bytes(unrelated_file.read_bytes())
    done = run(name, "-f", fingerprint_file, "--verbose")
    assert "\x1b" not in done.stderr
    assert "\nDERIVED" not in done.stderr


def test_one_that_is_broken_is_a_row_where_there_are_rows(broken, fingerprint_file, tmp_path):
    outputs = [
        part for suffix in ("csv", "jsonl", "xml", "sarif", "json", "txt") for part in ("-o", tmp_path / f"r.{suffix}")
    ]
    done = run(broken, "-f", fingerprint_file, *outputs)
    assert done.exit_code == 2
    assert f"error: {broken}: " in done.stderr
    assert sorted(path.suffix for path in tmp_path.glob("r.*")) == [".csv", ".jsonl", ".sarif", ".xml"]
    assert json.loads((tmp_path / "r.jsonl").read_text())["outcome"] == "no verdict"
    assert run(broken, "-f", fingerprint_file, "--fail-on", "never").exit_code == 0
    assert run(broken, "-f", fingerprint_file, "--fail-on", "derived").exit_code == 2
    assert run(broken, "-f", tmp_path / "none", "--fail-on", "never").exit_code == 2


def test_a_dry_run_is_for_one(fingerprint_file):
    done = run("v2+https://a/v2/models/m", "v2+https://b/v2/models/m", "-f", fingerprint_file, "--dry-run")
    assert done.exit_code == 2
    assert "one endpoint at a time, found 2 suspects" in done.stderr


def test_no_suspect_is_a_usage_error(fingerprint_file):
    assert run("-f", fingerprint_file).exit_code == 2
