"""Both distributions are built and installed into an empty environment, without a network."""

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import fpverify

ROOT = Path(__file__).resolve().parents[2]
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


def run(*command: str | Path, folder: Path) -> str:
    """Return what a command prints; it sees no checkout and none of this environment's settings."""
    settings = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return done.stdout


def built(kind: str, project: Path, folder: Path) -> Path:
    """Return the distribution that the project's own build backend makes, called as PEP 517 says."""
    backend = "hatch_build" if (project / "hatch_build.py").is_file() else "hatchling.build"
    script = f"import sys; sys.path.insert(0, '.'); import {backend} as b; print(b.build_{kind}(sys.argv[1]))"
    return folder / run(sys.executable, "-c", script, folder, folder=project).splitlines()[-1]


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels that are made from the source distributions, as for a release."""
    folder = tmp_path_factory.mktemp("released")
    wheels = {}
    for name, project in {"fpverify": ROOT, "fpverify-generator": ROOT / "generator"}.items():
        source = built("sdist", project, folder)
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        wheels[name] = built("wheel", folder / source.name.removesuffix(".tar.gz"), folder)
    return wheels


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """The Python of an environment that holds the dependencies and neither of our distributions."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", folder=tmp_path)
    (site,) = (tmp_path / "venv").glob("**/site-packages")
    # the .pth files in an entry of a .pth file are not read, so that no editable checkout comes along
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"


def test_both_wheels_work_in_an_empty_environment(released: dict[str, Path], empty: Path, tmp_path: Path) -> None:
    command = (sys.executable, *PIP, "--python", empty, "install", "--no-index", "--no-deps")
    run(*command, "--ignore-installed", *released.values(), folder=tmp_path)
    places = "import fpverify, fpverify_generator as g; print(fpverify.__file__, g.__file__)"
    assert all(str(tmp_path) in place for place in run(empty, "-c", places, folder=tmp_path).split())
    study = ROOT / "fixtures" / "study"
    arguments = (study / "derived-prune-0.7.onnx", "-f", study / "fingerprint.safetensors", "--format", "json")
    report = json.loads(run(empty.parent / "fpverify", "verify", *arguments, folder=tmp_path))
    assert report["verdict"] == "derived"
    assert "train-away" in run(empty.parent / "fpverify-generator", "attacks", folder=tmp_path)


def test_the_verifiers_wheel_holds_the_verifier_alone(released: dict[str, Path]) -> None:
    with zipfile.ZipFile(released["fpverify"]) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fpverify"}
    assert {"fpverify/py.typed", "fpverify/formats/result-1.schema.json"} <= set(names)
    required = metadata(released["fpverify"]).get_all("Requires-Dist", [])
    assert {text.split(">")[0] for text in required if "extra" not in text} == {"click", "numpy", "safetensors"}


def test_the_generators_wheel_holds_the_pages_template(released: dict[str, Path]) -> None:
    with zipfile.ZipFile(released["fpverify-generator"]) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fpverify_generator"}
    assert {"fpverify_generator/py.typed", "fpverify_generator/report/page.html.j2"} <= set(names)


@pytest.mark.parametrize("name", ["fpverify", "fpverify-generator"])
def test_a_wheel_holds_the_licence_the_version_and_no_path_of_this_machine(
    released: dict[str, Path], name: str
) -> None:
    found = metadata(released[name])
    assert (found["License-Expression"], found["Version"]) == ("MIT", fpverify.__version__)
    assert not any("file:" in text for text in found.get_all("Requires-Dist", []))
    with zipfile.ZipFile(released[name]) as archive:
        (licence,) = [archive.read(entry) for entry in archive.namelist() if entry.endswith("licenses/LICENSE")]
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_the_generator_alone_brings_the_verifier_of_its_checkout(empty: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in ("fpverify", "generator"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, checkout)
    command = (sys.executable, *PIP, "--python", empty, "install", "--no-index", "--no-build-isolation")
    run(*command, checkout / "generator", folder=tmp_path)
    script = "import importlib.metadata as m, fpverify as f; print(f.__file__, m.distribution('fpverify')._path)"
    place, record = run(empty, "-c", script, folder=tmp_path).split()
    assert str(tmp_path / "venv") in place
    assert json.loads((Path(record) / "direct_url.json").read_text())["url"] == checkout.as_uri()
