"""A study's rows: one for each method, suspect and seed; written and read as JSON lines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fpverify.files import write_atomically
from fpverify_generator.errors import StudyError

KEEPS = 0.05
"""How far below the source's accuracy a surrogate may be and still count as having kept it."""


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
    family: str | None
    """The attack's family."""
    cell: str | None
    """Of an unrelated one: whether it shares the source's architecture and data."""
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
    verdicts: dict[str, str] | None
    """Number of queries -> what `fpverify` said; None for a method that compares scores."""
    threshold: dict[str, float] | None
    """Number of queries -> the fingerprint's threshold."""
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
    """Attack, method and study with all their settings."""

    @property
    def keeps_accuracy(self) -> bool:
        """Return whether a surrogate is about as right as the source."""
        return self.accuracy is not None and self.accuracy >= self.source_accuracy - KEEPS


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON lines, whole or not at all."""
    lines = [json.dumps(asdict(row), sort_keys=True, allow_nan=False) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(lines).encode())


def read_rows(path: Path) -> list[Row]:
    """Read rows.

    Raises:
        StudyError: if the file cannot be read, or a line is no row.
    """
    names = {field.name for field in fields(Row)}
    rows = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot read the rows ({error})") from error
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise StudyError(f"{path}, line {number}: no JSON ({error})") from error
        if not isinstance(found, dict) or set(found) != names:
            wrong = sorted(names.symmetric_difference(found if isinstance(found, dict) else ()))
            raise StudyError(f"{path}, line {number}: expected the fields of a row; wrong or missing: {wrong[:5]}")
        rows.append(Row(**found))
    return rows
