"""Splits share no image, and unusable data is refused by name."""

from dataclasses import replace

import pytest
import torch
from fpverify_generator.data.dataset import DataSet, require_every_class, some, split
from fpverify_generator.data.load import halves
from fpverify_generator.errors import DataError
from fpverify_generator.pools import OwnerData, share_data
from fpverify_generator.presets import Preset


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


def test_some_images_are_drawn_at_random_and_all_where_there_are_no_more() -> None:
    owner = halves(0)[0]
    assert some(owner, len(owner), 1, "x") is owner
    first, again, other = (some(owner, 50, seed, "x") for seed in (1, 1, 2))
    assert len(first) == 50
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.images, other.images)
    assert len(first.labels.unique()) > 5  # rows of a folder come class by class


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


def test_what_the_source_never_learnt_is_asked_about_and_started_from(owner: OwnerData) -> None:
    learnt, fresh = owner.train, owner.every.rows(slice(len(owner.train), None))
    found = share_data(learnt, Preset(), 0, fresh)
    assert torch.equal(found.train.inputs, learnt.inputs)
    assert len(found.every) == len(owner.every)
    assert len(found.query) / len(fresh) == pytest.approx(0.25 / 0.45, abs=0.02)
    assert not set(found.start.images.tolist()) & set(found.known.images.tolist())
    rest = torch.cat([found.query.inputs, found.start.inputs]).flatten(1)
    assert torch.equal(rest.sum(1).sort().values, fresh.inputs.flatten(1).sum(1).sort().values)


def test_unseen_images_of_other_classes_or_sizes_are_refused(owner: OwnerData) -> None:
    data = owner.every
    with pytest.raises(DataError, match=r"unseen images: expected the classes of the data, 0, 1, 2.*, found a, b"):
        share_data(data, Preset(), 0, replace(data, classes=tuple("abcdefghij")))
    with pytest.raises(DataError, match="channels, height and width of the data, 1, 8, 8, found 1, 7, 8"):
        share_data(data, Preset(), 0, replace(data, inputs=data.inputs[:, :, 1:]))
