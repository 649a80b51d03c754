"""The study's table of false claims, from `false-claims.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from fpverify_generator.errors import StudyError
from fpverify_generator.report.tables import NOTHING, Table


def read_claims(path: Path) -> list[dict[str, Any]]:
    """Read `false-claims.json`.

    Raises:
        StudyError: if it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError("no false claims that can be read", culprit=path) from error
    wanted = {"seed", "fake", "victim", "threshold", "source", "innocents", "convicted", "refused", "any_reaches"}
    fits = isinstance(found, list) and all(isinstance(one, dict) and wanted <= set(one) for one in found)
    if not fits or not found:
        raise StudyError(culprit=path, expected="a list of claims", found=type(found).__name__)
    return list(found)


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    """Return what fakes do to innocents, and how often panels refuse them: means over seeds.

    Args:
        claims: those of all seeds, as JSON values of `study.false_claims.Claim`.
    """
    groups: dict[tuple[str, str, bool], list[Mapping[str, Any]]] = {}
    places: dict[tuple[int, str, str], int] = {}
    for claim in claims:
        one = claim["seed"], claim["fake"], claim["victim"]
        places[one] = places.get(one, 0) + 1
        groups.setdefault((claim["fake"], claim["victim"], places[one] > 1), []).append(claim)
    sizes = list(claims[0]["refused"])
    lines = []
    for (fake, victim, tuned), some in groups.items():
        convicted = mean(one["convicted"] / one["innocents"] for one in some)
        victims = [one["victim_convicted"] for one in some if one["victim_convicted"] is not None]
        lines.append(
            (
                f"{fake}, the victim shares {victim}" if victim else fake,
                "its own" if fake == "honest" else "half are convicted" if tuned else f"{some[0]['threshold']:g}",
                f"{mean(one['source'] for one in some):.2f}",
                f"{convicted:.0%}",
                f"{sum(victims)} of {len(victims)}" if victims else NOTHING,
                *(f"{mean(one['refused'][size] for one in some):.0%}" for size in sizes),
                *(f"{mean(one['any_reaches'][size] for one in some):.0%}" for size in sizes),
            )
        )
    return Table(
        "false-claims",
        "False claims:",
        f"fingerprints that a dishonest owner makes, with an invented calibration. Shares of {claims[0]['innocents']} "
        "innocent models that are called derived without vetting, and of panels that refuse the fingerprint: by the "
        "rule of fpverify vet, and if one model of the panel that would be called derived sufficed. Means over seeds.",
        (
            "fingerprint",
            "threshold",
            "source keeps",
            "innocents convicted",
            "victim convicted",
            *(f"refused by {size}" for size in sizes),
            *(f"any of {size} reaches" for size in sizes),
        ),
        tuple(lines),
    )
