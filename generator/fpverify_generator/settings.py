"""Reads an owner's settings from TOML: into the dataclasses that hold them, with every fault named by its place."""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from fpverify.errors import FpverifyError
from fpverify.files import regular_file_size
from fpverify.text import one_line
from fpverify_generator.documents import in_words, strict_converter, strictly
from fpverify_generator.errors import PresetError
from fpverify_generator.models.architectures import Family
from fpverify_generator.models.own import load_family

MAX_BYTES = 2**20
"""Size of a file of settings."""

Settings = TypeVar("Settings")


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Read a TOML file.

    Returns:
        Its content, and its SHA-256.

    Raises:
        PresetError: if it cannot be read, is too large, or is no TOML.
    """
    try:
        size = regular_file_size(path)
        if size > MAX_BYTES:
            raise PresetError(culprit=path, expected=f"at most {MAX_BYTES} bytes", found=size)
        content = path.read_bytes()
        return tomllib.loads(content.decode()), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise PresetError(f"cannot read the settings ({error.strerror or error})", culprit=path) from error
    except ValueError as error:  # also UnicodeDecodeError
        raise PresetError(f"no TOML ({one_line(str(error), 200)})", culprit=path) from error


def structure(document: Mapping[str, Any], kind: type[Settings], base: Settings, path: Path) -> Settings:
    """Turn a document into a dataclass.

    Args:
        document: fields, and tables of fields, as TOML gives them.
        kind: the dataclass.
        base: gives what the document leaves out.
        path: the document's file, for errors; an owner's own family is searched beside it.

    Returns:
        The dataclass.

    Raises:
        PresetError: naming the first field that there is not, or whose value does not fit.
    """
    converter = _converter(path)
    try:
        return converter.structure(_over(converter.unstructure(base), document), kind)
    except FpverifyError as error:
        raise error.about(path) from error
    except Exception as error:
        for inner in _leaves(error):
            if isinstance(inner, FpverifyError):
                raise inner.about(path) from error
        fault = (
            cattrs.transform_error(error, path="", format_exception=in_words)[0]
            .replace(" @ .", " @ ")
            .removesuffix(" @ ")
        )
        raise PresetError(one_line(fault, 300), culprit=path) from error


def _converter(path: Path) -> cattrs.Converter:
    converter = strict_converter()
    converter.register_unstructure_hook(Family, lambda family: family.name)
    converter.register_structure_hook(Family, lambda value, _: load_family(strictly(value, str), path.parent))
    return converter


def _over(base: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _over(base[name], value) for name, value in document.items() if _are_tables(base.get(name), value)}
    return {**base, **document, **both}


def _are_tables(first: Any, second: Any) -> bool:
    return isinstance(first, Mapping) and isinstance(second, Mapping)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
