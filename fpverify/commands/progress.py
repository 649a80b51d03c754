"""What a command says on stderr while it works: how far it is, and for how long."""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import click
from click.core import ParameterSource

from fpverify.text import one_line

AFTER, EVERY = 2.0, 10.0
"""Seconds after which a command that still works says so, and seconds between its lines with --verbose."""

LOUDNESS = "fpverify.loudness"
"""Where the click context keeps what --quiet and --verbose say."""


_RANKS = (ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE)


def _heard(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Keep what is said; the command line comes before the environment, and that before a file."""
    source = context.get_parameter_source(str(option.name))
    if given and source in _RANKS:
        said = _RANKS.index(source), str(option.name)
        context.meta[LOUDNESS] = max(said, context.meta.get(LOUDNESS, (-1, "")))


def loudness_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --quiet and --verbose."""
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_heard, help="Show no progress on stderr."
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_heard,
        help="Show progress where stderr is no terminal, too, and which options came from a file.",
    )
    return quiet(verbose(command))


def loudness() -> str:
    """Return `quiet`, `verbose`, or nothing."""
    context = click.get_current_context(silent=True)
    return "" if context is None else str(context.meta.get(LOUDNESS, (-1, ""))[1])


class Progress:
    """Shows one line on stderr, and how many seconds have passed, as long as the block lasts.

    On a terminal the line changes in place, from two seconds on; with --verbose it is also written where stderr is no
    terminal, every ten seconds and at the end; with --quiet never.
    """

    def __init__(self, text: str) -> None:
        """Take what the line says at first."""
        self._text, self._began = text, time.monotonic()
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        loud = loudness()
        self._shown = loud != "quiet" and sys.stderr is not None and (self._terminal or loud == "verbose")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, text: str) -> None:
        """Change what the line says."""
        self._text = text

    def counted(self, done: int, of: int) -> None:
        """Say how many suspects are done, and about how long the others take."""
        left = (time.monotonic() - self._began) / done * (of - done)
        self.say(f"{done} of {of} suspects, about {left:.0f} s left")

    def __enter__(self) -> Self:
        """Begin."""
        if self._shown:
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        """Clear the line, or write it for the last time."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        if self._terminal:
            self._write("\r\033[K")
        elif kind is None:
            self._write(self._line() + "\n")

    def _show(self) -> None:
        wait = AFTER
        while not self._ended.wait(wait):
            self._write(f"\r{self._line()}\033[K" if self._terminal else self._line() + "\n")
            wait = 0.5 if self._terminal else EVERY

    def _line(self) -> str:
        """Return the line. Strangers chose the names in it, and on a terminal it must not wrap."""
        width = shutil.get_terminal_size().columns - 30 if self._terminal else 200
        return f"fpverify: {one_line(self._text, max(width, 20))} ({time.monotonic() - self._began:.0f} s)"

    @staticmethod
    def _write(text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # nobody reads it
