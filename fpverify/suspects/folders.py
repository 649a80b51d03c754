"""A model's folder as a suspect: of Hugging Face, MLflow or Triton, or any with one ONNX file in it.

Everything in the folder is its author's statement, as the file is: class names beside it count like those inside.
"""

import json
import os
import re
from dataclasses import replace

from fpverify.errors import PolicyError
from fpverify.onnx_format import OnnxHeader
from fpverify.suspects.classes import classes_in_metadata
from fpverify.suspects.options import load_classes

USUAL = ("model.onnx", os.path.join("onnx", "model.onnx"))
"""Where exports lie, in that order: MLflow and most others; Hugging Face's Optimum."""

DEPTH, MOST = 3, 10_000
"""Folders within folders, and entries, that are looked at."""


def model_in(folder: str) -> str | None:
    """Return the ONNX file of a model's folder.

    Args:
        folder: its path.

    Returns:
        One of the usual places; the highest version of a Triton repository; or the only ONNX file. None if there is
        none, or it is not clear which.
    """
    for name in USUAL:
        if os.path.isfile(os.path.join(folder, name)):
            return os.path.join(folder, name)
    versions = [name for name in _names(folder) if re.fullmatch(r"[0-9]{1,18}", name)]
    for name in sorted(versions, key=int, reverse=True):
        for inside in ("model.onnx", os.path.join("model.onnx", "model.onnx")):
            if os.path.isfile(os.path.join(folder, name, inside)):
                return os.path.join(folder, name, inside)
    found = list(_onnx_files(folder))
    return found[0] if len(found) == 1 else None


def with_classes(stated: OnnxHeader, folder: str) -> OnnxHeader:
    """Return what a file states, with the class names of a `config.json` beside it where it has none itself."""
    if classes_in_metadata(stated.metadata) is not None:
        return stated
    try:
        names = load_classes(os.path.join(folder, "config.json")).get("classes")
    except PolicyError:
        return stated
    return stated if names is None else replace(stated, metadata={**stated.metadata, "classes": json.dumps(names)})


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MOST]
    except OSError:
        return []


def _onnx_files(folder: str) -> list[str]:
    found, entries = [], 0
    for root, folders, names in os.walk(folder):
        entries += len(names) + len(folders)
        if os.path.relpath(root, folder).count(os.sep) >= DEPTH - 1 or entries > MOST:
            folders.clear()
        found += [os.path.join(root, name) for name in names if name.lower().endswith(".onnx")]
    return found
