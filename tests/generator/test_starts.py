"""The image that each key started from is found among the owner's images, or it is said that it is not there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fpverify_generator.cli import main
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.load import load_data
from fpverify_generator.errors import DataError
from fpverify_generator.starts import find_starts

from fpverify.fingerprint import Fingerprint, load_fingerprint
from fpverify.questions import eight_bit
from fpverify.starts import differences, load_starts

FINGERPRINT = Path(__file__).parents[2] / "fixtures" / "digits" / "fingerprint.safetensors"


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits", 0)


@pytest.fixture(scope="module")
def fingerprint() -> Fingerprint:
    return load_fingerprint(FINGERPRINT)


def test_each_key_lies_near_the_image_that_is_found(digits: DataSet, fingerprint: Fingerprint) -> None:
    found = find_starts(fingerprint, digits, lambda line: None)
    keys = eight_bit(fingerprint.inputs, fingerprint.contract)
    assert found.shape == keys.shape
    epsilon = fingerprint.method["cem"]["epsilon"]
    away = abs(differences(found, keys)).reshape(len(keys), -1).max(1)
    assert (away <= np.ceil(255 * epsilon) + 1).all()
    assert away.min() > 0
    known = {tuple(image) for image in (digits.inputs * 255).round().to(torch.uint8).flatten(1).tolist()}
    assert all(tuple(image) in known for image in found.reshape(len(keys), -1).tolist())


def test_the_nearest_of_several_images_is_found(digits: DataSet, fingerprint: Fingerprint) -> None:
    keys = torch.from_numpy(np.array(fingerprint.inputs))
    both = torch.cat([digits.inputs[:5], (keys - 0.02).clamp(0, 1), (keys - 0.01).clamp(0, 1), digits.inputs[5:9]])
    data = DataSet(both, torch.zeros(len(both), dtype=torch.int64), torch.arange(len(both)), digits.classes)
    found = find_starts(fingerprint, data, lambda line: None)
    assert abs(differences(found, eight_bit(fingerprint.inputs, fingerprint.contract))).max() <= 3


def test_images_that_are_not_the_right_ones_are_refused(digits: DataSet, fingerprint: Fingerprint) -> None:
    with pytest.raises(DataError, match="of 100 keys started from none of these images; give the images"):
        find_starts(fingerprint, digits.rows(slice(50)), lambda line: None)
    small = replace(digits, inputs=digits.inputs[:, :, :4])
    with pytest.raises(DataError, match="images must be 1 x 8 x 8, as the keys are"):
        find_starts(fingerprint, small, lambda line: None)
    other = replace(fingerprint, method={"name": "other"})
    with pytest.raises(DataError, match="its keys were not made by CEM"):
        find_starts(other, digits, lambda line: None)


def test_the_command_writes_what_a_report_reads(fingerprint: Fingerprint, tmp_path: Path) -> None:
    output = tmp_path / "starts.safetensors"
    options = ["starts", str(FINGERPRINT), "--data", "digits", "-o", str(output), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.stderr
    assert load_starts(output, fingerprint).shape == (100, 8, 8, 1)
    assert "100 images" in result.stdout
    result = CliRunner().invoke(main, [*options[:-3], str(FINGERPRINT)])
    assert result.exit_code == 2
