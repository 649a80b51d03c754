"""Says what a file holds without running it."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.files import regular_file_size
from fpverify.fingerprint import Fingerprint, InputContract, load_fingerprint
from fpverify.fingerprint.encoding import MAX_HEADER_BYTES
from fpverify.onnx_format import OnnxHeader, Survey
from fpverify.onnx_format.external import digest_of, external_files
from fpverify.onnx_format.wrong_files import what_path
from fpverify.suspects.derive import derive_contract
from fpverify.suspects.onnx_file import read_onnx_file
from fpverify.suspects.options import check_contract
from fpverify.suspects.outputs import check_outputs, count_classes, doubt_about_outputs

HASH_SECONDS = 5.0
"""How long an inspection may take to hash a file."""


@dataclass(frozen=True)
class InspectedFingerprint:
    """A fingerprint and its file."""

    path: str
    bytes: int
    fingerprint: Fingerprint


@dataclass(frozen=True)
class InspectedModel:
    """What an ONNX model expects and returns."""

    path: str
    bytes: int
    sha256: str | None
    """As hexadecimal digits; None if the file is too large to hash in `HASH_SECONDS`."""
    model: OnnxHeader
    """What the file says about itself."""
    survey: Survey
    """What its graphs do."""
    contract: SuspectContract | None
    """What it expects as a suspect; None if it cannot be one."""
    refusal: str | None
    """Why it cannot be one; None if it can."""
    doubt: str
    """Why its outputs are hardly those of a classifier; empty if nothing speaks against it."""
    classes: int | None
    """How many it tells apart; None if its outputs do not say."""


def inspect_file(
    path: str | os.PathLike[str],
    *,
    options: Mapping[str, Any] | None = None,
    key_contract: InputContract | None = None,
    names: Sequence[str] | None = None,
) -> InspectedFingerprint | InspectedModel:
    """Say what a file holds, going by its content and not by its name.

    Args:
        path: a fingerprint or an ONNX model.
        options: what is known of a model's input and output: the fields of a contract file.
        key_contract: the contract of the fingerprint that the model is to be asked; None for none in particular.
        names: the classes of that fingerprint.

    Returns:
        What it holds.

    Raises:
        FingerprintError: if it looks like a fingerprint and is none that can be used.
        SuspectError: if it cannot be read, or is neither.
        PolicyError: if the options make no sense.
    """
    name = os.fspath(path)
    checked = check_contract(options or {}, "contract")
    if (what := what_path(path)) is not None:
        raise SuspectError(what, culprit=name)
    try:
        size = regular_file_size(path)
        with open(path, "rb") as file:
            beginning = file.read(9)
    except OSError as error:
        raise SuspectError(f"cannot read it: {error.strerror or error}", culprit=name) from error
    if _looks_like_safetensors(beginning):
        return InspectedFingerprint(name, size, load_fingerprint(name))
    return _inspect_onnx(name, checked, key_contract, names)


def _looks_like_safetensors(beginning: bytes) -> bool:
    # The length of a header, then JSON. No protobuf begins so: such a length has zero bytes, which are no field.
    return beginning[8:] == b"{" and int.from_bytes(beginning[:8], "little") <= MAX_HEADER_BYTES


def _inspect_onnx(
    path: str, options: Mapping[str, Any], key_contract: InputContract | None, names: Sequence[str] | None
) -> InspectedModel:
    file = read_onnx_file(path, "neither a fingerprint nor an ONNX model")
    contract, refusal, doubt = None, None, ""
    try:
        contract = derive_contract(file.header, options, key_contract)
        check_outputs(file.header, contract, names)
        doubt = doubt_about_outputs(file.header, contract, names)
        external_files(path, file.survey.external)
    except SuspectError as error:
        refusal = error.reason
    return InspectedModel(
        path=path,
        bytes=file.bytes,
        sha256=digest_of(path, time.monotonic() + HASH_SECONDS),
        model=file.header,
        survey=file.survey,
        contract=contract,
        refusal=refusal,
        doubt=doubt,
        classes=count_classes(file.header),
    )
