"""CEM's objective is the paper's, and its candidates stay in the ball and the box."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fpverify_generator.attacks.run import run_attacks
from fpverify_generator.cem import (
    CemConfig,
    conferrability,
    direct_loss,
    dropout_mean,
    each_loss,
    ensemble_scores,
    optimise,
    paper_loss,
)
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.source import Source
from fpverify_generator.pools import OwnerData, attack_runs, reference_tasks
from fpverify_generator.presets import Preset
from fpverify_generator.run.context import RunContext


@pytest.fixture(scope="module")
def ensembles(source: Source, owner: OwnerData, tiny: Preset, shared_cache) -> tuple[Ensemble, Ensemble]:
    from fpverify_generator.run.cache import Cache

    work = RunContext(0, Cache(shared_cache))
    names = ["retrain-labels", "retrain-probabilities", "ftal", "retrain-labels-other"]
    outcomes = run_attacks(attack_runs(source, owner.known, names, tiny, 0, "test"), work, "s")
    surrogates = [outcome.stolen.module for outcome in outcomes]
    references = train_all(reference_tasks(owner, 4, tiny, 0, "test"), work, "r")
    return Ensemble(surrogates), Ensemble(references)


def test_with_softmax_ten_classes_cannot_pass_0_232() -> None:
    surrogate, reference = torch.eye(10)[:1], torch.eye(10)[1:2]
    best = float(ensemble_scores(surrogate, reference).max())
    assert best == pytest.approx(math.e / (math.e + 9))
    assert round(best, 3) == 0.232


def test_the_papers_loss_is_its_three_terms() -> None:
    s, r = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.2, 0.8]])
    start, now = torch.tensor([[0.1, 0.9]]), torch.tensor([[0.6, 0.4]])
    a, b = math.exp(0.7 * 0.8), math.exp(0.3 * 0.2)
    conferrable = -math.log(a / (a + b))
    left = -(0.1 * math.log(0.6) + 0.9 * math.log(0.4))
    agreed = -(0.6 * math.log(0.7) + 0.4 * math.log(0.3))
    loss = paper_loss(s, r, start, now, CemConfig(alpha=2, beta=3, gamma=5))
    assert float(loss) == pytest.approx(2 * conferrable - 3 * left + 5 * agreed, rel=1e-5)


def test_the_direct_loss_is_minus_the_log_of_the_product_and_of_the_sources_probability() -> None:
    s, r, now = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.2, 0.8]]), torch.tensor([[0.6, 0.4]])
    loss = direct_loss(s, r, now, torch.tensor([0]), CemConfig(alpha=2, gamma=3))
    assert float(loss) == pytest.approx(-2 * math.log(0.7 * 0.8) - 3 * math.log(0.6), rel=1e-5)


def test_the_loss_of_each_member_averages_logarithms_so_that_one_that_disagrees_counts_for_much() -> None:
    s, r = torch.tensor([[[0.7, 0.3]], [[0.1, 0.9]]]), torch.tensor([[[0.2, 0.8]], [[0.6, 0.4]]])
    now, wanted, config = torch.tensor([[0.6, 0.4]]), torch.tensor([0]), CemConfig(alpha=2, gamma=3, dropout_of="none")
    loss = each_loss(s.log(), r.log(), now, wanted, config, torch.Generator())
    conferrable = (math.log(0.7) + math.log(0.1)) / 2 + (math.log(0.8) + math.log(0.4)) / 2
    assert float(loss) == pytest.approx(-2 * conferrable - 3 * math.log(0.6), rel=1e-5)
    dropped = each_loss(s.log(), r.log(), now, wanted, replace(config, dropout_of="member"), torch.Generator())
    whole = replace(config, dropout_of="member", dropout=0.0)
    assert float(each_loss(s.log(), r.log(), now, wanted, whole, torch.Generator())) == float(loss)
    assert float(dropped) != float(loss)


def test_without_dropout_the_ensemble_is_its_mean_and_with_it_members_are_left_out() -> None:
    scores = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    mean = dropout_mean(scores, CemConfig(dropout_of="none"), generator)
    torch.testing.assert_close(mean, scores.softmax(-1).mean(0))
    dropped = dropout_mean(scores, CemConfig(dropout=0.3), generator)
    assert not torch.equal(dropped, mean)
    torch.testing.assert_close(dropped.sum(-1), torch.ones(4))
    logits = dropout_mean(scores, CemConfig(dropout_of="none", mean_of="logits"), generator)
    torch.testing.assert_close(logits, scores.mean(0).softmax(-1))


def test_the_papers_objective_falls_and_its_candidates_stay_within_epsilon(
    source: Source, owner: OwnerData, ensembles: tuple[Ensemble, Ensemble]
) -> None:
    config = CemConfig(objective="paper", dropout_of="none", steps=40, epsilon=0.15)
    starts, truth = owner.start.inputs[:60], owner.start.labels[:60]
    found = optimise(starts, truth, source, *ensembles, config, torch.Generator().manual_seed(0))
    assert float((found - starts).abs().max()) <= 0.15 + 1e-6

    def loss(inputs: torch.Tensor) -> float:
        surrogate, reference = (dropout_mean(e.scores(inputs), config, torch.Generator()) for e in ensembles)
        at_start, now = (source.module(x).softmax(1) for x in (starts, inputs))
        return float(paper_loss(surrogate, reference, at_start, now, config).mean())

    assert loss(found) < loss(starts)


CONFIGS = {
    "each": CemConfig(steps=40),
    "direct": CemConfig(objective="direct", steps=40),
    "score dropout": CemConfig(objective="direct", dropout_of="score", steps=40),
    "noise": CemConfig(noise=0.05, steps=40),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_candidates_stay_within_epsilon_and_become_more_conferrable(
    name: str, source: Source, owner: OwnerData, ensembles: tuple[Ensemble, Ensemble]
) -> None:
    wrong = (source.labels(owner.start.inputs) != owner.start.labels).nonzero()[:40, 0]
    starts, truth = owner.start.inputs[wrong], owner.start.labels[wrong]
    for epsilon in (0.025, 0.15):
        config = replace(CONFIGS[name], epsilon=epsilon, learning_rate=epsilon / 20)
        found = optimise(starts, truth, source, *ensembles, config, torch.Generator().manual_seed(0))
        assert float((found - starts).abs().max()) <= epsilon + 1e-6
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        before, after = (
            float(conferrability(ensembles[0].labels(x), ensembles[1].labels(x), source.labels(x)).mean())
            for x in (starts, found)
        )
        assert after > before


def test_a_label_oracle_gives_no_gradient_and_still_leads_somewhere(
    source: Source, owner: OwnerData, ensembles: tuple[Ensemble, Ensemble]
) -> None:
    asked: list[int] = []

    def answer(inputs: np.ndarray) -> np.ndarray:
        asked.append(len(inputs))
        return source.labels(torch.from_numpy(inputs)).numpy()

    oracle = Source("0" * 64, None, answer)
    starts, truth = owner.start.inputs[:60], owner.start.labels[:60]
    found = optimise(starts, truth, oracle, *ensembles, CemConfig(steps=40), torch.Generator().manual_seed(0))
    # its answers change no step, but for the paper's objective, where they weigh the surrogates
    assert asked == [60]
    asked.clear()
    optimise(starts, truth, oracle, *ensembles, CemConfig(steps=3, objective="paper"), torch.Generator())
    assert asked == [60] * 4
    before, after = (
        float(conferrability(ensembles[0].labels(x), ensembles[1].labels(x), oracle.labels(x)).mean())
        for x in (starts, found)
    )
    assert after > before
