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

from fpverify.errors import CommitmentError, FingerprintError, SignatureError
from fpverify.fingerprint import load_fingerprint
from fpverify.proof.commitment import Commitment, parse
from fpverify.proof.envelope import Signed
from fpverify.proof.files import MAX_BYTES, read_file, strict_json
from fpverify.result import Verdict
from fpverify.text import one_line

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
    except FingerprintError:
        return _of_document(path)
    about = {"keys": len(fingerprint), "source": {"digest": {"sha256": fingerprint.source.sha256}}}
    return _statement("fingerprint", path, fingerprint.sha256, about)


def _of_document(path: str | os.PathLike[str]) -> bytes:
    data = read_file(path, "file", SignatureError)
    try:
        document = strict_json(data, "document", SignatureError)
        name = str(document.get("format")) if isinstance(document, dict) else ""
        if name.startswith("fpverify-commitment-"):
            made = _commitment(data, path)
            about: dict[str, Any] = {
                "fingerprint": {"digest": {"sha256": made.fingerprint}},
                "source": {"digest": {"sha256": made.source}},
            }
            return _statement("commitment", path, made.sha256, about)
        if name.startswith("fpverify-vetting-"):
            digest = hashlib.sha256(data).hexdigest()
            return _statement("vetting", path, digest, {"fingerprint": {"digest": {"sha256": document["fingerprint"]}}})
        if name.startswith("fpverify-result-"):
            return _verdict(document)
    except (SignatureError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, SignatureError) and not str(error).startswith("not a document"):
            raise error.about(os.fspath(path)) from error
    raise SignatureError(
        culprit=os.fspath(path), expected="a fingerprint, a commitment, a vetting or a verdict (--format json)"
    )


def _commitment(data: bytes, path: str | os.PathLike[str]) -> Commitment:
    try:
        return parse(data)
    except CommitmentError as error:
        raise error.about(os.fspath(path)) from error


def _verdict(report: dict[str, Any]) -> bytes:
    suspect, used = report["suspect"], [("fingerprint", report["fingerprint"]["sha256"])]
    if suspect["sha256"] is None:
        raise SignatureError("a verdict on a suspect that is no file has no digest that a signature could bind")
    if report["proof"] is not None:
        used.append(("commitment", report["proof"]["commitment"]))
    predicate = {
        "result": RESULTS[Verdict(report["verdict"])],
        "configuration": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in used],
        "report": report,
    }
    return _statement("verdict", suspect["name"], suspect["sha256"], predicate)


def _statement(kind: str, path: str | os.PathLike[str], sha256: str, predicate: dict[str, Any]) -> bytes:
    document = {
        "_type": STATEMENT,
        "subject": [{"name": os.path.basename(os.fspath(path)), "digest": {"sha256": sha256}}],
        "predicateType": PREDICATES[kind],
        "predicate": predicate,
    }
    return json.dumps(document, sort_keys=True).encode()


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
        fits = document["_type"] == STATEMENT and isinstance(sha256, str) and isinstance(predicate, dict)
        name = one_line(str(subject.get("name", "")), 200)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SignatureError("not a statement of a fingerprint, a commitment, a vetting or a verdict") from error
    if not fits:
        raise SignatureError("not a statement of version 1 with one subject and its SHA-256")
    return Statement(kind, name, sha256, predicate, signed.signer)
