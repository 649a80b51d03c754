"""Whom and what an auditor trusts: keys, authorities, and what a verdict must have.

A policy is a TOML file:

    keys = ["owner.pub"]                                  # whose signatures count
    roots = ["authority.pem"]                             # authorities whose timestamps count
    require = ["signature", "commitment", "timestamp", "vetting"]
    panel = 19                                            # models that must count in a vetting

Paths are relative to the file. Everything may be left out.
"""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpverify.documents import read_file
from fpverify.errors import TrustError
from fpverify.proof.envelope import PublicKey, load_public
from fpverify.proof.timestamp import load_roots
from fpverify.text import one_line

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

DEMANDS = ("signature", "commitment", "timestamp", "vetting")
"""What a policy may demand of a verdict."""


@dataclass(frozen=True)
class Trust:
    """Whom and what an auditor trusts."""

    keys: tuple[PublicKey, ...] = ()
    """Whose signatures count."""
    roots: "tuple[Certificate, ...]" = ()
    """Authorities whose timestamps count."""
    require: frozenset[str] = frozenset()
    """What a verdict must have: some of `DEMANDS`."""
    panel: int = 3
    """Models that must count in a vetting, where one is required."""

    def __post_init__(self) -> None:
        if not set(self.require) <= set(DEMANDS):
            found = ", ".join(sorted(map(str, self.require)))
            raise TrustError(where="require", expected=f"some of {', '.join(DEMANDS)}", found=f"{found:.100}")
        if type(self.panel) is not int or self.panel < Trust.panel:
            raise TrustError(
                where="panel", expected=f"an integer of at least {Trust.panel}", found=f"{self.panel!r:.40}"
            )

    def demand(self, what: str, there: bool, problem: str, hint: str) -> None:
        """Check that a verdict has what it must have.

        Args:
            what: one of `DEMANDS`.
            there: whether it has it.
            problem: what is wrong, if not.
            hint: what to try.

        Raises:
            TrustError: if it has not.
        """
        if what in self.require and not there:
            raise TrustError(f"the trust policy demands a {what}: {problem}", hint=hint)

    def require_only(self, checked: set[str], what: str, hint: str) -> None:
        """Check that nothing is demanded that would not be checked.

        Args:
            checked: some of `DEMANDS`.
            what: who checks.
            hint: what to try.

        Raises:
            TrustError: if there is.
        """
        if unchecked := sorted(self.require - checked):
            raise TrustError(f"{what} cannot check the {unchecked[0]} that the trust policy demands", hint=hint)


def load_trust(paths: Sequence[str | os.PathLike[str]], roots: Sequence[str | os.PathLike[str]] = ()) -> Trust:
    """Read what an auditor trusts.

    Args:
        paths: policies (`.toml`), and public keys in PEM; who names a key demands a signature.
        roots: further files of certificates.

    Returns:
        All of it together.

    Raises:
        TrustError: if a policy cannot be read or makes no sense.
        SignatureError: if a key cannot be read.
        TimestampError: if certificates cannot be read.
    """
    stated = [_policy(path) if Path(path).suffix.lower() == ".toml" else _key(path) for path in paths]
    certificates = [one for path in roots for one in load_roots(path)]
    return Trust(
        keys=tuple(key for one in stated for key in one.keys),
        roots=(*certificates, *(root for one in stated for root in one.roots)),
        require=frozenset().union(*(one.require for one in stated)),
        panel=max((one.panel for one in stated), default=Trust.panel),
    )


def _key(path: str | os.PathLike[str]) -> Trust:
    return Trust((load_public(path),), require=frozenset({"signature"}))


def _policy(path: str | os.PathLike[str]) -> Trust:
    data, folder = read_file(path, "trust policy", TrustError), Path(path).parent
    try:
        policy = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # also what is no UTF-8, no TOML, or an integer of too many digits
        raise TrustError(f"not a trust policy: {one_line(str(error), 200)}", culprit=os.fspath(path)) from error
    lists = {name: policy.pop(name, []) for name in ("keys", "roots", "require")}
    panel = policy.pop("panel", Trust.panel)
    for name in policy:
        raise TrustError(culprit=os.fspath(path), expected="keys, roots, require and panel", found=repr(name)[:80])
    for name, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            found = type(value).__name__
            raise TrustError(culprit=os.fspath(path), where=name, expected="a list of texts", found=found)
    keys = tuple(load_public(folder / name) for name in lists["keys"])
    roots = tuple(one for name in lists["roots"] for one in load_roots(folder / name))
    try:
        return Trust(keys, roots, frozenset(lists["require"]), panel)
    except TrustError as error:
        raise error.about(os.fspath(path)) from error
