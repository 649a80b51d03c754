"""A study's rows: one for each method, suspect and seed; written and read as JSON lines."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import cattrs

from fpverify.files import write_atomically
from fpverify.text import one_line
from fpverify_generator.categories import CATEGORIES
from fpverify_generator.documents import WrongTypeError, faults, in_words, strict_converter
from fpverify_generator.errors import StudyError

KEEPS = 0.05
"""How far below the source's accuracy a surrogate may be and still count as having kept it."""

GROUPS = ("cem", "baseline", "ablation", "epsilon", "ensemble")
"""What a method can be."""

FEWER_STARTS = "cem, fewer starts"
"""The method that ablations are compared with, where they have fewer start points than the main method."""

VerdictName = Literal["derived", "inconclusive", "unrelated"]
"""What `fpverify` can say of a suspect."""

VERDICTS: tuple[VerdictName, ...] = get_args(VerdictName)
"""Every verdict."""

_CONVERTER = strict_converter()


def _verdict(value: object, _: object) -> object:
    if value not in VERDICTS:
        raise WrongTypeError(f"one of {', '.join(VERDICTS)}", value)
    return value


_CONVERTER.register_structure_hook_func(lambda kind: kind is VerdictName, _verdict)


@dataclass(frozen=True)
class Row:
    """What one method says of one suspect."""

    preset: str
    """Name of the study."""
    seed: int
    """Of the study's run: its data, source, fingerprints and suspects."""
    method: str
    """What made the fingerprint."""
    group: str
    """`cem`, `baseline`, `ablation`, `epsilon` or `ensemble`."""
    value: float | None
    """Of a sweep: the radius as a fraction of the input range, or the number of surrogates."""
    epsilon: float
    """Radius of CEM's keys, as a fraction of the input range; 0 for a baseline."""
    ensemble: int
    """Surrogates that CEM optimised against; 0 for a baseline."""
    statistic: str
    """`retention`, or `correlation` for a method that compares scores."""
    kind: str
    """The truth: `derived` or `unrelated`."""
    suspect: str
    """Its name, unlike every other of the seed."""
    attack: str | None
    """Which removal attack made it; None for an unrelated one."""
    category: str | None
    """The attack's category."""
    cell: str | None
    """Of an unrelated one: its group, which says what it shares with the source or how it was trained."""
    architecture: str
    """What it is made of."""
    file: str
    """Its ONNX file, below the study's folder."""
    sha256: str
    """Of that file."""
    accuracy: float | None
    """On the test split; None where the suspect knows other classes."""
    source_accuracy: float
    """The source's, on the same split."""
    scores: dict[str, float | None]
    """Number of queries -> the statistic; None where the suspect could not be judged."""
    verdicts: dict[str, VerdictName] | None
    """Number of queries -> what `fpverify` said, where it gave a verdict; None for a method that compares scores."""
    no_verdict: dict[str, str] | None
    """Number of queries -> why there is no verdict; None for a method that compares scores."""
    cut: dict[str, float] | None
    """Number of queries -> the least retention that is called derived; without an entry, none is."""
    p_value: dict[str, float] | None
    """Number of queries -> of "unrelated"."""
    attack_queries: int
    """What the attack asked the source."""
    attack_seconds: float
    """What making the suspect took."""
    seconds: float
    """What exporting and judging it by all methods took."""
    device: str
    """Where networks were trained."""
    versions: dict[str, str]
    """Of everything that the result depends on."""
    configuration: dict[str, Any]
    """Attack and method with all their settings; those of the study stand once, in `study.json`."""
    study: str = ""
    """SHA-256 of these settings of the study, of `settings_digest`; empty in rows of an older version."""

    @property
    def keeps_accuracy(self) -> bool:
        """Return whether a surrogate is about as right as the source."""
        return self.accuracy is not None and self.accuracy >= self.source_accuracy - KEEPS


def settings_digest(study: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a study's settings: what `study.json` holds, without its facts, as JSON in one spelling."""
    settings = {name: value for name, value in study.items() if name != "facts"}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode()).hexdigest()


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON lines, whole or not at all."""
    lines = [json.dumps(asdict(row), sort_keys=True, allow_nan=False) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(lines).encode())


def read_rows(path: Path) -> list[Row]:
    """Read rows.

    Raises:
        StudyError: if the file cannot be read, or a line is no row; it names the line and the field.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"cannot read the rows ({error})", culprit=path) from error
    return [_read(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _read(line: str, where: str) -> Row:
    try:
        found = json.loads(line, parse_constant=_refuse)
    except ValueError as error:
        raise StudyError(f"no JSON ({error})", culprit=where) from error
    if not isinstance(found, dict):
        raise StudyError(culprit=where, expected="an object with the fields of a row", found=_short(found))
    try:
        return _CONVERTER.structure(found, Row)
    except cattrs.BaseValidationError as error:
        place, fault = next(faults(error))
        if isinstance(fault, WrongTypeError):
            raise StudyError(culprit=where, where=place, expected=fault.wanted, found=_short(fault.value)) from error
        value = _short(found[place]) if place in found else ""
        raise StudyError(one_line(in_words(fault, None), 200), culprit=where, where=place, found=value) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _short(value: object) -> str:
    return json.dumps(value)[:60]


def check_rows(rows: Sequence[Row]) -> None:
    """Refuse rows that are not those of one study.

    Raises:
        StudyError: naming what is missing, twice there, or no kind of thing that a report knows.
    """
    if not rows:
        raise StudyError("there are none, so there is nothing to report", culprit="rows")
    main = {row.method for row in rows if row.group == "cem"}
    if len(main) != 1:
        raise StudyError(culprit="rows", expected="one method of group cem", found=sorted(main) or "none")
    budgets, seen = set(rows[0].scores), set()
    for row in rows:
        where = f"rows: {row.method}, seed {row.seed}, {row.suspect}"
        if (row.method, row.seed, row.suspect) in seen:
            raise StudyError("is there twice", culprit=where)
        seen.add((row.method, row.seed, row.suspect))
        if row.group not in GROUPS:
            raise StudyError(
                culprit=where, where="group", expected=f"one of {', '.join(GROUPS)}", found=f"'{row.group}'"
            )
        if row.kind not in ("derived", "unrelated"):
            raise StudyError(culprit=where, where="kind", expected="derived or unrelated", found=f"'{row.kind}'")
        if row.kind == "derived" and (row.attack is None or row.category not in CATEGORIES):
            raise StudyError(
                "a derived suspect needs an attack of a known category", culprit=where, found=f"'{row.category}'"
            )
        if row.kind == "unrelated" and row.cell is None:
            raise StudyError("an unrelated suspect needs its cell: what it shares with the source", culprit=where)
        if set(row.scores) != budgets:
            raise StudyError(
                culprit=where, where="scores", expected=f"at {sorted(budgets)} queries", found=sorted(row.scores)
            )
