"""Signatures: Ed25519 keys, and DSSE envelopes around what they sign.

`cryptography` comes with the extra `proof`, and is imported when a key is used.

Source:
    DSSE, "Dead Simple Signing Envelope", protocol and envelope version 1.0.2
    (github.com/secure-systems-lab/dsse); RFC 8032 for Ed25519.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpverify.documents import load, read_file, strict_json
from fpverify.errors import SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_SIGNATURES = 16
"""Signatures of one envelope that are looked at."""


@dataclass(frozen=True)
class PublicKey:
    """A key that is trusted."""

    key: "Ed25519PublicKey"
    """What signatures are checked with."""

    @property
    def id(self) -> str:
        """Return what names it: the SHA-256 of its 32 bytes, as hexadecimal digits."""
        return hashlib.sha256(self.key.public_bytes_raw()).hexdigest()


@dataclass(frozen=True)
class Signed:
    """What an envelope holds, when a trusted key has signed it."""

    payload_type: str
    """What the payload is."""
    payload: bytes
    """The signed bytes."""
    signer: str
    """The `id` of the key."""


def require(package: str) -> Any:
    """Import a package of the extra `proof`.

    Raises:
        SignatureError: if it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        raise SignatureError(
            f"{package.split('.')[0]} is not installed", hint="pip install 'fpverify[proof]'"
        ) from error


def new_key(passphrase: bytes) -> tuple[bytes, bytes]:
    """Draw a key.

    Args:
        passphrase: with which the private part is encrypted; empty to leave it as it is.

    Returns:
        The private part (PKCS #8, PEM) and the public one (SubjectPublicKeyInfo, PEM).
    """
    require("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def is_encrypted(path: str | os.PathLike[str]) -> bool:
    """Say whether a private key needs a passphrase.

    Raises:
        SignatureError: if it cannot be read.
    """
    return b"ENCRYPTED" in read_file(path, "key", SignatureError)


def load_private(path: str | os.PathLike[str], passphrase: bytes) -> "Ed25519PrivateKey":
    """Read a private key.

    Args:
        path: a PEM file.
        passphrase: empty where there is none.

    Raises:
        SignatureError: if it cannot be read, the passphrase is wrong, or it is no Ed25519 key.
    """
    require("cryptography")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = read_file(path, "key", SignatureError)
    try:
        key = serialization.load_pem_private_key(data, passphrase or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        wrong = "not a private key in PEM"
        if b"ENCRYPTED" in data:
            wrong = "the passphrase is wrong" if passphrase else "it needs its passphrase"
        raise SignatureError(wrong, culprit=os.fspath(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(culprit=os.fspath(path), expected="an Ed25519 key", found=type(key).__name__)
    return key


def load_public(path: str | os.PathLike[str]) -> PublicKey:
    """Read a public key.

    Raises:
        SignatureError: if it cannot be read, or is no Ed25519 key in PEM.
    """
    require("cryptography")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = read_file(path, "key", SignatureError)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("not a public key in PEM", culprit=os.fspath(path)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(culprit=os.fspath(path), expected="an Ed25519 key", found=type(key).__name__)
    if key.public_bytes_raw()[:31] + bytes([key.public_bytes_raw()[31] & 0x7F]) in SMALL:
        raise SignatureError("a key that anything is signed with", culprit=os.fspath(path))
    return PublicKey(key)


SMALL = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
"""Points of small order, without the sign: whoever has such a key signs every message with one signature.

Source:
    The list of excluded points of libsodium (`ge25519_has_small_order`).
"""


def encoded(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, key: "Ed25519PrivateKey") -> bytes:
    """Return an envelope with one signature.

    Args:
        payload: what is signed.
        payload_type: what it is.
        key: with which.

    Returns:
        JSON, as the envelope's specification says.
    """
    signature = {
        "keyid": PublicKey(key.public_key()).id,
        "sig": base64.b64encode(key.sign(encoded(payload_type, payload))).decode(),
    }
    document = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [signature],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def opened(data: bytes, keys: Sequence[PublicKey]) -> Signed:
    """Return what an envelope holds, if one of some keys has signed it; nothing of it is used before.

    Args:
        data: the envelope's file.
        keys: those that are trusted.

    Raises:
        SignatureError: if it is no envelope, or none of the keys has signed it.
    """
    document = strict_json(data, "signed envelope", SignatureError)
    fields = ("payloadType", "payload", "signatures")
    if not isinstance(document, dict) or not set(fields) <= set(document):
        raise SignatureError(f"not a signed envelope: it must hold {', '.join(fields)}")
    kind, text, signatures = (document[name] for name in fields)
    listed = isinstance(signatures, list) and all(isinstance(one, dict) for one in signatures)
    if not isinstance(kind, str) or not listed or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise SignatureError("not a signed envelope", expected=f"a type and 1 to {MAX_SIGNATURES} signatures")
    if not kind.isascii():
        raise SignatureError(where="payloadType", expected="ASCII")
    payload = _bytes(text, "payload")
    from cryptography.exceptions import InvalidSignature

    message = encoded(kind, payload)
    for one in signatures:
        signature = _bytes(one.get("sig"), "sig")
        for key in keys:
            try:
                key.key.verify(signature, message)
            except InvalidSignature:
                continue
            return Signed(kind, payload, key.id)
    named = ", ".join(str(one.get("keyid"))[:64] for one in signatures)
    raise SignatureError(
        "no trusted key has signed this, or it was changed afterwards",
        expected=f"a signature of {', '.join(key.id for key in keys) or 'a key'}",
        found=f"key {named}",
    )


def load_envelope(path: str | os.PathLike[str], keys: Sequence[PublicKey]) -> Signed:
    """Read an envelope's file: errors as for `opened`, with the file's name."""
    return load(path, "signed envelope", lambda data: opened(data, keys), SignatureError)


def _bytes(text: Any, where: str) -> bytes:
    """Return bytes of base64, standard or for URLs: the specification demands both of readers."""
    if not isinstance(text, str):
        raise SignatureError(where=where, expected="base64", found=f"{text!r:.60}")
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError as error:
        raise SignatureError(where=where, expected="base64", found=f"{text!r:.60}") from error
