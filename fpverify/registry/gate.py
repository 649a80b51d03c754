"""What is done with versions in a registry: check one, watch for new ones, promote one behind a signed verdict."""

import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fpverify.correction import corrected
from fpverify.errors import OutputError, RegistryError, SignatureError, SuspectError
from fpverify.files import sha256_of
from fpverify.fingerprint import Fingerprint, load_fingerprint
from fpverify.proof.attestation import Statement, read_statement
from fpverify.proof.envelope import load_envelope
from fpverify.proof.trust import Trust, load_trust
from fpverify.registry.mlflow import Registry, Version
from fpverify.reports import FORMATS
from fpverify.result import GRAVITY, Judged, Policy, Result, Verdict
from fpverify.sandbox.limits import Limits
from fpverify.saved import result_from
from fpverify.scanning import FINGERPRINTS, found_in
from fpverify.verification import verify_each
from fpverify.version import __version__

FOLDER = "fpverify"
"""Where reports are kept with a run."""

LONGEST = 500
"""Characters of a tag."""


@dataclass(frozen=True)
class Check:
    """What a version was judged by, and what came of it."""

    version: Version
    """Which."""
    judged: tuple[Judged, ...]
    """A row for each fingerprint."""

    @property
    def gravest(self) -> Judged:
        """Return the gravest row."""
        return min(self.judged, key=lambda one: GRAVITY.index(one.outcome))


def load_fingerprints(named: Sequence[str | os.PathLike[str]]) -> dict[str, Fingerprint]:
    """Return fingerprints by their paths: of files, and of folders with `.safetensors` files.

    Raises:
        RegistryError: if there are none.
        FingerprintError: if one cannot be read.
    """
    found = {path: load_fingerprint(path) for path in found_in(named, FINGERPRINTS)}
    if not found:
        raise RegistryError("there is no fingerprint", culprit="fingerprints", expected="a .safetensors file")
    return found


def check(
    registry: Registry,
    version: Version,
    fingerprints: Mapping[str, Fingerprint],
    *,
    policy: Policy | None = None,
    limits: Limits | None = None,
    contract: Mapping[str, Any] | None = None,
    correction: str | None = "holm",
    allow_code: bool = False,
) -> Check:
    """Judge a version by fingerprints.

    Args:
        registry: where it is.
        version: which.
        fingerprints: of `load_fingerprints`.
        policy: how sure to be.
        limits: what an ONNX file may take.
        contract: what is known of its input and output.
        correction: how verdicts are corrected for the number of fingerprints, as for `scan`.
        allow_code: whether a model of another flavor than ONNX is loaded, which runs its code, in this process.

    Raises:
        RegistryError: if it cannot be reached or downloaded.
    """
    rows: list[Judged] = []
    with tempfile.TemporaryDirectory(prefix="fpverify-") as name:
        folder = registry.download(version, Path(name))
        try:
            suspect = _suspect(registry, folder, allow_code)
            results = verify_each(fingerprints.values(), suspect, policy=policy, limits=limits, contract=contract)
            for path, result in zip(fingerprints, results, strict=True):
                if isinstance(result, SuspectError):
                    rows.append(Judged(str(version), path, None, result.reason))
                else:  # the file was here for as long as it was asked
                    result = replace(result, suspect=replace(result.suspect, path=None))
                    rows.append(Judged(str(version), path, result))
        except SuspectError as error:
            rows += [Judged(str(version), path, None, error.reason) for path in list(fingerprints)[len(rows) :]]
    return Check(version, tuple(corrected(rows, correction)))


def _suspect(registry: Registry, folder: Path, allow_code: bool) -> Any:
    file = registry.onnx_file(folder)
    beside = registry.served_beside(folder)
    if file is not None and not beside:
        return file
    if not allow_code:
        has = "has no ONNX flavor" if file is None else f"may be served by {beside}, not by its ONNX file"
        raise SuspectError(
            f"{has}, and to load that runs its code, with all that this process may do",
            hint="--allow-code allows that",
        )
    return registry.load(folder)


def publish(registry: Registry, found: Check) -> bool:
    """Write what came of a check into tags of the version, and the reports into its run.

    Returns:
        Whether the reports were kept: a version that no run made has no place for them.

    Raises:
        RegistryError: if that cannot be written.
    """
    gravest, results = found.gravest, [one.result for one in found.judged if one.result is not None]
    tags = {"outcome": gravest.outcome, "fingerprints": str(len(found.judged)), "fpverify": __version__}
    if gravest.result is not None:
        tags |= {
            "p_value": f"{gravest.result.p_value:.6g}",
            "q_value": f"{gravest.result.q_value:.6g}",
            "fingerprint": gravest.result.fingerprint.sha256,
            "judged_at": gravest.result.judged_at,
        }
    else:
        tags["reason"] = gravest.error[:LONGEST]
    if results and results[0].suspect.sha256:
        tags["suspect_sha256"] = results[0].suspect.sha256
    registry.tag(found.version, {f"fpverify.{name}": value for name, value in tags.items()})
    with tempfile.TemporaryDirectory(prefix="fpverify-") as name:
        for style, suffix in (("text", "txt"), ("jsonl", "jsonl")):
            file = Path(name) / f"version-{found.version.number}.{suffix}"
            file.write_text("".join(FORMATS[style].many(found.judged)))
            registry.keep(found.version, file, FOLDER)
    return found.version.run is not None


class Seen:
    """Which versions were checked, in a file that survives restarts and kills."""

    def __init__(self, path: str | os.PathLike[str], settings: str) -> None:
        """Open the file, or make it.

        Args:
            path: of the file.
            settings: digest of what versions are judged by: with other fingerprints each is checked again.

        Raises:
            OutputError: if it is no such file, or cannot be written.
        """
        self._path, self._settings = os.fspath(path), settings
        try:
            self._database = sqlite3.connect(self._path, isolation_level=None)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS seen (name TEXT, version TEXT, created INTEGER, settings TEXT, "
                "outcome TEXT, PRIMARY KEY (name, version, created, settings))"
            )
        except sqlite3.Error as error:
            raise OutputError(f"cannot keep what was checked: {error}", culprit=self._path) from error

    def __contains__(self, version: Version) -> bool:
        query = "SELECT 1 FROM seen WHERE name = ? AND version = ? AND created = ? AND settings = ?"
        return self._ask(query, *self._key(version)) is not None

    def add(self, version: Version, outcome: str) -> None:
        """Note that a version was checked."""
        self._ask("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", *self._key(version), outcome)

    def _key(self, version: Version) -> tuple[str, str, int, str]:
        return version.name, version.number, version.created, self._settings

    def _ask(self, query: str, *values: Any) -> Any:
        try:
            return self._database.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise OutputError(f"cannot keep what was checked: {error}", culprit=self._path) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def settings_of(fingerprints: Mapping[str, Fingerprint], policy: Policy, contract: Mapping[str, Any]) -> str:
    """Return the digest of what versions are judged by."""
    parts = [sorted(one.sha256 for one in fingerprints.values()), asdict(policy), contract, __version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def watch_once(
    registry: Registry, seen: Seen, name: str | None, checked: Callable[[Version], Check], log: Callable[[str], None]
) -> Iterator[Check]:
    """Check every version that was not checked before; a version is noted when its tags are written.

    Args:
        registry: where the versions are.
        seen: which were checked.
        name: of the model; None for all.
        checked: checks one.
        log: takes what is wrong with a version that the registry does not give: it is tried again next time.

    Yields:
        Each check.
    """
    for version in registry.versions(name):
        if version in seen:
            continue
        try:
            found = checked(version)
            publish(registry, found)
        except RegistryError as error:
            log(f"{version}: {error}")
            continue
        seen.add(version, found.gravest.outcome)
        yield found


def promote(
    registry: Registry,
    version: Version,
    alias: str,
    attestations: Sequence[str | os.PathLike[str]],
    trust: Sequence[str | os.PathLike[str]],
    *,
    accept: Sequence[str] = (str(Verdict.UNRELATED),),
    fingerprints: Mapping[str, Fingerprint] | None = None,
) -> tuple[Statement, ...]:
    """Move an alias to a version behind signed verdicts on its file.

    Args:
        registry: where it is.
        version: which.
        alias: what is moved.
        attestations: envelopes of verdicts.
        trust: public keys whose signatures count, and policies (`.toml`) that say what a verdict must rest on.
        accept: verdicts that are good enough.
        fingerprints: by each of which there must be a verdict; None for at least one verdict.

    Returns:
        The statements.

    Raises:
        SignatureError: if a verdict is not signed by a trusted key, is on another file, or is not good enough, or one
            is missing; the alias is as it was before.
        SuspectError: if the version holds no ONNX file.
        TrustError: if a verdict does not rest on what a policy demands.
        RegistryError: if the registry cannot be reached.
    """
    trusted = load_trust([Path(one) for one in trust])
    statements = tuple(_verdict(path, trusted, accept) for path in attestations)
    by = {one.predicate["report"]["fingerprint"]["sha256"] for one in statements}
    missing = [path for path, one in (fingerprints or {}).items() if one.sha256 not in by]
    if missing or not statements:
        raise SignatureError("there is no signed verdict", culprit=missing[0] if missing else "--attestation")
    with tempfile.TemporaryDirectory(prefix="fpverify-") as name:
        folder = registry.download(version, Path(name))
        file = registry.onnx_file(folder)
        if file is None:
            raise SuspectError("has no ONNX flavor: no signature can bind what it does", culprit=str(version))
        beside = registry.served_beside(folder)
        if beside:
            raise SuspectError(
                f"may be served by {beside}, which no verdict is about",
                culprit=str(version),
                hint="register the ONNX model as mlflow.onnx.log_model writes it",
            )
        for path, one in zip(attestations, statements, strict=True):
            for part, sha256 in {file: one.sha256, **{file.parent / n: s for n, s in one.external.items()}}.items():
                if sha256_of(part) != sha256:
                    raise SignatureError(
                        f"is about another file than {version} holds",
                        culprit=os.fspath(path),
                        expected=f"SHA-256 {sha256_of(part)} ({part.name})",
                        found=sha256,
                    )
    registry.alias(version, alias)
    return statements


def _verdict(path: str | os.PathLike[str], trust: Trust, accept: Sequence[str]) -> Statement:
    try:
        statement = read_statement(load_envelope(path, trust.keys))
        if statement.kind != "verdict":
            raise SignatureError(expected="a signed verdict", found=f"a signed {statement.kind}")
        if statement.verdict not in accept:
            raise SignatureError(expected=f"a verdict that is {' or '.join(accept)}", found=statement.verdict)
        _require_backed(result_from(statement.predicate["report"]), trust)
    except SignatureError as error:
        raise error.about(os.fspath(path)) from error
    return statement


def _require_backed(result: Result, trust: Trust) -> None:
    """Check that a signed verdict rests on what a trust policy demands; the report says so itself."""
    proof, provenance = result.proof, result.provenance
    counted = 0 if result.vetting is None else len(result.vetting.counted)
    again = "judge the version by that policy, and sign the verdict"
    trust.demand("commitment", proof is not None and proof.fair, "the verdict rests on none", again)
    trust.demand("vetting", counted >= trust.panel, f"{counted} models of a panel count in it", again)
    older = provenance is not None and bool(provenance.older)
    trust.demand("timestamp", older, "the verdict rests on none that is older than the suspect", again)
