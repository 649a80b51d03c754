"""Where CEM starts: inputs on which the source is wrong or unsure, where references already disagree with it."""

import torch

from fpverify_generator.data import DataSet
from fpverify_generator.seeds import generator_for
from fpverify_generator.source import Source


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
