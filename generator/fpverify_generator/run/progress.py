"""What a stage of a run says of itself: how much is done, and about how long the rest takes."""

import time
from collections.abc import Callable

FIRST = 5.0
"""Seconds of a stage after which its speed is known well enough for an estimate."""


class Stage:
    """One stage: so many things of one kind to do."""

    def __init__(self, log: Callable[[str], None], what: str, total: int, unit: str) -> None:
        """Begin.

        Args:
            log: takes one line for people.
            what: the stage's name.
            total: how many things there are to do.
            unit: what they are and what happens to them, such as "trained".
        """
        self._log, self._what, self._total, self._unit = log, what, total, unit
        self._began = time.perf_counter()

    def done(self, count: int) -> None:
        """Say how many things are done, and estimate the rest from the time that they took."""
        seconds = time.perf_counter() - self._began
        left = seconds / max(count, 1) * (self._total - count)
        rest = f", about {duration(left)} left" if seconds >= FIRST and count < self._total else ""
        self._log(f"{self._what}: {count} of {self._total} {self._unit}{rest}")


def duration(seconds: float) -> str:
    """Return a time as people say it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
