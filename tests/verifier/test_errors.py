"""An error says what is wrong in fields, and in one line that is made of them."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import fpverify
from fpverify import FpverifyError, PolicyError, SuspectError

FINGERPRINT = Path(__file__).parents[2] / "fixtures" / "digits" / "fingerprint.safetensors"
FIELDS = ("problem", "culprit", "where", "expected", "found", "hint")


def fields_of(error):
    return {name: getattr(error, name) for name in FIELDS if getattr(error, name)}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"problem": "empty: 0 bytes", "culprit": "a.onnx"}, "a.onnx: empty: 0 bytes"),
        ({"culprit": Path("a"), "where": "low", "expected": 1, "found": (2,)}, "a: low must be 1, found (2,)"),
        ({"culprit": "a.npz", "expected": "labels", "found": "none"}, "a.npz: expected labels, found none"),
        ({"problem": "no such data", "expected": "a folder"}, "no such data; expected a folder"),
        ({"problem": "too large", "where": "size", "hint": "resize it"}, "size: too large; resize it"),
        ({"found": 0}, "found 0"),
    ],
)
def test_a_line_is_made_of_the_fields(fields, line):
    error = SuspectError(fields.pop("problem", ""), **fields)
    assert str(error) == line
    assert error.reason == line.removeprefix(f"{error.culprit}: ")


def test_an_error_that_names_its_culprit_keeps_it():
    unnamed = PolicyError("too large", hint="resize it")
    named = unnamed.about("a.onnx")
    assert type(named) is PolicyError
    assert str(named) == "a.onnx: too large; resize it"
    assert str(named.about("b.onnx")) == str(named)
    assert unnamed.culprit == ""


def test_an_error_of_a_worker_arrives_whole():
    error = SuspectError("too large", culprit="a.onnx", where="size", expected=1, found=2, hint="resize it")
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 (what engines do; the bytes are this test's own)
    assert (type(arrived), fields_of(arrived), str(arrived)) == (SuspectError, fields_of(error), str(error))


def test_a_missing_suspect_is_the_culprit(tmp_path):
    path = tmp_path / "suspect.onnx"
    with pytest.raises(SuspectError) as caught:
        fpverify.verify(FINGERPRINT, path)
    assert fields_of(caught.value) == {
        "culprit": str(path),
        "problem": "cannot read the suspect: No such file or directory",
    }


def test_a_wrong_field_of_a_contract_is_named(tmp_path):
    with pytest.raises(PolicyError) as caught:
        fpverify.verify(FINGERPRINT, lambda inputs: np.zeros(len(inputs)), contract={"low": "dark"})
    assert fields_of(caught.value) == {
        "culprit": "contract",
        "where": "low",
        "expected": "a number",
        "found": "'dark'",
    }


def test_an_error_inside_a_suspect_gets_its_name():
    def broken(inputs):
        raise ValueError("no")

    with pytest.raises(FpverifyError) as caught:
        fpverify.verify(FINGERPRINT, broken)
    assert "broken" in caught.value.culprit
    assert caught.value.reason == "raised ValueError: no"
