"""Twin sources: a p-value that holds for every unrelated model, whatever its data, architecture or training.

An owner trains K networks alike, seeds apart, publishes one, and fingerprints all K by the same procedure. A model that
was made without the published one cannot know which of them it is. So the rank of its retention among the K is even, on
average over which was published.

Source:
    Phipson and Smyth (2010), as `statistics.rank_p_value`; exchangeable copies as in S. Zhu et al., "Independence tests
    for language models", ICML 2025.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fpverify.documents import read_file, strict_json
from fpverify.errors import FingerprintError, PolicyError
from fpverify.evidence import ask_suspect
from fpverify.fingerprint import Fingerprint, canonical, load_fingerprint
from fpverify.result import Judgement, Policy, Twins, Verdict
from fpverify.statistics import rank_p_value
from fpverify.suspects.interface import Suspect
from fpverify.text import is_digest
from fpverify.verdict import doubted, weaknesses
from fpverify.weighing import weigh

LIST = "twins.json"
"""File in a folder of twins that lists their fingerprints: the owner stamps it before one is drawn as the source."""

LIST_FORMAT = "fpverify-twins-1"
"""Names its format."""

FEWEST = 3
"""Twins that there must be at least."""


def load_twins(folder: str | os.PathLike[str]) -> list[Fingerprint]:
    """Read the fingerprints of a folder, as `fpverify-generator twins` writes them.

    Raises:
        FingerprintError: if it holds none, or one that cannot be used.
    """
    path = Path(folder)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    if not files:
        raise FingerprintError(culprit=path, expected="a folder with the fingerprints of twins", found="none")
    return [load_fingerprint(file) for file in files]


def list_of(twins: Iterable[str]) -> bytes:
    """Return the file that lists twins: canonical JSON.

    Args:
        twins: SHA-256 of each fingerprint, as hexadecimal digits, in any order that is kept.
    """
    return canonical.dumps({"format": LIST_FORMAT, "fingerprints": list(twins)}, "twins").encode("ascii")


def drawn_among(listed: bytes, drawn_by: str) -> str:
    """Return which fingerprint of a list is drawn.

    Args:
        listed: the file, of `list_of`.
        drawn_by: what nobody knew when the list was stamped, such as a number of a public lottery. The place in the
            list is the SHA-256 of `"fpverify/twin/1"`, a zero byte, the file's digest and this text, as a number,
            modulo how many there are.

    Raises:
        PolicyError: if the file is no such list.
    """
    document = strict_json(listed, "list of twins", PolicyError)
    names = document.get("fingerprints") if isinstance(document, dict) else None
    if not isinstance(names, list) or not names or not all(map(is_digest, names)) or list_of(names) != listed:
        raise PolicyError(
            "not a list of twins", expected=f"what fpverify-generator twins writes, of format {LIST_FORMAT}"
        )
    content = b"fpverify/twin/1\0" + hashlib.sha256(listed).digest() + drawn_by.encode("utf-8", "surrogatepass")
    found: str = names[int.from_bytes(hashlib.sha256(content).digest(), "big") % len(names)]
    return found


def require_drawn(
    folder: str | os.PathLike[str], twins: Iterable[Fingerprint], fingerprint: Fingerprint, drawn_by: str
) -> str:
    """Check that an outside draw names a fingerprint among its twins; return the SHA-256 of their list.

    Args:
        folder: of the twins, with their list.
        twins: all of them, the fingerprint among them.
        fingerprint: that of the published source.
        drawn_by: as for `drawn_among`.

    Raises:
        PolicyError: if the list is missing or is of other twins, or another one is drawn.
    """
    path = Path(folder) / LIST
    listed = read_file(path, "list of twins", PolicyError)
    try:
        drawn = drawn_among(listed, drawn_by)
    except PolicyError as error:
        raise error.about(os.fspath(path)) from error
    named = canonical.loads(listed.decode("ascii"), "twins")["fingerprints"]
    if sorted(named) != sorted(twin.sha256 for twin in twins):
        raise PolicyError("lists other fingerprints than lie beside it", culprit=path)
    if drawn != fingerprint.sha256:
        raise PolicyError(
            "the draw names another twin as the source", culprit="twins", expected=drawn, found=fingerprint.sha256
        )
    return hashlib.sha256(listed).hexdigest()


def others_among(twins: Iterable[Fingerprint], fingerprint: Fingerprint) -> list[Fingerprint]:
    """Return the twins of a fingerprint's source.

    Args:
        twins: all of them, the fingerprint among them.
        fingerprint: that of the published source.

    Raises:
        PolicyError: if it is not among them, there are too few, or one of them is of another kind.
    """
    every = list(twins)
    others = [twin for twin in every if twin != fingerprint]
    if len(others) == len(every):
        raise PolicyError("the fingerprint is none of the twins'", culprit="twins")
    if len(others) + 1 < FEWEST or len({twin.source.sha256 for twin in every}) < len(others) + 1:
        raise PolicyError(culprit="twins", expected=f"at least {FEWEST} different sources", found=len(others) + 1)
    for twin in others:
        if faults := weaknesses(twin.calibration, len(set(twin.labels.tolist())), Policy.significance, len(twin)):
            raise PolicyError(f"decides nothing: {faults[0]}", culprit=f"twin {twin.sha256}")
        if _procedure(twin) != _procedure(fingerprint):
            raise PolicyError(
                "the twins' fingerprints must have as many keys, the same classes, inputs of one kind and one method",
                culprit=f"twin {twin.sha256}",
            )
    return others


def _procedure(fingerprint: Fingerprint) -> tuple[Any, ...]:
    """Return what the fingerprints of twins have in common."""
    held_out = None if fingerprint.backing is None else len(fingerprint.backing.models)
    shape = len(fingerprint), fingerprint.classes, fingerprint.contract
    return *shape, held_out, fingerprint.method.get("name")


def rank_among(
    suspect: Suspect,
    retention: float,
    others: Iterable[Fingerprint],
    options: Mapping[str, Any],
    policy: Policy,
    drawn: "tuple[str, str] | None" = None,
) -> Twins:
    """Ask a suspect the fingerprints of the twins, and rank what it keeps of the source's among them.

    Args:
        suspect: open.
        retention: what it keeps of the source's fingerprint, a fraction in [0, 1].
        others: the twins' fingerprints, of `others_among`.
        options: what the auditor says of its contract.
        policy: how sure to be.
        drawn: SHA-256 of the list of twins, and what drew the source among them; None where nothing did.

    Returns:
        Its rank.

    Raises:
        SuspectError: if it cannot be asked.
    """
    asked = list(others)
    kept = [weigh(ask_suspect(suspect, twin, options, None, policy), twin, policy)[1].rate for twin in asked]
    listed, drawn_by = drawn or (None, None)
    names = tuple(twin.sha256 for twin in asked)
    return replace(ranked(retention, kept), fingerprints=names, listed=listed, drawn_by=drawn_by)


def ranked(retention: float, kept: Sequence[float]) -> Twins:
    """Return the rank of what a suspect keeps of the source's fingerprint.

    Args:
        retention: of the source's, a fraction in [0, 1].
        kept: of each other twin's.
    """
    above = sum(value >= retention for value in kept)
    return Twins(len(kept) + 1, above, rank_p_value(retention, kept), tuple(kept), ())


def by_twins(judgement: Judgement, twins: Twins, policy: Policy) -> Judgement:
    """Return a judgement in the light of twins: with enough of them, "derived" needs their p-value to be small, too.

    Args:
        judgement: by the fingerprint alone.
        twins: the suspect's rank.
        policy: how sure to be.
    """
    if judgement.verdict is Verdict.DERIVED and twins.decisive_p(policy.significance) > policy.significance:
        return doubted(
            judgement,
            f"But it keeps as much of the fingerprints of {twins.above} of the source's {twins.twins - 1} twins, which "
            f'it cannot be derived from all: p of "unrelated" by twins is {twins.p_value:.3g}.',
        )
    return judgement
