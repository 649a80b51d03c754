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
from typing import TYPE_CHECKING, Any

from fpverify.errors import TrustError
from fpverify.proof.envelope import PublicKey, load_public
from fpverify.proof.files import read_file
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
    keys: list[PublicKey] = []
    certificates = [one for path in roots for one in load_roots(path)]
    require: set[str] = set()
    panel = Trust.panel
    for path in paths:
        if Path(path).suffix.lower() != ".toml":
            keys.append(load_public(path))
            require.add("signature")
            continue
        policy = _policy(path)
        folder = Path(path).parent
        keys += [load_public(folder / name) for name in policy.get("keys", ())]
        certificates += [one for name in policy.get("roots", ()) for one in load_roots(folder / name)]
        require |= set(policy.get("require", ()))
        panel = max(panel, policy.get("panel", panel))
    return Trust(tuple(keys), tuple(certificates), frozenset(require), panel)


def _policy(path: str | os.PathLike[str]) -> dict[str, Any]:
    data = read_file(path, "trust policy", TrustError)
    try:
        policy = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # also what is no UTF-8, no TOML, or an integer of too many digits
        raise TrustError(f"not a trust policy: {one_line(str(error), 200)}", culprit=os.fspath(path)) from error
    for name, value in policy.items():
        if name == "panel":
            fits, expected = type(value) is int and value >= Trust.panel, f"an integer of at least {Trust.panel}"
        elif name in ("keys", "roots", "require"):
            fits, expected = isinstance(value, list) and all(isinstance(one, str) for one in value), "a list of texts"
        else:
            raise TrustError(culprit=os.fspath(path), expected="keys, roots, require and panel", found=repr(name)[:80])
        if fits and name == "require" and not set(value) <= set(DEMANDS):
            fits, expected = False, f"some of {', '.join(DEMANDS)}"
        if not fits:
            raise TrustError(culprit=os.fspath(path), where=name, expected=expected, found=type(value).__name__)
    return policy
