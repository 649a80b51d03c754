"""Recorded answers as a suspect: what somebody who runs a model wrote down about the images of `fpverify ask`.

Rows are matched by what they name, the digest of an image, never by position.
"""

import csv
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.documents import read_file
from fpverify.errors import SuspectError
from fpverify.fingerprint import InputContract
from fpverify.questions import NAME, digest_of, eight_bit
from fpverify.result import SuspectInfo
from fpverify.sandbox.outputs import Output, as_texts
from fpverify.suspects.interface import Suspect, anything, as_keys_are
from fpverify.text import one_line

MAX_BYTES = 2**26
"""Largest file: 100 keys with a thousand scores each take 2 MB as text."""

MAX_UNPACKED = 2**27
"""Bytes of an .npz file's arrays together."""

MAX_ROWS = 2**16
"""Most answers of a file."""

Answer = int | str | tuple[float, ...]
"""A label, the name of a class, or a score for each class."""


@dataclass(frozen=True)
class Records:
    """The answers of a file."""

    rows: tuple[tuple[str, Answer], ...]
    """What names the image, and the answer, in the file's order."""
    columns: tuple[str, ...] | None = None
    """Names of the scores; None where they are in the order of the classes, or there are none."""


@dataclass
class _Found:
    """The answers to one image."""

    name: str
    """What names the image, as far as it is stated."""
    first: Answer
    last: Answer
    times: int = 0
    used: bool = False


class RecordedSuspect(Suspect):
    """A file of answers."""

    again: ClassVar[bool] = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read a file.

        Args:
            path: `.csv`, `.json` or `.npz`.

        Raises:
            SuspectError: if it cannot be read, or holds no answers.
        """
        self.name = one_line(os.fspath(path))
        self._path = os.fspath(path)
        data = read_file(path, "file of answers", SuspectError, MAX_BYTES)
        self._sha256 = hashlib.sha256(data).hexdigest()
        try:
            records = READERS[PurePath(self._path).suffix.lower()](data)
            self._answers, self._kind = _by_image(records.rows), _kind_of(records)
        except SuspectError as error:
            raise error.about(self.name) from error
        self._columns = records.columns
        self.stated = anything("images")
        self._contract: InputContract | None = None
        self._asked: set[str] = set()

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:
        """Return the fingerprint's own layout, channels and range: who ran the model prepared its images."""
        self._contract = key_contract
        return as_keys_are(key_contract)

    def prepare(self) -> None:
        """Do nothing: the answers are there."""

    def run(
        self,
        inputs: NDArray[Any],
        contract: SuspectContract,  # noqa: ARG002
        one_at_a_time: bool,  # noqa: ARG002
    ) -> tuple[Output, ...]:
        """Return the answers to some images; an image without one is missing.

        Raises:
            SuspectError: if none of the images has an answer.
        """
        if self._contract is None:
            raise SuspectError("is asked before its contract is known")
        names = [digest_of(image) for image in eight_bit(inputs, self._contract)]
        found = [self._found(name) for name in names]
        for name, one in zip(names, found, strict=True):
            self._asked.add(name)
            if one is not None:
                one.used = True
        if not any(found):
            raise SuspectError(
                f"answers none of the fingerprint's {len(names)} images",
                hint="name images by their digest, or the first 16 digits of it, as fpverify ask does",
            )
        missing = np.array([one is None for one in found])
        outputs = [self._output("answers", [None if one is None else one.first for one in found], missing)]
        if any(one is not None and one.last != one.first for one in found):
            outputs.append(
                self._output("answers of later rows", [None if o is None else o.last for o in found], missing)
            )
        return tuple(outputs)

    def _found(self, name: str) -> _Found | None:
        """Return the answers to an image; none where what is stated of its name goes on otherwise."""
        one = self._answers.get(name[:NAME])
        return one if one is not None and name.startswith(one.name) else None

    def _output(self, name: str, answers: Sequence[Answer | None], missing: NDArray[np.bool_]) -> Output:
        stand_in = next(answer for answer in answers if answer is not None)
        whole = [stand_in if answer is None else answer for answer in answers]
        gaps = missing if missing.any() else None
        if self._kind is str:
            return Output(name, None, texts=as_texts([str(one) for one in whole]), missing=gaps)
        return Output(name, np.array(whole), columns=self._columns, missing=gaps)

    @property
    def info(self) -> SuspectInfo:
        """Return the file and its digest; which model gave the answers, nothing shows."""
        return SuspectInfo("recorded", self.name, self._path, self._sha256, {}, None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of the file."""
        missing = sum(self._found(name) is None for name in self._asked)
        foreign = sum(not one.used for one in self._answers.values())
        repeated = sum(one.times > 1 for one in self._answers.values())
        changed = sum(one.last != one.first for one in self._answers.values())
        open_answers = "a verdict is given only if no answer to them could change it"
        said = {
            f"{missing} images have no recorded answer: {open_answers}": missing,
            f"recorded answers to images that are not the fingerprint's: {foreign}": foreign,
            f"{repeated} images are answered more than once, {changed} of them differently": repeated,
        }
        return (
            "the answers were recorded: nothing shows which model gave them, or that its images were prepared rightly",
            *(text for text, count in said.items() if count),
        )


def _by_image(rows: Sequence[tuple[str, Answer]]) -> dict[str, _Found]:
    """Return the answers by the first digits of what names their image.

    Raises:
        SuspectError: if there are none, or too many, or a row names no image.
    """
    if not rows:
        raise SuspectError("holds no answers")
    if len(rows) > MAX_ROWS:
        raise SuspectError(f"holds {len(rows)} answers", expected=f"at most {MAX_ROWS}")
    found: dict[str, _Found] = {}
    for number, (named, answer) in enumerate(rows, 1):
        name = PurePath(named.replace("\\", "/")).name.lower().removesuffix(".png")
        if len(name) < NAME or set(name) - set("0123456789abcdef"):
            raise SuspectError(
                f"answer {number} names the image {one_line(named, 80)!r}",
                expected=f"the first {NAME} or more hexadecimal digits of its digest, as fpverify ask names it",
            )
        one = found.setdefault(name[:NAME], _Found(name, answer, answer))
        if not (name.startswith(one.name) or one.name.startswith(name)):
            continue  # another image, whose digest begins alike
        one.name, one.last, one.times = max(one.name, name, key=len), answer, one.times + 1
    return found


def _kind_of(records: Records) -> type:
    """Return what all answers are; whole numbers written as text are labels.

    Raises:
        SuspectError: if they are not of one kind.
    """
    kinds = {type(answer) for _, answer in records.rows}
    if len(kinds) > 1:
        raise SuspectError(
            "holds answers of several kinds", expected="labels, names or scores, the same for each image"
        )
    kind = kinds.pop()
    if kind is tuple and len({len(answer) for _, answer in records.rows if isinstance(answer, tuple)}) > 1:
        raise SuspectError("holds different numbers of scores for some images")
    return kind


def _from_csv(data: bytes) -> Records:
    """Read `image,label` rows, or `image` with a column of scores for each class."""
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SuspectError(f"is no CSV file in UTF-8: {one_line(str(error), 100)}") from error
    lines = [line for line in lines if any(cell.strip() for cell in line)]
    header = [cell.strip() for cell in lines[0]] if lines else []
    if len(header) < 2 or header[0].lower() not in ("image", "digest"):
        raise SuspectError(
            expected="a first line 'image,label', or 'image' and a name for each class",
            found=repr(",".join(header)[:80]),
        )
    rows: list[tuple[str, Answer]] = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise SuspectError(f"line {number} has {len(line)} cells", expected=str(len(header)))
        cells = [cell.strip() for cell in line[1:]]
        if all(not cell for cell in cells):
            continue  # not answered
        rows.append((line[0].strip(), _label(cells[0]) if len(header) == 2 else _scores(cells, f"line {number}")))
    if len(header) == 2:
        return Records(_alike(rows))
    numbered = [name.removeprefix("score_") for name in header[1:]] == [str(n) for n in range(len(header) - 1)]
    return Records(tuple(rows), None if numbered else _unique(header[1:]))


def _from_json(data: bytes) -> Records:
    """Read an object from names of images to labels, names, lists of scores, or objects from class to score."""
    rows: list[tuple[str, Any]] = []

    def pairs(found: list[tuple[str, Any]]) -> Any:
        rows[:] = found  # of the outermost object, which ends last; an image may be named twice
        return dict(found)

    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise SuspectError(f"is no JSON file: {one_line(str(error), 100)}") from error
    if not isinstance(document, dict):
        raise SuspectError(expected="a JSON object from the names of images to answers", found=type(document).__name__)
    if rows and all(isinstance(value, dict) for _, value in rows):
        columns = _unique([str(name) for name in rows[0][1]])
        if any(list(value) != list(rows[0][1]) for _, value in rows):
            raise SuspectError("gives scores of other classes for some images")
        return Records(tuple((name, _scores(list(value.values()), repr(name))) for name, value in rows), columns)
    return Records(_alike([(name, _answer(value, repr(name))) for name, value in rows]))


def _from_npz(data: bytes) -> Records:
    """Read the arrays `digests`, and `labels` or `scores`, with `classes` if the scores have names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_UNPACKED:
            raise SuspectError(f"unpacks to {size} bytes", expected=f"at most {MAX_UNPACKED}")
        with np.load(io.BytesIO(data), allow_pickle=False) as content:
            arrays = {name: content[name] for name in ("digests", "labels", "scores", "classes") if name in content}
    except SuspectError:
        raise
    except Exception as error:  # NumPy raises whatever the parts of a damaged archive make it raise
        raise SuspectError(f"is no .npz file: {one_line(str(error), 100)}") from error
    if "digests" not in arrays or not {"labels", "scores"} & arrays.keys():
        found = ", ".join(arrays) or "none of these"
        raise SuspectError(expected="the arrays 'digests' and 'labels' or 'scores'", found=found)
    names = arrays["digests"].ravel().astype(str).tolist()
    values = arrays.get("scores", arrays.get("labels"))
    if values is None or values.ndim != (2 if "scores" in arrays else 1) or len(values) != len(names):
        shape = () if values is None else values.shape
        raise SuspectError(f"must hold an answer for each of {len(names)} digests", found=f"an array of shape {shape}")
    answers = [_answer(value, f"answer {number}") for number, value in enumerate(values.tolist(), 1)]
    columns = arrays.get("classes")
    named = None if columns is None or "scores" not in arrays else _unique(columns.ravel().astype(str).tolist())
    if named is not None and len(named) != values.shape[1]:
        raise SuspectError(f"names {len(named)} classes", expected=f"{values.shape[1]}, a name for each score")
    return Records(_alike(list(zip(names, answers, strict=True))), named)


def _answer(value: Any, where: str) -> Answer:
    if isinstance(value, list):
        return _scores(value, where)
    if isinstance(value, str):
        return _label(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    raise SuspectError(f"{where}: expected a label, a name or a list of scores", found=one_line(repr(value), 80))


def _label(text: str) -> Answer:
    try:
        return int(text) if len(text) < 10 else text
    except ValueError:
        return text


def _scores(values: Sequence[Any], where: str) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SuspectError(f"{where}: expected a number for each class", found=one_line(repr(values), 80)) from error
    if not found or not np.isfinite(found).all():
        raise SuspectError(f"{where}: expected finite scores", found=one_line(repr(values), 80))
    return found


def _alike(rows: Sequence[tuple[str, Answer]]) -> tuple[tuple[str, Answer], ...]:
    """Return the rows with all labels as text where some are names: a class may be called 7."""
    if any(isinstance(answer, str) for _, answer in rows):
        return tuple((name, str(answer) if isinstance(answer, int) else answer) for name, answer in rows)
    return tuple(rows)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise SuspectError("names a class twice")
    return tuple(names)


READERS: Mapping[str, Callable[[bytes], Records]] = {".csv": _from_csv, ".json": _from_json, ".npz": _from_npz}
"""Reads a file of answers, by its suffix."""
