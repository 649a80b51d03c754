"""The images from which keys were made are shown beside them, if they are the fingerprint's."""

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from fpverify import FingerprintError, OutputError, verify
from fpverify.cli import main
from fpverify.questions import eight_bit
from fpverify.reports import as_html
from fpverify.starts import differences, load_starts, magnified, save_starts


@pytest.fixture
def images(fingerprint):
    keys = eight_bit(fingerprint.inputs, fingerprint.contract)
    return np.clip(keys.astype(int) - 7, 0, 255).astype(np.uint8)


def test_start_images_are_written_and_read(fingerprint, images, tmp_path):
    save_starts(images, fingerprint, tmp_path / "s")
    assert (load_starts(tmp_path / "s", fingerprint) == images).all()
    with pytest.raises(OutputError, match="cannot write it"):
        save_starts(images, fingerprint, tmp_path / "none" / "s")


def test_what_does_not_fit_is_refused(fingerprint, images, tmp_path):
    for content, message in (
        ({"images": images[:-1]}, "images must be uint8 of shape"),
        ({"images": images.astype(np.int16)}, "found int16"),
        ({"other": images}, "found none"),
    ):
        save_file(content, tmp_path / "s", {"fingerprint": fingerprint.sha256})
        with pytest.raises(FingerprintError, match=message):
            load_starts(tmp_path / "s", fingerprint)
    for metadata in ({"fingerprint": "0" * 64}, {"other": "x"}, None):
        save_file({"images": images}, tmp_path / "s", metadata)
        with pytest.raises(FingerprintError, match="holds start images of another fingerprint"):
            load_starts(tmp_path / "s", fingerprint)
    (tmp_path / "s").write_bytes(b"nothing of the kind")
    with pytest.raises(FingerprintError, match="is no file of start images"):
        load_starts(tmp_path / "s", fingerprint)
    (tmp_path / "s").write_bytes(bytes(2**22))
    with pytest.raises(FingerprintError, match="no file of start images: more than"):
        load_starts(tmp_path / "s", fingerprint)


def test_differences_are_shown_at_full_range(images, fingerprint):
    keys = eight_bit(fingerprint.inputs, fingerprint.contract)
    found = differences(images, keys)
    assert (found.min(), found.max()) == (0, 7)
    shown = magnified(found[0])
    assert shown.max() == 255
    assert set(magnified(np.zeros((2, 2, 3), np.int16)).ravel()) == {128}
    assert set(magnified(np.array([[[-3, 3]]], np.int16)).ravel()) == {0, 255}


def test_a_report_shows_image_key_and_difference(fingerprint, images, derived_file):
    text = as_html.result(verify(fingerprint, derived_file), fingerprint, images)
    assert text.count("changed by at most 7 of 255") == len(fingerprint)
    assert text.count("the image from which key 3 was made") == 1
    assert text.count("<img ") == 3 * len(fingerprint)


def test_the_command_takes_them(fingerprint, fingerprint_file, derived_file, images, tmp_path):
    saved, starts, page = tmp_path / "r.json", tmp_path / "s", tmp_path / "r.html"
    save_starts(images, fingerprint, starts)
    run = CliRunner().invoke
    assert run(main, ["verify", str(derived_file), "-f", str(fingerprint_file), "-o", str(saved)]).exit_code == 3
    options = ["report", str(saved), "--starts", str(starts)]
    done = run(main, [*options, "-f", str(fingerprint_file), "-o", str(page)])
    assert done.exit_code == 0, done.stderr
    assert "changed by at most 7 of 255" in page.read_text()
    done = run(main, [*options, "-o", str(page)])
    assert (done.exit_code, "they say nothing without --fingerprint" in done.stderr) == (2, True)
    done = run(main, [*options, "-f", str(fingerprint_file), "-o", str(starts)])
    assert done.exit_code == 2
