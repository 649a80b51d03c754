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
    candidates: torch.Tensor,
    labels: torch.Tensor,
    surrogates: Ensemble,
    references: Ensemble,
    count: int,
    criterion: str = "conferrability",
    most: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the keys among the candidates.

    Args:
        candidates: `(n, C, H, W)`.
        labels: `(n,)` the source's labels of them.
        surrogates: models that should keep a key.
        references: models that should not.
        count: how many keys are wanted.
        criterion: `separation`, of all keys together, or `conferrability`, of each alone.
        most: how many keys of one label are taken by conferrability while there are others; None for any number.

    Returns:
        The row numbers of the keys, `(count,)`, best first, and their conferrability, `(count,)`.
    """
    said = surrogates.labels(candidates), references.labels(candidates)
    values = conferrability(*said, labels)
    if criterion == "conferrability":
        order = _balanced(values.argsort(descending=True, stable=True), labels, most)[:count]
    else:
        order = most_separating(said[0] == labels, said[1] == labels, count)
    return order, values[order]


def _balanced(order: torch.Tensor, labels: torch.Tensor, most: int | None) -> torch.Tensor:
    """Put what comes after the first so many of its label behind all others, and keep the order otherwise."""
    if most is None:
        return order
    ranked = labels[order]
    place = torch.stack([(ranked[:end] == ranked[end]).sum() for end in range(len(ranked))])
    return torch.cat([order[place < most], order[place >= most]])


def most_separating(surrogates: torch.Tensor, references: torch.Tensor, count: int) -> torch.Tensor:
    """Choose keys one after another, each so that the number of keys kept separates the two groups best.

    What is maximised is (mean S - mean R) / sqrt(var S + var R) of the number of keys that a surrogate and a reference
    keep. Conferrability looks at each key alone, and so takes many keys that the same references share by chance.

    Args:
        surrogates: `(models, n)` whether each surrogate keeps each candidate.
        references: `(models, n)` the same of the references.
        count: how many are wanted.

    Returns:
        `(min(count, n),)` row numbers, the first chosen first; ties go to the first candidate.
    """
    kept, other = surrogates.double(), references.double()
    totals = torch.zeros(len(kept), 1, dtype=torch.float64), torch.zeros(len(other), 1, dtype=torch.float64)
    left = torch.ones(kept.shape[1], dtype=torch.bool)
    chosen: list[int] = []
    for _ in range(min(count, kept.shape[1])):
        ours, theirs = totals[0] + kept, totals[1] + other
        # one key's worth of variance, so that the first choice is not one that all models of a group share
        spread = (ours.var(0, correction=0) + theirs.var(0, correction=0) + 1).sqrt()
        score = torch.where(left, (ours.mean(0) - theirs.mean(0)) / spread, -torch.inf)
        best = int(score.argmax())
        chosen.append(best)
        left[best] = False
        totals = ours[:, best : best + 1], theirs[:, best : best + 1]
    return torch.tensor(chosen)
