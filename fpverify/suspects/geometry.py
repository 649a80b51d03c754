"""The ways to read the shape of an input as a batch of images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fpverify.errors import SuspectError
from fpverify.fingerprint import InputContract
from fpverify.onnx_format import Value
from fpverify.plaintext import one_line


def axes(value: Value) -> tuple[int | str | None, ...] | None:
    """Return a value's shape with None for negative sizes: ONNX Runtime takes these for open axes."""
    if value.shape is None:
        return None
    return tuple(None if isinstance(size, int) and size < 0 else size for size in value.shape)


def layouts(image: Value, shape: tuple[int | str | None, ...], keys: InputContract | None) -> list[dict[str, Any]]:
    """Return every way to read the axes after the batch: layout, number of channels, height and width."""
    sizes = [size if isinstance(size, int) else None for size in shape]
    if any(size is not None and not 1 <= size <= 2**16 * 3 for size in sizes) and len(sizes) > 1:
        raise SuspectError(f"its input {shown(image)} is no image of a usable size")
    match sizes:
        case [features]:
            return _flat(features, keys, 0)
        case [features, 1] if features != 1:
            return _flat(features, keys, 1)
        case [1, features] if features != 1:
            return _flat(features, keys, -1)
        case [height, width]:
            return [{"layout": "NHW", "count": 1, "height": height, "width": width}]
    first = {"layout": "NCHW", "count": sizes[0], "height": sizes[1], "width": sizes[2]}
    last = {"layout": "NHWC", "count": sizes[2], "height": sizes[0], "width": sizes[1]}
    readings = [reading for reading in (first, last) if reading["count"] in (1, 3)]
    # A channel count that is fixed speaks louder than one that is open.
    return readings or [reading for reading in (first, last) if reading["count"] is None]


def _flat(features: int | None, keys: InputContract | None, trailing: int) -> list[dict[str, Any]]:
    """Return the ways to read one axis of features as an image: of the keys' own size, else square."""
    own = None if keys is None else (keys.height, keys.width)
    counts = [1, 3] if keys is None else sorted((1, 3), key=lambda count: count != keys.shape[0])
    images: Sequence[tuple[int, int | None, int | None]] = []
    if features is None:
        images = [(counts[0], own[0], own[1])] if own else [(count, None, None) for count in counts]
    elif own:
        images = [(count, own[0], own[1]) for count in counts if count * own[0] * own[1] == features][:1]
    if features is not None and not images:
        squares = [(count, math.isqrt(features // count)) for count in counts]
        images = [(count, side, side) for count, side in squares if side and count * side * side == features]
    return [
        {"layout": layout, "count": count, "height": height, "width": width, "trailing": trailing}
        for count, height, width in images
        for layout in (("flat-CHW",) if count == 1 else ("flat-CHW", "flat-HWC"))
    ]


def agrees(reading: dict[str, Any], options: Mapping[str, Any]) -> bool:
    """Say whether a reading is compatible with the auditor's options."""
    count = {"grey": 1, "rgb": 3, "bgr": 3}.get(str(options.get("channels")))
    wanted = {"layout": options.get("layout"), "count": count}
    wanted |= {name: options.get(name) for name in ("height", "width")}
    if reading["layout"] == "flat-CHW" and reading["count"] == 1 and wanted["layout"] == "flat-HWC":
        wanted["layout"] = None  # of one channel, both orders are the same
    return all(value is None or reading[name] is None or reading[name] == value for name, value in wanted.items())


def shown(value: Value) -> str:
    """Return an input as text, for errors."""
    if value.shape is None:
        shape = "of unknown shape"
    else:
        shape = f"({', '.join(_size(size) for size in value.shape[:8])}{', …' if len(value.shape) > 8 else ''})"
    return f"{one_line(value.name, 80)!r} {one_line(value.type, 60)} {shape}"


def _size(size: int | str | None) -> str:
    return "?" if size is None else one_line(str(size), 40)
