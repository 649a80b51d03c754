"""What an owner holds before a method makes the keys: data shared out, the source, and models parted by role."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from fpverify_generator.data import DataSet, split
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.source import Source
from fpverify_generator.workshop import Workshop


@dataclass(frozen=True)
class OwnerData:
    """The owner's images, shared out by what they are for; no image is in two parts."""

    train: DataSet
    """What the source is trained on."""
    query: DataSet
    """Asked of the source by simulated attackers, and learnt from by references."""
    start: DataSet
    """Where keys start: seen by no model that makes, chooses or calibrates them."""

    @cached_property
    def known(self) -> DataSet:
        """Return what surrogates and references may learn from: all but the start points."""
        return DataSet(
            torch.cat([self.train.inputs, self.query.inputs]),
            torch.cat([self.train.labels, self.query.labels]),
            torch.cat([self.train.images, self.query.images]),
            self.train.classes,
        )


def share_data(data: DataSet, preset: Preset, seed: int) -> OwnerData:
    """Share the owner's data out as the preset says."""
    rest = 1 - preset.train_share - preset.query_share
    return OwnerData(*split(data, (preset.train_share, preset.query_share, rest), seed, "owner"))


@dataclass(frozen=True)
class Pool:
    """Networks of one kind, parted by what they are for; none has two roles."""

    cem: list[nn.Module]
    """They make the keys: CEM optimises against them."""
    selection: list[nn.Module]
    """They help to choose the keys, and do not make them."""
    calibration: list[nn.Module]
    """They set the threshold."""

    def judges(self, selection: str) -> list[nn.Module]:
        """Return the models that choose the keys, by what `Preset.selection` says: `all`, `held-out` or `cem`."""
        return {"all": [*self.cem, *self.selection], "held-out": self.selection, "cem": self.cem}[selection]


def part(modules: Sequence[nn.Module], roles: Roles) -> Pool:
    """Part networks, trained in the order of the roles, into a pool."""
    first, second = roles.cem, roles.cem + roles.selection
    return Pool(list(modules[:first]), list(modules[first:second]), list(modules[second:]))


@dataclass(frozen=True)
class Owner:
    """Everything that a method of fingerprinting may use."""

    source: Source
    """The owner's model."""
    data: OwnerData
    """The owner's images."""
    surrogates: Pool
    """Simulated stolen models."""
    references: Pool
    """Unrelated models."""
    nulls: list[nn.Module]
    """Unrelated models that serve the p-value alone: no method may ask them."""
    preset: Preset
    """Sizes and hyper-parameters."""
    work: Workshop
    """Seed, cache, device and progress."""


@dataclass(frozen=True)
class Keys:
    """A fingerprint's inputs with the source's labels of them."""

    inputs: torch.Tensor = field(repr=False)
    """`(n, C, H, W)` in [0, 1], best first."""
    labels: torch.Tensor = field(repr=False)
    """`(n,)` what the source answers."""

    def first(self, count: int) -> "Keys":
        """Return the first so many keys."""
        return Keys(self.inputs[:count], self.labels[:count])
