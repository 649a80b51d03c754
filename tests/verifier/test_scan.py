"""Many suspects are judged by many fingerprints; a broken one is a row, and what was judged is not asked again."""

import json
import os

import pytest
from click.testing import CliRunner

import fpverify.scanning as scanning
from fpverify import FingerprintError, OutputError, PolicyError, SuspectError, save_fingerprint
from fpverify.cli import main
from fpverify.scanning import scan


@pytest.fixture
def fingerprints(tmp_path, make_backed):
    folder = tmp_path / "fingerprints"
    folder.mkdir()
    save_fingerprint(make_backed(), folder / "a.safetensors")
    save_fingerprint(make_backed(fingerprint={"seeds": {"run": 8}}), folder / "b.safetensors")
    return folder


@pytest.fixture
def models(tmp_path, make_onnx):
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    make_onnx(folder / "deep" / "derived.onnx")
    make_onnx(folder / "unrelated.onnx", weights=[[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    (folder / "broken.onnx").write_bytes(b"no model")
    (folder / "notes.txt").write_text("left out")
    return folder


def rows(found):
    return [(os.path.basename(one.suspect), os.path.basename(one.fingerprint), one.outcome) for one in found]


def asked(monkeypatch):
    """Count the suspects that are asked."""
    calls = []
    whole = scanning.verify_each

    def counted(fingerprints, suspect, **rest):
        calls.append((suspect, len(list(fingerprints))))
        return whole(fingerprints, suspect, **rest)

    monkeypatch.setattr(scanning, "verify_each", counted)
    return calls


def test_each_suspect_meets_each_fingerprint_and_a_broken_one_is_a_row(models, fingerprints):
    with scan([models], [fingerprints], correction=None) as found:
        assert rows(found) == [
            ("broken.onnx", "a.safetensors", "no verdict"),
            ("broken.onnx", "b.safetensors", "no verdict"),
            ("unrelated.onnx", "a.safetensors", "inconclusive"),
            ("unrelated.onnx", "b.safetensors", "inconclusive"),
            ("derived.onnx", "a.safetensors", "derived"),
            ("derived.onnx", "b.safetensors", "derived"),
        ]
        broken = next(iter(found))
        assert broken.error
        assert str(models) not in broken.error
        assert rows(found) == rows(found)


def test_verdicts_are_corrected_for_their_number(models, fingerprints):
    """99 null models can reject at 0.02 in two tests by Holm's procedure, and not in four."""
    with scan([models / "deep"], [fingerprints]) as found:
        assert {(one.outcome, one.result.correction.tests) for one in found} == {("derived", 2)}
    with scan([models], [fingerprints]) as found:
        results = [one.result for one in found if one.result is not None]
        assert {str(one.verdict) for one in results} == {"inconclusive"}
        assert {one.correction.tests for one in results} == {4}
    with scan([models], [fingerprints], correction="benjamini-hochberg") as found:
        assert [one.outcome for one in found].count("derived") == 2


def test_what_was_judged_is_not_asked_again(models, fingerprints, tmp_path, monkeypatch):
    calls = asked(monkeypatch)
    with scan([models], [fingerprints], cache=tmp_path / "cache") as found:
        first = [one.result for one in found]
    assert sorted((os.path.basename(path), count) for path, count in calls) == [
        ("broken.onnx", 2),
        ("derived.onnx", 2),
        ("unrelated.onnx", 2),
    ]
    calls.clear()
    with scan([models], [fingerprints], cache=tmp_path / "cache") as found:
        assert [one.result for one in found] == first
    assert [(os.path.basename(path), count) for path, count in calls if count] == [("broken.onnx", 2)]
    calls.clear()
    (models / "deep" / "derived.onnx").rename(models / "moved.onnx")
    with scan([models / "moved.onnx"], [fingerprints], cache=tmp_path / "cache") as found:
        assert {one.result.suspect.name for one in found} == {str(models / "moved.onnx")}
    assert not [count for _, count in calls if count]


def test_a_changed_suspect_or_policy_or_a_damaged_result_is_asked_again(models, fingerprints, tmp_path, monkeypatch):
    from fpverify import Policy

    cache, model = tmp_path / "cache", models / "deep" / "derived.onnx"
    scan([model], [fingerprints], cache=cache).close()
    calls = asked(monkeypatch)
    scan([model], [fingerprints], cache=cache, policy=Policy(significance=0.03)).close()
    assert [count for _, count in calls] == [2]
    for file in cache.glob("*/*.json"):
        file.write_text("{}")
    scan([model], [fingerprints], cache=cache).close()
    assert [count for _, count in calls] == [2, 2]
    model.write_bytes((models / "unrelated.onnx").read_bytes())
    with scan([model], [fingerprints], cache=cache) as found:
        assert {one.outcome for one in found} == {"inconclusive"}
    assert [count for _, count in calls] == [2, 2, 2]


def test_results_without_a_folder_leave_nothing_behind(models, fingerprints, tmp_path, monkeypatch):
    monkeypatch.setattr(scanning.tempfile, "tempdir", str(tmp_path))
    before = set(os.listdir(tmp_path))
    with scan([models], [fingerprints]):
        pass
    assert set(os.listdir(tmp_path)) == before


def test_the_number_of_jobs_changes_nothing(models, fingerprints):
    with scan([models], [fingerprints], jobs=1) as one, scan([models], [fingerprints], jobs=4) as four:
        assert rows(one) == rows(four)


def test_progress_counts_suspects(models, fingerprints):
    seen = []
    scan([models], [fingerprints], progress=lambda done, suspects: seen.append((done, suspects))).close()
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"jobs": 0}, PolicyError, "jobs must be an integer of at least 1"),
        ({"correction": "bonferroni"}, PolicyError, "correction must be one of holm"),
        ({"contract": {"colour": 1}}, PolicyError, "contract"),
    ],
)
def test_settings_that_make_no_sense_are_named_before_anything_is_asked(models, fingerprints, change, error, message):
    with pytest.raises(error, match=message):
        scan([models], [fingerprints], **change)


def test_nothing_to_judge_is_an_error_and_no_innocence(models, fingerprints, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuspectError, match="there is no suspect"):
        scan([tmp_path / "empty"], [fingerprints])
    with pytest.raises(PolicyError, match="there is no fingerprint"):
        scan([models], [tmp_path / "empty"])
    (fingerprints / "c.safetensors").write_bytes(b"damaged")
    with pytest.raises(FingerprintError, match=r"damaged|header|bytes"):
        scan([models], [fingerprints])
    ran = CliRunner().invoke(main, ["scan", str(tmp_path / "empty"), "-f", str(fingerprints / "a.safetensors")])
    assert ran.exit_code == 2


def test_a_folder_that_cannot_be_written_stops_the_scan(models, fingerprints, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot keep results"):
        scan([models], [fingerprints], cache=tmp_path / "file")


def test_the_command_writes_reports_and_its_exit_code_is_the_gravest(models, fingerprints, tmp_path):
    arguments = ["scan", str(models), "-f", str(fingerprints), "--correction", "none"]
    ran = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "s.jsonl"), "-o", str(tmp_path / "s.csv")])
    assert (ran.exit_code, ran.output) == (3, "")
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert CliRunner().invoke(main, [*arguments, "--fail-on", "never"]).exit_code == 0
    innocent = ["scan", str(models / "unrelated.onnx"), str(models / "broken.onnx"), "-f", str(fingerprints)]
    assert CliRunner().invoke(main, innocent).exit_code == 2
    assert CliRunner().invoke(main, [*innocent, "--fail-on", "derived"]).exit_code == 2
    over = CliRunner().invoke(main, [*arguments, "-o", str(models / "deep" / "derived.onnx")])
    assert over.exit_code == 2
    assert "would overwrite" in over.stderr
