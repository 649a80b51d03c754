"""Timestamps: an authority confirms when a file existed (RFC 3161). Requests and checks need no network.

`rfc3161-client` comes with the extra `proof`, and is imported when it is used.
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fpverify.documents import read_file
from fpverify.errors import TimestampError
from fpverify.proof.envelope import require

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


MAX_STAMPED = 2**28 + 2**20
"""Bytes of a file that is stamped: a fingerprint, or what is smaller."""


def request_for(data: bytes) -> bytes:
    """Return a request for a timestamp, as any authority takes it (`application/timestamp-query`).

    Args:
        data: the file; the request holds its SHA-256 and a random number.
    """
    client = require("rfc3161_client")
    if not data:
        raise TimestampError("an empty file cannot be stamped")
    builder = client.TimestampRequestBuilder().data(data).hash_algorithm(client.HashAlgorithm.SHA256)
    request: bytes = builder.build().as_bytes()
    return request


def load_roots(path: str | os.PathLike[str]) -> "list[Certificate]":
    """Read certificates in PEM.

    Raises:
        TimestampError: if there is none.
    """
    require("cryptography")
    from cryptography import x509

    data = read_file(path, "certificates", TimestampError)
    try:
        return x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise TimestampError("no certificate in PEM", culprit=os.fspath(path)) from error


def time_of(token: bytes, data: bytes, roots: "Sequence[Certificate]") -> datetime:
    """Return when an authority saw a file. Its certificates must have been valid then; they may have expired since.

    Args:
        token: the authority's reply (`application/timestamp-reply`).
        data: the file.
        roots: certificates that are trusted.

    Returns:
        The time, in UTC; the latest one, where the authority states how accurate its clock is.

    Raises:
        TimestampError: if it is no reply, of another file, or of an authority that is not trusted.
    """
    client = require("rfc3161_client")
    try:
        reply = client.decode_timestamp_response(token)
        builder = client.VerifierBuilder()
        for root in dict.fromkeys(roots):
            builder = builder.add_root_certificate(root)
        imprint = reply.tst_info.message_imprint.message
        if imprint not in {hashlib.new(name, data).digest() for name in ("sha256", "sha384", "sha512")}:
            raise TimestampError("the timestamp is of another file")
        builder.build().verify_message(reply, data)
        time: datetime = reply.tst_info.gen_time
        accuracy = reply.tst_info.accuracy
    except TimestampError:
        raise
    except Exception as error:  # the library has no one class for what is wrong in a reply
        raise TimestampError(
            "not a timestamp that the roots vouch for: it is damaged, of another authority, or its certificate was not "
            "valid then"
        ) from error
    late = timedelta(seconds=(accuracy.seconds or 0) + 1) if accuracy is not None and accuracy.seconds else timedelta()
    return time.astimezone(UTC) + late
