"""Statements that are signed: what a file is, and what a verdict says (`formats/attestations-1.md`).

Source:
    in-toto Attestation Framework, Statement version 1; the names of a verdict's fields are those of its predicate
    "test result" (github.com/in-toto/attestation).
"""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from fpverify.documents import MAX_BYTES, read_file, strict_json
from fpverify.errors import CommitmentError, FingerprintError, PanelError, ResultError, SignatureError
from fpverify.fingerprint import load_fingerprint
from fpverify.proof.commitment import parse, require_digest
from fpverify.proof.envelope import Signed
from fpverify.result import RESULT_FORMAT, Result, Verdict
from fpverify.saved import result_from
from fpverify.text import is_digest, one_line
from fpverify.vetting import load_vetting

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""Of every payload."""

STATEMENT = "https://in-toto.io/Statement/v1"
"""Type of every statement."""

PREDICATES = {kind: f"urn:fpverify:{kind}:1" for kind in ("fingerprint", "commitment", "vetting", "verdict")}
"""Type of a statement's predicate, by what the signed file is."""

RESULTS = {Verdict.UNRELATED: "PASSED", Verdict.INCONCLUSIVE: "WARNED", Verdict.DERIVED: "FAILED"}
"""What a verdict is called as the result of a test."""


@dataclass(frozen=True)
class Statement:
    """What was signed."""

    kind: str
    """One of `PREDICATES`."""
    name: str
    """The subject's name."""
    sha256: str
    """The subject's digest, as hexadecimal digits: of a verdict that of the suspect, else that of the signed file."""
    predicate: dict[str, Any]
    """What is said of it."""
    signer: str
    """The `id` of the key that signed it."""

    @property
    def external(self) -> dict[str, str]:
        """Return the digests of the files beside a verdict's suspect that it reads, by their names."""
        report = self.predicate.get("report", {})
        found: dict[str, str] = report["suspect"]["external"] if self.kind == "verdict" else {}
        return found

    @property
    def verdict(self) -> str:
        """Return the verdict of a report; empty where none is stated."""
        report = self.predicate.get("report")
        return one_line(str(report.get("verdict", "")), 40) if isinstance(report, dict) else ""


def statement_of(path: str | os.PathLike[str]) -> bytes:
    """Return what is signed of a file: a fingerprint, a commitment, a vetting or a verdict, each as JSON or as its own.

    Args:
        path: the file; its content says what it is.

    Raises:
        SignatureError: if it is none of these, or a verdict on a suspect that is no file.
    """
    try:
        fingerprint = load_fingerprint(path)
    except FingerprintError as error:
        if _is_document(path):
            return _of_document(path)
        raise SignatureError(
            f"no fingerprint, commitment, vetting or verdict: {error.reason}", culprit=os.fspath(path)
        ) from error
    about = {"keys": len(fingerprint), "source": {"digest": {"sha256": fingerprint.source.sha256}}}
    return _statement("fingerprint", path, fingerprint.sha256, about)


def _is_document(path: str | os.PathLike[str]) -> bool:
    """Say whether a file begins as JSON does; one that cannot be read is complained about by whoever reads it."""
    try:
        with open(path, "rb") as file:
            return file.read(1) in (b"{", b"[", b"")
    except (OSError, ValueError):
        return True


def _of_document(path: str | os.PathLike[str]) -> bytes:
    """Return the statement of a JSON file, as its own format says what it is."""
    data = read_file(path, "file", SignatureError)
    unknown = SignatureError(
        culprit=os.fspath(path), expected="a fingerprint, a commitment, a vetting or a verdict (--format json)"
    )
    try:
        document = strict_json(data, "document", SignatureError)
    except SignatureError as error:
        raise unknown from error
    if isinstance(document, list):
        raise SignatureError(
            "holds several verdicts", culprit=os.fspath(path), hint="sign each by itself: the 'result' of one row"
        )
    name = str(document.get("format")) if isinstance(document, dict) else ""
    try:
        if name.startswith("fpverify-commitment-"):
            made = parse(data)
            about: dict[str, Any] = {
                "fingerprint": {"digest": {"sha256": made.fingerprint}},
                "source": {"digest": {"sha256": made.source}},
            }
            return _statement("commitment", path, made.sha256, about)
        if name.startswith("fpverify-vetting-"):
            vetted = {"digest": {"sha256": load_vetting(path).fingerprint}}
            return _statement("vetting", path, hashlib.sha256(data).hexdigest(), {"fingerprint": vetted})
        if name == RESULT_FORMAT:
            return _verdict(document)
    except (CommitmentError, PanelError, SignatureError) as error:
        raise error.about(os.fspath(path)) from error
    except ResultError as error:
        problem = f"no fingerprint, commitment, vetting or verdict: {one_line(str(error), 200)}"
        raise SignatureError(problem, culprit=os.fspath(path)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise unknown from error
    raise unknown


def _verdict(report: dict[str, Any]) -> bytes:
    found = result_from(report)
    if found.suspect.sha256 is None:
        raise SignatureError("a verdict on a suspect that is no file has no digest that a signature could bind")
    predicate = {"result": RESULTS[found.verdict], "configuration": _configuration(found), "report": report}
    require_digest(found.suspect.sha256, "digest")
    return _statement("verdict", found.suspect.name, found.suspect.sha256, predicate)


def _configuration(found: Result) -> list[dict[str, Any]]:
    """Return what a verdict was judged by."""
    used = [("fingerprint", found.fingerprint.sha256)]
    if found.proof is not None:
        used.append(("commitment", found.proof.commitment))
    for _, sha256 in used:
        require_digest(sha256, "digest")
    return [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in used]


def _statement(kind: str, path: str | os.PathLike[str], sha256: str, predicate: dict[str, Any]) -> bytes:
    document = {
        "_type": STATEMENT,
        "subject": [{"name": os.path.basename(os.fspath(path)), "digest": {"sha256": sha256}}],
        "predicateType": PREDICATES[kind],
        "predicate": predicate,
    }
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()


def read_statement(signed: Signed) -> Statement:
    """Return the statement in an envelope whose signature was checked.

    Raises:
        SignatureError: if it is none that this program makes.
    """
    if signed.payload_type != PAYLOAD_TYPE or len(signed.payload) > MAX_BYTES:
        raise SignatureError(where="payloadType", expected=PAYLOAD_TYPE, found=f"{signed.payload_type!r:.80}")
    document = strict_json(signed.payload, "statement", SignatureError)
    kinds = {predicate: kind for kind, predicate in PREDICATES.items()}
    try:
        (subject,) = document["subject"]
        kind, sha256, predicate = kinds[document["predicateType"]], subject["digest"]["sha256"], document["predicate"]
        fits = document["_type"] == STATEMENT and is_digest(sha256) and isinstance(predicate, dict)
        name = one_line(str(subject.get("name", "")), 200)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SignatureError("not a statement of a fingerprint, a commitment, a vetting or a verdict") from error
    if not fits:
        raise SignatureError("not a statement of version 1 with one subject and its SHA-256")
    if kind == "verdict":
        _require_consistent(predicate, sha256)
    return Statement(kind, name, sha256, predicate, signed.signer)


def _require_consistent(predicate: dict[str, Any], sha256: str) -> None:
    """Check that a verdict's result, its report and its subject say the same."""
    try:
        found = result_from(predicate["report"])
        same = (predicate["result"], predicate["configuration"]) == (RESULTS[found.verdict], _configuration(found))
    except (KeyError, ResultError) as error:
        raise SignatureError(f"not a statement of a verdict with its report: {one_line(str(error), 200)}") from error
    if not same or found.suspect.sha256 != sha256:
        raise SignatureError("a verdict whose result, report and subject do not fit each other")
