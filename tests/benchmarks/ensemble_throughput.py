"""Prints how many networks a second the stacked and the sequential trainer finish, and their ratio, in one run.

    python tests/benchmarks/ensemble_throughput.py [--rounds N] [--steps N]

Each round trains the same networks both ways, in turn, after one warm-up round; the medians are printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from fpverify_generator.data.load import halves
from fpverify_generator.models.architectures import FAMILIES
from fpverify_generator.models.ensembles import STACK, train_together
from fpverify_generator.models.training import Recipe, TrainingTask, train_sequentially


def seconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure each architecture and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = halves(0)[0]
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {STACK} networks, {options.steps} steps")
    print(f"{'architecture':<22} stacked/s  sequential/s  ratio")
    for architecture in FAMILIES["small"].members:
        task = TrainingTask(architecture.name, 0, architecture, data.inputs, data.targets, Recipe(steps=options.steps))
        tasks = [replace(task, seed=seed) for seed in range(STACK)]
        pairs = [
            (seconds(lambda t=tasks: train_together(t)), seconds(lambda t=tasks: [train_sequentially(x) for x in t]))
            for _ in range(options.rounds + 1)
        ][1:]
        together, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"{architecture.name:<22} {STACK / together:9.1f}  {STACK / alone:12.1f}  {ratio:5.2f}")


if __name__ == "__main__":
    main()
