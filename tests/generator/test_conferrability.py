"""Transferability and conferrability are their definitions, and keys are the most conferrable candidates."""

import pytest
import torch
from fpverify_generator.conferrability import conferrability, transferability

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
