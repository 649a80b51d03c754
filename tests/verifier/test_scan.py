"""Many suspects are judged by many fingerprints; a broken one is a row, and what was judged is not asked again."""

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

import fpverify.scanning as scanning
from fpverify import FingerprintError, OutputError, PolicyError, SuspectError, save_fingerprint
from fpverify.cli import main
from fpverify.reports import FORMATS
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


def test_the_text_says_once_what_is_broken_and_a_notebook_shows_all(models, fingerprints):
    with scan([models], [fingerprints]) as found:
        text = "".join(FORMATS["text"].many(found))
        shown = found._repr_html_()
    assert text.count("broken.onnx: ") == 1
    assert "2 no verdict" in text
    assert shown.startswith("<iframe ")
    assert "unrelated.onnx" in shown


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
    asked = {line["result"]["command"] for line in lines if line["result"] is not None}
    assert len(asked) == 1
    assert asked.pop().startswith(f"fpverify scan {models}")
    assert CliRunner().invoke(main, [*arguments, "--fail-on", "never"]).exit_code == 0
    innocent = ["scan", str(models / "unrelated.onnx"), str(models / "broken.onnx"), "-f", str(fingerprints)]
    assert CliRunner().invoke(main, innocent).exit_code == 2
    assert CliRunner().invoke(main, [*innocent, "--fail-on", "derived"]).exit_code == 2
    over = CliRunner().invoke(main, [*arguments, "-o", str(models / "deep" / "derived.onnx")])
    assert over.exit_code == 2
    assert "would overwrite" in over.stderr


def with_data_beside(folder, label):
    """Write a model whose weights lie beside it: the same file in each folder, and other weights."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir()
    weights = np.roll(np.eye(4, 3, dtype=np.float32), label, axis=1)
    weights.tofile(folder / "w.bin")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("input", ["n", 1, 2, 2]), ("scores", ["n", 3]))
    ]
    graph = helper.make_graph(nodes, "tiny", values[:1], values[1:], [tensor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")


@pytest.mark.parametrize("kept", [True, False])
def test_models_that_differ_in_the_files_beside_them_are_told_apart(tmp_path, fingerprints, kept, monkeypatch):
    (tmp_path / "models").mkdir()
    for name, label in (("a", 0), ("b", 1), ("c", 0)):
        with_data_beside(tmp_path / "models" / name, label)
    cache = tmp_path / "cache" if kept else None
    first = fingerprints / "a.safetensors"
    for _ in range(2):
        with scan([tmp_path / "models"], [first], correction=None, jobs=1, cache=cache) as found:
            shares = [(one.suspect.rsplit("/", 2)[1], one.outcome) for one in found]
        assert shares == [("a", "derived"), ("b", "inconclusive"), ("c", "derived")]
    calls = asked(monkeypatch)
    scan([tmp_path / "models"], [first], jobs=1, cache=cache).close()
    assert sum(count for _, count in calls) == (0 if kept else 2)  # the third is as the first


def test_what_is_not_entered_is_a_row_and_no_innocence(models, fingerprints, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "empty").mkdir()
    (models / "link").symlink_to(tmp_path / "elsewhere")
    with scan([models / "unrelated.onnx", tmp_path / "empty"], [fingerprints]) as found:
        assert [one.outcome for one in found].count("no verdict") == 2
    with scan([models / "deep", models / "link"], [fingerprints]) as found:
        assert "there is no .onnx file in it" in list(found)[-1].error
    with scan([models], [fingerprints]) as found:
        errors = {one.suspect: one.error for one in found if one.result is None}
    assert errors[str(models / "link")] == "is a link to a folder, which is not followed: name the folder itself"


def test_a_folder_that_cannot_be_read_is_a_row(models, fingerprints, monkeypatch):
    real = os.scandir

    def refused(path):
        if isinstance(path, str) and path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)
    with scan([models], [fingerprints]) as found:
        assert any("cannot be entered: Permission denied" in one.error for one in found)


def test_a_result_that_changes_before_it_is_read_is_no_verdict(models, fingerprints, tmp_path):
    with scan([models / "unrelated.onnx"], [fingerprints], cache=tmp_path / "cache") as found:
        for file in (tmp_path / "cache").glob("*/*.json"):
            file.write_text(file.read_text().replace('"inconclusive"', '"unrelated"'))
        assert {one.outcome for one in found} == {"no verdict"}


def test_a_file_name_that_is_no_unicode_is_reported(fingerprints, tmp_path):
    (tmp_path / "odd").mkdir()
    with open(os.path.join(os.fsencode(tmp_path / "odd"), b"a\xff.onnx"), "wb") as file:
        file.write(b"x")
    for suffix in ("sarif", "csv", "html", "md", "xml", "jsonl", "txt"):
        arguments = ["scan", str(tmp_path / "odd"), "-f", str(fingerprints), "-o", str(tmp_path / f"s.{suffix}")]
        assert CliRunner().invoke(main, arguments).exit_code == 2
        assert (tmp_path / f"s.{suffix}").read_text()


def test_only_the_correction_puts_a_suspect_among_those_to_look_at(models, fingerprints):
    from fpverify.reports.of_result import kind_of

    with scan([models], [fingerprints]) as found:
        assert [kind_of(one) for one in found].count("suspicious") == 2
        assert {one.result.correction.changed for one in found if one.outcome == "inconclusive"} == {True, False}


def test_copies_of_one_file_are_one_test_with_one_result(tmp_path, make_backed, make_onnx):
    """They are judged at the same time and write the same result: each is a row with that verdict."""
    (tmp_path / "models").mkdir()
    first = make_onnx(tmp_path / "models" / "0.onnx")
    for number in range(1, 12):
        (tmp_path / "models" / f"{number}.onnx").write_bytes(first.read_bytes())
    save_fingerprint(make_backed(), tmp_path / "f.safetensors")
    for _ in range(2):
        with scan([tmp_path / "models"], [tmp_path / "f.safetensors"], jobs=4, cache=tmp_path / "cache") as found:
            rows = list(found)
        assert [one.outcome for one in rows] == ["derived"] * 12
        assert {one.result.correction.tests for one in rows} == {1}
    assert len(list((tmp_path / "cache").glob("*/*.json"))) == 1
