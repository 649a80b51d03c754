"""Versions of a registry are judged once, tagged, and promoted behind signed verdicts alone."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from fpverify import OutputError, Policy, RegistryError, SignatureError, SuspectError, save_fingerprint
from fpverify.cli import main
from fpverify.registry import gate, mlflow
from fpverify.registry.mlflow import Registry, Version


class Memory:
    """A registry in memory with what `Registry` offers: name/number -> the model's folder."""

    def __init__(self):
        self.models, self.tags, self.kept, self.aliases, self.down = {}, {}, [], {}, set()
        self.beside = ""

    def put(self, text, file=None, function=None):
        name, number = text.split("/")
        self.models[text] = (Version(name, number, "run", len(self.models)), file, function)

    def find(self, text):
        return self.models[text.removeprefix("models:/")][0]

    def versions(self, name=None):
        return [version for version, _, _ in self.models.values() if name in (None, version.name)]

    def download(self, version, folder):
        if f"{version.name}/{version.number}" in self.down:
            raise RegistryError("no route", culprit="MLflow")
        _, file, _ = self.models[f"{version.name}/{version.number}"]
        where = folder / "model"
        where.mkdir()
        if file is not None:
            (where / "model.onnx").write_bytes(file.read_bytes())
        self.last = version
        return where

    def onnx_file(self, folder):
        file = folder / "model.onnx"
        return file if file.exists() else None

    def served_beside(self, folder):
        return self.beside

    def load(self, folder):
        return self.models[f"{self.last.name}/{self.last.number}"][2]

    def tag(self, version, tags):
        self.tags.setdefault(str(version), {}).update(tags)

    def keep(self, version, file, folder):
        self.kept.append((str(version), folder, file.name, file.read_text()))

    def alias(self, version, alias):
        self.aliases[alias] = str(version)


@pytest.fixture
def registry(monkeypatch):
    found = Memory()
    monkeypatch.setattr(mlflow, "Registry", lambda uri=None: found)
    return found


@pytest.fixture
def fingerprints(tmp_path, make_backed):
    folder = tmp_path / "fingerprints"
    folder.mkdir()
    save_fingerprint(make_backed(), folder / "a.safetensors")
    return folder


@pytest.fixture
def files(tmp_path, make_onnx):
    return {
        "derived": make_onnx(tmp_path / "derived.onnx"),
        "other": make_onnx(tmp_path / "other.onnx", weights=[[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]),
    }


def run(*arguments):
    return CliRunner().invoke(main, ["registry", *map(str, arguments)])


def test_a_version_is_judged_and_tagged(registry, fingerprints, files):
    registry.put("digits/1", files["derived"])
    ran = run("check", "models:/digits/1", "-f", fingerprints, "--tag", "--format", "jsonl")
    assert ran.exit_code == 3, ran.output
    row = json.loads(ran.output)
    assert (row["suspect"], row["outcome"]) == ("models:/digits/1", "derived")
    tags = registry.tags["models:/digits/1"]
    assert tags["fpverify.outcome"] == "derived"
    assert tags["fpverify.suspect_sha256"] == row["result"]["suspect"]["sha256"]
    assert tags["fpverify.fingerprint"] == row["result"]["fingerprint"]["sha256"]
    assert [(one[0], one[2]) for one in registry.kept] == [
        ("models:/digits/1", "version-1.txt"),
        ("models:/digits/1", "version-1.jsonl"),
    ]
    assert run("check", "models:/digits/1", "-f", fingerprints, "--fail-on", "never").exit_code == 0


def test_code_runs_only_where_that_is_allowed(registry, fingerprints, make_backed, by_key):
    backed = make_backed()
    registry.put("forest/1", function=by_key(backed, backed.labels))
    refused = run("check", "forest/1", "-f", fingerprints, "--format", "csv")
    assert refused.exit_code == 2
    assert "--allow-code allows that" in refused.output
    assert run("check", "forest/1", "-f", fingerprints, "--allow-code").exit_code == 3


def test_what_is_served_beside_the_file_is_no_verdict_and_not_promoted(registry, fingerprints, files, signed, tmp_path):
    """MLflow's servers load another flavor than the one that is judged."""
    registry.put("digits/1", files["other"], function=lambda images: np.zeros(len(images), int))
    registry.beside = "the loader mine"
    refused = run("check", "digits/1", "-f", fingerprints, "--tag", "--format", "csv")
    assert refused.exit_code == 2
    assert "may be served by the loader mine, not by its ONNX file" in refused.output
    assert "may be served" in registry.tags["models:/digits/1"]["fpverify.reason"]
    found = run("check", "digits/1", "-f", fingerprints, "--allow-code", "--format", "jsonl")
    assert json.loads(found.stdout)["result"]["suspect"]["kind"] == "callable"
    promoted = promotion(tmp_path, signed(files["other"]), "--accept", "inconclusive")
    assert promoted.exit_code == 2
    assert "which no verdict is about" in promoted.stderr
    assert not registry.aliases


ONNX = {"onnx": {"data": "model.onnx", "code": None}}


@pytest.mark.parametrize(
    ("flavors", "said"),
    [
        (ONNX, ""),
        ({**ONNX, "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx", "code": None}}, ""),
        ({**ONNX, "python_function": {"loader_module": "mlflow.onnx", "data": "other.onnx"}}, "the file other.onnx"),
        ({**ONNX, "python_function": {"loader_module": "mine", "data": "model.onnx"}}, "the loader mine"),
        (
            {**ONNX, "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx", "code": "code"}},
            "code in code",
        ),
        ({"onnx": {"data": "model.onnx", "code": "code"}}, "code in code"),
        ({**ONNX, "sklearn": {"pickled_model": "m.pkl"}}, "the flavor sklearn"),
    ],
)
def test_what_may_be_served_in_place_of_the_file_is_named(monkeypatch, tmp_path, flavors, said):
    monkeypatch.setattr(mlflow, "import_module", lambda name: Client(flavors))
    assert Registry().served_beside(tmp_path) == said


def test_an_address_of_the_server_is_shown_without_its_password(monkeypatch):
    def unreachable(**_):
        raise OSError("API request to http://alice:SEKRETpw99@127.0.0.1:9/api/2.0 failed")

    client = Client({})
    client.MlflowClient = unreachable
    monkeypatch.setattr(mlflow, "import_module", lambda name: client)
    with pytest.raises(RegistryError) as caught:
        Registry("http://alice:SEKRETpw99@127.0.0.1:9")
    assert "SEKRET" not in str(caught.value)
    assert "http://[credential]@127.0.0.1:9/api/2.0" in str(caught.value)


def test_several_fingerprints_are_several_tests(registry, fingerprints, files, fingerprint):
    for shift in (1, 2):
        save_fingerprint(
            replace(fingerprint, labels=(fingerprint.labels + shift) % 3), fingerprints / f"{shift}.safetensors"
        )
    registry.put("digits/1", files["derived"])
    rows = [
        json.loads(line)
        for line in run("check", "digits/1", "-f", fingerprints, "--format", "jsonl").stdout.splitlines()
    ]
    assert {row["result"]["correction"]["tests"] for row in rows} == {3}
    assert {row["result"]["suspect"]["path"] for row in rows} == {None}
    plain = run("check", "digits/1", "-f", fingerprints, "--correction", "none", "--format", "jsonl").stdout
    assert all(json.loads(line)["result"]["correction"] is None for line in plain.splitlines())


def test_a_server_that_is_away_does_not_end_the_watch(registry, fingerprints, files, tmp_path, monkeypatch):
    registry.put("digits/1", files["derived"])
    answers = [RegistryError("nobody answers", culprit="MLflow"), registry.versions()]

    def versions(name=None):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def slept(_):
        if not answers:
            raise KeyboardInterrupt

    monkeypatch.setattr(registry, "versions", versions)
    monkeypatch.setattr("fpverify.commands.registry.time.sleep", slept)
    ran = run("watch", "-f", fingerprints, "--journal", tmp_path / "seen.db")
    assert "MLflow: nobody answers; it is tried again" in ran.stderr
    assert "models:/digits/1: derived" in ran.stdout
    answers.append(RegistryError("nobody answers", culprit="MLflow"))
    assert run("watch", "-f", fingerprints, "--journal", tmp_path / "seen.db", "--once").exit_code == 2


def test_the_gravest_outcome_is_the_tag(registry, fingerprints, files, fingerprint):
    other = replace(fingerprint, labels=(fingerprint.labels + 1) % 3)
    save_fingerprint(other, fingerprints / "b.safetensors")
    registry.put("digits/1", files["derived"])
    assert run("check", "digits/1", "-f", fingerprints, "--tag").exit_code == 3
    assert registry.tags["models:/digits/1"]["fpverify.outcome"] == "derived"


def test_each_version_is_checked_once_across_restarts(registry, fingerprints, files, tmp_path):
    journal = tmp_path / "seen.db"
    registry.put("digits/1", files["derived"])
    registry.put("digits/2", files["other"])
    registry.put("letters/1")
    watch = ("watch", "-f", fingerprints, "--journal", journal, "--once")
    assert run(*watch, "--name", "digits").output == "models:/digits/1: derived\nmodels:/digits/2: inconclusive\n"
    assert run(*watch).output == "models:/letters/1: no verdict\n"
    assert run(*watch).output == ""
    registry.put("digits/3", files["derived"])
    assert run(*watch).output == "models:/digits/3: derived\n"
    assert len(run(*watch, "--significance", "0.01").output.splitlines()) == 4


def test_a_version_that_the_registry_does_not_give_is_tried_again(registry, fingerprints, files, tmp_path):
    registry.put("digits/1", files["derived"])
    registry.put("digits/2", files["derived"])
    registry.down.add("digits/1")
    watch = ("watch", "-f", fingerprints, "--journal", tmp_path / "seen.db", "--once")
    first = run(*watch)
    assert first.stdout == "models:/digits/2: derived\n"
    assert "models:/digits/1: MLflow: no route; it is tried again" in first.stderr
    registry.down.clear()
    assert run(*watch).stdout == "models:/digits/1: derived\n"


def test_a_kill_before_the_tags_are_written_leaves_the_version_unchecked(registry, fingerprints, files, tmp_path):
    registry.put("digits/1", files["derived"])
    loaded = gate.load_fingerprints([fingerprints])
    seen = gate.Seen(tmp_path / "seen.db", gate.settings_of(loaded, Policy(), {}))

    def killed(version):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(gate.watch_once(registry, seen, None, killed, print))
    seen.close()
    ran = run("watch", "-f", fingerprints, "--journal", tmp_path / "seen.db", "--once")
    assert ran.output == "models:/digits/1: derived\n"


def test_a_journal_that_is_none_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no database, and longer than a header of one, for sure")
    with pytest.raises(OutputError, match="cannot keep what was checked"):
        gate.Seen(tmp_path / "notes.txt", "x")
    assert sqlite3.sqlite_version


@pytest.fixture
def signed(tmp_path, fingerprints, make_backed):
    """Return what signs a verdict on a file; its key is `auditor`."""
    pytest.importorskip("cryptography")
    made = CliRunner().invoke(main, ["keygen", "-o", str(tmp_path / "auditor"), "--no-passphrase"])
    assert made.exit_code == 0, made.output

    def sign(file, change=None):
        from fpverify import verify

        result = verify(fingerprints / "a.safetensors", file)
        document = result.to_dict() if change is None else {**result.to_dict(), **change}
        (tmp_path / "r.json").write_text(json.dumps(document))
        envelope = tmp_path / f"{file.stem}.dsse"
        arguments = ["sign", str(tmp_path / "r.json"), "--key", str(tmp_path / "auditor.key"), "-o", str(envelope)]
        assert CliRunner().invoke(main, arguments).exit_code == 0
        return envelope

    return sign


def promotion(tmp_path, envelope, *more, model="digits/1"):
    key = tmp_path / "auditor.pub"
    return run("promote", model, "--to", "champion", "--attestation", envelope, "--trust", key, *more)


def test_an_alias_moves_behind_a_signed_verdict(registry, files, signed, tmp_path, fingerprints):
    registry.put("digits/1", files["other"])
    envelope = signed(files["other"])
    refused = promotion(tmp_path, envelope)
    assert refused.exit_code == 2
    assert "expected a verdict that is unrelated, found inconclusive" in refused.stderr
    assert not registry.aliases
    moved = promotion(tmp_path, envelope, "--accept", "inconclusive", "-f", fingerprints)
    assert moved.exit_code == 0, moved.output
    assert "alias        champion is models:/digits/1" in moved.output
    assert registry.aliases == {"champion": "models:/digits/1"}


def test_tags_promote_nothing_and_neither_does_a_verdict_on_another_file(registry, files, signed, tmp_path):
    registry.put("digits/1", files["derived"])
    registry.tag(registry.find("digits/1"), {"fpverify.outcome": "unrelated"})
    assert promotion(tmp_path, signed(files["derived"]), "--accept", "inconclusive").exit_code == 2
    other = promotion(tmp_path, signed(files["other"]), "--accept", "inconclusive")
    assert other.exit_code == 2
    assert "is about another file than models:/digits/1 holds" in other.stderr
    assert not registry.aliases


def test_a_verdict_by_every_fingerprint_can_be_demanded(registry, files, signed, tmp_path, fingerprints, make_backed):
    registry.put("digits/1", files["other"])
    envelope = signed(files["other"])
    save_fingerprint(make_backed(fingerprint={"seeds": {"run": 8}}), fingerprints / "b.safetensors")
    missing = promotion(tmp_path, envelope, "--accept", "inconclusive", "-f", fingerprints)
    assert missing.exit_code == 2
    assert "b.safetensors: there is no signed verdict" in missing.stderr


def test_what_has_no_file_or_another_signer_is_not_promoted(registry, files, signed, tmp_path):
    registry.put("digits/1")
    envelope = signed(files["other"])
    assert "has no ONNX flavor" in promotion(tmp_path, envelope, "--accept", "inconclusive").stderr
    registry.put("digits/1", files["other"])
    CliRunner().invoke(main, ["keygen", "-o", str(tmp_path / "thief"), "--no-passphrase"])
    (tmp_path / "auditor.pub").write_bytes((tmp_path / "thief.pub").read_bytes())
    assert promotion(tmp_path, envelope, "--accept", "inconclusive").exit_code == 2
    with pytest.raises(SignatureError):
        gate.promote(registry, registry.find("digits/1"), "x", [], [tmp_path / "auditor.pub"])
    assert not registry.aliases


class Client:
    """The part of MLflow's module that `Registry` uses."""

    def __init__(self, flavors):
        flavors_of = self

        class MlflowException(Exception):  # noqa: N818
            pass

        class Model:
            @staticmethod
            def load(_):
                return flavors_of

        self.flavors = flavors
        self.exceptions = type("E", (), {"MlflowException": MlflowException})
        self.models = type("M", (), {"Model": Model})
        self.MlflowClient = lambda **_: self


@pytest.mark.parametrize(
    ("flavors", "message"),
    [
        ({"onnx": {"data": "../../secret.onnx"}}, "names a file outside of it"),
        ({"onnx": {"data": "/etc/passwd"}}, "names a file outside of it"),
        ({"onnx": {}}, "cannot be read"),
        ({"onnx": 3}, "cannot be read"),
    ],
)
def test_a_lying_description_is_refused(monkeypatch, tmp_path, flavors, message):
    monkeypatch.setattr(mlflow, "import_module", lambda name: Client(flavors))
    with pytest.raises(SuspectError, match=message):
        Registry().onnx_file(tmp_path)


def test_a_flavor_that_says_nothing_is_no_verdict(monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow, "import_module", lambda name: Client({**ONNX, "python_function": 3}))
    with pytest.raises(SuspectError, match="cannot be read"):
        Registry().served_beside(tmp_path)


def test_a_description_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow, "import_module", lambda name: Client({"onnx": {"data": "model.onnx"}}))
    assert Registry().onnx_file(tmp_path) == tmp_path / "model.onnx"
    monkeypatch.setattr(mlflow, "import_module", lambda name: Client({"sklearn": {}}))
    assert Registry().onnx_file(tmp_path) is None


def test_without_mlflow_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(mlflow, "import_module", missing)
    with pytest.raises(RegistryError, match=r"pip install 'fpverify\[mlflow\]'"):
        Registry()


@pytest.mark.parametrize("text", ["models:/x", "x/1/2", "models:/x/latest", ""])
def test_what_names_no_version_is_refused(monkeypatch, text):
    monkeypatch.setattr(mlflow, "import_module", lambda name: Client({}))
    with pytest.raises(RegistryError, match="expected models:/NAME/VERSION"):
        Registry().find(text)
