"""Models behind real servers on the loopback address, with every fault that a server can have."""

import base64
import contextlib
import hashlib
import http.server
import io
import json
import re
import ssl
import threading
import time
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fpverify import InTurn, PolicyError, SuspectError, save_fingerprint, verify
from fpverify.cli import main
from fpverify.secrets import MARK, redacted
from fpverify.suspects.endpoints import http as asking
from fpverify.suspects.endpoints.description import load_endpoint
from fpverify.suspects.endpoints.journal import Journal
from fpverify.suspects.endpoints.protocols import jpeg

TOKEN = "s3cret-token-of-the-auditor"  # noqa: S105


class Service:
    """A server of a tiny classifier: the lit pixel's number is the class. `fault` may answer instead."""

    def __init__(self):
        self.requests, self.images, self.fault, self.shift = [], 0, None, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.reply(outer.metadata())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), body))
                if outer.fault is not None and outer.fault(len(outer.requests), self):
                    return
                self.reply(outer.answer(self.path, json.loads(body)))

            def reply(self, document, status=200, headers=()):
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def scores(self, images):
        flat = np.asarray(images, float).reshape(len(images), 4)[:, :3]
        self.images += len(images)
        return np.roll(flat, self.shift, axis=1)

    def metadata(self):
        image = {"name": "pixels", "datatype": "FP32", "shape": [-1, 1, 2, 2]}
        return {
            "name": "tiny",
            "versions": ["3"],
            "inputs": [image],
            "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
        }

    def answer(self, path, document):
        path = path.partition("?")[0]
        if path.endswith("/infer"):
            (tensor,) = document["inputs"]
            scores = self.scores(np.array(tensor["data"]).reshape(tensor["shape"]))
            return {
                "model_name": "tiny",
                "model_version": "3",
                "outputs": [
                    {"name": "scores", "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel().tolist()}
                ],
            }
        if path.endswith("/invocations"):
            return {"predictions": self.scores(document["inputs"]).tolist()}
        images = document["images"]
        if images and isinstance(images[0], str):
            from PIL import Image

            images = [np.array(Image.open(io.BytesIO(base64.b64decode(one))))[None] / 255 for one in images]
        return {"result": {"labels": self.scores(images).argmax(1).tolist()}}


@pytest.fixture
def service():
    found = Service()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(asking, "_pause", lambda attempt, asked: min(asked or 0.01, 0.05))


@pytest.fixture
def described(service, tmp_path):
    def write(**fields):
        fields = {
            "url": f"{service.url}/classify",
            "body": '{"images": "$images"}',
            "answers": "result.labels",
            **fields,
        }
        path = tmp_path / "endpoint.toml"
        headers = fields.pop("headers", {})
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if value is not None]
        lines += ["[headers]", *(f"{name} = {json.dumps(value)}" for name, value in headers.items())]
        path.write_text("\n".join(lines))
        return f"endpoint:{path}"

    return write


def test_every_protocol_gives_the_verdict_of_the_model(service, described, fingerprint, make_backed):
    backed = make_backed()
    suspects = [f"v2+{service.url}/v2/models/tiny", f"mlflow+{service.url}/invocations", described()]
    suspects += [described(image="png")]
    for suspect in suspects:
        for keys in (fingerprint, backed):
            result = verify(keys, suspect)
            assert (result.verdict, result.kept, result.suspect.kind) == ("derived", 24, "endpoint")
            assert result.suspect.name.startswith(service.url)
            assert "nothing shows which model it was" in result.warnings[0]


def test_the_report_says_what_was_asked(service, fingerprint):
    found = verify(fingerprint, f"v2+{service.url}/v2/models/tiny").suspect
    asked = found.endpoint
    assert (asked.type, asked.model, asked.version, asked.certificate) == ("v2", "tiny", "3", None)
    assert (asked.images, asked.requests) == (service.images, 1 + len(service.requests))
    assert "20" < asked.first <= asked.last
    assert service.images == 24 + 12


def test_images_are_sent_in_pieces_and_several_at_a_time(service, described, fingerprint):
    assert verify(fingerprint, described(batch=5, concurrency=4)).verdict == "derived"
    sizes = sorted(len(json.loads(body)["images"]) for _, _, body in service.requests)
    assert sizes == [1] * 12 + [4] + [5] * 4
    one = described(body='{"images": ["$image"], "n": 1}', answers="result.labels.0", batch=None)
    assert verify(fingerprint, one).kept == 24


def test_a_credential_comes_from_the_environment_and_is_never_shown(service, described, fingerprint, monkeypatch):
    path = described(headers={"Authorization": "Bearer $AUDIT"}, url=f"{service.url}/classify?key={TOKEN}")
    with pytest.raises(PolicyError, match="the environment variable AUDIT is not set"):
        verify(fingerprint, path)
    monkeypatch.setenv("AUDIT", TOKEN)
    result = verify(fingerprint, path)
    assert service.requests[0][1]["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in json.dumps(result.to_dict())
    service.fault = lambda number, request: request.reply(f"no: Bearer {TOKEN}".encode(), 403) or True
    with pytest.raises(SuspectError) as caught:
        verify(fingerprint, path)
    assert TOKEN not in str(caught.value)
    assert MARK in str(caught.value)
    assert "status 403" in str(caught.value)


def test_what_a_callable_says_holds_no_credential(fingerprint, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", TOKEN)

    def fails(inputs):
        raise RuntimeError(f"401 for https://x/?key={TOKEN}")

    with pytest.raises(SuspectError) as caught:
        verify(fingerprint, fails)
    assert TOKEN not in str(caught.value)
    assert redacted("plain") == "plain"


def test_a_server_that_recovers_is_asked_again(service, described, fingerprint):
    faults = {1: (429, [("Retry-After", "0.02")]), 2: (500, []), 3: (503, [])}

    def fault(number, request):
        if number in faults:
            status, headers = faults[number]
            request.reply({"error": "later"}, status, headers)
        return number in faults

    service.fault = fault
    assert verify(fingerprint, described()).verdict == "derived"


def partly(request):
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"result"')
    request.close_connection = True


def slowly(request):
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(200):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.05)
    request.close_connection = True


def slow_headers(request):
    with contextlib.suppress(OSError):
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(200):
            request.wfile.write(b"a")
            request.wfile.flush()
            time.sleep(0.05)
    request.close_connection = True


def endlessly(request):
    request.send_response(200)
    request.end_headers()
    with contextlib.suppress(OSError):
        while True:
            request.wfile.write(b" " * 2**20)
    request.close_connection = True


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda r: r.reply({}, 500), "answered with status 500"),
        (lambda r: r.reply({}, 404), "answered with status 404"),
        (partly, "the answer ended too early|the connection broke"),
        (slowly, "does not answer in time"),
        (slow_headers, "does not answer in time"),
        (endlessly, "answers with more than"),
        (lambda r: setattr(r, "close_connection", True), "the connection broke"),
        (lambda r: r.reply(b"<html>"), "answered with no JSON: <html>"),
        (lambda r: r.reply(b"[" * 100_000), "answered with no JSON"),
        (lambda r: r.reply({"error": 1}), "answers without 'result'"),
        (lambda r: r.reply({"result": {"labels": [1]}}), "gives 1 answers as 'answer' for"),
        (lambda r: r.reply({"result": {"labels": "x"}}), "gives str as 'answer'"),
        (lambda r: r.reply({}, 307, [("Location", "http://198.51.100.7/steal")]), "redirects to another host"),
        (lambda r: r.reply({}, 302, [("Location", "/x")]), "answers a question with a redirect"),
        (lambda r: r.reply({}, 307, [("Location", "/x")]), "redirects more than 3 times"),
    ],
)
def test_a_server_that_fails_gives_no_verdict(service, described, fingerprint, monkeypatch, fault, message):
    monkeypatch.setattr(asking, "MAX_ANSWER", 2**22)
    service.fault = lambda number, request: number == 2 and (fault(request), True)[1]
    if message not in ("answers with more than",):
        service.fault = lambda number, request: number >= 2 and (fault(request), True)[1]
    with pytest.raises(SuspectError, match=message) as caught:
        verify(fingerprint, described(batch=7, retries=1, timeout=0.5))
    assert str(caught.value).startswith(service.url)


def test_a_server_that_nobody_runs_is_named(fingerprint, described, service):
    service.server.shutdown()
    service.server.server_close()
    with pytest.raises(SuspectError, match=r"nobody answers there|the connection broke"):
        verify(fingerprint, described(retries=0))


def test_labels_that_change_between_calls_are_noticed(service, described, make_backed):
    def fault(number, request):
        service.shift = 1 if number > 1 else 0
        return False

    service.fault = fault
    result = verify(make_backed(), described())
    assert result.verdict == "inconclusive"
    assert result.answers.disagreements == 12


def test_no_more_images_are_sent_than_allowed(service, described, fingerprint):
    with pytest.raises(SuspectError, match="may be asked no more: 30 of 30 queries are spent"):
        verify(fingerprint, described(queries=30))
    assert service.images == 30
    with pytest.raises(SuspectError, match="0 of 10 queries"):
        verify(fingerprint, described(queries=10))


def test_key_by_key_it_stops_when_the_verdict_is_decided(service, described, fingerprint):
    result = verify(fingerprint, described(), in_turn=InTurn(error=0.1))
    assert result.verdict == "derived"
    assert service.images == result.sequential.queries < 24


def test_a_run_that_broke_goes_on_without_sending_an_image_twice(service, described, fingerprint, tmp_path):
    path = described(journal="journal.jsonl", batch=4, retries=0)
    service.fault = lambda number, request: number > 4 and (request.reply({}, 500), True)[1]
    with pytest.raises(SuspectError):
        verify(fingerprint, path)
    assert service.images == 16
    service.fault = None
    assert verify(fingerprint, path).verdict == "derived"
    assert service.images == 24 + 12
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 24 + 12
    (tmp_path / "journal.jsonl").write_text("\n".join(lines[:5]) + "\n" + lines[5][:20])
    before = service.images
    assert verify(fingerprint, path).verdict == "derived"
    assert service.images >= before + 20


def test_a_journal_of_another_endpoint_is_refused(service, described, fingerprint, tmp_path):
    (tmp_path / "journal.jsonl").write_text(json.dumps({"endpoint": "https://other.example/x"}) + "\n")
    with pytest.raises(PolicyError, match="holds answers of another endpoint, or to other questions"):
        verify(fingerprint, described(journal="journal.jsonl"))
    (tmp_path / "journal.jsonl").write_text("{}\nx\n{}\n")
    with pytest.raises(PolicyError, match="line 1 is no answer"):
        Journal(tmp_path / "journal.jsonl", "x")


def test_requests_keep_to_a_rate(service, described, fingerprint):
    began = time.monotonic()
    verify(fingerprint, described(per_second=40))
    assert time.monotonic() - began > 12 / 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no url"),
        ("url = 3", "url must be an address, found 3"),
        ('url = "ftp://x"', "url must be http"),
        ('url = "https://me:pw@x/"', "holds a name or a password"),
        ('url = "http://x"\ncolour = 1', "found an unknown 'colour'"),
        ('url = "http://x"\ntype = "soap"', "type must be v2, mlflow or json"),
        ('url = "http://x"\nretries = 99', "retries must be 0 to 20"),
        ('url = "http://x"\nbody = "{}"', r'body must be JSON with "\$images"'),
        ('url = "http://x"\nbody = "\\"$images\\""\nqueries = 0', "queries must be an integer"),
        ("url", "is no TOML"),
    ],
)
def test_a_description_that_makes_no_sense_is_named(tmp_path, fingerprint, text, message):
    (tmp_path / "e.toml").write_text(text)
    with pytest.raises(PolicyError, match=message):
        verify(fingerprint, f"endpoint:{tmp_path / 'e.toml'}")


def test_a_service_without_v2_metadata_is_no_v2(service, fingerprint):
    service.metadata = lambda: {"name": "tiny"}
    with pytest.raises(SuspectError, match="gives no metadata of a model as V2 demands"):
        verify(fingerprint, f"v2+{service.url}/v2/models/tiny")


def test_v2_answers_of_another_shape_are_refused(service, fingerprint):
    service.answer = lambda path, document: {
        "outputs": [{"name": "s", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]
    }
    with pytest.raises(SuspectError, match=r"answers 24 images with an output of shape \[1, 3\]"):
        verify(fingerprint, f"v2+{service.url}/v2/models/tiny")


def test_keys_sent_as_jpeg_are_weaker_and_that_is_said(service, described, fingerprint):
    result = verify(fingerprint, described(image="jpeg", quality=95))
    assert any("at quality 95 copies of our own models kept 100% of the keys" in one for one in result.warnings)
    result = verify(fingerprint, described(image="jpeg", quality=80))
    assert any("at quality 75 copies of our own models kept 83% of the keys" in one for one in result.warnings)
    result = verify(fingerprint, described(image="jpeg", quality=50))
    assert any("83% of the keys that they keep otherwise, or fewer" in one for one in result.warnings)
    assert jpeg(np.zeros((2, 2, 3), np.uint8), 90).startswith(b"\xff\xd8")


def test_the_command_takes_endpoints_and_counts_before_it_asks(service, described, make_backed, tmp_path):
    save_fingerprint(make_backed(), tmp_path / "f.safetensors")
    path = described(price=0.01)
    dry = CliRunner().invoke(main, ["verify", path, "-f", str(tmp_path / "f.safetensors"), "--dry-run"])
    assert dry.exit_code == 2
    assert "42 at least: 24 keys, 6 control images, 12 keys a second time" in dry.output
    assert "cost     0.42" in dry.output
    few = ["verify", path, "-f", str(tmp_path / "f.safetensors"), "--dry-run", "--sequential"]
    assert (
        "queries  30 at most: 24 keys, 6 control images, 0 keys a second time" in CliRunner().invoke(main, few).output
    )
    assert "cost     0.2" in CliRunner().invoke(main, [*few, "--max-queries", "20"]).output
    short = CliRunner().invoke(main, ["verify", described(queries=9), *few[2:5]])
    assert "queries = 9 allows fewer: it would end without a verdict" in short.output
    for wrong in ([*few, "-o", str(tmp_path / "r.json")], ["verify", str(tmp_path / "m.onnx"), *few[2:5]]):
        assert "error: --dry-run" in CliRunner().invoke(main, wrong).stderr
    path = described(price=0.01)
    assert not service.requests
    for suspect in (path, f"mlflow+{service.url}/invocations"):
        ran = CliRunner().invoke(main, ["verify", suspect, "-f", str(tmp_path / "f.safetensors")])
        assert ran.exit_code == 3, ran.output


def test_an_address_without_its_query_is_what_is_shown():
    assert asking.without_query("https://u:p@host:8443/a/b?key=1#x") == "https://host:8443/a/b"
    assert load_endpoint("v2+http://host/v2/models/m").url == "http://host/v2/models/m"


@pytest.fixture
def certified(tmp_path):
    """Start services with TLS, whose certificate an authority of their own signed; returns address and its PEM file."""
    pytest.importorskip("cryptography")
    started = []

    def start(version):
        made = Service()
        made.server.RequestHandlerClass.protocol_version = version
        authority, chain, key, digest = certificates(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        made.server.socket = context.wrap_socket(made.server.socket, server_side=True)
        started.append(made)
        return made.url.replace("http:", "https:"), authority, digest

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def certificates(folder):
    """Write an authority's certificate, and one for 127.0.0.1; return the files and the SHA-256 of the second."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def made(name, signer, key, authority, signing):
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(signer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if not authority:
            address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(address, critical=False)
        return builder.sign(signing, hashes.SHA256())

    def named(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    above, below = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = made(named("an authority"), named("an authority"), above, True, above)
    leaf = made(named("a service"), named("an authority"), below, False, above)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(root.public_bytes(pem))
    (folder / "service.pem").write_bytes(leaf.public_bytes(pem))
    unlocked = serialization.NoEncryption()
    (folder / "service.key").write_bytes(below.private_bytes(pem, serialization.PrivateFormat.PKCS8, unlocked))
    digest = hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).hexdigest()
    return folder / "authority.pem", folder / "service.pem", folder / "service.key", digest


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_the_report_names_the_certificate_also_where_each_answer_ends_the_connection(
    certified, described, fingerprint, version
):
    url, authority, digest = certified(version)
    result = verify(fingerprint, described(url=f"{url}/classify", authority=str(authority)))
    assert result.verdict == "derived"
    assert result.suspect.endpoint.certificate == digest


def test_a_certificate_that_nobody_trusts_is_no_verdict(certified, described, fingerprint):
    url, _, _ = certified("HTTP/1.1")
    with pytest.raises(SuspectError, match="its TLS certificate is not trusted"):
        verify(fingerprint, described(url=f"{url}/classify", retries=0))


def test_a_pause_can_be_asked_for_by_a_date():
    later = time.time() + 30
    assert 28 < asking._retry_after({"Retry-After": formatdate(later, usegmt=True)}) <= 30
    assert asking._retry_after({"Retry-After": formatdate(later - 90, usegmt=True)}) == 0
    assert asking._retry_after({"Retry-After": "7"}) == 7
    assert asking._retry_after({"Retry-After": "soon"}) is None


def test_a_query_that_the_server_says_is_not_shown(service, fingerprint):
    def refused(_, handler):
        handler.reply(f"bad request to {handler.path}".encode(), 400)
        return True

    service.fault = refused
    with pytest.raises(SuspectError) as caught:
        verify(fingerprint, f"mlflow+{service.url}/invocations?token=hunter2secret&user=alice")
    assert "status 400: bad request to /invocations?[credential]" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_description_without_its_prefix_is_not_shown(described, fingerprint_file):
    path = described(headers={"Authorization": "Bearer abc123XYZ"}).removeprefix("endpoint:")
    ran = CliRunner().invoke(main, ["verify", path, "-f", str(fingerprint_file)])
    assert f"write endpoint:{path}" in ran.stderr
    assert "abc123XYZ" not in ran.output


@pytest.mark.parametrize("suspect", ["mlflow+http://u:SEKRET99@host/invocations?token=SEKRET99", "endpoint:e.toml"])
def test_a_scan_of_an_address_is_refused_without_showing_its_password(suspect, fingerprint_file):
    ran = CliRunner().invoke(main, ["scan", suspect, "-f", str(fingerprint_file)])
    assert ran.exit_code == 2
    assert "an address is no file; fpverify verify asks endpoints" in ran.stderr
    assert "SEKRET99" not in ran.output


def test_the_file_in_the_docs_is_one(tmp_path):
    text = (Path(__file__).parents[2] / "docs/endpoints.md").read_text()
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "endpoint.toml").write_text(block)
    found = load_endpoint(tmp_path / "endpoint.toml")
    assert (found.queries, found.journal) == (500, str(tmp_path / "answers.jsonl"))
    assert dict(found.headers) == {"Authorization": "Bearer $API_TOKEN"}


def test_a_strangers_file_is_never_taken_for_a_description(service, described, fingerprint, tmp_path, monkeypatch):
    """It could have the auditor's credentials sent anywhere."""
    monkeypatch.setenv("AUDIT", TOKEN)
    path = described(headers={"X": "$AUDIT"}).removeprefix("endpoint:")
    for named in (path, Path(path)):
        with pytest.raises(SuspectError, match="no ONNX model"):
            verify(fingerprint, named)
    monkeypatch.chdir(tmp_path)
    Path("endpoint:endpoint.toml").write_bytes(Path(path).read_bytes())
    with pytest.raises(SuspectError, match="no ONNX model"):
        verify(fingerprint, "endpoint:endpoint.toml")
    assert not service.requests


def test_a_journal_answers_for_nothing_else_than_what_was_asked(service, described, fingerprint):
    """The address with its query, and how images and answers are written, belong to it."""
    verify(fingerprint, described(journal="journal.jsonl", url=f"{service.url}/classify?model=a"))
    for change in (
        {"url": f"{service.url}/classify?model=b"},
        {"image": "png"},
        {"answers": "result"},
        {"body": '{"images": "$images", "model": "b"}'},
    ):
        path = described(**{"journal": "journal.jsonl", "url": f"{service.url}/classify?model=a", **change})
        with pytest.raises(PolicyError, match="holds answers of another endpoint, or to other questions"):
            verify(fingerprint, path)


def test_old_answers_are_reported(service, described, fingerprint, tmp_path):
    path = described(journal="journal.jsonl")
    assert not any("old" in text for text in verify(fingerprint, path).warnings)
    again = verify(fingerprint, path)
    assert any("answers are old: they come from the journal" in text for text in again.warnings)
    lines = (tmp_path / "journal.jsonl").read_text()
    (tmp_path / "journal.jsonl").write_text(lines[:-40])
    for _ in range(3):
        assert verify(fingerprint, path).verdict == "derived"
    (tmp_path / "journal.jsonl").write_text("[1]\n")
    with pytest.raises(PolicyError, match="line 1 is no answer"):
        verify(fingerprint, path)


def test_a_report_does_not_replace_the_journal(described, fingerprint_file, tmp_path, service):
    path = described(journal="journal.jsonl")
    for _ in range(2):
        ran = CliRunner().invoke(
            main, ["verify", path, "-f", str(fingerprint_file), "-o", str(tmp_path / "journal.jsonl")]
        )
    assert ran.exit_code == 2
    assert "would overwrite" in ran.stderr


@pytest.mark.parametrize("value", [f"{TOKEN}\n", "\u20ac-token"])
def test_a_credential_that_cannot_be_sent_is_not_shown(described, fingerprint, monkeypatch, service, value):
    monkeypatch.setenv("AUDIT", value)
    with pytest.raises(PolicyError, match="only printable ASCII can") as caught:
        verify(fingerprint, described(headers={"Authorization": "Bearer $AUDIT"}))
    assert TOKEN not in str(caught.value)


def test_a_credential_that_the_server_says_stands_nowhere(service, described, fingerprint, monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIT", TOKEN)
    headers = {"Authorization": "Bearer $AUDIT"}
    service.fault = lambda number, request: request.reply(b"x" * 60 + TOKEN.encode(), 403) or True
    with pytest.raises(SuspectError) as caught:
        verify(fingerprint, described(headers=headers))
    assert TOKEN[:6] not in str(caught.value)
    service.fault = None
    named = service.answer
    service.answer = lambda path, document: {"result": {TOKEN: named(path, document)["result"]["labels"]}}
    path = described(headers=headers, answers="result", journal="journal.jsonl")
    result = verify(fingerprint, path)
    assert TOKEN not in json.dumps(result.to_dict()) + (tmp_path / "journal.jsonl").read_text()


def test_the_query_of_an_address_is_no_part_of_the_report(service, fingerprint_file, tmp_path):
    address = f"mlflow+{service.url}/invocations?api_key=SECRET"
    arguments = ["verify", address, "-f", str(fingerprint_file), "-o", str(tmp_path / "r.json")]
    assert CliRunner().invoke(main, arguments).exit_code == 3
    assert "SECRET" not in (tmp_path / "r.json").read_text()
    wrong = CliRunner().invoke(main, ["verify", "mlflow+http://me:SECRET@h:99999/x", "-f", str(fingerprint_file)])
    assert wrong.exit_code == 2
    assert "SECRET" not in wrong.stderr


def test_all_requests_together_have_a_limit(service, described, fingerprint, monkeypatch):
    monkeypatch.setattr(asking, "_pause", lambda attempt, asked: 60.0)
    service.fault = lambda number, request: request.reply({}, 503) or True
    began = time.monotonic()
    with pytest.raises(SuspectError, match=r"took more than 0\.5 seconds in all"):
        verify(fingerprint, described(total=0.5))
    assert time.monotonic() - began < 10


def test_a_redirect_counts_what_is_sent(service, described, fingerprint):
    def moved(number, request):
        if request.path != "/new":
            request.reply({}, 307, [("Location", "/new")])
        return request.path != "/new"

    service.fault = moved
    with pytest.raises(SuspectError, match="queries are spent"):
        verify(fingerprint, described(queries=36))
    assert verify(fingerprint, described(queries=72)).verdict == "derived"


@pytest.mark.parametrize(
    ("location", "message"),
    [("http://h:99999999/", "redirects to what is no address"), ("http://[x/", "redirects to what is no address")],
)
def test_a_redirect_to_nowhere_is_one_line(service, described, fingerprint, location, message):
    service.fault = lambda number, request: request.reply({}, 307, [("Location", location)]) or True
    with pytest.raises(SuspectError, match=message):
        verify(fingerprint, described())


@pytest.mark.parametrize(
    "output",
    [
        {"datatype": "INT64", "shape": [24], "data": [0.5] * 24},
        {"datatype": "INT64", "shape": [24], "data": ["1"] * 24},
        {"datatype": "FP32", "shape": [24, -1], "data": [1.0] * 72},
        {"datatype": "FP32", "shape": [24, 3], "data": [1.0] * 71},
        {"datatype": "FP32", "shape": [24, 10**12], "data": [1.0]},
        {"datatype": "BYTES", "shape": [24], "data": ["x" * 5_000_000] + ["a"] * 23},
    ],
)
def test_v2_values_are_of_the_type_and_number_that_are_stated(service, fingerprint, output):
    service.answer = lambda path, document: {"outputs": [{"name": "o", **output}]}
    with pytest.raises(SuspectError, match=r"answers|returned"):
        verify(fingerprint, f"v2+{service.url}/v2/models/tiny")
