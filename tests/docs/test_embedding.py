"""Each command and each block of code on the pages about embedding runs: on the study's fixtures, against servers."""

import ast
import base64
import importlib.util
import io
import json
import re
import shlex
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import fpverify
from fpverify.cli import main
from fpverify.registry import mlflow
from fpverify.suspects.endpoints.description import load_endpoint

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "fixtures" / "study"
PAGES = ("embedding", "gates", "registry", "endpoints", "scan", "notebooks")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / f"{page}.md").read_text(), re.M | re.S)


def lines(page):
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line]


class Handler(BaseHTTPRequestHandler):
    """Answers as the source's copy does: the Open Inference Protocol, MLflow's and a JSON service's."""

    session = onnxruntime.InferenceSession(STUDY / "derived-ftal.onnx")

    def do_GET(self):
        shape = [-1, 1, 8, 8]
        image, scores = ({"name": name, "datatype": "FP32", "shape": shape} for name in ("input", "scores"))
        self.reply({"name": "NAME", "inputs": [image], "outputs": [{**scores, "shape": [-1, 10]}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/infer"):
            images = np.array(body["inputs"][0]["data"], np.float32).reshape(body["inputs"][0]["shape"])
            scores = self.scores(images)
            output = {"name": "scores", "datatype": "FP32", "shape": list(scores.shape)}
            self.reply({"model_name": "NAME", "outputs": [{**output, "data": scores.ravel().tolist()}]})
        elif self.path == "/invocations":
            self.reply({"predictions": self.scores(np.array(body["inputs"], np.float32)).tolist()})
        else:
            assert self.headers["Authorization"] == "Bearer of-the-page"
            files = [Image.open(io.BytesIO(base64.b64decode(one))) for one in body["instances"]]
            images = np.stack([np.asarray(file, np.float32)[None] / 255 for file in files])
            self.reply({"predictions": self.scores(images).argmax(1).tolist()})

    def scores(self, images):
        return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]

    def reply(self, document):
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def served():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder as the pages take it for granted: suspects, fingerprints, and the repository's fixtures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    for folder in ("models", "fingerprints"):
        (tmp_path / folder).mkdir()
    for name in ("derived-ftal", "unrelated-convolutional-other-data-1"):
        shutil.copy(STUDY / f"{name}.onnx", tmp_path / "models")
    shutil.copy(STUDY / "fingerprint.safetensors", tmp_path / "fingerprints")
    shutil.copy(STUDY / "fingerprint.safetensors", tmp_path)
    shutil.copy(STUDY / "derived-ftal.onnx", tmp_path / "suspect.onnx")
    shutil.copy(STUDY / "unrelated-convolutional-other-data-1.onnx", tmp_path / "model.onnx")
    return tmp_path


def run(line, *more):
    program, *words = shlex.split(line)
    assert program == "fpverify"
    return CliRunner().invoke(main, [*words, *more])


def test_no_block_is_left_out():
    """A block of another language on these pages needs a test here."""
    text = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in PAGES)
    assert set(re.findall(r"^```(\w+)", text, re.M)) == {"sh", "python", "yaml", "toml"}


@pytest.mark.parametrize("page", PAGES)
def test_python_runs_as_it_stands(page, place):
    scope = {"my_api": lambda inputs: np.zeros(len(inputs), np.int64)}
    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), scope)  # noqa: S102
        last = ast.parse(code).body[-1]
        if isinstance(last, ast.Expr):  # what a notebook shows
            shown = eval(compile(ast.unparse(last), page, "eval"), scope)  # noqa: S307
            assert getattr(shown, "_repr_html_", lambda: "")() != "" or shown is None


def test_scans_end_with_the_exit_code_of_what_they_found(place):
    (gate,) = [line for line in lines("gates") if line.startswith("fpverify scan")]
    (scan,) = lines("scan")
    assert run(gate).exit_code == 3
    assert run(scan).exit_code == 3
    assert {"scan.csv", "scan.html", "results"} <= {path.name for path in place.iterdir()}
    (place / "models" / "derived-ftal.onnx").unlink()
    assert run(gate).exit_code == 0


def test_endpoints_are_judged_by_the_commands_of_their_page(place, served, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "of-the-page")
    (described,) = blocks("endpoints", "toml")
    endpoint = described.replace("https://api.example", f"http://{served}")
    (place / "endpoint.toml").write_text(endpoint.replace("per_second = 5", "per_second = 999"))
    assert load_endpoint("endpoint:endpoint.toml").price == 0.002
    exits = []
    for line in lines("endpoints"):
        line = line.replace("https://models.example", f"http://{served}").replace("127.0.0.1:5000", served)
        done = run(line)
        assert done.stderr == "", done.stderr
        exits.append(done.exit_code)
    assert exits == [3, 3, 2, 3]  # --dry-run is no verdict
    result = fpverify.load_result(place / "result.json")
    assert result.verdict is fpverify.Verdict.DERIVED
    assert result.sequential.asked <= 100
    assert "of-the-page" not in (place / "result.json").read_text()


def test_the_registrys_commands_gate_a_promotion(place, monkeypatch):
    where = ROOT / "tests" / "verifier" / "test_registry.py"
    spec = importlib.util.spec_from_file_location("registry_of_tests", where)
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    registry = tests.Memory()
    registry.put("NAME/1", place / "model.onnx")
    monkeypatch.setattr(mlflow, "Registry", lambda uri=None: registry)
    monkeypatch.setenv("FPVERIFY_PASSPHRASE", "of-the-test")
    for line in lines("registry"):
        done = run(line.replace("VERSION", "1"), *(["--once"] if " watch " in line else []))
        assert done.exit_code == 0, (line, done.stderr)
    assert registry.aliases == {"champion": "models:/NAME/1"}
    assert registry.tags["models:/NAME/1"]["fpverify.outcome"] == "unrelated"


def test_the_hook_and_the_workflow_are_those_of_the_repository():
    hook, workflow = map(yaml.safe_load, blocks("gates", "yaml"))
    (used,) = hook["repos"][0]["hooks"]
    (ours,) = [one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()) if one["id"] == used["id"]]
    context = main.commands["scan"].make_context("scan", [*used["args"], "a.onnx"])
    assert ours["entry"] == "fpverify scan"
    assert context.params["fail_on"] == ("derived", "suspicious")
    (job,) = workflow["jobs"].values()
    called = yaml.safe_load((ROOT / job["uses"].split("/", 2)[2].split("@")[0]).read_text())
    inputs = (called.get("on") or called[True])["workflow_call"]["inputs"]  # YAML 1.1 reads `on` as true
    gate = [f"--fail-on={one}" for one in inputs["fail-on"]["default"].split()]
    assert main.commands["scan"].make_context("scan", [*gate, "-f", "f", "a.onnx"]).params["fail_on"]
    assert set(job["with"]) <= set(inputs)
    assert {name for name, one in inputs.items() if one.get("required")} <= set(job["with"])


def test_the_container_is_run_as_its_file_says():
    built, ran = [line for line in lines("gates") if line.startswith("docker")]
    assert (ROOT / shlex.split(built)[3]).is_file()
    words = shlex.split(ran)
    main.commands["verify"].make_context("verify", words[words.index("verify") + 1 :])
