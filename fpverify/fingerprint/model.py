"""What a fingerprint holds; constructing one checks all of it."""

import contextlib
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import FingerprintError
from fpverify.fingerprint.canonical import normalised
from fpverify.fingerprint.encoding import EIGHT_BIT, as_bytes, serialise
from fpverify.text import is_digest

CHANNELS = {"grey": 1, "rgb": 3}
"""Names of channel orders, and how many channels each has."""

FLOAT32_MAX = (2 - 2**-23) * 2.0**127
"""Largest number in single precision, in which inputs are stored."""


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """How the keys are to be read: what a suspect's input must be fitted to."""

    layout: str = "NCHW"
    """Order of the axes; version 1 knows `NCHW` alone."""
    channels: str
    """`grey` (one channel) or `rgb` (three, in this order)."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    low: float = 0.0
    """Smallest value that an input may hold."""
    high: float = 1.0
    """Largest value that an input may hold."""
    mean: tuple[float, ...] | None = None
    """What the source subtracts from each channel of a key before its first layer; None if nothing."""
    std: tuple[float, ...] | None = None
    """What it then divides each channel by; None if nothing. Keys are stored before both."""

    def __post_init__(self) -> None:
        _require(self.layout == "NCHW", "contract: layout", "'NCHW'", self.layout)
        _require(self.channels in list(CHANNELS), "contract: channels", "'grey' or 'rgb'", self.channels)
        for name in ("height", "width"):
            size = getattr(self, name)
            _require(type(size) is int and size >= 1, f"contract: {name}", "an integer of at least 1", size)
        for name in ("low", "high"):
            object.__setattr__(self, name, number(getattr(self, name), f"contract: {name}"))
        fits = -FLOAT32_MAX <= self.low < self.high <= FLOAT32_MAX
        _require(fits, "contract: range", "low < high within single precision", (self.low, self.high))
        for name in ("mean", "std"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, numbers(values, f"contract: {name}"))
                wanted = CHANNELS[self.channels]
                _require(len(values) == wanted, f"contract: {name}", f"{wanted} values, one per channel", values)
        _require(self.std is None or min(self.std) > 0, "contract: std", "values above 0", self.std)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return `(C, H, W)`."""
        return CHANNELS[self.channels], self.height, self.width


@dataclass(frozen=True)
class Calibration:
    """What models that neither made nor chose the keys keep of them, and the threshold that follows."""

    surrogates: tuple[float, ...]
    """Retentions of held-out models derived from the source, fractions in [0, 1]."""
    references: tuple[float, ...]
    """Retentions of held-out models trained without it, fractions in [0, 1]; they took part in the threshold."""
    nulls: tuple[float, ...]
    """Retentions of unrelated models used for nothing but p-values and bounds, fractions in [0, 1]; at least one."""
    threshold: float
    """Retention from which a suspect may be called derived, a fraction in (0, 1]."""
    rule: str
    """How the threshold was chosen, in words."""

    def __post_init__(self) -> None:
        for name in ("surrogates", "references", "nulls"):
            values = numbers(getattr(self, name), f"calibration: {name}")
            wrong = [value for value in values if not 0 <= value <= 1]
            _require(not wrong, f"calibration: {name}", "fractions in [0, 1]", wrong)
            object.__setattr__(self, name, values)
        _require(len(self.nulls) > 0, "calibration: nulls", "at least one", self.nulls)
        threshold = number(self.threshold, "calibration: threshold")
        _require(0 < threshold <= 1, "calibration: threshold", "a fraction in (0, 1]", threshold)
        object.__setattr__(self, "threshold", threshold)
        _require(isinstance(self.rule, str), "calibration: rule", "a text", self.rule)


ROLES = ("surrogate", "reference", "null")
"""What a held-out model is for: it is derived from the source, it helps to set the threshold, or it gives p-values."""


@dataclass(frozen=True)
class HeldOut:
    """A model whose answers to the keys the fingerprint holds; it neither made nor chose them."""

    role: str
    """One of `ROLES`."""
    group: str
    """Which removal attack made it, or which kind of unrelated model it is."""
    accuracy: float
    """On images that it did not learn, a fraction in [0, 1]."""

    def __post_init__(self) -> None:
        _require(self.role in ROLES, "models: role", f"one of {', '.join(ROLES)}", self.role)
        _require(isinstance(self.group, str), "models: group", "a text", self.group)
        accuracy = number(self.accuracy, "models: accuracy")
        _require(0 <= accuracy <= 1, "models: accuracy", "a fraction in [0, 1]", accuracy)
        object.__setattr__(self, "accuracy", accuracy)


@dataclass(frozen=True)
class SourceIdentity:
    """The model that the fingerprint belongs to."""

    sha256: str
    """SHA-256 of the source model's file, 64 lower-case hexadecimal digits."""

    def __post_init__(self) -> None:
        _require(is_digest(self.sha256), "source: sha256", "64 lower-case hexadecimal digits", self.sha256)


def number(value: Any, where: str) -> float:
    """Return a finite number as a float.

    Args:
        value: what should be one.
        where: its name, for the error.

    Returns:
        The number, with minus zero as zero so that equal content has equal bytes.

    Raises:
        FingerprintError: if it is none.
    """
    real = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared rather than converted: an integer may be too large for a float.
    _require(real and abs(value) <= sys.float_info.max, where, "a finite number", value)
    return float(value) + 0.0


def numbers(values: Any, where: str) -> tuple[float, ...]:
    """Return a list of finite numbers as floats.

    Args:
        values: a list or a tuple.
        where: its name, for the error.

    Returns:
        The numbers.

    Raises:
        FingerprintError: if it is no list, or one of them is no finite number.
    """
    _require(isinstance(values, list | tuple), where, "a list of numbers", values)
    return tuple(number(value, where) for value in values)


def _require(fits: bool, where: str, expected: str, found: Any) -> None:
    if not fits:
        raise FingerprintError(where=where, expected=expected, found=_short(found))


def _short(found: Any) -> str:
    if isinstance(found, int) and found.bit_length() > 64:
        return f"an integer of {found.bit_length()} bits"
    text = repr(found)
    return text if len(text) <= 100 else f"{text[:100]}…"


__all__ = ["Backing", "Calibration", "Controls", "Fingerprint", "HeldOut", "InputContract", "SourceIdentity"]

MAX_LABEL = 2**15 - 1
"""Largest label of a held-out model's answer: answers are 16-bit numbers."""


@dataclass(frozen=True, eq=False)
class Controls:
    """Ordinary images with their true labels: a suspect that works answers about as many rightly as the source."""

    inputs: NDArray[np.float32]
    """`(c, C, H, W)` images within the contract's range; none is a key."""
    labels: NDArray[np.int64]
    """`(c,)` true labels, indices of the fingerprint's classes."""
    source_accuracy: float
    """Share of them that the source answers rightly, a fraction in [0, 1]; it learnt none of them."""


@dataclass(frozen=True, eq=False)
class Backing:
    """What stands behind a calibration: format 2 holds it, format 1 does not."""

    models: tuple[HeldOut, ...]
    """The held-out models."""
    answers: NDArray[np.int16]
    """`(models, n)` the label that each gives each key, an index of the fingerprint's classes; -1 for none."""
    controls: Controls
    """Ordinary images."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Inputs with the labels that the source gives them, and everything needed to judge by them.

    Two fingerprints are equal when their bytes are.

    Raises:
        FingerprintError: on construction, naming the part that is wrong.
    """

    inputs: NDArray[np.float32]
    """`(n, C, H, W)` keys within the contract's range; made read-only."""
    labels: NDArray[np.int64]
    """`(n,)` the source's answers, indices of `classes`; made read-only."""
    classes: tuple[str, ...]
    """Names of the classes, at least two, all different."""
    contract: InputContract
    """How the inputs are to be read."""
    source: SourceIdentity
    """The model that the fingerprint belongs to."""
    method: Mapping[str, Any]
    """`name` and every hyper-parameter, as JSON values (tuples become lists)."""
    seeds: Mapping[str, int]
    """Seed of each random part."""
    versions: Mapping[str, str]
    """Version of each program that made it."""
    calibration: Calibration
    """Held-out retentions and the threshold."""
    backing: Backing | None = None
    """Answers of the held-out models and control images; None in format 1."""

    def __post_init__(self) -> None:
        for name, kind in (("contract", InputContract), ("source", SourceIdentity), ("calibration", Calibration)):
            if not isinstance(getattr(self, name), kind):
                raise FingerprintError(where=name, expected=f"a {kind.__name__}", found=f"{getattr(self, name)!r:.100}")
        self._set("classes", _checked_classes(self.classes))
        self._set("inputs", _checked_inputs(self.inputs, self.contract))
        self._set("labels", _checked_labels(self.labels, len(self.inputs), len(self.classes)))
        self._set("calibration", _snapped(self.calibration, len(self.inputs)))
        for name, values in (("method", object), ("seeds", int), ("versions", str)):
            self._set(name, _checked_mapping(getattr(self, name), name, values))
        if not isinstance(self.method.get("name"), str):
            raise FingerprintError("method must have a name", found="none")
        if self.backing is not None:
            self._set("backing", _checked_backing(self.backing, self))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # how a frozen dataclass fills itself in

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Fingerprint) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    @cached_property
    def format_version(self) -> int:
        """Return the version of the file that holds it; of one that was read, that file's.

        It is 1 without a backing. With one it is 3 where the keys or the controls are 8-bit images in [0, 1], else 2.
        """
        if self.backing is None:
            return 1
        images = self.inputs, self.backing.controls.inputs
        return EIGHT_BIT if any(as_bytes(one, self.contract) is not None for one in images) else 2

    @property
    def null_ranges(self) -> dict[str, tuple[float, float]]:
        """Return the ranges in which the training of the null models varied, by setting; empty where none is stated.

        `method` states them as `variation`: settings with a number or a list of numbers. Anything else is left out.
        """
        stated = self.method.get("variation")
        ranges = {}
        for name, value in stated.items() if isinstance(stated, dict) else ():
            with contextlib.suppress(FingerprintError):
                if values := numbers(value if isinstance(value, list) else [value], name):
                    ranges[name] = (min(values), max(values))
        return ranges

    def calibrated_for(self, known: NDArray[np.bool_]) -> Calibration | None:
        """Return the calibration for a suspect that knows some of the classes: on the keys with their labels alone.

        Such a suspect has fewer wrong answers to choose from, so it keeps more of these keys, whatever it is. What a
        held-out model would answer among the same classes is not known where it answers another class: nulls and
        references count as keeping such a key, and surrogates as losing it, so that no verdict rests on it.

        Args:
            known: `(classes,)` which classes the suspect knows; at least one that a key is labelled with.

        Returns:
            The calibration, with the threshold as it is; None where format 1 holds no answers to compute it from.
        """
        if known.all():
            return self.calibration
        if self.backing is None:
            return None
        kept = kept_by_role(self.backing, self.labels, known)
        return replace(self.calibration, surrogates=kept["surrogate"], references=kept["reference"], nulls=kept["null"])

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the fingerprint's bytes, its identity, as hexadecimal digits."""
        return hashlib.sha256(serialise(self)).hexdigest()


def _checked_classes(classes: Any) -> tuple[str, ...]:
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise FingerprintError(where="classes", expected="a list of names")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise FingerprintError(
            where="classes", expected="at least two different names", found=f"{list(classes)!r:.100}"
        )
    return tuple(classes)


def _checked_inputs(inputs: Any, contract: InputContract) -> NDArray[np.float32]:
    if not isinstance(inputs, np.ndarray) or inputs.dtype != np.float32:
        raise FingerprintError(
            where="inputs", expected="float32", found=getattr(inputs, "dtype", type(inputs).__name__)
        )
    if inputs.ndim != 4 or inputs.shape[1:] != contract.shape:
        expected = ", ".join(map(str, contract.shape))
        raise FingerprintError(f"inputs must have the shape (n, {expected}) of the contract", found=inputs.shape)
    if len(inputs) < 1:
        raise FingerprintError("inputs must hold at least one key", found="none")
    if not np.isfinite(inputs).all():
        raise FingerprintError(where="inputs", expected="finite", found="NaN or infinity")
    # Compared in single precision: 0.1 as float32 is above 0.1, and is the nearest that an input can come to it.
    if inputs.min() < np.float32(contract.low) or inputs.max() > np.float32(contract.high):
        found = f"{inputs.min():g} to {inputs.max():g}"
        raise FingerprintError(f"inputs must lie in [{contract.low:g}, {contract.high:g}]", found=found)
    return _read_only(inputs)


def _checked_labels(labels: Any, keys: int, classes: int) -> NDArray[np.int64]:
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64:
        raise FingerprintError(where="labels", expected="int64", found=getattr(labels, "dtype", type(labels).__name__))
    if labels.shape != (keys,):
        raise FingerprintError(f"labels must have the shape ({keys},), one per key", found=labels.shape)
    if labels.min() < 0 or labels.max() >= classes:
        found = f"{labels.min()} to {labels.max()}"
        raise FingerprintError(where="labels", expected=f"0 to {classes - 1}, one of {classes} classes", found=found)
    return _read_only(labels)


def kept_by_role(backing: Backing, labels: NDArray[np.int64], known: NDArray[np.bool_]) -> dict[str, tuple[float, ...]]:
    """Return, for each role, the sorted shares of the keys with known labels that its models may keep."""
    counted = known[labels]
    answers, total = backing.answers[:, counted], int(counted.sum())
    kept = answers == labels[counted]
    elsewhere = (answers >= 0) & ~known[answers]
    shares = {}
    for role in ROLES:
        rows = [number for number, model in enumerate(backing.models) if model.role == role]
        found = kept[rows] if role == "surrogate" else kept[rows] | elsewhere[rows]
        shares[role] = tuple(sorted(int(value) / total for value in found.sum(axis=1)))
    return shares


def _checked_backing(backing: Any, fingerprint: "Fingerprint") -> Backing:
    if not isinstance(backing, Backing) or not isinstance(backing.controls, Controls):
        raise FingerprintError(where="backing", expected="a Backing with Controls", found=f"{backing!r:.100}")
    models, answers, controls = tuple(backing.models), backing.answers, backing.controls
    if not all(isinstance(model, HeldOut) for model in models):
        raise FingerprintError(where="models", expected="a list of held-out models")
    shape, count = (len(models), len(fingerprint)), len(fingerprint.classes)
    if not isinstance(answers, np.ndarray) or answers.dtype != np.int16 or answers.shape != shape:
        found = f"{getattr(answers, 'dtype', type(answers).__name__)} {getattr(answers, 'shape', '')}"
        raise FingerprintError(where="answers", expected=f"int16 of shape {shape}, one per model and key", found=found)
    if count > MAX_LABEL or (answers.size and (answers.min() < -1 or answers.max() >= count)):
        raise FingerprintError(where="answers", expected=f"-1 to {count - 1}, one of {count} classes")
    inputs = _checked_inputs(controls.inputs, fingerprint.contract)
    labels = _checked_labels(controls.labels, len(inputs), count)
    accuracy = controls.source_accuracy
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
        raise FingerprintError("controls: source_accuracy must be a fraction in [0, 1]", found=f"{accuracy!r:.100}")
    checked = Backing(models, _read_only(answers), Controls(inputs, labels, float(accuracy) + 0.0))
    for role, values in kept_by_role(checked, fingerprint.labels, np.ones(count, bool)).items():
        if tuple(sorted(getattr(fingerprint.calibration, f"{role}s"))) != values:
            raise FingerprintError(f"calibration: {role}s must be what the answers of the held-out models keep")
    return checked


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


def _snapped(calibration: Calibration, keys: int) -> Calibration:
    """Return the calibration with each retention as the double nearest to `k / keys`.

    A retention computed in single precision would otherwise miss the ties that the rank test must see.
    """

    def snap(values: tuple[float, ...]) -> tuple[float, ...]:
        nearest = [round(value * keys) / keys for value in values]
        return tuple(n if abs(n - value) < 1e-6 else value for n, value in zip(nearest, values, strict=True))

    return replace(
        calibration,
        surrogates=snap(calibration.surrogates),
        references=snap(calibration.references),
        nulls=snap(calibration.nulls),
    )


def _checked_mapping(value: Any, name: str, kind: type) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise FingerprintError(f"{name} must map names to values", found=f"{value!r:.100}")
    wrong = [
        key for key, item in value.items() if not isinstance(item, kind) or (kind is int and isinstance(item, bool))
    ]
    if wrong:
        raise FingerprintError(
            f"{wrong[0]!r:.100} must be a {kind.__name__}", where=name, found=f"{value[wrong[0]]!r:.100}"
        )
    copy: dict[str, Any] = normalised(dict(value), name)
    return copy
