"""Splits share no image, and unusable data is refused by name."""

import pytest
import torch
from fpverify_generator.data.dataset import DataSet, require_every_class, split
from fpverify_generator.data.load import halves
from fpverify_generator.errors import DataError


def make(inputs: torch.Tensor, labels: list[int], classes: tuple[str, ...] = ("a", "b")) -> DataSet:
    return DataSet(inputs, torch.tensor(labels), torch.arange(len(inputs)), classes)


def test_no_image_is_in_two_of_the_halves_and_the_test_split() -> None:
    owner, attacker, test = (set(part.images.tolist()) for part in halves(3))
    assert not owner & attacker
    assert not owner & test
    assert not attacker & test
    assert len(owner | attacker | test) == 1797


def test_all_views_of_an_image_stay_together() -> None:
    for part in halves(0):
        assert set(torch.bincount(part.images).tolist()) <= {0, 4}


def test_a_split_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    owner = halves(0)[0]
    first, again, other = (split(owner, (0.5, 0.5), seed, "x")[0].images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


BAD = {
    "NaN": (torch.full((2, 1, 2, 2), torch.nan), [0, 1], "NaN or infinite"),
    "range": (torch.full((2, 1, 2, 2), 2.0), [0, 1], r"expected inputs in \[0, 1\]"),
    "labels": (torch.zeros(2, 1, 2, 2), [0, 2], r"labels must lie in 0\.\.1"),
    "length": (torch.zeros(2, 1, 2, 2), [0], "one integer label per input"),
    "shape": (torch.zeros(2, 4), [0, 1], r"\(n, C, H, W\)"),
    "empty": (torch.zeros(0, 1, 2, 2), [], "no image"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_data_is_refused_with_its_reason(case: str) -> None:
    inputs, labels, message = BAD[case]
    with pytest.raises(DataError, match=message):
        DataSet(inputs, torch.tensor(labels, dtype=torch.int64), torch.arange(len(inputs)), ("a", "b"))


def test_a_class_without_an_image_is_named() -> None:
    with pytest.raises(DataError, match="class 'b' has no image"):
        require_every_class(make(torch.zeros(2, 1, 2, 2), [0, 0]), "data")


def test_too_few_images_to_split_is_said() -> None:
    with pytest.raises(DataError, match="too few to split"):
        split(make(torch.zeros(2, 1, 2, 2), [0, 1]), (0.4, 0.3, 0.3), 0, "x")
