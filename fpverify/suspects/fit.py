"""Turns a fingerprint's keys into what a suspect expects: range, channels, resolution, element type, layout."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import ORIENTATIONS, SuspectContract, Values
from fpverify.errors import SuspectError
from fpverify.fingerprint import InputContract
from fpverify.suspects.conventions import ELEMENT_TYPES

MAX_INPUT_BYTES = 2**30
"""Bytes of all inputs of a suspect: 100 of 3x896x896 in single precision."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601, as Pillow and OpenCV have it."""


def fit(inputs: NDArray[np.float32], key_contract: InputContract, contract: SuspectContract) -> NDArray[Any]:
    """Turn inputs of a fingerprint's contract into inputs of a suspect's.

    Args:
        inputs: `(n, C, H, W)` float32 as `key_contract` says.
        key_contract: the fingerprint's contract.
        contract: the suspect's; nothing in it undetermined.

    Returns:
        `(n, …)` in the suspect's layout and element type; bfloat16 as its bits, in uint16.

    Raises:
        SuspectError: if they would take more than `MAX_INPUT_BYTES`; the message begins with a verb.
    """
    height, width = contract.height or key_contract.height, contract.width or key_contract.width
    channels = contract.channels or key_contract.channels
    shape = (1 if channels == "grey" else 3, height, width)
    size = len(inputs) * math.prod(shape) * np.dtype(ELEMENT_TYPES[contract.type]).itemsize
    if size > MAX_INPUT_BYTES:
        size_of_one = f"{shape[0]}x{height}x{width}"
        raise SuspectError(
            f"takes images of {size_of_one}, of which {len(inputs)} would fill {size / 2**30:.3g} GiB; at most 1"
        )
    as_they_are = (channels, height, width) == (key_contract.channels, key_contract.height, key_contract.width)
    turns, mirrored = ORIENTATIONS[contract.orientation]
    if turns or mirrored:
        turned = np.rot90(inputs, turns, axes=(2, 3))
        inputs = np.ascontiguousarray(turned[..., ::-1] if mirrored else turned)
    if as_they_are and contract.values == Values(low=key_contract.low, high=key_contract.high):
        return _layout(_element(inputs, contract.type), contract)
    # One by one, so that what lies between takes no room.
    fitted = np.empty((len(inputs), *shape), ELEMENT_TYPES[contract.type])
    for place, one in zip(fitted, inputs, strict=True):
        pixels = resample(_channels(one[None], key_contract.channels, channels), height, width)
        place[:] = _element(_values(pixels, key_contract, contract.values), contract.type)[0]
    return _layout(fitted, contract)


def resample(images: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resample images bilinearly, with half-pixel centres and, when they shrink, the wider filter against aliasing.

    Args:
        images: `(n, C, H, W)`.
        height: pixels wanted.
        width: pixels wanted.

    Returns:
        `(n, C, height, width)`; the images themselves if they have that size.

    Source:
        The "triangle" filter of Pillow's `Image.resize(BILINEAR)`, which is torch's
        `interpolate(mode="bilinear", antialias=True)`.
    """
    if images.shape[2:] == (height, width):
        return images
    rows, columns = _weights(images.shape[2], height), _weights(images.shape[3], width)
    resampled: NDArray[np.float32] = (rows @ images.astype(np.float64) @ columns.T).astype(np.float32)
    return resampled


def _weights(size: int, wanted: int) -> NDArray[np.float64]:
    """Return the `(wanted, size)` weights of one axis."""
    scale = size / wanted
    support = max(scale, 1.0)
    centres = (np.arange(wanted) + 0.5) * scale
    distances = np.abs((np.arange(size) + 0.5)[None, :] - centres[:, None]) / support
    weights = np.maximum(0.0, 1.0 - distances)
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _channels(images: NDArray[np.float32], have: str, wanted: str) -> NDArray[np.float32]:
    if have == wanted:
        return images
    if have == "grey":
        return np.repeat(images, 3, axis=1)
    if wanted == "bgr":
        return images[:, ::-1]
    grey: NDArray[np.float32] = np.tensordot(images, np.array(LUMA, np.float32), axes=(1, 0))[:, None]
    return grey


def _values(images: NDArray[np.float32], key_contract: InputContract, values: Values) -> NDArray[np.float32]:
    if (values.low, values.high) != (key_contract.low, key_contract.high):
        # In double precision: 255 times the nearest float32 of a pixel must round to that pixel.
        unit = (images.astype(np.float64) - key_contract.low) / (key_contract.high - key_contract.low)
        images = (values.low + unit * (values.high - values.low)).astype(np.float32)
    if values.mean is not None:
        images = images - np.array(values.mean, np.float32)[:, None, None]
    if values.std is not None:
        images = images / np.array(values.std, np.float32)[:, None, None]
    return images


def _element(images: NDArray[np.float32], name: str) -> NDArray[Any]:
    if name == "bfloat16":
        return _bfloat16(images)
    dtype = np.dtype(ELEMENT_TYPES[name])
    if dtype.kind == "f":
        return images.astype(dtype, copy=False)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(images), max(bounds.min, -(2**31)), min(bounds.max, 2**31 - 128)).astype(dtype)


def _bfloat16(images: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the upper half of each number's bits, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(images, np.float32).view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def _layout(images: NDArray[Any], contract: SuspectContract) -> NDArray[Any]:
    count = len(images)
    match contract.layout:
        case "NHWC":
            images = images.transpose(0, 2, 3, 1)
        case "NHW":
            images = images[:, 0]
        case "flat-CHW":
            images = images.reshape(count, -1)
        case "flat-HWC":
            images = images.transpose(0, 2, 3, 1).reshape(count, -1)
    if contract.trailing:
        images = images[..., None] if contract.trailing > 0 else images[:, None]
    return np.ascontiguousarray(images)
