"""Builds this distribution with hatchling; `pip install ./generator` takes the verifier from the same checkout.

A wheel that pip builds in a checkout requires the verifier that lies beside it. A wheel that is made from the source
distribution, as releases are, requires it by version, and so does an editable install: pip cannot have one
distribution both editable and not.
"""

import os
from pathlib import Path
from typing import Any

from hatchling import build
from hatchling.metadata.plugin.interface import MetadataHookInterface

BESIDE = "FPVERIFY_BUILD_BESIDE"
"""Set in the environment of a build whose wheel requires the verifier of this checkout."""


def __getattr__(name: str) -> Any:
    """Return a hook of hatchling's that is the same here (PEP 517, PEP 660)."""
    return getattr(build, name)


def build_wheel(*arguments: Any, **settings: Any) -> str:
    """Build a wheel (PEP 517)."""
    os.environ[BESIDE] = "1"
    return build.build_wheel(*arguments, **settings)


if hasattr(build, "prepare_metadata_for_build_wheel"):  # not under pip, which asks for the wheel at once

    def prepare_metadata_for_build_wheel(*arguments: Any, **settings: Any) -> str:
        """Write the metadata of the wheel that `build_wheel` will build (PEP 517)."""
        os.environ[BESIDE] = "1"
        return build.prepare_metadata_for_build_wheel(*arguments, **settings)


class VerifierRequirement(MetadataHookInterface):
    """Adds the verifier to the dependencies."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the dependencies, which `pyproject.toml` lists for this hook."""
        verifier = Path(self.root).resolve().parent
        beside = BESIDE in os.environ and (verifier / "fpverify" / "version.py").is_file()
        requirement = f"fpverify @ {verifier.as_uri()}" if beside else "fpverify>=0.1,<0.2"
        metadata["dependencies"] = [requirement, *self.config["dependencies"]]
