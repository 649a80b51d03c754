"""Prints how many candidates and steps a processor second CEM does, against one image and one model at a time.

    python tests/benchmarks/cem_throughput.py [--members N] [--chunk N] [--rounds N]

The loop that it is compared with is the obvious one: for each start point and step, each surrogate, each reference and
the source answer one image, and the same objective is minimised by the same Adam. Both use one thread. Networks have
random weights, which costs the same.
"""

import argparse
import statistics
import time

import torch
from fpverify_generator.cem import CemConfig, each_loss, optimise, probabilities
from fpverify_generator.data.load import halves
from fpverify_generator.models.architectures import FAMILIES, Task, initialise
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.source import Source
from torch import nn


def one_at_a_time(
    starts: torch.Tensor,
    wrong: torch.Tensor,
    source: Source,
    surrogates: list[nn.Module],
    references: list[nn.Module],
    config: CemConfig,
) -> None:
    """Optimise one start point after another, asking one model after another."""
    draw = torch.Generator().manual_seed(0)
    for start, label in zip(starts.split(1), wrong.split(1), strict=True):
        offset = torch.zeros_like(start, requires_grad=True)
        optimizer = torch.optim.Adam([offset], lr=config.learning_rate)
        for _ in range(config.steps):
            inputs = (start + offset).clamp(0, 1)
            scores = [torch.stack([model(inputs) for model in models]) for models in (surrogates, references)]
            loss = each_loss(*scores, probabilities(source, inputs), label, config, draw)
            optimizer.zero_grad()
            torch.autograd.backward(loss.sum())
            optimizer.step()
            with torch.no_grad():
                offset.clamp_(-config.epsilon, config.epsilon)


def main() -> None:
    """Measure both and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=48, help="surrogates, and as many references")
    parser.add_argument("--chunk", type=int, default=300, help="candidates at once")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, task = halves(0)[0], Task((1, 8, 8), 10)
    kinds = FAMILIES["small"].members
    models = [initialise(kinds[seed % 4], task, seed).requires_grad_(False) for seed in range(2 * options.members + 1)]
    source, surrogates, references = Source(None, models[-1]), models[: options.members], models[options.members : -1]
    starts, truth = data.inputs[: options.chunk], data.labels[: options.chunk]
    steps, few = CemConfig(steps=10, objective="each"), CemConfig(steps=5, objective="each")
    rates = []
    for _ in range(options.rounds + 1):
        began = time.process_time()
        ensembles = Ensemble(surrogates), Ensemble(references)
        optimise(starts, truth, source, *ensembles, steps, torch.Generator().manual_seed(0))
        middle = time.process_time()
        one_at_a_time(starts[:2], truth[:2], source, surrogates, references, few)
        ended = time.process_time()
        rates.append((options.chunk * steps.steps / (middle - began), 2 * few.steps / (ended - middle)))
    together, alone = (statistics.median(column) for column in zip(*rates[1:], strict=True))
    ratio = statistics.median(a / b for a, b in rates[1:])
    print(f"PyTorch {torch.__version__}, one thread, {options.members} + {options.members} models")
    print(f"candidates x steps a second: {together:.0f} in chunks of {options.chunk}, {alone:.1f} one at a time")
    print(f"ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
