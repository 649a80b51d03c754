"""The version of this distribution, a constant because asking the installed metadata costs a tenth of a start."""

__version__ = "0.1.0"
