"""Ordinary inputs pick among the readings of a contract; ties are told, and so is a suspect near chance."""

import numpy as np
import pytest

from fpverify import InputContract, PolicyError, SuspectError, Verdict, verify
from fpverify.suspects.probe import load_probe

KEYS = InputContract(channels="grey", height=2, width=2)
NAMES = ("cat", "dog", "eel")


def ordinary(count=24, seed=0):
    """Noisy pictures in which one of the first three pixels is the brightest, and says the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    inputs = random.random((count, 1, 2, 2)).astype(np.float32) * 0.4
    for number, label in enumerate(labels):
        inputs[number].flat[label] += 0.5
    return inputs, labels


def test_the_range_that_the_suspect_was_trained_for_is_found(tmp_path, fingerprint, make_onnx):
    # Right where 255 is white; where 1 is white, the constant that it adds decides alone.
    path = make_onnx(tmp_path / "m.onnx", fill=[0, 0, 20])
    assumed = verify(fingerprint, path)
    assert assumed.verdict is not Verdict.DERIVED
    assert any("values (0 to 1) and classes" in w for w in assumed.warnings)
    result = verify(fingerprint, path, probe=ordinary())
    assert (result.verdict, result.kept) == (Verdict.DERIVED, 24)
    assert (result.contract.values.high, result.contract.origins["values"]) == (255, "probe")
    best, *others = result.probe.candidates
    assert best.accuracy == 1
    assert best.values == "0 to 255"
    assert [candidate.tied for candidate in others] == [False] * len(others)
    assert not result.warnings


def test_the_verdict_must_hold_under_each_reading_that_the_probe_cannot_tell_apart(
    make_fingerprint, tmp_path, make_onnx
):
    # The probe's bright pictures are read rightly in both ranges; the dark keys only where 255 is white.
    fingerprint = make_fingerprint(inputs=make_fingerprint().inputs * np.float32(0.05))
    path = make_onnx(tmp_path / "m.onnx", fill=[0, 0, 0.08])
    result = verify(fingerprint, path, probe=ordinary())
    tied = [candidate.values for candidate in result.probe.candidates if candidate.tied]
    assert {"0 to 1", "0 to 255"} <= set(tied)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "But the verdict would be derived with values 0 to 255, which the probe cannot tell apart" in result.reason


def test_a_suspect_near_chance_under_every_reading_could_not_be_verified(fingerprint, unrelated_file):
    inputs, labels = ordinary()
    shuffled = np.random.default_rng(1).permutation(labels)
    with pytest.raises(SuspectError, match=r"near chance .* under all \d readings .* could not be verified"):
        verify(fingerprint, unrelated_file, probe=(inputs, shuffled))


def test_a_probe_of_one_class_says_nothing(fingerprint, derived_file):
    inputs, labels = ordinary()
    with pytest.raises(SuspectError, match="chance is 100%"):
        verify(fingerprint, derived_file, probe=(inputs[labels == 1], labels[labels == 1]))


def test_a_layout_that_the_file_leaves_open_is_found(tmp_path, make_onnx, make_fingerprint):
    random = np.random.default_rng(0)
    contract = InputContract(channels="rgb", height=2, width=2)
    labels = random.integers(0, 3, 30)
    inputs = random.random((30, 3, 2, 2)).astype(np.float32) * 0.3
    inputs[np.arange(30), labels, 0, 1] += 0.6  # the class is the channel of the bright pixel
    fingerprint = make_fingerprint(inputs=inputs[:12], labels=labels[:12], contract=contract)
    last = np.tile(np.eye(3, dtype=np.float32), (4, 1))  # sums each channel of NHWC pictures
    path = make_onnx(tmp_path / "m.onnx", weights=last, shape=["n", "a", "b", "c"])
    with pytest.raises(SuspectError, match="layout of its input 'input' can be NCHW or NHWC"):
        verify(fingerprint, path)
    result = verify(fingerprint, path, probe=(inputs[12:], labels[12:]))
    assert (result.contract.layout, result.contract.origins["layout"]) == ("NHWC", "probe")
    assert (result.contract.channels, result.kept) == ("rgb", 12)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_order_of_channels_is_found(tmp_path, make_onnx, make_fingerprint, order):
    random = np.random.default_rng(0)
    contract = InputContract(channels="rgb", height=2, width=2)
    labels = random.integers(0, 3, 40)
    inputs = random.random((40, 3, 2, 2)).astype(np.float32) * 0.3
    inputs[np.arange(40), labels] += 0.6  # the class is the brightest channel
    fingerprint = make_fingerprint(inputs=inputs[:12], labels=labels[:12], contract=contract)
    channels = np.eye(3, dtype=np.float32)[:: 1 if order == "rgb" else -1]
    path = make_onnx(tmp_path / "m.onnx", weights=np.repeat(channels, 4, axis=0), shape=["n", 3, 2, 2])
    result = verify(fingerprint, path, probe=(inputs[12:], labels[12:]))
    assert (result.contract.channels, result.kept) == (order, 12)
    assert verify(fingerprint, path, contract={"channels": order}).kept == 12


def save(tmp_path, **arrays):
    np.savez(tmp_path / "probe.npz", **arrays)
    return tmp_path / "probe.npz"


def test_a_probe_file_of_bytes_is_scaled(tmp_path):
    inputs = np.full((2, 1, 2, 2), 255, np.uint8)
    probe = load_probe(save(tmp_path, inputs=inputs, labels=np.array([0, 1])), KEYS, NAMES)
    assert probe.inputs.dtype == np.float32
    assert np.unique(probe.inputs).tolist() == [1]


INPUTS, LABELS = np.zeros((2, 1, 2, 2), np.float32), np.array([0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": INPUTS}, "must be an .npz file with the arrays inputs and labels"),
        ({"inputs": INPUTS[:, 0], "labels": LABELS}, r"inputs must have the shape \(n, 1, 2, 2\), found \(2, 2, 2\)"),
        ({"inputs": INPUTS[:0], "labels": LABELS[:0]}, r"found \(0, 1, 2, 2\)"),
        ({"inputs": INPUTS + np.nan, "labels": LABELS}, "must be finite floats or uint8"),
        ({"inputs": INPUTS.astype(int), "labels": LABELS}, "must be finite floats or uint8, found int64"),
        ({"inputs": INPUTS + 2, "labels": LABELS}, r"must lie in \[0, 1\] as the keys do, found 2 to 2"),
        ({"inputs": INPUTS, "labels": LABELS[:1]}, "labels must be 2 integers"),
        ({"inputs": INPUTS, "labels": LABELS * 0.5}, "labels must be 2 integers, found float64"),
        ({"inputs": INPUTS, "labels": LABELS + 2}, "labels must be 0 to 2, found 2 to 3"),
        ({"inputs": INPUTS, "labels": np.array([{}, {}])}, "cannot read the probe"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(tmp_path, arrays, message):
    with pytest.raises(PolicyError, match=message):
        load_probe(save(tmp_path, **arrays), KEYS, NAMES)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x93NUMPY", b"hello"])
def test_a_file_that_is_no_probe_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "probe.npz"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=r"cannot read the probe|must be an \.npz file") as caught:
        load_probe(path, KEYS, NAMES)
    assert "\n" not in str(caught.value)
    with pytest.raises(PolicyError, match="cannot read the probe"):
        load_probe(tmp_path / "missing.npz", KEYS, NAMES)
