"""Keeps credentials out of what is written: reports, errors, journals."""

import os
import re

NAMES = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
"""Environment variables whose values are credentials."""

SHORTEST = 8
"""Characters of a value from which on it is looked for: shorter ones are words like any other."""

MARK = "[credential]"
"""Stands for a credential."""


def redacted(text: str, also: tuple[str, ...] = ()) -> str:
    """Return a text without credentials.

    Args:
        text: anything, such as what a server or a callable said.
        also: further credentials, whatever their length.

    Returns:
        The text with a mark in place of each value of an environment variable that is named like a credential.
    """
    values = {value for name, value in os.environ.items() if NAMES.search(name) and len(value) >= SHORTEST}
    for value in sorted(values | {value for value in also if value}, key=len, reverse=True):
        text = text.replace(value, MARK)
    return text
