"""Reads an owner's settings from TOML: into the dataclasses that hold them, with every fault named by its place."""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import cattrs.v

from fpverify.errors import FpverifyError
from fpverify.files import regular_file_size
from fpverify.text import one_line
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
            cattrs.transform_error(error, path="", format_exception=_in_words)[0]
            .replace(" @ .", " @ ")
            .removesuffix(" @ ")
        )
        raise PresetError(one_line(fault, 300), culprit=path) from error


def _converter(path: Path) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Family, lambda family: family.name)
    converter.register_structure_hook(Family, lambda value, _: load_family(_strictly(value, str), path.parent))
    for kind in (bool, int, str):
        converter.register_structure_hook(kind, _strictly)
    converter.register_structure_hook(float, lambda value, _: float(_strictly(value, float | int)))
    return converter


def _strictly(value: Any, kind: Any) -> Any:
    """Return a value if it has the type: cattrs would turn "5" into 5, and True into 1."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _WrongTypeError(f"expected {getattr(kind, '__name__', 'a number')}, found {value!r:.100}")
    return value


class _WrongTypeError(TypeError):
    pass


def _in_words(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, _WrongTypeError) else cattrs.v.format_exception(error, kind)


def _over(base: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _over(base[name], value) for name, value in document.items() if _are_tables(base.get(name), value)}
    return {**base, **document, **both}


def _are_tables(first: Any, second: Any) -> bool:
    return isinstance(first, Mapping) and isinstance(second, Mapping)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
