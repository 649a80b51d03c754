"""A source is a torch.export file or an ONNX oracle; what is neither, or knows nothing, is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import onnx
import pytest
import torch
from fpverify_generator.errors import SourceError
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.source import Source, as_probabilities, load_source, require_better_than_chance
from fpverify_generator.pools import OwnerData
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file


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
        ("m.h5", b"garbage", "expected a model: .pt2"),
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


def in_onnx(
    network: torch.nn.Module,
    path: Path,
    layout: str = "NCHW",
    batch: int | str = "n",
    kind: int = TensorProto.FLOAT,
    scale: float = 1.0,
    shift: float = 0.0,
    outputs: tuple[str, ...] = ("scores",),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write the network of the digits behind nodes that undo how its images are to be handed over."""
    inner = path.with_name("inner.onnx")
    Exporter().write(network, torch.rand(8, 1, 8, 8), inner)
    model = onnx.load(inner)
    (given,), (scores,) = model.graph.input, model.graph.output
    shapes = {"NCHW": [batch, 1, 8, 8], "NHWC": [batch, 8, 8, 1], "flat": [batch, 64]}
    image = helper.make_tensor_value_info("image", kind, shapes[layout])
    constants = [
        numpy_helper.from_array(np.float32(scale), "a_scale"),
        numpy_helper.from_array(np.float32(shift), "a_shift"),
        numpy_helper.from_array(np.array([-1, 1, 8, 8]), "a_shape"),
    ]
    before = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "a_scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "a_shift"], ["moved"]),
        helper.make_node("Reshape", ["moved", "a_shape"], [given.name]),
    ]
    after = [helper.make_node("Identity", [scores.name], ["scores"])] if scores.name != "scores" else []
    after.append(helper.make_node("ArgMax", [scores.name], ["label"], axis=1, keepdims=0))
    made = {
        "scores": helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 10]),
        "label": helper.make_tensor_value_info("label", TensorProto.INT64, [batch]),
    }
    graph = helper.make_graph(
        [*before, *model.graph.node, *after],
        "g",
        [image],
        [made[name] for name in outputs],
        [*model.graph.initializer, *constants],
    )
    whole = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    helper.set_model_props(whole, metadata or {})
    onnx.save(whole, path)
    return path


READ = {
    "batch of one": ({"batch": 1}, "NCHW grey 8x8 float, values 0 to 1, 1 at a time"),
    "batch of seven": ({"batch": 7}, "NCHW grey 8x8 float, values 0 to 1, 7 at a time"),
    "channels last": ({"layout": "NHWC"}, "NHWC grey 8x8 float, values 0 to 1"),
    "channels last, one at a time": ({"layout": "NHWC", "batch": 1}, "NHWC grey 8x8 float, values 0 to 1, 1 at a time"),
    "flat": ({"layout": "flat"}, "flat-CHW grey 8x8 float, values 0 to 1"),
    "bytes": ({"kind": TensorProto.UINT8, "scale": 1 / 255}, "NCHW grey 8x8 uint8, values 0 to 255"),
    "double": ({"kind": TensorProto.DOUBLE}, "NCHW grey 8x8 double, values 0 to 1"),
    "0 to 255": ({"scale": 1 / 255}, "NCHW grey 8x8 float, values 0 to 255"),
    "-1 to 1": ({"scale": 0.5, "shift": 0.5}, "NCHW grey 8x8 float, values -1 to 1"),
    "label": ({"outputs": ("label",)}, "NCHW grey 8x8 float, values 0 to 1"),
    "label and scores": ({"outputs": ("label", "scores")}, "NCHW grey 8x8 float, values 0 to 1"),
}


@pytest.mark.parametrize("case", READ)
def test_an_onnx_source_is_read_as_a_suspect_is(
    case: str, network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    options, reading = READ[case]
    said: list[str] = []
    source = load_source(in_onnx(network, tmp_path / "m.onnx", **options), owner.start, "cpu", said.append)
    assert source.reading == reading
    inputs = owner.start.inputs[:100]
    same = (source.labels(inputs) == network(inputs).argmax(1)).double().mean()
    assert same >= (0.97 if "uint8" in reading else 1.0)
    usual = ("float, values 0 to 1" in reading and "minus" not in reading) or "uint8" in reading or "double" in reading
    assert [line.partition(":")[0] for line in said] == ([] if usual else ["source"])
    if not usual:
        assert said[0].startswith(f"source: takes {reading}: accuracy ")


@pytest.mark.parametrize("outputs", [("scores",), ("label",)])
def test_classes_that_the_file_names_are_matched_by_name(
    outputs: tuple[str, ...], network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    names = ["3", "1", "2", "0", "4", "5", "6", "7", "8", "9"]
    path = in_onnx(network, tmp_path / "m.onnx", outputs=outputs, metadata={"names": json.dumps(names)})
    data = owner.start
    swapped = torch.tensor([3, 1, 2, 0, 4, 5, 6, 7, 8, 9])
    source = load_source(path, replace(data, labels=swapped[data.labels]), "cpu")
    assert torch.equal(source.labels(data.inputs[:50]), swapped[network(data.inputs[:50]).argmax(1)])


class Shifted(torch.nn.Module):
    """A network that takes images from -1 to 1."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs / 2 + 0.5)


def test_a_network_that_takes_normalised_images_is_found_out_and_keeps_its_weights(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    path = export(Shifted(network), tmp_path / "m.pt2", owner.start.inputs[:2])
    said: list[str] = []
    source = load_source(path, owner.start, "cpu", said.append)
    assert source.reading == "NCHW grey 8x8 float, values -1 to 1"
    assert source.module is not None
    (line,) = said
    assert line.startswith("source: takes NCHW grey 8x8 float, values -1 to 1: accuracy ")
    inputs = owner.start.inputs[:50].clone().requires_grad_()
    torch.testing.assert_close(source.module(inputs), network(inputs), atol=1e-4, rtol=1e-4)
    source.module(inputs).sum().backward()
    assert inputs.grad is not None
    assert bool(inputs.grad.abs().sum() > 0)


@pytest.mark.parametrize(
    ("turned", "beginning", "middle"),
    [
        (10, "warning: source: right no more often than by chance on ", "% with NCHW grey 8x8 float, values 0 to 255"),
        (5, "warning: source: accuracy ", "check the order of the classes"),
    ],
)
def test_a_source_that_is_worse_than_mean_images_is_warned_of(
    turned: int, beginning: str, middle: str, network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    Exporter().write(torch.nn.Sequential(network, Turned(turned)), owner.start.inputs[:8], tmp_path / "m.onnx")
    said: list[str] = []
    load_source(tmp_path / "m.onnx", owner.start, "cpu", said.append)
    assert said[-1].startswith(beginning)
    assert middle in said[-1]


class Turned(torch.nn.Module):
    """Answers with the next of the first so many classes instead of these."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return torch.cat([scores[:, 1 : self.count], scores[:, :1], scores[:, self.count :]], 1)


def test_an_onnx_file_of_other_images_or_classes_is_refused_in_one_whole_sentence(
    network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    path = in_onnx(network, tmp_path / "m.onnx")
    wrong = {
        "classes": (
            path,
            replace(owner.start, classes=(*owner.start.classes, "x")),
            "expected one output of 11 scores",
        ),
        "garbage": (tmp_path / "g.onnx", owner.start, "cannot be a source"),
        "colour": (
            path,
            replace(owner.start, inputs=owner.start.inputs.repeat(1, 3, 1, 1)[..., :4, :4]),
            "",
        ),
    }
    (tmp_path / "g.onnx").write_bytes(b"x")
    for name, (file, data, message) in wrong.items():
        if not message:  # colour images of another size are turned grey and enlarged, as for a suspect
            assert load_source(file, data, "cpu").reading.startswith("NCHW grey 8x8")
            continue
        with pytest.raises(SourceError, match=message) as error:
            load_source(file, data, "cpu")
        assert str(error.value).count(str(tmp_path)) == 1, name
        assert "\n" not in str(error.value)


def test_a_source_that_does_not_beat_chance_is_refused(owner: OwnerData) -> None:
    constant = Source("0" * 64, None, lambda inputs: np.zeros(len(inputs), dtype=np.int64))
    with pytest.raises(SourceError, match="not above chance"):
        require_better_than_chance(constant, owner.start, "source")


MADE = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    )


def broken():
    raise ValueError("no luck")


def nothing():
    return 3
"""


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_source_may_be_made_by_a_function_and_has_the_weights_of_a_file(
    suffix: str, network: torch.nn.Module, owner: OwnerData, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MADE)
    weights, state = tmp_path / f"weights.{suffix}", network.state_dict()
    save_file(state, weights) if suffix == "safetensors" else torch.save(state, weights)
    source = load_source(tmp_path / "mine.py:make", owner.start, weights=weights)
    images = owner.start.inputs[:50]
    assert source.module is not None
    torch.testing.assert_close(source.module(images), network(images))
    assert not source.module.training
    # the digest is that of the weights, whatever their file
    again = load_source(tmp_path / "mine.py:make", owner.start, weights=weights)
    assert source.sha256 == again.sha256
    assert re.fullmatch("[0-9a-f]{64}", source.sha256 or "")
    # it can be sent to other processes, which do not find the file
    sent = cloudpickle.loads(cloudpickle.dumps(source))
    assert torch.equal(sent.labels(images), source.labels(images))


@pytest.mark.parametrize(
    ("text", "weights", "message"),
    [
        ("mine.py:broken", None, r"mine\.py: broken: raised ValueError: no luck"),
        ("mine.py:nothing", None, r"mine\.py: nothing must be a torch\.nn\.Module, found int"),
        ("mine.py:missing", None, r"mine\.py: missing must be a function that returns a torch\.nn\.Module"),
        ("other.py:make", None, r"other\.py: cannot read the file"),
        ("mine.py:make", "nowhere.safetensors", r"nowhere\.safetensors: cannot read the weights"),
        ("mine.py:make", "few.pth", r"few\.pth: expected '0\.weight' of shape \(16, 1, 4, 4\).*found nothing"),
        ("m.onnx", "few.pth", r"m\.onnx: its weights are in its own file"),
    ],
)
def test_a_function_that_makes_no_source_is_refused_in_one_line(
    text: str, weights: str | None, message: str, owner: OwnerData, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MADE)
    torch.save({}, tmp_path / "few.pth")
    with pytest.raises(SourceError, match=message):
        load_source(tmp_path / text, owner.start, weights=None if weights is None else tmp_path / weights)
