"""Suspects as real exporters write them: PyTorch, scikit-learn through skl2onnx, and ONNX Runtime's quantisation.

The PyTorch cases are the committed source itself behind other conventions, so each must keep all 100 keys. The
scikit-learn ones are extractions: trained on the source's answers. What they answer is known from scikit-learn itself.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from fpverify_generator.models.architectures import ARCHITECTURES, Task, initialise
from fpverify_generator.models.oracle import load_oracle
from onnx import numpy_helper
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from torch import nn

from fpverify import Fingerprint, load_fingerprint
from fpverify.cli import main

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits"
FINGERPRINT = DIGITS / "fingerprint.safetensors"
# The exporter warns of PyTorch's own use of what PyTorch will drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def fingerprint() -> Fingerprint:
    return load_fingerprint(FINGERPRINT)


@pytest.fixture(scope="module")
def source() -> nn.Module:
    """The committed source as a PyTorch module."""
    network = initialise(ARCHITECTURES["convolutional"], Task((1, 8, 8), 10), 0)
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(DIGITS / "source.onnx").graph.initializer
    }
    network.load_state_dict({name: torch.tensor(weights[name]) for name in network.state_dict()})
    return network.eval()


def judge(path: Path, *arguments: str) -> dict[str, Any]:
    command = ["verify", str(path), "-f", str(FINGERPRINT), "--format", "json", *arguments]
    found = CliRunner().invoke(main, command)
    assert found.stderr == ""
    assert found.exit_code in (0, 3, 4)
    document: dict[str, Any] = json.loads(found.stdout)
    return document


class Behind(nn.Module):
    """The source behind other conventions."""

    def __init__(self, source: nn.Module, before: Callable[[Any], Any], after: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.source, self.before, self.after = source, before, after
        self.dropout = nn.Dropout(0.5)

    def forward(self, given: torch.Tensor) -> Any:
        scores = self.source(self.before(given))
        return self.after(self, scores)


@dataclass(frozen=True)
class Export:
    """How PyTorch exports the source."""

    example: torch.Tensor
    """An input of the kind that it takes."""
    before: Callable[[Any], Any] = lambda given: given
    after: Callable[[Any, Any], Any] = lambda module, scores: scores
    fixed: bool = False
    """Whether the batch is as in the example."""
    training: bool = False
    contract: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    """Part of a warning."""


PICTURE = torch.zeros(2, 1, 8, 8)
EXPORTS = {
    "NCHW": Export(PICTURE),
    "a batch of one": Export(PICTURE[:1], fixed=True),
    "NHWC, uint8": Export(
        torch.zeros(2, 8, 8, 1, dtype=torch.uint8), before=lambda given: given.permute(0, 3, 1, 2).float() / 255
    ),
    "flat, normalised": Export(
        torch.zeros(2, 64),
        before=lambda given: (given * 0.2 + 0.7).reshape(-1, 1, 8, 8),
        contract={"mean": [0.7], "std": [0.2]},
    ),
    "three channels to a trailing 1x1": Export(
        torch.zeros(2, 3, 8, 8),
        before=lambda given: given.mean(1, keepdim=True),
        after=lambda module, scores: scores[:, :, None, None],
    ),
    "float16": Export(PICTURE.half(), before=lambda given: given.float()),
    "two heads": Export(PICTURE, after=lambda module, scores: (-scores, scores), contract={"output": "output_1"}),
    "the best three": Export(PICTURE, after=lambda module, scores: torch.topk(scores.softmax(1), 3)),
    "dropout left in training mode": Export(
        PICTURE,
        after=lambda module, scores: scores + 0 * module.dropout(scores),
        training=True,
        says="leaves Dropout in training mode",
    ),
}


def export(case: Export, source: nn.Module, path: Path, **more: Any) -> None:
    module = Behind(source, case.before, case.after).train(case.training)
    shapes = None if case.fixed else ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (case.example,), dynamo=True, dynamic_shapes=shapes, input_names=["image"], verbose=False, **more
        )
    if program is None:
        raise RuntimeError("PyTorch exported nothing")
    names = [f"output_{number}" for number in range(len(program.model.graph.outputs))]
    for name, output in zip(names, program.model.graph.outputs, strict=True):
        output.name = name
    program.save(path)


@pytest.mark.parametrize("case", EXPORTS.values(), ids=EXPORTS)
def test_what_pytorch_exports_is_judged(case: Export, source: nn.Module, tmp_path: Path) -> None:
    export(case, source, tmp_path / "m.onnx")
    (tmp_path / "contract.json").write_text(json.dumps(case.contract))
    document = judge(tmp_path / "m.onnx", "--contract", str(tmp_path / "contract.json"))
    assert document["kept"] == 100
    assert any(case.says in warning for warning in document["warnings"]) or not case.says


def test_pytorchs_external_data_is_read(source: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(source, (PICTURE,), dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("PyTorch exported nothing")
    program.save(tmp_path / "m.onnx", external_data=True)
    document = judge(tmp_path / "m.onnx")
    assert document["kept"] == 100
    assert document["suspect"]["external"]


@pytest.fixture(scope="module")
def answered() -> tuple[np.ndarray, np.ndarray]:
    """Pictures with the source's answers: what an extraction attack learns from."""
    random = np.random.default_rng(0)
    pictures = np.clip(load_digits().images / 16 + random.normal(0, 0.3, (1797, 8, 8)), 0, 1).astype(np.float32)
    scores = load_oracle(DIGITS / "source.onnx")(pictures[:, None])
    return pictures.reshape(-1, 64), scores.argmax(1)


MODELS = {
    "random forest": lambda: RandomForestClassifier(60, random_state=0),
    "support vector machine": lambda: SVC(C=5),
    "support vector machine with probabilities": lambda: SVC(C=5, probability=True, random_state=0),
    "logistic regression": lambda: LogisticRegression(max_iter=300),
    "perceptron": lambda: MLPClassifier((64,), max_iter=60, random_state=0),
    "gradient boosting": lambda: GradientBoostingClassifier(n_estimators=12, max_depth=2, random_state=0),
}


@pytest.mark.parametrize("zipmap", [True, False], ids=["ZipMap", "pairs"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_scikit_learn_extracts_is_judged_as_scikit_learn_answers(
    make: Callable[[], Any],
    zipmap: bool,
    answered: tuple[np.ndarray, np.ndarray],
    fingerprint: Fingerprint,
    tmp_path: Path,
) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    model = make().fit(*answered)
    initial = [("x", skl2onnx.common.data_types.FloatTensorType([None, 64]))]
    # Support vector machines without probabilities answer with labels and pairwise scores, which no ZipMap takes.
    options = {id(model): {"zipmap": zipmap}} if hasattr(model, "predict_proba") else None
    written = skl2onnx.to_onnx(model, initial_types=initial, options=options, target_opset=17)
    (tmp_path / "m.onnx").write_bytes(written.SerializeToString())
    document = judge(tmp_path / "m.onnx")
    expected = model.predict(fingerprint.inputs.reshape(-1, 64))
    assert document["kept"] == int((expected == fingerprint.labels).sum())
    assert document["contract"]["layout"] == "flat-CHW"


@pytest.mark.parametrize("zipmap", [True, False], ids=["ZipMap", "pairs"])
def test_a_model_of_eight_of_the_ten_classes_is_judged_by_those(
    zipmap: bool, answered: tuple[np.ndarray, np.ndarray], fingerprint: Fingerprint, tmp_path: Path
) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    pictures, labels = answered
    model = LogisticRegression(max_iter=300).fit(pictures[labels < 8], labels[labels < 8])
    initial = [("x", skl2onnx.common.data_types.FloatTensorType([None, 64]))]
    written = skl2onnx.to_onnx(model, initial_types=initial, options={id(model): {"zipmap": zipmap}}, target_opset=17)
    (tmp_path / "m.onnx").write_bytes(written.SerializeToString())
    document = judge(tmp_path / "m.onnx")
    known = fingerprint.labels < 8
    if not zipmap:  # nothing in the file names the eight
        assert any("gives 8 numbers beside each label" in warning for warning in document["warnings"])
        (tmp_path / "classes").write_text("\n".join("01234567"))
        document = judge(tmp_path / "m.onnx", "--classes", str(tmp_path / "classes"))
    expected = model.predict(fingerprint.inputs.reshape(-1, 64))
    assert document["kept"] == int((expected == fingerprint.labels)[known].sum())
    assert document["answers"]["left_out"] == int((~known).sum())


@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
def test_what_onnx_runtime_quantises_is_judged(
    form: str, answered: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    import onnxruntime
    from onnxruntime import quantization

    if form == "dynamic" and tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 32):
        pytest.skip("ONNX Runtime's own tool cannot quantise this file before 1.32")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(answered[0][:200].reshape(-1, 1, 1, 8, 8))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {"input": batch}

    quantised = tmp_path / "m.onnx"
    if form == "dynamic":
        quantization.quantize_dynamic(DIGITS / "source.onnx", quantised)
    else:
        kind = quantization.QuantFormat[form]
        quantization.quantize_static(DIGITS / "source.onnx", quantised, Reader(), quant_format=kind)
    document = judge(quantised)
    assert document["verdict"] == "derived"
    assert document["kept"] > 90


def test_what_is_converted_to_float16_is_judged(tmp_path: Path) -> None:
    from onnxruntime.transformers import float16

    converted = float16.convert_float_to_float16(onnx.load(DIGITS / "source.onnx"))
    onnx.save(converted, tmp_path / "m.onnx")
    document = judge(tmp_path / "m.onnx")
    assert document["contract"]["type"] == "float16"
    assert document["kept"] >= 99


STRANGERS = sorted(Path(onnx.__file__).parent.glob("backend/test/data/light/light_*.onnx"))


@pytest.mark.parametrize("path", STRANGERS, ids=lambda path: path.stem)
def test_the_strangers_of_the_onnx_package_are_inspected(path: Path) -> None:
    found = CliRunner().invoke(main, ["inspect", str(path), "--format", "json"])
    assert (found.exit_code, found.stderr) == (0, "")
    document = json.loads(found.stdout)
    contract = document["contract"]
    assert [contract[name] for name in ("layout", "channels", "height", "width")] == ["NCHW", "rgb", 224, 224]
    assert contract["origins"]["channels"] == "assumption"
    assert document["classes"] in (1000, None)


def test_the_onnx_package_brings_strangers() -> None:
    assert len(STRANGERS) >= 8
