"""An exported file answers as its network, says nothing about the machine, and is the same each time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fpverify_generator.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.errors import ExportError
from fpverify_generator.onnx_export import Exporter, check_parity
from fpverify_generator.onnx_oracle import load_oracle
from fpverify_generator.owner import OwnerData


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_answers_as_in_pytorch_also_with_other_weights(name: str, tmp_path: Path) -> None:
    exporter, inputs = Exporter(), torch.rand((20, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    for seed in range(2):
        module = initialise(name, Task((3, 16, 16), 10), seed)
        exporter.write(module, inputs, tmp_path / "m.onnx")
        scores = load_oracle(tmp_path / "m.onnx")(inputs.numpy())
        np.testing.assert_allclose(scores, module(inputs).detach().numpy(), atol=1e-5)


def test_the_same_network_gives_the_same_bytes_without_a_path_in_them(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    first = Exporter().write(network, owner.start.inputs[:8], tmp_path / "a.onnx")
    second = Exporter().write(network, owner.start.inputs[:8], tmp_path / "b.onnx")
    assert first == second
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model, full_check=True)
    for holder in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        assert not holder.metadata_props
    assert not any(node.doc_string for node in model.graph.node)
    assert b".py" not in (tmp_path / "a.onnx").read_bytes()


def test_a_file_that_answers_otherwise_is_not_kept(network: torch.nn.Module, owner: OwnerData, tmp_path: Path) -> None:
    path, inputs = tmp_path / "m.onnx", owner.start.inputs[:8]
    path.write_bytes(b"x")
    answers = network(inputs).detach().numpy() + np.float32(0.1)
    with pytest.raises(ExportError, match="scores differ"):
        check_parity(answers, network, inputs, path)
    assert not path.exists()
