"""Reads bytes that the sandboxed process sends, and refuses bytes that do not form a reply."""

from typing import IO, NoReturn

from fpverify.errors import SuspectError

MAX_TEXT = 1000
"""Characters of one text or key."""


def refuse(what: str) -> NoReturn:
    """Refuse a reply.

    Args:
        what: what is wrong with it.

    Raises:
        SuspectError: always.
    """
    raise SuspectError(f"sent an invalid reply: {what}")


def exactly(stream: IO[bytes], size: int) -> bytes:
    """Read so many bytes.

    Args:
        stream: what the process writes to.
        size: how many.

    Raises:
        EOFError: if the stream ends before.
    """
    content = bytearray()
    while len(content) < size:
        part = stream.read(min(size - len(content), 2**20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)
