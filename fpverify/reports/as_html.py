"""Reports as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

import base64
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fpverify.errors import OutputError
from fpverify.reports import of_result
from fpverify.reports.letter import Letter
from fpverify.result import NOT_ASKED, REFUSED, Judged, Result
from fpverify.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fpverify.fingerprint import Fingerprint

WIDTH, MARGIN = 640, 20
"""Of the scale, in its own units."""

LARGEST = 200
"""Keys that are shown at most: each is a picture in the page."""


@dataclass(frozen=True)
class Band:
    """Where a kind of models lies on the scale."""

    name: str
    """What they are."""
    low: float
    """Where most models like them begin, in the scale's units."""
    high: float
    """Where they end."""
    median: float | None
    """Their median; None where it is not known."""
    text: str
    """The same in words."""


@dataclass(frozen=True)
class Key:
    """One key with its answers."""

    number: int
    """From 1."""
    pictures: tuple[tuple[str, str], ...]
    """What each picture shows, and the picture, a PNG file as a data URI: the key; or its start image, the key, and the
    difference."""
    changed: int | None
    """By how many of 255 steps a value of the start image was changed at most; None where none is shown."""
    expected: str
    """The fingerprint's label."""
    given: str
    """The suspect's."""
    kept: bool
    """Whether they are the same."""


def result(result: Result, fingerprint: "Fingerprint | None" = None, starts: "NDArray[np.uint8] | None" = None) -> str:
    """Return a verification as a page.

    Args:
        result: of `verify`.
        fingerprint: by which it was judged, to show its keys; None for a page without them.
        starts: `(n, H, W, C)` the images from which they were made, where the owner shows them.

    Raises:
        OutputError: if the extra `html` is not installed, or the fingerprint is another one.
    """
    if fingerprint is not None and fingerprint.sha256 != result.fingerprint.sha256:
        raise OutputError(
            "the result is of another fingerprint",
            expected=f"SHA-256 {result.fingerprint.sha256}",
            found=fingerprint.sha256,
        )
    return _page(
        of_result.letter(result),
        verdict=str(result.verdict),
        scale=_scale(result),
        keys=() if fingerprint is None else keys_of(result, fingerprint, starts),
    )


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield many verifications as a page.

    Raises:
        OutputError: if the extra `html` is not installed.
    """
    yield _page(of_result.letter_of_many(judged))


def keys_of(result: Result, fingerprint: "Fingerprint", starts: "NDArray[np.uint8] | None" = None) -> list[Key]:
    """Return the keys, at most `LARGEST`, with expected and given label; arguments as for `result`."""
    from fpverify.questions import eight_bit
    from fpverify.starts import differences, magnified

    images = eight_bit(fingerprint.inputs[:LARGEST], fingerprint.contract)
    found = []
    for row, (image, label) in enumerate(zip(images, fingerprint.labels.tolist(), strict=False)):
        given = result.answers.given[row]
        names = {REFUSED: "none of the classes", NOT_ASKED: "not asked"}
        said = names[given] if given in names else fingerprint.classes[given]
        number, shown, changed = row + 1, [(f"key {row + 1}", _picture(image))], None
        if starts is not None:
            difference = differences(starts[row], image)
            changed = int(abs(difference).max())
            shown.insert(0, (f"the image from which key {number} was made", _picture(starts[row])))
            shown.append((f"the difference, magnified, of key {number}", _picture(magnified(difference))))
        found.append(Key(number, tuple(shown), changed, fingerprint.classes[label], said, given == label))
    return found


def _picture(image: "NDArray[np.uint8]") -> str:
    from fpverify.questions import png

    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def _scale(result: Result) -> dict[str, Any]:
    """Return where the suspect lies among null models and held-out surrogates."""

    def place(share: float) -> float:
        return MARGIN + share * (WIDTH - 2 * MARGIN)

    bands = []
    for name, interval, spread in (
        ("unrelated models (null models)", result.null_interval, result.null_spread),
        ("copies that were held out", result.surrogate_interval, result.surrogate_spread),
    ):
        if interval is None:
            continue
        text = f"{interval.coverage:.0%} of models like these keep {interval.low:.0%} to {interval.high:.0%}"
        median = None if spread is None else place(spread.median)
        bands.append(Band(name, place(interval.low), place(interval.high), median, text))
    return {
        "width": WIDTH,
        "bands": bands,
        "suspect": place(result.retention),
        "kept": f"{result.kept} of {result.queries} keys ({result.retention:.0%})",
        "cut": None if result.cut is None else place(min(1.0, result.cut / result.queries)),
        "needed": result.cut,
        "ticks": [(place(share / 4), f"{share * 25} %") for share in range(5)],
    }


def _plain(value: Any) -> Any:
    """Return a text on one line, in which no character turns the direction of others: names are a stranger's."""
    return one_line(value, sys.maxsize) if type(value) is str else value


def _page(letter: Letter, **parts: Any) -> str:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise OutputError(
            "HTML reports need Jinja2, which is not installed", hint="pip install 'fpverify[html]'"
        ) from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_plain, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files("fpverify.reports").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(letter=letter, **{"verdict": "", "scale": None, "keys": (), **parts})
