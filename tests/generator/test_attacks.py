"""One table drives the tests of all removal attacks."""

import pytest
import torch
from fpverify_generator.architectures import last_layer
from fpverify_generator.attacks import ATTACKS, FineTuning, Pruning, query
from fpverify_generator.build import OwnerData
from fpverify_generator.errors import SourceError
from fpverify_generator.source import Source
from fpverify_generator.training import train_sequentially


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps_the_task_and_leaves_the_source_as_it_was(
    name: str, source: Source, owner: OwnerData, splits
) -> None:
    before = {key: value.clone() for key, value in source.module.state_dict().items()}
    surrogate = train_sequentially(ATTACKS[name](source, query(source, splits[1]), 5, name))
    accuracy = (surrogate(splits[2].inputs).argmax(1) == splits[2].labels).float().mean()
    assert accuracy > 0.7
    assert all(torch.equal(value, before[key]) for key, value in source.module.state_dict().items())


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if isinstance(attack, FineTuning)])
def test_fine_tuning_moves_the_layers_it_names_and_no_other(name: str, source: Source, owner: OwnerData) -> None:
    surrogate = train_sequentially(ATTACKS[name](source, query(source, owner.query), 5, name))
    moved = {
        key for key, value in surrogate.state_dict().items() if not torch.equal(value, source.module.state_dict()[key])
    }
    last = set(last_layer(source.module))
    assert moved == (last if ATTACKS[name].layers == "last" else set(source.module.state_dict()))


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if isinstance(attack, Pruning)])
def test_pruned_weights_stay_zero_and_are_the_smallest(name: str, source: Source, owner: OwnerData) -> None:
    surrogate = train_sequentially(ATTACKS[name](source, query(source, owner.query), 5, name))
    for key, value in surrogate.state_dict().items():
        if value.ndim > 1:
            zero, original = value == 0, source.module.state_dict()[key].abs()
            assert int(zero.sum()) == int(value.numel() * ATTACKS[name].share)
            assert original[zero].max() <= original[~zero].min()


def test_an_oracle_has_no_weights_to_attack(owner: OwnerData) -> None:
    oracle = Source("0" * 64, None, lambda inputs: inputs.sum((1, 2, 3)).astype("int64") % 10)
    with pytest.raises(SourceError, match="changes the source's weights"):
        ATTACKS["ftal"](oracle, query(oracle, owner.query), 0, "ftal")
