"""Where a study's figures come from: data, source, models, versions, machine and command, in plain words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cattrs

from fpverify.text import one_line
from fpverify_generator.documents import faults, in_words, strict_converter
from fpverify_generator.errors import StudyError
from fpverify_generator.report.rows import Row

_CONVERTER = strict_converter()


@dataclass(frozen=True)
class Facts:
    """What a study notes of itself beside its settings, under `facts` in `study.json`; an older one has less."""

    made: str = ""
    """When the last seed was finished: date and time, UTC."""
    command: str = ""
    """The command line."""
    data: str = ""
    """Whose images, in words."""
    shape: tuple[int, ...] = ()
    """Of one image: channels, height, width."""
    classes: int = 0
    """How many there are; 0 if that is not known."""
    images: dict[str, int] = field(default_factory=dict)
    """Part of the data -> number of images, for each seed."""
    architecture: str = ""
    """The source's."""
    processor: str = ""
    """Its name."""
    cores: int = 0
    """Of the processor, as this process may use them; 0 if that is not known."""
    graphics: str = ""
    """Name of the GPU, where networks were trained on one."""
    system: str = ""
    """The operating system."""
    attacks: dict[str, str] = field(default_factory=dict)
    """Attack -> what it does, one line."""


def read_study(path: Path) -> dict[str, Any]:
    """Read `study.json`.

    Raises:
        StudyError: if it cannot be read, or is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"cannot read the study's settings ({error.strerror})", culprit=path) from error
    except ValueError as error:  # also UnicodeDecodeError
        raise StudyError(f"no JSON ({one_line(str(error), 200)})", culprit=path) from error
    if not isinstance(found, dict):
        raise StudyError(culprit=path, expected="a JSON object", found=type(found).__name__)
    return found


def facts_of(study: Mapping[str, Any]) -> Facts:
    """Return the facts that a study noted, none for one of an older version.

    Raises:
        StudyError: naming the first fact whose value does not fit.
    """
    found = study.get("facts", {})
    if not isinstance(found, Mapping):
        raise StudyError(culprit="study.json", where="facts", expected="an object", found=type(found).__name__)
    try:
        return _CONVERTER.structure(found, Facts)
    except cattrs.BaseValidationError as error:
        place, fault = next(faults(error, "facts"))
        raise StudyError(one_line(in_words(fault, None), 200), culprit="study.json", where=place) from error


def provenance(rows: Sequence[Row], study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return where the figures come from, as names and sentences; what is not known is left out.

    Args:
        rows: of one study.
        study: what `study.json` holds.
    """
    facts = facts_of(study)
    main = [row for row in rows if row.group == "cem"]
    accuracies = {row.seed: row.source_accuracy for row in main}
    derived, unrelated = ([row for row in main if row.kind == kind] for kind in ("derived", "unrelated"))
    told = {
        "Data": _data(facts),
        "Source": _joined(
            facts.architecture,
            "accuracy on test images " + ", ".join(f"{value:.1%} (seed {seed})" for seed, value in accuracies.items()),
        ),
        "Derived suspects": f"{len(derived)}, made from the source by {len({row.attack for row in derived})} attacks",
        "Unrelated suspects": f"{len(unrelated)}, trained without the source, "
        f"in {len({row.cell for row in unrelated})} groups",
        "Models of the owner": _owners(study),
        "Methods": f"{len({row.method for row in rows})} fingerprints or scores were compared",
        "Seeds": ", ".join(map(str, accuracies)) + "; each has its own data split, source, fingerprint and suspects",
        "Versions": "; or ".join(dict.fromkeys(_versions(row.versions) for row in rows)),
        "Machine": _joined(
            facts.processor,
            f"{facts.cores} cores" if facts.cores else "",
            facts.system,
            "networks trained on " + " and ".join(sorted({row.device for row in rows})),
            facts.graphics,
        ),
        "Made": facts.made,
        "Command": facts.command,
    }
    return [(name, text) for name, text in told.items() if text]


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _data(facts: Facts) -> str:
    size = " x ".join(map(str, facts.shape))
    kind = _joined(
        facts.data,
        f"{size} values each (channels, height, width)" if size else "",
        f"{facts.classes} classes" if facts.classes else "",
    )
    counts = ", ".join(f"{part} {count:,}" for part, count in facts.images.items())
    return f"{kind}; images of each seed: {counts}" if counts else kind


def _owners(study: Mapping[str, Any]) -> str:
    """Return how many models an owner trains for a fingerprint, as far as the settings say it."""
    build = study.get("build")
    if not isinstance(build, dict):
        return ""
    counts = []
    for role in ("surrogates", "references", "nulls"):
        found = build.get(role)
        total = sum(found.values()) if isinstance(found, dict) else found
        if isinstance(total, int):
            counts.append(f"{total} {'null models' if role == 'nulls' else role}")
    return f"{_joined(*counts)} for each fingerprint" if counts else ""
