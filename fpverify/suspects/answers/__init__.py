"""Reads a model's outputs as labels of the fingerprint's classes.

- `choice`: which output is the answer, and which others contradict it;
- `single`, `grouped`, `ranked`: outputs that are the answer alone, together, or list the best few classes;
- `meaning`: what numbers and names mean among the fingerprint's classes;
- `answer`: what was read.
"""

from fpverify.suspects.answers.answer import BY_NAME, Alternative, Answers
from fpverify.suspects.answers.choice import read_answers

__all__ = ["BY_NAME", "Alternative", "Answers", "read_answers"]
