"""How much a suspect may take."""

import math
import os
from dataclasses import dataclass

from fpverify.errors import PolicyError

GIBIBYTE = 2**30

MIN_MEMORY = 2**28
"""Address space that the process takes before it has seen a model, and some."""


def in_gibibytes(size: float) -> str:
    """Return a number of bytes as text."""
    return f"{round(size / GIBIBYTE, 2):g} GiB"


def threads() -> int:
    """Return how many threads a suspect runs on: the processors that this process may use, eight at most."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 8)


def physical_memory() -> int:
    """Return the machine's memory in bytes; 0 if the platform does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a suspect's process may take before it is stopped."""

    seconds: float = 120.0
    """Wall time for loading and answering."""
    memory: float | None = None
    """Address space in bytes; None for 4 GiB and three times the size of the model, up to half of the machine's memory.
    Not held on a GPU, whose driver reserves far more than it uses."""
    cpu_seconds: float | None = None
    """Processor time; None for `seconds` on each thread."""
    sandbox: bool = False
    """Whether to refuse every suspect where the system cannot hold the whole fence of `HeldLimits.fenced`."""

    def __post_init__(self) -> None:
        if isinstance(self.memory, int | float) and self.memory < MIN_MEMORY:
            raise PolicyError(
                culprit="limits",
                where="memory",
                expected=f"at least {MIN_MEMORY} bytes (0.25 GiB)",
                found=f"{self.memory!r}",
            )
        if not isinstance(self.sandbox, bool):
            raise PolicyError(culprit="limits", where="sandbox", expected="true or false", found=f"{self.sandbox!r}")
        for name in ("seconds", "memory", "cpu_seconds"):
            value = getattr(self, name)
            if name != "seconds" and value is None:
                continue
            sound = not isinstance(value, bool) and isinstance(value, int | float)
            if not sound or not math.isfinite(value) or not 0 < value < 2**53:
                raise PolicyError(culprit="limits", where=name, expected="a finite number above 0", found=f"{value!r}")

    def memory_for(self, size: int) -> int:
        """Return the address space that a model of a size may take, in bytes."""
        if self.memory is not None:
            return int(self.memory)
        return min(4 * GIBIBYTE + 3 * size, max(4 * GIBIBYTE, physical_memory() // 2))

    @property
    def processor_seconds(self) -> float:
        """Return the processor time that is allowed, in seconds."""
        return self.seconds * threads() if self.cpu_seconds is None else self.cpu_seconds
