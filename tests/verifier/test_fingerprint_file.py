import errno
import hashlib
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from fpverify import Controls, FingerprintError, OutputError, load_fingerprint, save_fingerprint
from fpverify.fingerprint import parse, serialise
from fpverify.fingerprint.encoding import MAX_BYTES, describe

SHA256 = "32dd8183b919b905b74b03beb4be78934e69eafd30f418002bae56c39a6d5609"
"""Of the tiny fingerprint of conftest.py: a change means that files written by older releases no longer verify."""


def forged(fingerprint, edit=lambda document: None, tensors=None, header_edit=lambda header: None):
    """The file of a fingerprint with edited metadata or tensors, and a digest that fits what is there."""
    data = serialise(fingerprint)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    document = json.loads(header["__metadata__"]["fpverify"])
    arrays = tensors or {"labels": fingerprint.labels, "inputs": fingerprint.inputs}
    edit(document)
    body = b"".join(array.tobytes() for array in arrays.values())
    if isinstance(document, dict):
        document.pop("digest", None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        document["digest"] = hashlib.sha256(text.encode() + body).hexdigest()
    header["__metadata__"]["fpverify"] = json.dumps(document, sort_keys=True, separators=(",", ":"))
    at = 0
    for name, array in arrays.items():
        kind = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32"}[str(array.dtype)]
        header[name] = {"data_offsets": [at, at + array.nbytes], "dtype": kind, "shape": list(array.shape)}
        at += array.nbytes
    header_edit(header)
    return framed(json.dumps(header, sort_keys=True, separators=(",", ":")), body)


def framed(header, body=b""):
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def test_what_is_saved_is_loaded(tmp_path, fingerprint):
    path = tmp_path / "f.safetensors"
    sha256 = save_fingerprint(fingerprint, path)
    loaded = load_fingerprint(path)
    assert sha256 == loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded == fingerprint
    assert np.array_equal(loaded.inputs, fingerprint.inputs)
    assert np.array_equal(loaded.labels, fingerprint.labels)
    for name in ("classes", "contract", "source", "method", "seeds", "versions", "calibration"):
        assert getattr(loaded, name) == getattr(fingerprint, name)
    assert loaded.method["rates"] == [0.5, 0.9]
    assert os.listdir(tmp_path) == [path.name]


def test_the_bytes_do_not_drift(fingerprint):
    assert fingerprint.sha256 == SHA256


def test_the_safetensors_package_reads_the_file(fingerprint_file, fingerprint):
    with safetensors.safe_open(fingerprint_file, "np") as file:
        assert sorted(file.keys()) == ["inputs", "labels"]
        assert json.loads(file.metadata()["fpverify"])["format_version"] == 1
        assert np.array_equal(file.get_tensor("inputs"), fingerprint.inputs)


def test_a_forgery_without_an_edit_is_the_file_itself(fingerprint):
    assert forged(fingerprint) == serialise(fingerprint)


def test_no_file_with_one_bit_changed_loads(fingerprint):
    data = serialise(fingerprint)
    for position in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= mask
            with pytest.raises(FingerprintError):
                parse(bytes(changed))


def test_no_truncated_or_extended_file_loads(fingerprint):
    data = serialise(fingerprint)
    for length in range(len(data)):
        with pytest.raises(FingerprintError, match="truncated"):
            parse(data[:length])
    with pytest.raises(FingerprintError, match="do not fill the file"):
        parse(data + b"\0")


def test_no_mangled_file_loads(fingerprint):
    data, random = serialise(fingerprint), np.random.default_rng(0)
    for _ in range(300):
        start, stop = sorted(random.integers(0, len(data) + 1, 2))
        filling = random.bytes(int(random.integers(0, 40)))
        changed = data[:start] + filling + data[stop:]
        if changed != data:
            with pytest.raises(FingerprintError):
                parse(changed)


def put(**entries):
    return lambda document: document.update(entries)


def poke(part, **entries):
    return lambda document: document[part].update(entries)


def with_nan(shape=(24, 1, 2, 2)):
    inputs = np.zeros(shape, np.float32)
    inputs.flat[0] = np.nan
    return inputs


LABELS, INPUTS = np.zeros(24, np.int64), np.zeros((24, 1, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"edit": put(format_version=4)}, r"unknown format version 4; fpverify .* reads versions 1 to 3"),
        ({"edit": put(format_version="1")}, "unknown format version '1'"),
        ({"edit": put(format_version=True)}, "unknown format version True"),
        ({"edit": lambda document: document.pop("format_version")}, "unknown format version None"),
        ({"edit": lambda document: document.pop("seeds")}, r"missing \['seeds'\]"),
        ({"edit": put(verdict="unrelated")}, r"unknown \['verdict'\]"),
        ({"edit": put(calibration=[])}, "calibration must hold exactly"),
        ({"edit": poke("contract", depth=3)}, r"contract must hold exactly .* unknown \['depth'\]"),
        ({"edit": poke("contract", low=0)}, "not in canonical form"),
        ({"edit": poke("calibration", nulls=[0.25000001])}, "not in canonical form"),
        ({"edit": poke("calibration", nulls=[])}, "nulls must be at least one"),
        ({"edit": poke("calibration", nulls=["0.5"])}, "nulls must be a finite number"),
        ({"edit": put(classes=["only"])}, "two different names"),
        ({"edit": put(source={"sha256": "x"})}, "64 lower-case hexadecimal"),
        ({"tensors": {"labels": LABELS, "inputs": with_nan()}}, "inputs must be finite, found NaN"),
        ({"tensors": {"labels": LABELS, "inputs": INPUTS.astype(np.float64)}}, "type F32, found 'F64'"),
        ({"tensors": {"labels": LABELS.astype(np.int32), "inputs": INPUTS}}, "type I64, found 'I32'"),
        ({"tensors": {"labels": LABELS + 3, "inputs": INPUTS}}, "labels must be 0 to 2"),
        ({"tensors": {"labels": LABELS[:5], "inputs": INPUTS}}, r"labels must have the shape \(24,\)"),
        ({"tensors": {"labels": LABELS, "inputs": INPUTS + 2}}, r"lie in \[0, 1\], found 2 to 2"),
        ({"tensors": {"labels": LABELS[:0], "inputs": INPUTS[:0]}}, "at least one key"),
        ({"tensors": {"labels": LABELS, "inputs": INPUTS, "more": LABELS}}, r"tensors must .* unknown \['more'\]"),
        ({"tensors": {"inputs": INPUTS, "labels": LABELS}}, "altered|not in canonical form"),
        ({"header_edit": lambda header: header.pop("labels")}, r"missing \['labels'\]"),
        ({"header_edit": lambda header: header.update(inputs=[])}, "type F32, found None"),
        ({"header_edit": lambda header: header["inputs"].update(shape=[-1])}, "truncated or damaged"),
        ({"header_edit": lambda header: header["inputs"].update(shape=[2**62, 2**62])}, "truncated or damaged"),
        ({"header_edit": lambda header: header["inputs"].update(data_offsets=[0, 2**62])}, "truncated or damaged"),
        ({"header_edit": lambda header: header["__metadata__"].update(more="x")}, "one metadata entry 'fpverify'"),
        ({"header_edit": lambda header: header.pop("__metadata__")}, "one metadata entry 'fpverify'"),
        ({"header_edit": lambda header: header.update(__metadata__={"fpverify": "[]"})}, "format version None"),
        ({"header_edit": lambda header: header.update(__metadata__={"fpverify": "{"})}, "metadata is not JSON"),
        (
            {"header_edit": lambda header: header.update(__metadata__={"fpverify": '{"a":1,"a":1}'})},
            "metadata is not JSON .* the key 'a' is given twice",
        ),
        (
            {"header_edit": lambda header: header.update(__metadata__={"fpverify": '{"a":NaN}'})},
            "metadata is not JSON .* NaN is no number",
        ),
        (
            {"header_edit": lambda header: header.update(__metadata__={"fpverify": "[" * 200_000})},
            "metadata is nested too deeply",
        ),
    ],
)
def test_a_well_framed_forgery_is_refused_for_what_it_is(tmp_path, fingerprint, arguments, message):
    path = tmp_path / "forged.safetensors"
    path.write_bytes(forged(fingerprint, **arguments))
    with pytest.raises(FingerprintError, match=message) as caught:
        load_fingerprint(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_changed_key_with_the_old_digest_is_called_altered(fingerprint):
    data = bytearray(serialise(fingerprint))
    data[-4:] = np.float32(0.5).tobytes()
    with pytest.raises(FingerprintError, match="altered: its content has the digest"):
        parse(bytes(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"abc", "truncated: 3 bytes"),
        (b"\xff" * 100, "not a fingerprint: its header would take 18446744073709551615 bytes"),
        (struct.pack("<Q", 1000) + b"{}", "truncated: 10 bytes, where the header alone takes 1008"),
        (framed("\xe9"), "not ASCII"),
        (framed("not json"), "header is not JSON"),
        (framed("[]"), "without the one metadata entry"),
        (framed("[" * 200_000), "header is nested too deeply"),
        (framed('{"a":{},"a":{}}'), "the key 'a' is given twice"),
        (framed('{"a":' + "9" * 5000 + "}"), "header is not JSON"),
        (safetensors.numpy.save({"weights": INPUTS}), "without the one metadata entry"),
        (b"\x80\x04\x95" + b"pickle" * 10, "not a fingerprint"),
    ],
)
def test_another_kind_of_file_is_refused_for_what_it_is(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FingerprintError, match=message):
        load_fingerprint(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "missing", "No such file"),
        ("a\0b", "no file can have this name"),
    ]:
        with pytest.raises(FingerprintError, match=message):
            load_fingerprint(path)


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(FingerprintError, match=f"oversized: {MAX_BYTES + 1} bytes, {MAX_BYTES} at most"):
        load_fingerprint(path)


def test_a_fingerprint_that_could_not_be_loaded_is_not_saved(tmp_path, make_fingerprint):
    fingerprint = make_fingerprint(method={"name": "x" * 2**24})
    with pytest.raises(FingerprintError, match="too large"):
        save_fingerprint(fingerprint, tmp_path / "f")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fingerprint):
    path = tmp_path / "f"
    path.write_text("old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_fingerprint(fingerprint, path)
    assert os.listdir(tmp_path) == ["f"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(("name", "message"), [("missing/f", "No such file"), (".", "directory"), ("a\0b", "no file")])
def test_a_place_that_cannot_be_written_is_named(tmp_path, fingerprint, name, message):
    with pytest.raises(OutputError, match=message):
        save_fingerprint(fingerprint, f"{tmp_path}/{name}")
    assert os.listdir(tmp_path) == []


def places(value, path=()):
    """Every place within a JSON value, as the keys and indices that lead to it."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


STRANGE = [None, True, -1, 7, 10**400, 0.5, 1e308, "", "x", "\ud800", [], [None], {}, {"name": {}}, [[1.0]], [1.0] * 99]


def test_a_strange_value_anywhere_is_refused_or_kept_as_it_is(fingerprint):
    def put_at(path, value):
        def edit(document):
            for key in path[:-1]:
                document = document[key]
            document[path[-1]] = value

        return edit

    document = describe(fingerprint)
    loaded = 0
    for path in places(json.loads(json.dumps(document))):
        for value in STRANGE if path else ():
            data = forged(fingerprint, edit=put_at(path, value))
            try:
                kept = serialise(parse(data)) == data
                loaded += 1
            except FingerprintError:
                continue
            assert kept
    assert loaded > 0


def test_a_small_file_asks_for_little_memory(fingerprint_file):
    tracemalloc.start()
    load_fingerprint(fingerprint_file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_a_pipe_swapped_in_blocks_nobody(monkeypatch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("fpverify.fingerprint.file.regular_file_size", lambda path: 100)
    with pytest.raises(FingerprintError, match="not a regular file"):
        load_fingerprint(tmp_path / "pipe")


def test_held_out_models_are_ranked_as_if_they_knew_the_same_classes(make_backed):
    fingerprint = make_backed()
    some = fingerprint.calibrated_for(np.array([True, True, False]))
    # 16 keys count. A model that answers the third class could have answered either of the others: where it is no
    # surrogate, it counts as keeping these keys.
    assert some.surrogates == (11 / 16, *[1.0] * 19)
    assert some.references == (10 / 16, 11 / 16)
    assert some.nulls == (10 / 16,) * 99
    assert fingerprint.calibrated_for(np.ones(3, bool)) is fingerprint.calibration


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": np.zeros((121, 24), np.int32)}, r"answers must be int16 of shape \(121, 24\)"),
        ({"answers": np.zeros((121, 24), np.int16)}, "surrogates must be what the answers of the held-out models keep"),
        ({"answers": np.full((121, 24), 3, np.int16)}, "answers must be -1 to 2, one of 3 classes"),
        ({"controls": Controls(np.zeros((1, 1, 2, 2), np.float32), np.array([3]), 1.0)}, "labels must be 0 to 2"),
        ({"controls": Controls(np.zeros((1, 1, 2, 2), np.float32), np.array([1]), 1.5)}, "source_accuracy must be"),
    ],
)
def test_a_backing_that_does_not_fit_is_named(change, message, make_backed):
    with pytest.raises(FingerprintError, match=message):
        make_backed(**change)
