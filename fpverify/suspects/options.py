"""Reads and checks what an auditor says of a suspect: contract files and class lists."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fpverify.contract import CHANNEL_ORDERS, LAYOUTS, READINGS
from fpverify.errors import PolicyError
from fpverify.files import regular_file_size
from fpverify.suspects.classes import Names, is_numbering, listed
from fpverify.text import one_line

MAX_FILE_BYTES = 2**24
"""Bytes of a contract file or a class list."""

MAX_CLASSES = 100_000
"""Names in a class list."""

MAX_NAME = 1000
"""Characters of a name of a class, an input or an output."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 2**16


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e30


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) in (1, 3) and all(map(_is_number, value))


def _is_divisors(value: Any) -> bool:
    return _is_numbers(value) and all(number > 0 for number in value)


def _is_names(value: Any) -> bool:
    names = isinstance(value, list | tuple) and 2 <= len(value) <= MAX_CLASSES and all(map(_is_text, value))
    return names and len(set(value)) == len(value)


def _is_renaming(value: Any) -> bool:
    sound = isinstance(value, Mapping) and 1 <= len(value) <= MAX_CLASSES
    return sound and all(_is_text(text) for pair in value.items() for text in pair)


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "input": (_is_text, "a name"),
    "layout": (lambda value: value in LAYOUTS, f"one of {', '.join(LAYOUTS)}"),
    "channels": (lambda value: value in CHANNEL_ORDERS, f"one of {', '.join(CHANNEL_ORDERS)}"),
    "height": (_is_size, "pixels, 1 to 65536"),
    "width": (_is_size, "pixels, 1 to 65536"),
    "low": (_is_number, "a number"),
    "high": (_is_number, "a number"),
    "mean": (_is_numbers, "a list of one or three numbers"),
    "std": (_is_divisors, "a list of one or three numbers above 0"),
    "output": (_is_text, "a name"),
    "reading": (lambda value: value in READINGS, f"one of {', '.join(READINGS)}"),
    "classes": (_is_names, "a list of at least two different names"),
    "renamed": (_is_renaming, "a table from the suspect's names to the fingerprint's"),
}
"""What a contract file may say, the check of each, and what it expects."""


def check_contract(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Validate contract options.

    Args:
        options: fields of `FIELDS`.
        where: it was said, for errors.

    Returns:
        A copy, its lists as tuples.

    Raises:
        PolicyError: if a field is unknown or makes no sense.
    """
    for name, value in options.items():
        if name not in FIELDS:
            raise PolicyError(f"unknown field {name!r:.80}; known are {', '.join(FIELDS)}", culprit=where)
        sound, expected = FIELDS[name]
        if not sound(value):
            raise PolicyError(culprit=where, where=name, expected=expected, found=f"{value!r:.100}")
    if both := Names(list(options.get("renamed", {}))).together():
        raise PolicyError(
            f"names {listed(both)} differ only in case, spaces, _ or -: it is not clear which is meant",
            culprit=where,
            hint="keep one of them",
        )
    if options.get("low", 0.0) >= options.get("high", 1.0):
        hint = "both are needed unless the range is within 0 to 1"
        raise PolicyError(culprit=where, where="low", expected="below high", hint=hint)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def load_contract(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a contract file.

    Args:
        path: TOML, or JSON if the name ends in `.json`.

    Returns:
        Its fields, checked; of a Hugging Face model's `preprocessor_config.json`, what that says of them.

    Raises:
        PolicyError: if it cannot be read or used.
    """
    import tomllib  # most suspects come without a contract file

    text = _read(path)
    try:
        content = json.loads(text) if Path(path).suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"neither TOML nor, as *.json, JSON: {one_line(str(error), 200)}", culprit=path) from error
    if isinstance(content, dict) and PREPROCESSOR_SIGNS & content.keys():
        return _preprocessor(content, os.fspath(path))
    if not isinstance(content, dict):
        raise PolicyError('must hold fields such as layout = "NCHW"', culprit=path, found=type(content).__name__)
    return check_contract(content, os.fspath(path))


PREPROCESSOR_SIGNS = frozenset(
    ("image_mean", "image_std", "do_normalize", "do_rescale", "do_resize", "rescale_factor", "image_processor_type")
)
"""Fields by which a Hugging Face model's `preprocessor_config.json` is told from a contract file."""


def _preprocessor(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a preprocessor's configuration says, as fields of a contract; the rest of it is ignored.

    Source:
        transformers 4.50, `image_processing_base` and the processors of ViT, ConvNeXT, EfficientNet and MobileViT:
        resize, centre crop, rescale (by 1/255 unless said otherwise), normalise, channels first, in this order.
    """
    factor, offset = content.get("rescale_factor", 1 / 255), content.get("rescale_offset", content.get("offset", False))
    if not _is_number(factor) or factor <= 0:
        raise PolicyError(culprit=where, where="rescale_factor", expected="a number above 0", found=f"{factor!r:.100}")
    if content.get("do_rescale", True) is False:
        factor, offset = 1.0, False
    low = -1.0 if offset is True else 0.0
    high = 255 * factor + low
    options: dict[str, Any] = {"layout": "NCHW", "low": low, "high": float(round(high)) if _is_whole(high) else high}
    if content.get("do_normalize", True) is not False:
        named = {"mean": content.get("image_mean"), "std": content.get("image_std")}
        options |= {name: numbers for name, numbers in named.items() if numbers is not None}
    if content.get("do_flip_channel_order", False) is True:
        options["channels"] = "bgr"
    elif any(isinstance(options.get(name), list) and len(options[name]) == 3 for name in ("mean", "std")):
        options["channels"] = "rgb"
    if content.get("do_center_crop", False) is True and "crop_size" in content:
        options |= _pixels(content["crop_size"], where)
    elif content.get("do_resize", True) is not False and "size" in content:
        options |= _pixels(content["size"], where)
    return check_contract(options, where)


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


def _pixels(size: Any, where: str) -> dict[str, Any]:
    """Return height and width of a size as preprocessors write it; a shortest edge is taken for that of a square."""
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        size = [size.get("height", edge), size.get("width", edge)]
    pair = [size, size] if type(size) is int else size
    if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_size, pair)):
        raise PolicyError(
            culprit=where,
            where="size",
            expected="pixels, a height and a width, or a shortest_edge",
            found=f"{size!r:.100}",
        )
    return {"height": pair[0], "width": pair[1]}


def load_classes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what the suspect's classes are called.

    Args:
        path: one of

            - one name on each line, or a JSON list: names in the order of the suspect's outputs;
            - a JSON object whose keys are the numbers from 0 on, or whose values are: the same, the number is the
              place in that order;
            - another JSON object: from the suspect's own names (or numbers) to the fingerprint's. Its order says
              nothing;
            - `config.json` of a Hugging Face model: its `id2label`, else its `label2id`.

    Returns:
        The field `classes` where the places are known, and `renamed` where the suspect's own names are.

    Raises:
        PolicyError: if it cannot be read, holds fewer than two names, or one twice.
    """
    where = os.fspath(path)
    text = _read(path)
    names: Any = [line.strip() for line in text.splitlines() if line.strip()]
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = json.loads(text, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise PolicyError(f"no JSON list of names: {one_line(str(error), 200)}", culprit=where) from error
    if not isinstance(names, dict):
        return check_contract({"classes": names}, where)
    config = next((names[name] for name in ("id2label", "label2id") if isinstance(names.get(name), dict)), None)
    if config is None and any(name in names for name in CONFIG_SIGNS):
        raise PolicyError(
            "a model's config.json without id2label", culprit=where, hint="give its class names, one on each line"
        )
    if config is not None:
        fields = _numbered(config, where)  # its numbers are always places, never what the file calls a class
        return check_contract({"classes": fields["classes"]} if "classes" in fields else fields, where)
    if is_numbering(list(names)) or is_numbering(_digits(names.values())):
        return check_contract(_numbered(names, where), where)
    check_contract({"classes": list(names.values())}, where)  # of a pair with the same meaning, one is a mistake
    return check_contract({"renamed": names}, where)


CONFIG_SIGNS = ("architectures", "model_type", "_name_or_path", "transformers_version")
"""Fields by which a Hugging Face model's `config.json` is told from an object of names."""


def _numbered(names: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of an object from numbers to names, or from names to numbers."""
    if is_numbering(_digits(names.values())) and not is_numbering(list(names)):
        return {"classes": [name for name, _ in sorted(names.items(), key=lambda pair: int(pair[1]))]}
    if not all(isinstance(name, str) for name in names.values()):
        raise PolicyError("must map numbers to names of classes", culprit=where, found=f"{dict(names)!r:.100}")
    if not is_numbering(list(names)):
        return {"renamed": dict(names)}
    ordered = [names[str(place)] for place in range(len(names))]
    # ImageNet has two cranes. Neither is the one that a fingerprint means, as far as the names say.
    twice = {name for name, count in Counter(ordered).items() if count > 1}
    ordered = [f"{name} ({place})" if name in twice else name for place, name in enumerate(ordered)]
    return {"classes": ordered, "renamed": {str(place): name for place, name in enumerate(ordered)}}


def _digits(values: Any) -> list[str]:
    return [str(value) if type(value) is int else "" for value in values]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        name = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it has the name {name!r:.100} twice")
    return content


def _read(path: str | os.PathLike[str]) -> str:
    try:
        size = regular_file_size(path)
        if size > MAX_FILE_BYTES:
            raise PolicyError(f"{size} bytes, at most {MAX_FILE_BYTES} are expected", culprit=path)
        return Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise PolicyError(f"cannot read it: {error.strerror or error}", culprit=path) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"must be UTF-8 text: {error.reason} at byte {error.start}", culprit=path) from error
