"""The committed files of format 1 must verify for ever: later releases may not change what they say."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from fpverify import Verdict, load_fingerprint, verify
from fpverify.cli import main

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits"
STUDY = DIGITS.with_name("study")
SUSPECTS = json.loads((STUDY / "suspects.json").read_text())


def test_the_committed_fingerprint_keeps_its_identity():
    fingerprint = load_fingerprint(DIGITS / "fingerprint.safetensors")
    assert fingerprint.sha256.startswith("bdc77767")
    assert (len(fingerprint), len(fingerprint.calibration.nulls)) == (100, 99)


@pytest.mark.parametrize(
    ("name", "kept", "verdict", "code"),
    [
        ("source.onnx", 100, "derived", 3),
        ("derived-ftal.onnx", 88, "derived", 3),
        ("derived-retrain-labels.onnx", 70, "derived", 3),
        ("unrelated-same-data.onnx", 34, "inconclusive", 4),  # 18 surrogates cannot reject "derived" at 0.05,
        ("unrelated-other-data.onnx", 29, "inconclusive", 4),
    ],
)
def test_each_committed_suspect_gets_its_verdict(name, kept, verdict, code):
    arguments = ["verify", DIGITS / name, "-f", DIGITS / "fingerprint.safetensors", "--format", "json"]
    found = CliRunner().invoke(main, [str(argument) for argument in arguments])
    document = json.loads(found.stdout)
    assert (document["kept"], document["verdict"], found.exit_code) == (kept, verdict, code)
    own = [warning for warning in document["warnings"] if "the source's own file" in warning]
    assert len(own) == (name == "source.onnx")


def test_the_studys_set_is_small_and_balanced():
    truths = [suspect["truth"] for suspect in SUSPECTS.values()]
    assert sorted(truths) == ["derived"] * 6 + ["unrelated"] * 6
    assert {path.name for path in STUDY.iterdir()} == {*SUSPECTS, "suspects.json", "fingerprint.safetensors"}
    assert sum(path.stat().st_size for path in STUDY.iterdir()) <= 5_000_000


def test_all_of_the_studys_verdicts_are_the_truth():
    others = {name: said["verdict"] for name, said in SUSPECTS.items() if said["verdict"] != said["truth"]}
    assert others == {}


@pytest.mark.parametrize("name", SUSPECTS)
def test_each_suspect_of_the_study_gets_the_verdict_that_the_study_found(name, tmp_path):
    said = SUSPECTS[name]
    (tmp_path / "known.json").write_text(json.dumps({"low": 0, "high": 1, "classes": list(map(str, range(10)))}))
    known = ["--contract", tmp_path / "known.json"]  # format 1 holds no control images that could show it
    arguments = ["verify", STUDY / name, "-f", STUDY / "fingerprint.safetensors", "--format", "json", *known]
    found = CliRunner().invoke(main, [str(argument) for argument in arguments])
    document = json.loads(found.stdout)
    assert document["suspect"]["sha256"] == said["sha256"]
    assert (document["retention"], document["verdict"]) == (said["retention"], said["verdict"])


@pytest.mark.parametrize("name", [name for name, said in SUSPECTS.items() if said["truth"] == "unrelated"])
def test_an_innocent_that_knows_some_of_the_classes_is_not_accused(name, tmp_path):
    # It has fewer wrong answers to choose from, so it keeps more of the keys that count than null models do.
    for known in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 2, 4, 6, 8], [1, 3, 5, 6, 7, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9]):
        model = onnx.load(STUDY / name)
        scores = model.graph.output[0]
        model.graph.initializer.append(numpy_helper.from_array(np.array(known), "known"))
        model.graph.node.append(helper.make_node("Gather", [scores.name, "known"], ["some"], axis=1))
        scores.CopyFrom(helper.make_tensor_value_info("some", onnx.TensorProto.FLOAT, ["n", len(known)]))
        onnx.save(model, tmp_path / "some.onnx")
        result = verify(
            STUDY / "fingerprint.safetensors", tmp_path / "some.onnx", contract={"classes": list(map(str, known))}
        )
        assert result.answers.left_out > 0
        assert result.verdict is not Verdict.DERIVED, (known, result.reason)
