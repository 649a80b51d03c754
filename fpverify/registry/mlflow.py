"""MLflow's model registry: versions, their files, tags and aliases.

Source:
    mlflow.org, "MLflow Model Registry"; the client is `mlflow.tracking.MlflowClient` of mlflow-skinny.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fpverify.errors import RegistryError, SuspectError
from fpverify.secrets import redacted
from fpverify.text import one_line

MODEL = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")
"""`models:/NAME/VERSION` or `models:/NAME@ALIAS`."""

ONNX = "onnx"
"""The flavor whose file runs in the sandbox."""

UNREADABLE = "its MLmodel file cannot be read"
"""Why a model has no verdict whose description says nothing."""

PYTHON = "python_function"
"""The flavor that MLflow's servers load."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    """The model's name."""
    number: str
    """The version's number."""
    run: str | None
    """The run that made it, which takes artifacts; None without one."""
    created: int
    """When it was made, in milliseconds since 1970: a version that was deleted and made again is another."""

    def __str__(self) -> str:
        return f"models:/{one_line(self.name, 200)}/{self.number}"


class Registry:
    """A registry that is reached through MLflow's client."""

    def __init__(self, uri: str | None = None) -> None:
        """Open it.

        Args:
            uri: of the tracking server; None for what MLFLOW_TRACKING_URI says.

        Raises:
            RegistryError: if MLflow is not installed.
        """
        try:
            self._mlflow: Any = import_module("mlflow")
        except ImportError as error:
            raise RegistryError("MLflow is not installed", hint="pip install 'fpverify[mlflow]'") from error
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        with self._errors():
            self._client = self._mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what MLflow raises into one line."""
        try:
            yield
        except (self._mlflow.exceptions.MlflowException, OSError, ValueError) as error:
            raise RegistryError(one_line(redacted(str(error)), 300), culprit="MLflow") from error

    def find(self, text: str) -> Version:
        """Return the version that is named.

        Args:
            text: `models:/NAME/VERSION` or `models:/NAME@ALIAS`; `models:/` may be left out.

        Raises:
            RegistryError: if there is none, or the registry cannot be reached.
        """
        parts = MODEL.fullmatch(text)
        if parts is None:
            raise RegistryError(
                culprit="model", expected="models:/NAME/VERSION or models:/NAME@ALIAS", found=one_line(text, 100)
            )
        with self._errors():
            if parts["alias"]:
                return _version(self._client.get_model_version_by_alias(parts["name"], parts["alias"]))
            return _version(self._client.get_model_version(parts["name"], parts["version"]))

    def versions(self, name: str | None = None) -> list[Version]:
        """Return all versions of a model, or of all models, the oldest first."""
        condition = "" if name is None else f"name='{_quoted(name)}'"
        found: list[Version] = []
        token = None
        with self._errors():
            while True:
                page = self._client.search_model_versions(condition, max_results=200, page_token=token)
                found += map(_version, page)
                token = page.token
                if not token:
                    return sorted(found, key=lambda one: (one.created, one.name, int(one.number)))

    def download(self, version: Version, folder: Path) -> Path:
        """Download a version's files, and return the folder in which they are."""
        address = f"models:/{version.name}/{version.number}"
        with self._errors():
            where = self._mlflow.artifacts.download_artifacts(
                artifact_uri=address, dst_path=str(folder), tracking_uri=self._client.tracking_uri
            )
        return Path(where)

    def onnx_file(self, folder: Path) -> Path | None:
        """Return the ONNX file of a downloaded model; None if it has no such flavor.

        Raises:
            SuspectError: if its description cannot be read, or names a file outside of the folder.
        """
        flavor = self._flavors(folder).get(ONNX)
        if flavor is None:
            return None
        if "data" not in flavor:
            raise SuspectError(UNREADABLE)
        named = str(flavor["data"])
        found, inside = os.path.realpath(folder / named), os.path.realpath(folder)
        if os.path.commonpath([found, inside]) != inside:
            raise SuspectError(f"its MLmodel file names a file outside of it, {one_line(named, 100)}")
        return Path(found)

    def served_beside(self, folder: Path) -> str:
        """Return what of a downloaded model others may load in place of its ONNX file; empty for nothing.

        MLflow's servers load the flavor `python_function`, which need not be that file.

        Raises:
            SuspectError: if its description cannot be read.
        """
        flavors = self._flavors(folder)
        for name, flavor in flavors.items():
            if name not in (ONNX, PYTHON):
                return f"the flavor {one_line(str(name), 60)}"
            if flavor.get("code"):
                return f"code in {one_line(str(flavor['code']), 60)}"
            if name == PYTHON and flavor.get("loader_module") != "mlflow.onnx":
                return f"the loader {one_line(str(flavor.get('loader_module')), 60)}"
            if name == PYTHON and flavor.get("data") != flavors.get(ONNX, {}).get("data"):
                return f"the file {one_line(str(flavor.get('data')), 60)}"
        return ""

    def _flavors(self, folder: Path) -> Mapping[str, Mapping[str, Any]]:
        try:
            with self._errors():
                found = self._mlflow.models.Model.load(str(folder)).flavors
        except (RegistryError, TypeError, AttributeError) as error:
            raise SuspectError(UNREADABLE) from error
        if not isinstance(found, Mapping) or not all(isinstance(one, Mapping) for one in found.values()):
            raise SuspectError(UNREADABLE)
        return found

    def load(self, folder: Path) -> Any:
        """Load a downloaded model of any flavor as a function of a batch: that runs its code.

        Raises:
            RegistryError: if it cannot be loaded.
        """
        try:
            model = import_module("mlflow.pyfunc").load_model(str(folder))
        except Exception as error:
            raise RegistryError(f"cannot be loaded: {one_line(redacted(str(error)), 200)}", culprit="model") from error
        return model.predict

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self._errors():
            for name, value in tags.items():
                self._client.set_model_version_tag(version.name, version.number, name, value)

    def keep(self, version: Version, file: Path, folder: str) -> None:
        """Keep a file with the run that made a version; nothing without one."""
        if version.run:
            with self._errors():
                self._client.log_artifact(version.run, str(file), folder)

    def alias(self, version: Version, alias: str) -> None:
        """Move an alias to a version."""
        with self._errors():
            self._client.set_registered_model_alias(version.name, alias, version.number)


def _version(found: Any) -> Version:
    return Version(str(found.name), str(found.version), found.run_id or None, int(found.creation_timestamp or 0))


def _quoted(name: str) -> str:
    """Return a name for a filter, which knows no escapes.

    Raises:
        RegistryError: if it holds a quotation mark.
    """
    if "'" in name:
        raise RegistryError("a name with a quotation mark cannot be searched for", culprit=one_line(name, 100))
    return name
