"""Prints how many networks a processor second the stacked and the sequential trainer finish, and their ratio.

    python tests/benchmarks/ensemble_throughput.py [--rounds N] [--steps N]

Each round trains the same networks both ways, in turn, after one warm-up round; medians are printed. Both trainers use
one thread and fused Adam. The last column is the share of the processor's speed, measured here by a large product of
matrices in single precision, that the stack's own products reach over the whole of its training.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from fpverify_generator.data.load import halves
from fpverify_generator.models.architectures import FAMILIES, Architecture
from fpverify_generator.models.ensembles import STACK, train_together
from fpverify_generator.models.training import Recipe, TrainingTask, initial, train_sequentially
from torch import nn


def seconds(work: Callable[[], object]) -> float:
    """Return how much processor time a piece of work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def peak() -> float:
    """Return the floating-point operations a second of a product of two matrices of 1024 by 1024, one thread."""
    left, right = torch.rand(2, 1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: left @ right) for _ in range(20))


def operations(task: TrainingTask) -> int:
    """Return the floating-point operations of one network's products: forwards, weights, and all images but the first.

    Args:
        task: of a network of convolutions and linear layers.
    """
    found, values = [], task.inputs[:1]
    for layer in initial(task).children():
        values = layer(values)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found.append(2 * layer.weight.numel() * values[0, 0].numel())
    return (3 * sum(found) - found[0]) * task.recipe.batch * task.recipe.steps


def measure(architecture: Architecture, task: TrainingTask, rounds: int, fastest: float) -> str:
    """Return a line of the table."""
    tasks = [replace(task, seed=seed, architecture=architecture) for seed in range(STACK)]
    pairs = [
        (seconds(lambda: train_together(tasks)), seconds(lambda: [train_sequentially(one) for one in tasks]))
        for _ in range(rounds + 1)
    ][1:]
    together, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    share = STACK * operations(tasks[0]) / together / fastest
    return f"{architecture.name:<22} {STACK / together:9.1f}  {STACK / alone:12.1f}  {ratio:5.2f}  {share:13.0%}"


def main() -> None:
    """Measure each architecture and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, fastest = halves(0)[0], peak()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} thread, {STACK} networks, {options.steps} steps")
    print(f"a product of 1024 x 1024 matrices: {fastest / 1e9:.0f} GFLOP/s")
    print(f"{'architecture':<22} stacked/s  sequential/s  ratio  share of peak")
    for architecture in FAMILIES["small"].members:
        task = TrainingTask(architecture.name, 0, architecture, data.inputs, data.targets, Recipe(steps=options.steps))
        print(measure(architecture, task, options.rounds, fastest), flush=True)


if __name__ == "__main__":
    main()
