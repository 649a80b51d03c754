"""CI tests the oldest versions that the distributions allow, and a fixed set of new ones."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


def bounds() -> dict[str, Version]:
    """Return the lowest version that is allowed of everything that users install."""
    verifier = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    generator = tomllib.loads((ROOT / "generator" / "pyproject.toml").read_text())
    texts = [*verifier["dependencies"], *generator["tool"]["hatch"]["metadata"]["hooks"]["custom"]["dependencies"]]
    for extras in (verifier["optional-dependencies"], generator["project"]["optional-dependencies"]):
        texts += [text for name, group in extras.items() if name != "dev" for text in group]
    found = {}
    for requirement in map(Requirement, texts):
        if requirement.name != "fpverify":
            (bound,) = requirement.specifier
            assert bound.operator == ">=", f"{requirement} needs a lower bound, and no other"
            assert found.setdefault(requirement.name, Version(bound.version)) == Version(bound.version)
    return found


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / ".github" / "constraints" / f"{name}.txt").read_text().splitlines()
    split = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {package.lower(): Version(version) for package, _, version in split}


def test_the_oldest_versions_that_are_tested_are_the_oldest_that_are_allowed() -> None:
    assert pins("oldest") == bounds()


@pytest.mark.parametrize("name", sorted(set(bounds()) - {"onnxruntime-gpu"}))
def test_the_newest_versions_are_pinned(name: str) -> None:
    assert pins("newest")[name] >= bounds()[name]
