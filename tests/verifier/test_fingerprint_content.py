import dataclasses

import numpy as np
import pytest

from fpverify import Calibration, FingerprintError, InputContract, SourceIdentity
from fpverify.fingerprint import parse, serialise

NAN = float("nan")


def calibration(**changes):
    parts = {"surrogates": (1.0,), "references": (0.0,), "nulls": (0.25,), "threshold": 0.75, "rule": "midpoint"}
    return Calibration(**{**parts, **changes})


def contract(**changes):
    return InputContract(**{"channels": "grey", "height": 2, "width": 2, **changes})


def one_value(value, shape=(24, 1, 2, 2)):
    inputs = np.zeros(shape, np.float32)
    inputs.flat[5] = value
    return inputs


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((24, 1, 2, 2))}, "inputs must be float32, found float64"),
        ({"inputs": [[0.0]]}, "inputs must be float32, found list"),
        ({"inputs": np.zeros((24, 2, 2), np.float32)}, r"shape \(n, 1, 2, 2\) of the contract, found \(24, 2, 2\)"),
        ({"inputs": np.zeros((0, 1, 2, 2), np.float32)}, "at least one key"),
        ({"inputs": one_value(NAN)}, "finite, found NaN"),
        ({"inputs": one_value(np.inf)}, "finite, found NaN or infinity"),
        ({"inputs": one_value(1.5)}, r"lie in \[0, 1\], found 0 to 1.5"),
        ({"inputs": one_value(-0.1)}, "found -0.1 to 0"),
        ({"labels": np.zeros(24, np.int32)}, "labels must be int64, found int32"),
        ({"labels": np.zeros(23, np.int64)}, r"shape \(24,\), one per key, found \(23,\)"),
        ({"labels": np.full(24, 3)}, "labels must be 0 to 2, one of 3 classes, found 3 to 3"),
        ({"labels": np.full(24, -1)}, "found -1 to -1"),
        ({"classes": ("one",)}, "at least two different names"),
        ({"classes": ("a", "a", "b")}, "at least two different names"),
        ({"classes": ("a", 2, "b")}, "list of names"),
        ({"classes": "abc"}, "list of names"),
        ({"contract": None}, "contract must be a InputContract"),
        ({"method": {}}, "method must have a name"),
        ({"method": {"name": "cem", "epsilon": NAN}}, "method must hold finite JSON"),
        ({"method": {"name": "cem", "model": object()}}, "method must hold finite JSON"),
        ({"method": {1: "cem"}}, "method must map names"),
        ({"method": {"name": "cem", "deep": nested(31)}}, "method is nested too deeply: more than 31 levels"),
        ({"method": {"name": "cem", "deep": nested(100_000)}}, "method is nested too deeply"),
        ({"method": None}, "method must map names"),
        ({"seeds": {"run": "7"}}, "seeds: 'run' must be a int, found '7'"),
        ({"seeds": {"run": True}}, "seeds: 'run' must be a int, found True"),
        ({"versions": {"python": 3}}, "versions: 'python' must be a str"),
    ],
)
def test_a_wrong_part_is_named(make_fingerprint, changes, message):
    with pytest.raises(FingerprintError, match=message):
        make_fingerprint(**changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: contract(layout="NHWC"), "layout must be 'NCHW', found 'NHWC'"),
        (lambda: contract(channels="bgr"), "channels must be 'grey' or 'rgb', found 'bgr'"),
        (lambda: contract(channels=["grey"]), "channels must be"),
        (lambda: contract(height=0), "height must be an integer of at least 1, found 0"),
        (lambda: contract(width=2.0), "width must be an integer"),
        (lambda: contract(low=1.0), r"range must be low < high within single precision, found \(1.0, 1.0\)"),
        (lambda: contract(high=1e39), "range must be low < high within single precision"),
        (lambda: contract(high=NAN), "high must be a finite number, found nan"),
        (lambda: contract(high=10**400), "high must be a finite number, found an integer of 1329 bits"),
        (lambda: contract(mean=(0.5, 0.5)), "mean must be 1 values, one per channel"),
        (lambda: contract(mean=0.5), "mean must be a list of numbers"),
        (lambda: contract(std=(0.0,)), "std must be values above 0"),
        (lambda: calibration(nulls=()), "nulls must be at least one"),
        (lambda: calibration(surrogates=(1.2,)), r"surrogates must be fractions in \[0, 1\], found \[1.2\]"),
        (lambda: calibration(references=(NAN,)), "references must be a finite number"),
        (lambda: calibration(threshold=0.0), r"threshold must be a fraction in \(0, 1\]"),
        (lambda: calibration(threshold=True), "threshold must be a finite number"),
        (lambda: calibration(rule=None), "rule must be a text"),
        (lambda: SourceIdentity(sha256="AB" * 32), "64 lower-case hexadecimal digits"),
        (lambda: SourceIdentity(sha256="ab" * 32 + "\n"), "64 lower-case hexadecimal digits"),
        (lambda: SourceIdentity(sha256=None), "64 lower-case hexadecimal digits"),
    ],
)
def test_a_wrong_detail_is_named(make, message):
    with pytest.raises(FingerprintError, match=message):
        make()


def test_the_arrays_are_read_only_copies(make_fingerprint):
    inputs = np.zeros((24, 1, 2, 2), np.float32)
    fingerprint = make_fingerprint(inputs=inputs)
    inputs[:] = 1
    assert fingerprint.inputs.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        fingerprint.inputs[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        fingerprint.labels[0] = 1


def test_a_retention_in_single_precision_is_taken_as_the_fraction_it_stands_for(make_fingerprint):
    measured = tuple(float(np.float32(k / 24)) for k in range(25))
    fingerprint = make_fingerprint(calibration=calibration(nulls=measured))
    assert fingerprint.calibration.nulls == tuple(k / 24 for k in range(25))


def test_equal_content_is_equal_whatever_the_spelling(make_fingerprint, fingerprint):
    again = make_fingerprint(
        inputs=np.asfortranarray(fingerprint.inputs),
        classes=list(fingerprint.classes),
        contract=contract(low=0, high=1, mean=None),
        method=dict(reversed(fingerprint.method.items())),
    )
    assert again == fingerprint
    assert hash(again) == hash(fingerprint)
    assert again.sha256 == fingerprint.sha256
    assert fingerprint != "a fingerprint"


def test_nesting_to_the_limit_is_kept(make_fingerprint):
    assert parse(serialise(make_fingerprint(method={"name": "cem", "deep": nested(30)}))).method["deep"] == nested(30)


def test_minus_zero_is_zero_in_the_contract():
    assert str(contract(low=-0.0).low) == "0.0"


def test_each_part_changes_the_identity(make_fingerprint, fingerprint):
    changes = [
        {"labels": np.zeros(24, np.int64)},
        {"inputs": one_value(0.5)},
        {"classes": ("cat", "dog", "fox")},
        {"contract": contract(high=2.0)},
        {"source": SourceIdentity(sha256="cd" * 32)},
        {"method": {"name": "other"}},
        {"seeds": {"run": 8}},
        {"versions": {}},
        {"calibration": dataclasses.replace(fingerprint.calibration, threshold=0.5)},
    ]
    identities = {make_fingerprint(**change).sha256 for change in changes} | {fingerprint.sha256}
    assert len(identities) == len(changes) + 1
    assert len(serialise(fingerprint)) > 0
