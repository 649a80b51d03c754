"""A source is a torch.export file or an ONNX oracle; what is neither, or knows nothing, is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fpverify_generator.errors import SourceError
from fpverify_generator.onnx_export import Exporter
from fpverify_generator.owner import OwnerData
from fpverify_generator.source import Source, as_probabilities, load_source, require_better_than_chance


def export(module: torch.nn.Module, path: Path, example: torch.Tensor, dynamic: bool = True) -> Path:
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("softmax", [False, True], ids=["logits", "probabilities"])
def test_a_torch_export_file_answers_as_its_network(
    softmax: bool, network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    module = torch.nn.Sequential(network, torch.nn.Softmax(1)) if softmax else network
    path = export(module, tmp_path / "m.pt2", owner.start.inputs[:2])
    source = load_source(path, owner.start, "cpu")
    labels, probabilities = source.answers(owner.start.inputs[:50])
    expected = network(owner.start.inputs[:50]).softmax(1)
    assert torch.equal(labels, expected.argmax(1))
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)
    assert source.module is not None


def test_an_onnx_file_is_an_oracle_that_answers_alike(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    sha256 = Exporter().write(network, owner.start.inputs[:8], tmp_path / "m.onnx")
    source = load_source(tmp_path / "m.onnx", owner.start, "cpu")
    assert source.module is None
    assert source.sha256 == sha256
    assert torch.equal(source.labels(owner.start.inputs), network(owner.start.inputs).argmax(1))


def test_rows_of_probabilities_stay_and_scores_become_them() -> None:
    rows = torch.tensor([[0.25, 0.75]])
    assert torch.equal(as_probabilities(rows), rows)
    torch.testing.assert_close(as_probabilities(torch.tensor([[0.0, 3.0]]).clamp(min=1).log()), rows)


def test_a_fixed_batch_is_refused_with_what_to_do(network: torch.nn.Module, owner: OwnerData, tmp_path: Path) -> None:
    path = export(network, tmp_path / "m.pt2", owner.start.inputs[:2], dynamic=False)
    with pytest.raises(SourceError, match="export it with a dynamic batch dimension"):
        load_source(path, owner.start, "cpu")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.pt2", None, "no such file"),
        ("m.pt2", b"garbage", "not a torch.export program"),
        ("m.pt2", b"", "not a torch.export program"),
        ("m.h5", b"garbage", "expected a .pt2"),
    ],
)
def test_a_file_that_is_no_model_is_named(
    name: str, content: bytes | None, message: str, owner: OwnerData, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load_source(tmp_path / name, owner.start, "cpu")


def test_a_model_of_other_classes_is_refused(owner: OwnerData, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7))
    path = export(module, tmp_path / "m.pt2", owner.start.inputs[:2])
    with pytest.raises(SourceError, match="expected 10 scores per input, found 7"):
        load_source(path, owner.start, "cpu")


def test_a_source_that_does_not_beat_chance_is_refused(owner: OwnerData) -> None:
    constant = Source("0" * 64, None, lambda inputs: np.zeros(len(inputs), dtype=np.int64))
    with pytest.raises(SourceError, match="not above chance"):
        require_better_than_chance(constant, owner.start, "source")
