"""Untrusted text on one line and safe to show on a terminal; digests as text."""

import re


def one_line(text: str, limit: int = 500) -> str:
    r"""Return text on one line, with every character that does not print written as an escape.

    A suspect's author chooses its names, and an escape sequence in one could rewrite the report on the screen.

    Args:
        text: anything.
        limit: the most characters to return; longer text ends in an ellipsis.

    Returns:
        The text with white space collapsed, and with `\x1b` and the like spelt out.
    """
    # Cut first: a text may be of a million signs, each ten when it is escaped.
    start = text[: 4 * limit]
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(start.split()))
    if len(start) < len(text):
        shown += "…"
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def is_digest(value: object) -> bool:
    """Say whether a value is a SHA-256 as text: 64 lower-case hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
