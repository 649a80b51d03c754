"""A vetting as a letter."""

from pathlib import Path

from fpverify.reports.letter import Letter, Rows, Section
from fpverify.result import Vetting


def letter(vetting: Vetting) -> Letter:
    """Return a vetting for a person.

    Args:
        vetting: of `vet`.

    Returns:
        Whether the fingerprint is refused, what the panel supports, and each model of it.
    """
    headline = (
        "REFUSED: this fingerprint decides nothing" if vetting.refusals else "NOT REFUSED: see what this supports"
    )
    rows = [
        (Path(member.name).name, member.left_out or f"keeps {member.kept} of {vetting.queries} keys")
        for member in sorted(vetting.members, key=lambda one: -1 if one.kept is None else one.kept, reverse=True)
    ]
    said = [f"Because {reason}." for reason in vetting.refusals]
    said += [] if vetting.tested else [f"Note: {UNTESTED}."]
    supports = [*panel_rows(vetting), ("fingerprint", f"SHA-256 {vetting.fingerprint}")]
    return Letter(headline, said, [Section("What the panel supports", supports), Section("The panel", rows)])


UNTESTED = (
    "nothing shows that the models of the panel work, since the fingerprint holds no control images: a panel that does "
    "not work refuses nothing (vet --probe)"
)
"""What is said of a panel whose models were asked no ordinary images."""


def panel_rows(vetting: Vetting) -> Rows:
    """Return what a panel supports."""
    source, bound = vetting.source_kept, f"at most {vetting.bound:.1%} of models like the panel would be called derived"
    p_value = [] if vetting.p_value is None else [('p, "unrelated"', f"{vetting.p_value:.3g}, by rank among the panel")]
    return [
        ("models", f"{len(vetting.counted)} of {len(vetting.members)} count; {reaching(vetting)}"),
        ("bound", f"{bound} ({vetting.confidence:.4g} confidence)"),
        ("smallest p", f"{vetting.smallest_p:.3g} is the smallest p-value that so many models can give"),
        *p_value,
        ("source", "was not asked" if source is None else f"keeps {source} of {vetting.queries} keys"),
    ]


def reaching(vetting: Vetting) -> str:
    """Say how many of a panel would be called derived."""
    if vetting.cut is None:
        return "no number of kept keys is called derived"
    return f"{vetting.reaching or 'none'} of them would be called derived, which takes {vetting.cut} kept keys"
