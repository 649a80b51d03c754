"""Transferability and conferrability are their definitions, and keys are the most conferrable candidates."""

import pytest
import torch
from fpverify_generator.cem import _balanced, conferrability, most_separating, transferability
from fpverify_generator.keys import as_eight_bit

ANSWERS = torch.tensor([[0, 1, 2], [0, 1, 0], [0, 0, 0], [1, 1, 0]])
LABELS = torch.tensor([0, 1, 2])


def test_transferability_is_the_share_of_models_that_say_the_label() -> None:
    assert transferability(ANSWERS, LABELS).tolist() == [0.75, 0.75, 0.25]


@pytest.mark.parametrize(
    ("surrogates", "references", "expected"),
    [
        ([[0], [0]], [[1], [1]], 1.0),
        ([[0], [0]], [[0], [0]], 0.0),
        ([[1], [1]], [[1], [1]], 0.0),
        ([[0], [1]], [[0], [1]], 0.25),
        ([[0], [0], [0], [1]], [[1], [2]], 0.75),
    ],
)
def test_conferrability_is_the_product_of_the_definition(surrogates, references, expected: float) -> None:
    value = conferrability(torch.tensor(surrogates), torch.tensor(references), torch.tensor([0]))
    assert value.tolist() == [expected]


def test_no_label_has_more_than_its_share_of_the_keys_while_there_are_others() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 1])
    order = torch.tensor([0, 1, 2, 4, 3, 5, 6])
    assert _balanced(order, labels, 2).tolist() == [0, 1, 4, 5, 6, 2, 3]
    assert _balanced(order, labels, None).tolist() == order.tolist()
    assert sorted(_balanced(order, labels, 1).tolist()) == list(range(7))


def test_keys_that_separate_are_not_kept_by_the_same_references() -> None:
    surrogates = torch.ones(4, 3, dtype=torch.bool)
    # the first two are kept by one and the same reference, the third by another
    references = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)
    assert most_separating(surrogates, references, 2).tolist() == [0, 2]
    assert sorted(most_separating(surrogates, references, 5).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("epsilon", [0.025, 0.1, 0.3])
def test_keys_become_images_of_eight_bits_within_the_radius(epsilon: float) -> None:
    draw = torch.Generator().manual_seed(0)
    starts = torch.rand(20, 1, 8, 8, generator=draw)
    candidates = (starts + epsilon * (2 * torch.rand(starts.shape, generator=draw) - 1).sign()).clamp(0, 1)
    keys = as_eight_bit(candidates, starts, epsilon)
    assert torch.equal(keys, (keys * 255).round() / 255)
    assert float((keys.double() - starts.double()).abs().max()) <= epsilon
    assert float((keys - candidates).abs().max()) <= 1 / 255 + 1e-6
    assert float(keys.min()) >= 0
    assert float(keys.max()) <= 1
