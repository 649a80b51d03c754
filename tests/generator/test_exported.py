"""A `torch.export` file is data: whatever in it could run code is refused in one line, and nothing of it is run."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fpverify_generator.errors import SourceError
from fpverify_generator.models.exported import load_exported
from torch import nn

Members = dict[str, bytes]
RAN = "ran"


class Code:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (RAN,)


def network() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    return nn.Sequential(*layers).eval()


def exported(module: nn.Module, **options: Any) -> bytes:
    example = torch.zeros(2, 1, 8, 8)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    file = io.BytesIO()
    torch.export.save(program, file, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def members() -> Members:
    with zipfile.ZipFile(io.BytesIO(exported(network()))) as archive:
        return {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}


def archive_of(members: Members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"model/{name}", content)
    return file.getvalue()


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def edited(name: str, change: Callable[[Any], None]) -> Callable[[Members], Members]:
    """Return what changes one JSON member."""

    def apply(members: Members) -> Members:
        content = json.loads(members[name])
        change(content)
        return {**members, name: json.dumps(content).encode()}

    return apply


def in_graph(change: Callable[[Any], None]) -> Callable[[Members], Members]:
    return edited("models/model.json", lambda model: change(model["graph_module"]["graph"]))


def placed(name: str, content: bytes) -> Callable[[Members], Members]:
    return lambda members: {**members, name: content}


def pickled_weight(members: Members) -> Members:
    def change(config: Any) -> None:
        config["config"]["0.bias"]["use_pickle"] = True

    return {**edited("data/weights/model_weights_config.json", change)(members), "data/weights/weight_1": saved(Code())}


def constant(path: str, content: bytes) -> Callable[[Members], Members]:
    payload = {"path_name": path, "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"c": payload}}).encode()
    return lambda members: {
        **members,
        "data/constants/model_constants_config.json": config,
        f"data/constants/{path}": content,
    }


def expression(graph: Any) -> None:
    graph["tensor_values"]["input"]["sizes"][0]["as_expr"]["expr_str"] = f"__import__('os').mkdir('{RAN}')"


def nested_expression(graph: Any) -> None:
    graph["tensor_values"]["input"]["sizes"][0]["as_expr"]["expr_str"] = f"sympify(\"__import__('os').mkdir('{RAN}')\")"


def called(target: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        graph["nodes"][2]["target"] = target

    return change


def keyword_name(graph: Any) -> None:
    graph["nodes"][2]["inputs"][0]["name"] = f"x=__import__('os').mkdir('{RAN}'), self"
    graph["nodes"][2]["inputs"][0]["kind"] = 2


def input_name(graph: Any) -> None:
    graph["inputs"][-1]["as_tensor"]["name"] = f"x=__import__('os').mkdir('{RAN}')"


def file_text(graph: Any) -> None:
    graph["nodes"][2]["inputs"].append({"name": "filename", "arg": {"as_string": "/etc/passwd"}, "kind": 1})


def tree(model: Any) -> None:
    context = json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "x"}])
    node = {"type": "builtins.dict", "context": context, "children_spec": []}
    model["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, node])


def factory(model: Any) -> None:
    context = {"default_factory_module": "antigravity", "default_factory_name": "x", "dict_context": []}
    node = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    model["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, node])


HOSTILE: dict[str, tuple[Callable[[Members], Members], str]] = {
    "sample inputs": (placed("data/sample_inputs/model.pt", saved(Code())), "data/sample_inputs/model.pt.*pickle"),
    "bare pickle": (placed("data/sample_inputs/model.pt", pickle.dumps(Code())), "pickle that can run code"),
    "pickled weight": (pickled_weight, "data/weights/weight_1.*pickle"),
    "pickled constant": (constant("tensor_0", saved(Code())), "data/constants/tensor_0.*pickle"),
    "custom object": (constant("custom_obj_0", saved(Code())), "data/constants/custom_obj_0.*another class"),
    "opaque object": (constant("opaque_obj_0", pickle.dumps(Code())), "data/constants/opaque_obj_0.*another class"),
    "older weights": (placed("data/weights/model.pt", saved(Code())), "format before PyTorch"),
    "older constants": (placed("data/constants/model.pt", saved(Code())), "format before PyTorch"),
    "compiled": (placed("data/aotinductor/model/model.so", b"\x7fELF"), "compiled code"),
    "compiled elsewhere": (placed("data/weights/weight_0.so", b"\x7fELF"), "compiled code"),
    "second model": (placed("models/other.json", b"{}"), "'models/other.json' is unknown"),
    "unknown": (placed("data/other/x.pt", saved(Code())), "'data/other/x.pt' is unknown"),
    "expression": (in_graph(expression), "no arithmetic"),
    "nested expression": (in_graph(nested_expression), "no arithmetic"),
    "range": (
        edited("models/model.json", lambda model: model["range_constraints"].update({"print(1)": {}})),
        "no arithmetic",
    ),
    "function": (in_graph(called("torch.os.mkdir")), "calls 'torch.os.mkdir'"),
    "loader": (in_graph(called("torch.ops.load_library")), "calls 'torch.ops.load_library'"),
    "import": (in_graph(called("torch.ops.import_module")), "calls 'torch.ops.import_module'"),
    "attribute": (in_graph(called("torch.ops.aten.relu.__init__.__globals__")), "calls"),
    "getter": (in_graph(called("_operator.attrgetter")), "calls '_operator.attrgetter'"),
    "writer": (in_graph(called("torch.ops.aten.save.default")), "calls 'torch.ops.aten.save.default'"),
    "reader": (in_graph(called("torch.ops.aten.from_file.default")), "calls 'torch.ops.aten.from_file.default'"),
    "extension": (in_graph(called("#x:y")), "calls '#x:y'"),
    "keyword": (in_graph(keyword_name), "a name that is none"),
    "input": (in_graph(input_name), "a name that is none"),
    "text": (in_graph(file_text), "a text that no operator needs"),
    "tree": (edited("models/model.json", tree), "no plain containers"),
    "factory": (edited("models/model.json", factory), "no plain containers"),
    "no JSON": (placed("models/model.json", b"{"), "is no JSON"),
    "deep JSON": (placed("models/model.json", b"[" * 10**6), "nested too deeply|is no JSON"),
    "older format": (lambda members: {"x": b""}, "not a torch.export program of today's format"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_could_run_code_is_refused_in_one_line(
    case: str, members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, message = HOSTILE[case]
    with pytest.raises(SourceError, match=message) as error:
        load_exported(archive_of(change(members)), "m.pt2")
    assert str(error.value).startswith("m.pt2: refused: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert list(tmp_path.iterdir()) == []


def test_guards_and_metadata_are_left_out(members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(model: Any) -> None:
        model["guards_code"] = [f"__import__('os').mkdir('{RAN}')"]
        for node in model["graph_module"]["graph"]["nodes"]:
            node["metadata"] = {"source_fn_stack": "x,torch.os.system", "from_node": "}"}

    module = load_exported(archive_of(edited("models/model.json", change)(members)), "m.pt2")
    assert module(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_is_there_twice_is_refused(members: Members) -> None:
    file = io.BytesIO(archive_of(members))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("model/data/sample_inputs/model.pt", saved(Code()))
    with pytest.raises(SourceError, match="there twice"):
        load_exported(file.getvalue(), "m.pt2")


def test_an_archive_that_unpacks_to_too_much_is_refused(members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpverify_generator.models.exported.MAX_BYTES", 2**14)
    with pytest.raises(SourceError, match="at most 100000 of"):
        load_exported(archive_of(members), "m.pt2")


class Varied(nn.Module):
    """Uses constants, sizes, texts and arithmetic, as real networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor([0.1]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        shifted = (image - self.mean) * torch.tensor([1.5])
        scores = torch.einsum("bi,oi->bo", shifted.reshape(shifted.shape[0], -1), self.linear.weight)
        larger = nn.functional.interpolate(image, scale_factor=2.0, mode="bilinear")
        padded = nn.functional.pad(larger, (1, 1), mode="constant").mean((1, 2, 3))[:, None]
        return nn.functional.gelu(padded + scores, approximate="tanh")


@pytest.mark.parametrize("module", [network(), Varied().eval()], ids=["convolutions", "varied"])
def test_an_ordinary_file_with_sample_inputs_and_extra_files_answers_as_its_network(module: nn.Module) -> None:
    loaded = load_exported(exported(module, extra_files={"note.txt": "ours"}), "m.pt2")
    inputs = torch.rand(7, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs), module(inputs))
