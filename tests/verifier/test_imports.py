import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fpverify

PACKAGE = Path(fpverify.__file__).parent
EXTRAS = {"cryptography": "proof", "jinja2": "reports", "urllib3": "endpoints", "PIL": "endpoints"}
"""Packages of extras, and the room that may import each: when it is used, never at its top."""
ALLOWED = {"click", "fpverify", "numpy", "onnxruntime", "safetensors", *EXTRAS} | sys.stdlib_module_names
HEAVY = {"numpy", "onnx", "onnxruntime", "pandas", "scipy", "sklearn", "torch"}


def imported(path):
    """Top-level names of everything that a module imports, at its top or within."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "relative import" if node.level else node.module.split(".")[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_an_auditor_installs(path):
    names = set(imported(path))
    assert names <= ALLOWED
    assert {EXTRAS[name] for name in names & EXTRAS.keys()} <= {path.parent.name}


@pytest.mark.parametrize(
    "arguments", [["-c", "import fpverify"], ["-m", "fpverify", "--help"]], ids=["import", "--help"]
)
def test_starting_loads_nothing_heavy(arguments):
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "import time" in line}
    assert "fpverify" in loaded
    assert not loaded & HEAVY


def test_a_suspect_is_told_to_load_before_numpy_is_imported():
    code = """
import sys
from fpverify.cli import main
from fpverify.sandbox.parent import Sandbox

def told(sandbox, *arguments):
    start(sandbox, *arguments)
    print("numpy" in sys.modules)

start, Sandbox.start_loading = Sandbox.start_loading, told
main(sys.argv[1:])
"""
    digits = PACKAGE.parent / "fixtures" / "digits"
    command = ["verify", str(digits / "derived-ftal.onnx"), "-f", str(digits / "fingerprint.safetensors")]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[0] == "False"


def test_the_suspects_process_holds_next_to_nothing_of_fpverify():
    code = (
        "import sys\nfrom fpverify.sandbox import child, described\n"
        "print(*sorted(name for name in sys.modules if name.startswith('fpverify')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "fpverify fpverify.sandbox fpverify.sandbox.child fpverify.sandbox.described fpverify.version"
    assert done.stdout.split() == expected.split()


def test_every_public_name_is_there():
    for name in fpverify.__all__:
        assert getattr(fpverify, name) is not None


def test_the_version_is_the_distributions():
    project = PACKAGE.parent / "pyproject.toml"
    assert fpverify.__version__ == tomllib.loads(project.read_text())["project"]["version"]
