"""Judges mutated fingerprints: refused, or, where the digest was made to fit, saved with the bytes that were loaded."""

import hashlib
import json
import random
from pathlib import Path

from fuzzing.corpus import DIGITS, small_fingerprints
from fuzzing.models import GRACE, Judge
from fuzzing.mutate_bytes import mutate_bytes
from fuzzing.mutate_json import mutate_json, read_json, write_json

import fpverify
from fpverify.inspection import inspect_file
from fpverify.reports import FORMATS


class Fingerprints(Judge):
    """Fingerprints: as they are damaged by chance, and with the digest made to fit."""

    suffix = ".safetensors"

    def __init__(self, seed: int, folder: Path, share: float = 0.0) -> None:
        super().__init__(seed, folder, share)
        self.corpus = [(DIGITS / "fingerprint.safetensors").read_bytes(), *small_fingerprints()]

    def make(self, index: int) -> tuple[bytes, list[str]]:
        rng = self.rng(index)
        number = rng.randrange(len(self.corpus))
        content, done = self.corpus[number], [f"fingerprint {number}"]
        family = rng.choice(("bytes", "header", "sealed", "sealed"))
        count = rng.choice((1, 1, 1, 2, 3))
        if family == "bytes":
            for _ in range(count):
                content, what = mutate_bytes(rng, content, self.corpus)
                done.append(what)
            return content, [*done, "bytes"]
        content, what = mutate_header(rng, content, count, family == "sealed")
        return content, [*done, *what, family]

    def judge(self, index: int, path: Path, mutations: list[str]) -> str:
        content = path.read_bytes()
        sealed = mutations[-1] == "sealed"
        summary, _ = self.attempt("inspect", GRACE, lambda: inspect_file(path))
        loaded, outcome = self.attempt("load", GRACE, lambda: fpverify.load_fingerprint(path))
        if loaded is None:
            if not outcome.startswith("FingerprintError"):
                self.violations.append(f"load: must raise a FingerprintError, raised {outcome}")
            return outcome
        if content in self.corpus:
            return "loaded, unchanged"
        if not sealed:
            self.violations.append("load: takes a file that was altered")
        if summary is not None:
            self.check_report(lambda: FORMATS["text"].inspection(summary))
            self.attempt("inspect --format json", GRACE, lambda: FORMATS["json"].inspection(summary))
        self.attempt("save", GRACE, lambda: fpverify.save_fingerprint(loaded, path))
        if path.read_bytes() != content:
            self.violations.append("save: other bytes than were loaded")
        return "loaded, digest made to fit"


def mutate_header(rng: random.Random, content: bytes, count: int, sealed: bool) -> tuple[bytes, list[str]]:
    """Mutate the header of a fingerprint; with `sealed`, write the digest of the new content into it."""
    size = 8 + int.from_bytes(content[:8], "little")
    header, body = read_json(content[8:size].decode()), bytearray(content[size:])
    inner = dict(dict(header)["__metadata__"])["fpverify"]
    metadata, done = read_json(inner), []
    for _ in range(count):
        part = rng.choice(("metadata", "metadata", "metadata", "header", "body"))
        if part == "body":
            at = rng.randrange(len(body))
            body[at] = rng.choice((0, 1, 255, body[at] ^ 1))
            done.append(f"body at {at}")
        else:
            done.append(f"{part}: {mutate_json(rng, metadata if part == 'metadata' else header)}")
    text = write_json(metadata)
    if sealed:
        text = sealed_text(text, bytes(body))
    # The outer text holds the inner one as a string, which the header's own mutation may have moved or lost.
    whole = write_json(header).replace(json.dumps(inner), json.dumps(text)).encode("utf-8", "surrogatepass")
    whole += b" " * rng.choice((*(-len(whole) % 8,) * 20, 0, 1, 8))
    length = len(whole) + rng.choice((*(0,) * 40, -1, 1, 8, 2**32, 2**62))
    return length.to_bytes(8, "little") + whole + bytes(body), done


def sealed_text(text: str, body: bytes) -> str:
    """Return metadata with the digest of what they and the tensors now hold, if they are JSON at all."""
    try:
        document = json.loads(text)
        claimed = document.pop("digest")
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return text
    digest = hashlib.sha256(canonical.encode() + body).hexdigest()
    return text.replace(claimed, digest) if isinstance(claimed, str) and len(claimed) == 64 else text
