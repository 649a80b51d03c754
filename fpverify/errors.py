"""What can go wrong, one class per culprit; an error means that there is no verdict."""


class FpverifyError(Exception):
    """Base of every expected error; its message is one line for a person."""


class FingerprintError(FpverifyError):
    """The fingerprint is damaged, of another version, or does not say what a fingerprint must say."""


class SuspectError(FpverifyError):
    """The suspect cannot be loaded, asked or understood."""


class PolicyError(FpverifyError):
    """The auditor's own settings make no sense."""


class StatisticsError(FpverifyError):
    """A statistic was asked of numbers that cannot be counts, rates or confidence levels."""


class OutputError(FpverifyError):
    """A result or a fingerprint cannot be written."""
