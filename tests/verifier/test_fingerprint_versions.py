"""Which version a fingerprint is written as, and that each is read as it was written."""

import hashlib
import json

import numpy as np
import pytest

from fpverify import FingerprintError, InputContract, load_fingerprint, save_fingerprint
from fpverify.fingerprint import encoding, parse, serialise
from fpverify.fingerprint.model import Controls

ODD = np.float32(0.3)
"""No whole number of 255ths."""


def off_grid(images):
    return np.where(images == 1, ODD, images)


@pytest.fixture(params=["no images", "keys", "controls", "keys and controls"])
def backed(request, make_backed, fingerprint):
    """A fingerprint in which these images are 8-bit images; with the types of the tensors and the version."""
    images, labels = fingerprint.inputs, fingerprint.labels
    keys, controls = "keys" in request.param, "controls" in request.param
    made = make_backed(
        controls=Controls(images[:6] if controls else off_grid(images[:6]), labels[:6], 1.0),
        fingerprint={} if keys else {"inputs": off_grid(images)},
    )
    types = {"inputs": "U8" if keys else "F32", "control_inputs": "U8" if controls else "F32"}
    return made, types, 3 if keys or controls else 2


def header_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def test_eight_bit_images_take_one_byte_and_read_back(backed):
    fingerprint, types, version = backed
    data = serialise(fingerprint)
    header = header_of(data)
    assert {name: header[name]["dtype"] for name in types} == types
    again = parse(data)
    assert (again.format_version, again.sha256) == (version, hashlib.sha256(data).hexdigest())
    assert again == fingerprint
    for ours, theirs in ((again.inputs, fingerprint.inputs), (again.backing.controls.inputs,) * 2):
        assert ours.dtype == np.float32
        assert np.array_equal(ours, theirs)
    assert np.array_equal(again.backing.answers, fingerprint.backing.answers)
    assert again.backing.models == fingerprint.backing.models
    assert again.calibration == fingerprint.calibration


def test_every_byte_is_one_image_value():
    stored = np.arange(256, dtype=np.uint8).reshape(2, 1, 8, 16)
    values = encoding.from_levels(stored)
    assert np.array_equal(encoding.levels(values), stored)
    assert values.flat[51] == np.float32(0.2)
    assert encoding.levels(np.nextafter(values, np.float32(2))) is None
    assert encoding.levels(np.full((1, 1, 1, 2), 2, np.float32)) is None


def test_no_file_with_one_bit_changed_loads(backed):
    data = serialise(backed[0])
    for place in range(0, len(data), 37):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(FingerprintError):
            parse(bytes(changed))


def test_a_file_of_version_2_keeps_its_bytes(make_backed, tmp_path):
    fingerprint = make_backed()
    fingerprint.__dict__["format_version"] = 2  # as an older release wrote it
    first = save_fingerprint(fingerprint, tmp_path / "first")
    again = load_fingerprint(tmp_path / "first")
    assert again.format_version == 2
    assert save_fingerprint(again, tmp_path / "second") == first == again.sha256


def test_a_tensor_that_could_be_bytes_must_be(make_backed, monkeypatch):
    fingerprint = make_backed()
    with monkeypatch.context() as patch:
        whole = encoding.levels
        patch.setattr(encoding, "levels", lambda images: None if len(images) == 6 else whole(images))
        data = serialise(fingerprint)
    assert header_of(data)["control_inputs"]["dtype"] == "F32"
    with pytest.raises(FingerprintError, match="altered: its content has the digest"):
        parse(data)


def test_version_3_without_eight_bit_images_is_refused(make_backed, fingerprint):
    images, labels = off_grid(fingerprint.inputs), fingerprint.labels
    plain = make_backed(controls=Controls(images[:6], labels[:6], 1.0), fingerprint={"inputs": images})
    shifted = InputContract(**{**vars(fingerprint.contract), "low": -1.0})
    for forged in (plain, make_backed(fingerprint={"contract": shifted})):
        assert forged.format_version == 2
        forged.__dict__["format_version"] = 3
        with pytest.raises(FingerprintError, match="version 3 holds 8-bit images"):
            parse(serialise(forged))


def test_other_ranges_are_no_eight_bit_images(make_backed, fingerprint):
    contract = {**vars(fingerprint.contract), "high": 2.0}
    assert make_backed(fingerprint={"contract": type(fingerprint.contract)(**contract)}).format_version == 2


def test_images_that_would_take_too_much_memory_are_neither_written_nor_read(make_backed, monkeypatch):
    fingerprint = make_backed()
    data = serialise(fingerprint)
    monkeypatch.setattr(encoding, "MAX_VALUES", 100)
    for use in (lambda: parse(data), lambda: serialise(fingerprint)):
        with pytest.raises(FingerprintError, match="too large: its images hold 120 values, 100 at most"):
            use()
