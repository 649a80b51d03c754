"""A small owner, made once: noisy digits, a trained source and a preset that builds in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fpverify_generator.build import train_source
from fpverify_generator.cem import CemConfig
from fpverify_generator.data.dataset import DataSet
from fpverify_generator.data.load import halves
from fpverify_generator.models.source import Source
from fpverify_generator.pools import OwnerData, share_data
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext

torch.set_num_threads(1)

TINY = Preset(
    surrogates=Roles(4, 2, 2),
    references=Roles(4, 2, 2),
    nulls=19,
    candidates=60,
    keys=20,
    cem=replace(CemConfig(), steps=10),
)


@pytest.fixture(scope="session")
def splits() -> tuple[DataSet, DataSet, DataSet]:
    return halves(0)


@pytest.fixture(scope="session")
def owner(splits: tuple[DataSet, DataSet, DataSet]) -> OwnerData:
    return share_data(splits[0], TINY, 0)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def network(owner: OwnerData, shared_cache: Path) -> torch.nn.Module:
    return train_source(owner.train, TINY, RunContext(0, Cache(shared_cache)))


@pytest.fixture(scope="session")
def source(network: torch.nn.Module) -> Source:
    return Source("0" * 64, network)


@pytest.fixture(scope="session")
def tiny() -> Preset:
    return TINY


@pytest.fixture
def work(shared_cache: Path) -> RunContext:
    return RunContext(0, Cache(shared_cache))
