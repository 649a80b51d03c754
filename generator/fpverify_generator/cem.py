"""CEM, the conferrable ensemble method: inputs whose label passes to surrogates and not to references.

Source: Lukas, Zhang, Kerschbaum, "Deep Neural Network Fingerprinting by Conferrable Adversarial Examples",
ICLR 2021, section 4. `M` is the source, `S` the surrogates, `R` the references, `x0` a start point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from fpverify_generator.data.dataset import DataSet
from fpverify_generator.errors import require_within
from fpverify_generator.models.ensembles import Ensemble, Seen
from fpverify_generator.models.source import Source
from fpverify_generator.run.seeds import generator_for

TINY = 1e-6
"""Keeps logarithms finite."""

FLOOR = 1e-3
"""The least 1 - R_t in `each_loss`: it bounds the gradient of the term."""


@dataclass(frozen=True)
class CemConfig:
    """The objective and the optimiser; a fingerprint's file names every field."""

    objective: Literal["each", "direct", "paper"] = "each"
    """`paper`: minimise alpha H(1, max softmax(Surr (1 - Ref))) - beta H(M(x0), M(x')) + gamma H(M(x'), Surr(x')).
    `direct`: minimise -alpha log (Surr (1 - Ref))_t + gamma H(t, M(x')), where t is the wrong label that the source
    finds likeliest at x0. `each`: minimise -alpha (mean log S_t + mean log (1 - R_t)) + gamma H(t, M(x')): the
    logarithms of the members are averaged, not their probabilities, so that one that disagrees counts for much."""
    epsilon: float = 0.3
    """Max-norm radius around x0, as a fraction of the input range."""
    steps: int = 100
    """Adam's steps."""
    learning_rate: float = 0.01
    """Adam's learning rate, in units of the input range."""
    members: float = 1.0
    """The share of the networks of each architecture that is asked at a step, drawn anew. With 48 + 48 networks, half
    takes half of the time and costs nothing that could be measured: on the demo's seeds 0 to 4, 102 of 105 surrogates
    were found with all and with half, and 1 and 0 of 90 unrelated models accused; on the development seeds 10 and 11,
    79 and 81 of 86, and 0 and 1 of 744. Half of the steps as well lost 4 of the 105. Few networks need to be asked all:
    of 4 + 4, half gave keys that decided nothing."""
    dropout: float = 0.3
    """The share of the ensemble that is left out, drawn anew at each step and for each input."""
    dropout_of: Literal["member", "score", "none"] = "member"
    """Whether whole members are left out, single scores, or nothing."""
    mean_of: Literal["probabilities", "logits"] = "probabilities"
    """What is averaged over an ensemble."""
    noise: float = 0.0
    """Standard deviation of fresh noise on x' at each step, so that a key does not depend on one model's curvature."""
    alpha: float = 1.0
    """Weight of conferrability."""
    beta: float = 1.0
    """Weight of leaving the start point's label (`paper` alone)."""
    gamma: float = 1.0
    """Weight of the source's agreement."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epsilon", 0, 1),
            ("steps", 0, math.inf),
            ("learning_rate", 0, math.inf),
            ("members", 0, 1),
            ("dropout", 0, 1),
            ("noise", 0, math.inf),
        ):
            require_within(self, name, low, high)


def dropout_mean(scores: torch.Tensor, config: CemConfig, generator: torch.Generator) -> torch.Tensor:
    """Return the ensemble's mean probabilities over the members that dropout leaves.

    Args:
        scores: `(models, n, classes)`.
        config: `dropout`, `dropout_of` and `mean_of` are used.
        generator: draws who is left out.

    Returns:
        `(n, classes)`: Surr(x) or Ref(x).
    """
    models, count, classes = scores.shape
    values = scores.softmax(-1) if config.mean_of == "probabilities" else scores
    if config.dropout_of == "none":
        mean = values.mean(0)
    else:
        width = 1 if config.dropout_of == "member" else classes
        kept = (torch.rand((models, count, width), generator=generator) >= config.dropout).to(values)
        mean = (values * kept).sum(0) / kept.sum(0).clamp(min=1)
    return mean if config.mean_of == "probabilities" else mean.softmax(-1)


def ensemble_scores(surrogate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return M_E(x) = softmax(Surr(x) * (1 - Ref(x))), `(n, classes)`."""
    return (surrogate * (1 - reference)).softmax(-1)


def paper_loss(
    surrogate: torch.Tensor,
    reference: torch.Tensor,
    at_start: torch.Tensor,
    now: torch.Tensor,
    config: CemConfig,
) -> torch.Tensor:
    """Return the paper's L(x0, x').

    Args:
        surrogate: Surr(x'), `(n, classes)`.
        reference: Ref(x'), `(n, classes)`.
        at_start: M(x0), `(n, classes)`.
        now: M(x'), `(n, classes)`; of a label oracle one-hot and without gradient, so that the second term is
            a constant and the third pulls the surrogates alone.
        config: the weights of the terms.

    Returns:
        `(n,)`, one value per input.
    """
    conferrable = -ensemble_scores(surrogate, reference).max(-1).values.log()
    left = -(at_start * now.clamp(min=TINY).log()).sum(-1)
    agreed = -(now * surrogate.clamp(min=TINY).log()).sum(-1)
    return config.alpha * conferrable - config.beta * left + config.gamma * agreed


def direct_loss(
    surrogate: torch.Tensor, reference: torch.Tensor, now: torch.Tensor, wanted: torch.Tensor, config: CemConfig
) -> torch.Tensor:
    """Return -log of the product at the wanted labels t, `(n,)`, plus H(t, M(x')); else as `paper_loss`."""
    product = (surrogate * (1 - reference)).gather(-1, wanted[:, None])[:, 0]
    sure = now.gather(-1, wanted[:, None])[:, 0]
    return -config.alpha * product.clamp(min=TINY).log() - config.gamma * sure.clamp(min=TINY).log()


def each_loss(
    surrogates: torch.Tensor,
    references: torch.Tensor,
    now: torch.Tensor,
    wanted: torch.Tensor,
    config: CemConfig,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return -mean log S_t - mean log (1 - R_t) over the members that dropout leaves, `(n,)`, plus H(t, M(x')).

    Args:
        surrogates: `(models, n, classes)` scores S(x').
        references: `(models, n, classes)` scores R(x').
        now: `(n, classes)` M(x').
        wanted: `(n,)` t.
        config: `alpha`, `gamma` and `dropout` are used; a member has one score here, so its dropout is the member's.
        generator: draws who is left out.

    Returns:
        `(n,)`, one value per input.
    """

    def mean(values: torch.Tensor) -> torch.Tensor:
        share = 0.0 if config.dropout_of == "none" else config.dropout
        kept = (torch.rand(values.shape, generator=generator) >= share).to(values)
        result: torch.Tensor = (values * kept).sum(0) / kept.sum(0).clamp(min=1)
        return result

    index = wanted[None, :, None]
    stolen = surrogates.log_softmax(-1).gather(-1, index.expand(len(surrogates), -1, 1))[..., 0]
    other = references.softmax(-1).gather(-1, index.expand(len(references), -1, 1))[..., 0]
    sure = now.gather(-1, wanted[:, None])[:, 0]
    conferrable = mean(stolen) + mean((1 - other).clamp(min=FLOOR).log())
    return -config.alpha * conferrable - config.gamma * sure.clamp(min=TINY).log()


def probabilities(source: Source, inputs: torch.Tensor) -> torch.Tensor:
    """Return M(x), `(n, classes)`, with a gradient where the source has one; an oracle's labels are one-hot."""
    if source.module is not None:
        scores: torch.Tensor = source.module(inputs)
        return scores.softmax(-1)
    labels, soft = source.answers(inputs.detach())
    if soft is not None:
        return soft.to(inputs)
    return F.one_hot(labels).to(inputs)


def optimise(
    starts: torch.Tensor,
    truth: torch.Tensor,
    source: Source,
    surrogates: Ensemble,
    references: Ensemble,
    config: CemConfig,
    generator: torch.Generator,
    progress: Callable[[int], None] = lambda _: None,
) -> torch.Tensor:
    """Optimise candidates from start points.

    Args:
        starts: `(n, C, H, W)` in [0, 1].
        truth: `(n,)` the true labels of the starts; a key must be a mistake of the source.
        source: the owner's model.
        surrogates: CEM's surrogates.
        references: CEM's references.
        config: objective and optimiser.
        generator: for dropout.
        progress: called with each finished step's number.

    Returns:
        `(n, C, H, W)` within `epsilon` of the starts in max norm and in [0, 1], on the CPU.
    """
    device, classes = surrogates.device, surrogates.scores(starts[:1].to(surrogates.device)).shape[-1]
    origin = starts.to(device)
    offset = torch.zeros_like(origin, requires_grad=True)
    optimizer = torch.optim.Adam([offset], lr=config.learning_rate)
    with torch.no_grad():
        at_start = _widen(probabilities(source, origin), classes)
        wrong = at_start.scatter(1, truth.to(device)[:, None], -1.0).argmax(1)
    asked = None if config.members == 1 else (surrogates.part(config.members), references.part(config.members))
    for step in range(config.steps):
        inputs = (origin + offset).clamp(0, 1)
        if config.noise:
            drawn = config.noise * torch.randn(inputs.shape, generator=generator)
            inputs = (inputs + drawn.to(device)).clamp(0, 1)
        seen: Seen = {}
        if asked is None:
            stolen, other = surrogates.scores(inputs, seen), references.scores(inputs, seen)
        else:
            for part in asked:
                part.draw(generator)
            stolen, other = (part.scores(inputs, seen) for part in asked)
        # without a gradient, what the source says changes the loss of `paper` alone, where it weighs the surrogates
        steers = source.module is not None or config.objective == "paper"
        now = _widen(probabilities(source, inputs), classes) if steers else at_start
        if config.objective == "each":
            loss = each_loss(stolen, other, now, wrong, config, generator)
        else:
            means = dropout_mean(stolen, config, generator), dropout_mean(other, config, generator)
            if config.objective == "paper":
                loss = paper_loss(*means, at_start, now, config)
            else:
                loss = direct_loss(*means, now, wrong, config)
        optimizer.zero_grad()
        torch.autograd.backward(loss.sum())
        optimizer.step()
        with torch.no_grad():
            offset.clamp_(-config.epsilon, config.epsilon)
        progress(step + 1)
    # the sum rounds: a last clamp holds the candidates to the ball as it is checked, in float32
    found = torch.clamp(origin + offset.detach(), origin - config.epsilon, origin + config.epsilon)
    return found.clamp(0, 1).cpu()


def _widen(values: torch.Tensor, classes: int) -> torch.Tensor:
    """Pad one-hot rows of an oracle that did not name the last classes."""
    return F.pad(values, (0, classes - values.shape[-1]))


def start_points(source: Source, data: DataSet, count: int) -> DataSet:
    """Return the inputs where the source is wrong, then those where it is least sure, at most `count`."""
    labels, soft = source.answers(data.inputs)
    margin = torch.zeros(len(data))
    if soft is not None:
        top = soft.topk(2, dim=1).values
        margin = top[:, 0] - top[:, 1]
    # a wrong answer sorts before every right one
    order = torch.where(labels != data.labels, margin - 2, margin).argsort(stable=True)
    return data.rows(order[:count])


def random_points(data: DataSet, count: int, seed: int) -> DataSet:
    """Return inputs at random, at most `count`: what start points are measured against."""
    return data.rows(torch.randperm(len(data), generator=generator_for(seed, "random starts"))[:count])


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
