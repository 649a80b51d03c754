"""MLflow's scoring server and MLServer, started here, give the verdict of the file that they serve.

They are large, so they are not part of the development environment. FPVERIFY_SERVERS names the folder of programs of an
environment that has them: `pip install mlflow mlserver onnxruntime safetensors cryptography`, then
`FPVERIFY_SERVERS=/that/environment/bin python -m pytest tests/verifier/test_real_servers.py`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from fpverify import verify

PROGRAMS = os.environ.get("FPVERIFY_SERVERS", "")
STUDY = Path(__file__).parents[2] / "fixtures/study"
MODEL = STUDY / "derived-ftal.onnx"
SECONDS = 120

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="FPVERIFY_SERVERS names no environment with MLflow and MLServer")

SAVE = """
import sys, onnx, mlflow.onnx
mlflow.onnx.save_model(onnx.load(sys.argv[1]), sys.argv[2])
"""

RUNTIME = """
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        inputs = NumpyCodec.decode_input(payload.inputs[0]).astype("float32")
        scores = self.session.run(None, {self.session.get_inputs()[0].name: inputs})[0]
        outputs = [NumpyCodec.encode_output("logits", scores)]
        return InferenceResponse(model_name=self.name, model_version="7", outputs=outputs)
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(command, folder, ready):
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [f"{PROGRAMS}/{command[0]}", *command[1:]],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(ready, timeout=2):  # noqa: S310
                break
            assert server.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def same(endpoint):
    """Judge file and endpoint, and compare."""
    file, served = (verify(STUDY / "fingerprint.safetensors", one) for one in (MODEL, endpoint))
    assert served.suspect.kind == "endpoint"
    assert (served.verdict, served.kept, served.answers.given) == (file.verdict, file.kept, file.answers.given)
    return served


def test_mlflow_serves_a_suspect(tmp_path):
    subprocess.run([f"{PROGRAMS}/python", "-c", SAVE, MODEL, tmp_path / "model"], check=True)
    (port,) = free_ports(1)
    command = ["mlflow", "models", "serve", "-m", "model", "--env-manager", "local", "-p", str(port)]
    with running(command, tmp_path, f"http://127.0.0.1:{port}/ping"):
        same(f"mlflow+http://127.0.0.1:{port}/invocations")


def test_mlserver_serves_a_suspect(tmp_path):
    http, grpc, metrics = free_ports(3)
    (tmp_path / "runtime.py").write_text(RUNTIME)
    image = {"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}
    settings = {"name": "digits", "implementation": "runtime.Onnx", "parameters": {"uri": str(MODEL)}}
    settings |= {"inputs": [image], "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]}
    (tmp_path / "model-settings.json").write_text(json.dumps(settings))
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics, "host": "127.0.0.1", "parallel_workers": 0}
    (tmp_path / "settings.json").write_text(json.dumps(ports))
    with running(["mlserver", "start", "."], tmp_path, f"http://127.0.0.1:{http}/v2/models/digits"):
        asked = same(f"v2+http://127.0.0.1:{http}/v2/models/digits").suspect.endpoint
        assert (asked.model, asked.version) == ("digits", "7")


REGISTER = """
import sys, onnx, mlflow, mlflow.onnx, mlflow.pyfunc, numpy
for name, path in (("copy", sys.argv[1]), ("other", sys.argv[2])):
    with mlflow.start_run():
        mlflow.onnx.log_model(onnx.load(path), name=name, registered_model_name=name)

class Constant(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return numpy.zeros(len(model_input), int)

with mlflow.start_run():
    mlflow.pyfunc.log_model(name="code", python_model=Constant(), registered_model_name="code")
"""


def test_the_registry_of_a_real_server_is_checked_watched_and_promoted(tmp_path):
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": str(STUDY.parents[1]), "MLFLOW_TRACKING_URI": address}

    def program(*arguments):
        command = [f"{PROGRAMS}/python", *map(str, arguments)]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    def fpverify(*arguments):
        return program("-m", "fpverify", *arguments)

    command = ["mlflow", "server", "--backend-store-uri", "sqlite:///store.db", "--artifacts-destination", "artifacts"]
    with running([*command, "--host", "127.0.0.1", "--port", str(port)], tmp_path, f"{address}/health"):
        made = program("-c", REGISTER, MODEL, STUDY / "unrelated-perceptron-same-data-6.onnx")
        assert made.returncode == 0, made.stderr[-2000:]
        copy = fpverify("registry", "check", "models:/copy/1", "-f", STUDY, "--tag", "--format", "jsonl")
        assert copy.returncode == 3, copy.stderr
        sha256 = json.loads(copy.stdout)["result"]["suspect"]["sha256"]
        watch = ("registry", "watch", "-f", STUDY, "--journal", "seen.db", "--once")
        assert fpverify(*watch).stdout.splitlines() == [
            "models:/copy/1: derived",
            "models:/other/1: unrelated",
            "models:/code/1: no verdict",
        ]
        assert fpverify(*watch).stdout == ""
        code = fpverify("registry", "check", "code/1", "-f", STUDY, "--allow-code")
        assert code.returncode == 4, code.stderr
        ask = f"import mlflow; print(mlflow.MlflowClient().get_model_version({'copy'!r}, '1').tags)"
        assert f"'fpverify.suspect_sha256': '{sha256}'" in program("-c", ask).stdout

        assert fpverify("keygen", "-o", "auditor", "--no-passphrase").returncode == 0
        for name in ("copy", "other"):
            judged = fpverify("registry", "check", f"{name}/1", "-f", STUDY, "--format", "jsonl")
            (tmp_path / f"{name}.json").write_text(json.dumps(json.loads(judged.stdout)["result"]))
            signed = fpverify("sign", f"{name}.json", "--key", "auditor.key", "-o", f"{name}.dsse")
            assert signed.returncode == 0, signed.stderr
        promote = ("--to", "champion", "--trust", "auditor.pub", "--attestation")
        assert fpverify("registry", "promote", "copy/1", *promote, "copy.dsse").returncode == 2
        assert fpverify("registry", "promote", "copy/1", *promote, "other.dsse").returncode == 2
        moved = fpverify("registry", "promote", "other/1", *promote, "other.dsse", "-f", STUDY)
        assert moved.returncode == 0, moved.stderr
        again = fpverify("registry", "check", "models:/other@champion", "-f", STUDY)
        assert (again.returncode, "models:/other/1" in again.stdout) == (0, True)
