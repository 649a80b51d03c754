"""Keeps credentials out of what is written: reports, errors, journals."""

import os
import re
from collections.abc import Iterable

NAMES = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
"""Environment variables whose values are credentials."""

SHORTEST = 8
"""Characters of a value from which on it is looked for: shorter ones are words like any other."""

MARK = "[credential]"
"""Stands for a credential."""


ADDRESS = re.compile(
    r"(?P<scheme>[a-z0-9+.-]*https?:/{1,2})(?P<user>[^/?#@]*@)?(?P<rest>[^?#]*)(?P<query>[?#].*)?", re.I | re.S
)
"""An address, with what may be a credential in it: a user's name and password, and the query."""


USER = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*:)(?://[^/?#\s@]+|/[^/?#\s@:]+:[^/?#\s@]+)@", re.I)
"""A name and a password in an address within a text; a path of an address has one slash left."""


def without_credentials(argument: str) -> str:
    """Return one argument of a command line as it may be shown: of an address without user, password and query."""
    found = ADDRESS.fullmatch(argument)
    if found is None:
        return redacted(argument)
    return redacted(found["scheme"] + found["rest"] + ("?…" if found["query"] else ""))


def credentials(also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values of environment variables that are named like credentials, the longest first.

    Args:
        also: further credentials, whatever their length.
    """
    values = {value for name, value in os.environ.items() if NAMES.search(name) and len(value) >= SHORTEST}
    return tuple(sorted(values | {value for value in also if value}, key=len, reverse=True))


def redacted(text: str, known: tuple[str, ...] | None = None) -> str:
    """Return a text with a mark in place of each credential, and of the user of each address.

    Args:
        text: anything, such as what a server or a callable said.
        known: of `credentials`, where many texts are looked at; None for those of the environment.
    """
    for value in credentials() if known is None else known:
        text = text.replace(value, MARK)
    return USER.sub(lambda found: f"{found['scheme']}//{MARK}@", text) if "@" in text else text
