"""An exported file answers as its network, says nothing about the machine, and is the same each time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fpverify_generator.attacks.adaptive import Guarded
from fpverify_generator.attacks.inference import Filtered, Noise
from fpverify_generator.errors import ExportError
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.export import Exporter, check_parity
from fpverify_generator.models.oracle import load_oracle
from fpverify_generator.pools import OwnerData


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_answers_as_in_pytorch_also_with_other_weights(name: str, tmp_path: Path) -> None:
    side = 64 if name.startswith("efficientnet") else 16
    exporter, inputs = Exporter(), torch.rand((20, 3, side, side), generator=torch.Generator().manual_seed(0))
    for seed in range(2):
        module = initialise(ARCHITECTURES[name], Task((3, side, side), 10), seed)
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


def test_wrappers_that_differ_in_a_setting_alone_are_exported_each_for_itself(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    exporter, inputs = Exporter(), owner.start.inputs[:64]
    weak, strong = Filtered(Noise(0.001), network), Filtered(Noise(0.5), network)
    scores = []
    for name, module in (("weak", weak), ("strong", strong)):
        exporter.write(module, inputs, tmp_path / f"{name}.onnx", random=True)
        oracle = load_oracle(tmp_path / f"{name}.onnx")
        scores.append(np.abs(oracle(inputs.numpy()) - network(inputs).detach().numpy()).mean())
        # a session that begins anew draws the same numbers
        first, second = (load_oracle(tmp_path / f"{name}.onnx")(inputs.numpy()) for _ in range(2))
        assert np.array_equal(first, second)
    assert scores[1] > 20 * scores[0]
    for level in (0.2, 0.8):
        guard = Guarded(network, None, level, randomise=False)
        exporter.write(guard, inputs, tmp_path / "guard.onnx")
        assert np.array_equal(load_oracle(tmp_path / "guard.onnx")(inputs.numpy()), guard(inputs).numpy())
    exporter.write(Guarded(network, None, 0.5, randomise=True), inputs, tmp_path / "random.onnx", random=True)
    assert load_oracle(tmp_path / "random.onnx")(inputs.numpy()).shape == (64, 10)
