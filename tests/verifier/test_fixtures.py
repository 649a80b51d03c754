"""The committed files of format 1 must verify for ever: later releases may not change what they say."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fpverify import load_fingerprint
from fpverify.cli import main

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits"


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
        ("unrelated-same-data.onnx", 34, "unrelated", 0),
        ("unrelated-other-data.onnx", 29, "unrelated", 0),
    ],
)
def test_each_committed_suspect_gets_its_verdict(name, kept, verdict, code):
    arguments = ["verify", DIGITS / name, "-f", DIGITS / "fingerprint.safetensors", "--format", "json"]
    found = CliRunner().invoke(main, [str(argument) for argument in arguments])
    document = json.loads(found.stdout)
    assert (document["kept"], document["verdict"], found.exit_code) == (kept, verdict, code)
