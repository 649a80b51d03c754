"""How a command that failed ends: one line on stderr; a traceback only with --debug."""

import contextlib
import os
import sys

from fpverify.text import one_line

DEBUG = "FPVERIFY_DEBUG"
"""Environment variable; set, and not to 0, it shows the traceback of a failure, as the option --debug does."""


def complain(message: str) -> None:
    """Write an error to stderr, on one line, if there is a stderr that takes it.

    Args:
        message: what is wrong.
    """
    try:
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(f"fpverify: error: {one_line(message, 2000)}\n")
                sys.stderr.flush()
    finally:
        _silence()


def complain_about(error: BaseException) -> None:
    """Write what was raised to stderr: on one line, after the traceback where one is wanted.

    Args:
        error: anything raised, also an interruption.
    """
    if "--debug" in sys.argv or os.environ.get(DEBUG, "0") not in ("", "0"):
        import traceback

        with contextlib.suppress(OSError, ValueError):
            traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        complain("interrupted")
    elif isinstance(error, MemoryError):
        complain("out of memory")
    elif isinstance(error, OSError):
        complain(str(error))
    else:
        complain(f"unexpected {type(error).__name__}: {str(error)[:2000]} (--debug before the command shows where)")


def _silence() -> None:
    """Point each stream that cannot be written at the null device: Python flushes once more when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
