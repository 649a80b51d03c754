"""What can go wrong, one class per culprit; an error means that there is no verdict."""

from typing import Self


class FpverifyError(Exception):
    """Base of every expected error: what is wrong as fields, and as one line for people."""

    def __init__(
        self,
        problem: object = "",
        *,
        culprit: object = "",
        where: object = "",
        expected: object = "",
        found: object = "",
        hint: object = "",
    ) -> None:
        """State the error; each part becomes text, and may be left out.

        Args:
            problem: what is wrong.
            culprit: the file, model or option that is at fault.
            where: the place in it, such as a field's name.
            expected: what should be there.
            found: what is there.
            hint: what to try.
        """
        self.problem, self.culprit, self.where = str(problem), str(culprit), str(where)
        self.expected, self.found, self.hint = str(expected), str(found), str(hint)
        super().__init__(self.problem)

    def __str__(self) -> str:
        return f"{self.culprit}: {self.reason}" if self.culprit else self.reason

    @property
    def reason(self) -> str:
        """Return the line without the culprit, for where it is already named."""
        text = ": ".join(part for part in (self.where, self.problem) if part)
        if self.expected:
            text += ("; expected " if self.problem else " must be " if self.where else "expected ") + self.expected
        if self.found:
            text += f"{', ' if text else ''}found {self.found}"
        return f"{text}; {self.hint}" if self.hint else text

    def about(self, culprit: object) -> Self:
        """Return this error with the culprit, unless it names one."""
        fields = {name: getattr(self, name) for name in ("problem", "where", "expected", "found", "hint")}
        return type(self)(culprit=self.culprit or culprit, **fields)


class FingerprintError(FpverifyError):
    """The fingerprint is damaged, of another version, or does not say what a fingerprint must say."""


class CommitmentError(FpverifyError):
    """A commitment or a disclosure is damaged, or proves something else than what it is given for."""


class SignatureError(FpverifyError):
    """A signature, its envelope or a key is damaged, or another than what it is given for."""


class TimestampError(FpverifyError):
    """A timestamp is damaged, of another file, or of an authority that is not trusted."""


class TrustError(FpverifyError):
    """A trust policy makes no sense, or demands what was not given."""


class PanelError(FpverifyError):
    """An auditor's panel holds too few models, or what is recorded of it is damaged or of another fingerprint."""


class SuspectError(FpverifyError):
    """The suspect cannot be loaded, asked or understood."""


class RegistryError(FpverifyError):
    """A model registry cannot be reached, or does not hold what was named."""


class ResultError(FpverifyError):
    """A saved result is damaged, or of another version."""


class PolicyError(FpverifyError):
    """The auditor's own settings make no sense."""


class StatisticsError(FpverifyError):
    """A statistic was asked of numbers that cannot be counts, rates or confidence levels."""


class OutputError(FpverifyError):
    """A result or a fingerprint cannot be written."""
