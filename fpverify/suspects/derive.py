"""Works out what a suspect expects: from what it states, what the auditor says, and, last, stated assumptions."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from fpverify.contract import Origin, SuspectContract, Values
from fpverify.errors import SuspectError
from fpverify.fingerprint import InputContract
from fpverify.onnx_format import ANY_NAME, UNDEFINED, OnnxHeader, Value
from fpverify.suspects.classes import classes_in_metadata, fold, is_numbering, listed, renamed_to
from fpverify.suspects.conventions import ELEMENT_TYPES, NOMINAL_RANGES, NORMALISATIONS, PIXEL_FORMATS, RANGES, WHOLE
from fpverify.text import one_line


def axes(value: Value) -> tuple[int | str | None, ...] | None:
    """Return a value's shape with None for negative sizes: ONNX Runtime takes these for open axes."""
    if value.shape is None:
        return None
    return tuple(None if isinstance(size, int) and size < 0 else size for size in value.shape)


def layouts(
    image: Value, shape: tuple[int | str | None, ...], key_contract: InputContract | None
) -> list[dict[str, Any]]:
    """Return every way to read the axes after the batch: layout, number of channels, height and width."""
    sizes = [size if isinstance(size, int) else None for size in shape]
    if any(size is not None and not 1 <= size <= 2**16 * 3 for size in sizes) and len(sizes) > 1:
        raise SuspectError(f"its input {shown(image)} is no image of a usable size")
    match sizes:
        case [features]:
            return _flat(features, key_contract, 0)
        case [features, 1] if features != 1:
            return _flat(features, key_contract, 1)
        case [1, features] if features != 1:
            return _flat(features, key_contract, -1)
        case [height, width]:
            return [{"layout": "NHW", "count": 1, "height": height, "width": width}]
    first = {"layout": "NCHW", "count": sizes[0], "height": sizes[1], "width": sizes[2]}
    last = {"layout": "NHWC", "count": sizes[2], "height": sizes[0], "width": sizes[1]}
    readings = [reading for reading in (first, last) if reading["count"] in (1, 3)]
    # A fixed channel count takes precedence over a symbolic one.
    return readings or [reading for reading in (first, last) if reading["count"] is None]


def _flat(features: int | None, key_contract: InputContract | None, trailing: int) -> list[dict[str, Any]]:
    """Return the ways to read one axis of features as an image: of the keys' own size, else square."""
    own = None if key_contract is None else (key_contract.height, key_contract.width)
    counts = [1, 3] if key_contract is None else sorted((1, 3), key=lambda count: count != key_contract.shape[0])
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


@dataclass
class _Found:
    """Fields found so far; `alternatives` holds those that several values fit."""

    values: dict[str, Any]
    origins: dict[str, Origin]
    alternatives: dict[str, tuple[Any, ...]]

    def put(self, name: str, value: Any, origin: Origin) -> None:
        self.values[name], self.origins[name] = value, origin

    def put_conventions(self, said: Set[str]) -> None:
        """Say that the kind of suspect settles every field but those that the auditor or the suspect states."""
        for name in self.origins:
            given = {"low", "high", "mean", "std"} if name == "values" else {name}
            stated = name == "classes" and self.values["classes"] is not None
            if not given & said and not stated:
                self.origins[name] = Origin.CONVENTION

    def put_first(self, name: str, values: tuple[Any, ...]) -> None:
        """Put the only reading as the file's, or none of several."""
        if len(values) == 1:
            self.put(name, values[0], Origin.FILE)
        else:
            self.put(name, None, Origin.UNDETERMINED)
            self.alternatives[name] = values


def derive_contract(
    header: OnnxHeader,
    options: Mapping[str, Any],
    key_contract: InputContract | None = None,
    conventions: Mapping[str, Any] = MappingProxyType({}),
) -> SuspectContract:
    """Work out a suspect's contract.

    Args:
        header: what its file says.
        options: what the auditor says, as `options.check_contract` returns it.
        key_contract: the fingerprint's own contract, which stands in where nothing is said; None to leave that open.
        conventions: options that hold for its kind of suspect where the auditor says nothing.

    Returns:
        The contract, with the origin of each field.

    Raises:
        SuspectError: if no reading fits, or what the auditor says contradicts the file.
    """
    said, options = options, {**conventions, **options}
    image = _image_input(header, options)
    found = _Found({}, {}, {})
    found.put("input", image.name, Origin.OPTION if "input" in options else Origin.FILE)
    element = image.type.removeprefix("tensor(").removesuffix(")")
    if f"tensor({element})" != image.type or element not in ELEMENT_TYPES:
        raise SuspectError(f"its input {shown(image)} is no image", expected=f"one of {', '.join(ELEMENT_TYPES)}")
    found.put("type", element, Origin.FILE)
    _put_geometry(found, image, options, key_contract)
    _put_channel_order(found, header, options, key_contract)
    _put_values(found, element, header, options, key_contract)
    _put_outputs(found, header, options)
    if conventions:
        found.put_conventions(said.keys())
    return SuspectContract(**found.values, origins=found.origins, alternatives=found.alternatives)


def _image_input(header: OnnxHeader, options: Mapping[str, Any]) -> Value:
    inputs = header.inputs
    if len(inputs) != 1:
        names = ", ".join(shown(value) for value in inputs[:8]) or "none"
        raise SuspectError(f"must have one input that has no default, for images; found {len(inputs)}: {names}")
    if options.get("input", inputs[0].name) != inputs[0].name:
        raise SuspectError(f"has no input {options['input']!r:.80} that must be given; found {shown(inputs[0])}")
    return inputs[0]


def _put_geometry(found: _Found, image: Value, options: Mapping[str, Any], key_contract: InputContract | None) -> None:
    shape = axes(image)
    if shape is None:
        layout = str(options.get("layout", ""))
        shape = (None,) * (2 if layout.startswith("flat") else 3 if layout == "NHW" else 4)
    if 0 in shape:
        raise SuspectError(
            f"its input {shown(image)} has an axis of size 0, which ONNX Runtime does not take for an open one",
            hint="export it with a symbolic size",
        )
    batch = shape[0] if shape else None
    if len(shape) < 2 or len(shape) > 4 or (isinstance(batch, int) and not 1 <= batch <= 2**20):
        raise SuspectError(f"its input {shown(image)} is no batch of images; {_given(key_contract)}")
    # (3, 32, 32) can be three grey images, or one in colour without an axis for the batch.
    if (
        isinstance(batch, int)
        and batch > 1
        and "layout" not in options
        and (len(shape) == 3 or shape == (batch, batch))
    ):
        raise SuspectError(
            f"its input {shown(image)} can be {batch} images at once or one image without a batch axis, of which only "
            "the first is supported",
            hint="if it is the first, set layout in --contract FILE",
        )
    found.put("batch", batch if isinstance(batch, int) else None, Origin.FILE)
    readings = [reading for reading in layouts(image, shape[1:], key_contract) if agrees(reading, options)]
    if not readings:
        raise SuspectError(f"its input {shown(image)} fits no layout{_wanted(options)}; {_given(key_contract)}")
    _put_layout(found, readings, options)
    for name, own in (("height", key_contract and key_contract.height), ("width", key_contract and key_contract.width)):
        sizes = {reading[name] for reading in readings}
        if len(sizes) == 1 and None not in sizes:
            found.put(name, sizes.pop(), Origin.FILE)
        elif name in options:
            found.put(name, options[name], Origin.OPTION)
        elif None in sizes and len(sizes) == 1:
            found.put(name, own, Origin.ASSUMPTION if own else Origin.UNDETERMINED)
        else:
            found.put(name, None, Origin.UNDETERMINED)
            found.alternatives[name] = tuple(sorted(size for size in sizes if size is not None))
    found.values["geometries"] = readings


def _put_layout(found: _Found, readings: list[dict[str, Any]], options: Mapping[str, Any]) -> None:
    layouts = tuple(dict.fromkeys(reading["layout"] for reading in readings))
    if "layout" in options:
        found.put("layout", options["layout"], Origin.OPTION)
    else:
        found.put_first("layout", layouts)
    found.values["trailing"] = readings[0].get("trailing", 0)


def _put_channel_order(
    found: _Found, header: OnnxHeader, options: Mapping[str, Any], key_contract: InputContract | None
) -> None:
    counts = {reading["count"] for reading in found.values.pop("geometries")}
    stated = PIXEL_FORMATS.get(header.metadata.get("Image.BitmapPixelFormat", ""))
    if "channels" in options:
        found.put("channels", options["channels"], Origin.OPTION)
    elif counts == {1}:
        found.put("channels", "grey", Origin.FILE)
    elif stated in ("rgb", "bgr") and counts <= {3, None}:
        found.put("channels", stated, Origin.FILE)
    elif counts == {3} and key_contract is not None and key_contract.channels == "grey":
        found.put("channels", "rgb", Origin.FILE)  # the three channels are equal, so RGB and BGR are the same
    elif counts == {3}:
        found.put("channels", "rgb", Origin.ASSUMPTION)
        found.alternatives["channels"] = ("rgb", "bgr")
    elif key_contract is not None and len(counts) == 1:
        found.put("channels", key_contract.channels, Origin.ASSUMPTION)
        found.alternatives["channels"] = (
            ("grey", "rgb", "bgr") if key_contract.channels == "grey" else ("rgb", "bgr", "grey")
        )
    else:
        found.put("channels", None, Origin.UNDETERMINED)
        found.alternatives["channels"] = ("grey", "rgb", "bgr")


def _put_values(
    found: _Found, element: str, header: OnnxHeader, options: Mapping[str, Any], key_contract: InputContract | None
) -> None:
    count = 1 if found.values["channels"] == "grey" else 3
    named = {name: options[name] for name in ("low", "high", "mean", "std") if name in options}
    base = WHOLE.get(element, Values())
    if named:
        values = Values(**{"low": base.low, "high": base.high, **named})
        if not values.low < values.high:
            raise SuspectError(f"cannot have values from {values.low:g} to {values.high:g}: low must be below high")
        spread = {name: getattr(values, name) for name in ("mean", "std")}
        wide = {name: numbers * count if numbers and len(numbers) == 1 else numbers for name, numbers in spread.items()}
        if any(numbers and len(numbers) != count for numbers in wide.values()):
            raise SuspectError(f"has {count} channels, but mean or std was given for 3")
        found.put("values", Values(low=values.low, high=values.high, **wide), Origin.OPTION)
        return
    stated = NOMINAL_RANGES.get(header.metadata.get("Image.NominalPixelRange", ""))
    if stated is not None:
        found.put("values", stated, Origin.FILE)
        return
    found.put(
        "values", base if element in WHOLE or key_contract is None else _own_range(key_contract), Origin.ASSUMPTION
    )
    if element not in WHOLE:
        found.alternatives["values"] = value_readings(count, key_contract)


def _own_range(key_contract: InputContract) -> Values:
    return Values(low=key_contract.low, high=key_contract.high)


def value_readings(count: int, key_contract: InputContract | None) -> tuple[Values, ...]:
    """Return the ranges and normalisations in wide use for so many channels, the fingerprint's own first."""
    readings = [] if key_contract is None else [_own_range(key_contract)]
    if key_contract is not None and (key_contract.mean or key_contract.std) and key_contract.shape[0] == count:
        readings.append(
            Values(low=key_contract.low, high=key_contract.high, mean=key_contract.mean, std=key_contract.std)
        )
    readings += [*RANGES, *NORMALISATIONS["grey" if count == 1 else "rgb"]]
    if count == 3 and key_contract is not None and key_contract.channels == "grey":
        # A grey picture in three channels may still be normalised as a grey one.
        readings += [
            Values(low=v.low, high=v.high, mean=v.mean and v.mean * 3, std=v.std and v.std * 3)
            for v in NORMALISATIONS["grey"]
        ]
    return tuple(dict.fromkeys(readings))


def _put_outputs(found: _Found, header: OnnxHeader, options: Mapping[str, Any]) -> None:
    names = [output.name for output in header.outputs]
    if "output" in options and options["output"] not in names and ANY_NAME not in names:
        listed = ", ".join(repr(one_line(name, 80)) for name in names[:8]) or "none"
        raise SuspectError(f"has no output {options['output']!r:.80}; found {listed}")
    only = names[0] if len(names) == 1 and ANY_NAME not in names else None
    found.put("output", options.get("output", only), Origin.OPTION if "output" in options else Origin.FILE)
    found.put("reading", options.get("reading"), Origin.OPTION if "reading" in options else Origin.FILE)
    found.put("renamed", options.get("renamed", {}), Origin.OPTION if "renamed" in options else Origin.FILE)
    stated = classes_in_metadata(header.metadata)
    if "classes" in options:
        _must_be_positions(stated, options)
        found.put("classes", options["classes"], Origin.OPTION)
    elif "renamed" in options:
        found.put("classes", _renamed(stated, header, options), Origin.FILE if stated else Origin.ASSUMPTION)
    else:
        found.put("classes", stated, Origin.FILE if stated else Origin.ASSUMPTION)


def _renamed(stated: tuple[str, ...] | None, header: OnnxHeader, options: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the file's class names, renamed as the auditor says; None if only its outputs can say names."""
    renamed = options["renamed"]
    if stated is None:
        if not _can_name(header, options):
            raise SuspectError(
                f"names no classes, so that {listed(list(renamed))} in --classes cannot be matched with anything",
                hint="list the names in the order of its outputs, one on each line, or number them from 0 on in the "
                "JSON object",
            )
        return None
    names = renamed_to(stated, renamed)
    if names == list(stated):
        if _can_name(header, options):
            return None
        raise SuspectError(
            f"calls its classes {listed(stated)}, and --classes calls them {listed(list(renamed))}: no name in common",
            hint="the object goes from the file's names to the fingerprint's",
        )
    return tuple(
        f"{name} (not in --classes)" if new is None else str(new) for name, new in zip(stated, names, strict=True)
    )


def chosen_outputs(header: OnnxHeader, chosen: str | None) -> list[Value]:
    """Return the outputs that can be the one that the auditor chose; all of them without a choice.

    Args:
        header: what the suspect states.
        chosen: the output's name, if the auditor named one.
    """
    return [output for output in header.outputs if chosen in (None, output.name) or output.name == ANY_NAME]


def _can_name(header: OnnxHeader, options: Mapping[str, Any]) -> bool:
    """Say whether an output, when it is run, can name classes by what the auditor calls them: texts, numbers, maps."""
    outputs = chosen_outputs(header, options.get("output"))
    by_number = any(name.lstrip("-").isdigit() for name in options["renamed"])
    called = set(map(fold, options["renamed"]))
    return any(
        "string" in output.type
        or "map(" in output.type
        or fold(output.name) in called
        or output.type == UNDEFINED
        or (by_number and output.type.startswith("tensor(") and "int" in output.type)
        for output in outputs
    )


def _must_be_positions(stated: tuple[str, ...] | None, options: Mapping[str, Any]) -> None:
    """Refuse an object of numbers where the file itself calls its classes by numbers, in another order."""
    keys = list(options.get("renamed", {}))
    both = stated is not None and is_numbering(keys) and is_numbering(stated) and len(keys) == len(stated)
    if stated is not None and both and list(stated) != sorted(stated, key=int):
        raise SuspectError(
            f"calls its classes {listed(stated)}, so that the numbers in --classes can be these names or places",
            hint="list the names in the order of its outputs, one on each line",
        )


def candidates(contract: SuspectContract) -> list[dict[str, Any]]:
    """Return every combination of the readings that a contract leaves open, the likeliest first.

    Args:
        contract: as derived.

    Returns:
        For each candidate, the fields that it fixes.
    """
    names = [name for name in ("layout", "channels", "values") if name in contract.alternatives]
    every = product(*(contract.alternatives[name] for name in names))
    combined = [dict(zip(names, combination, strict=True)) for combination in every]
    return [fields for fields in combined if consistent(fields, contract)]


def consistent(fields: dict[str, Any], contract: SuspectContract) -> bool:
    """Say whether a normalisation has as many numbers as there are channels."""
    channels = fields.get("channels", contract.channels)
    values = fields.get("values", contract.values)
    count = 1 if channels == "grey" else 3
    return all(numbers is None or len(numbers) == count for numbers in (values.mean, values.std))


def _wanted(options: Mapping[str, Any]) -> str:
    said = [f"{name} {options[name]}" for name in ("layout", "channels", "height", "width") if name in options]
    return f" with {', '.join(said)} as the options say" if said else ""


def _given(key_contract: InputContract | None) -> str:
    expected = "expected (n, channels, height, width), (n, height, width, channels) or (n, features)"
    return (
        expected
        if key_contract is None
        else f"{expected} for keys of {key_contract.channels} {key_contract.height}x{key_contract.width} pixels"
    )
