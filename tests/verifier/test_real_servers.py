"""MLflow's scoring server and MLServer, started here, give the verdict of the file that they serve.

They are large, so they are not part of the development environment. FPVERIFY_SERVERS names the folder of programs of an
environment that has them: `pip install mlflow mlserver onnxruntime`, then `FPVERIFY_SERVERS=/that/environment/bin`.
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
        assert "V2 model digits version 7" in same(f"v2+http://127.0.0.1:{http}/v2/models/digits").suspect.provider
