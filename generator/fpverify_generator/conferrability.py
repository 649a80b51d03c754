"""Transferability and conferrability of inputs, and the choice of keys by it."""

import torch

from fpverify_generator.ensembles import Ensemble


def transferability(answers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the share of models that give each input its label.

    Args:
        answers: `(models, n)` labels that the models gave.
        labels: `(n,)` the label asked for.

    Returns:
        `(n,)` float64 in [0, 1].

    Source:
        Lukas, Zhang, Kerschbaum, ICLR 2021, definition of Transfer(M, x; t).
    """
    return (answers == labels).double().mean(0)


def conferrability(surrogates: torch.Tensor, references: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return how far each input's label passes to the surrogates and to nobody else.

    Args:
        surrogates: `(models, n)` labels that surrogates gave.
        references: `(models, n)` labels that references gave.
        labels: `(n,)` the label that the source gave.

    Returns:
        `(n,)` float64 in [0, 1]: Transfer(S) * (1 - Transfer(R)).

    Source:
        Lukas, Zhang, Kerschbaum, ICLR 2021, definition of Conferr(S, R, x; t).
    """
    return transferability(surrogates, labels) * (1 - transferability(references, labels))


def choose_keys(
    candidates: torch.Tensor, labels: torch.Tensor, surrogates: Ensemble, references: Ensemble, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the candidates with the highest conferrability.

    Args:
        candidates: `(n, C, H, W)`.
        labels: `(n,)` the source's labels of them.
        surrogates: who has to keep a key.
        references: who must not.
        count: how many keys are wanted.

    Returns:
        The row numbers of the keys, `(count,)`, best first, and their conferrability, `(count,)`.
    """
    values = conferrability(surrogates.labels(candidates), references.labels(candidates), labels)
    order = values.argsort(descending=True, stable=True)[:count]
    return order, values[order]
