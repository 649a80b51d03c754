"""Reports as text for people."""

from collections.abc import Iterable, Iterator

from fpverify.inspection import InspectedFingerprint, InspectedModel
from fpverify.reports import of_inspection, of_result, of_vetting
from fpverify.reports.letter import Letter, Rows
from fpverify.result import Judged, Result, Vetting
from fpverify.text import one_line


def result(result: Result) -> str:
    """Return a verification as lines."""
    return lines(of_result.letter(result))


def inspection(found: InspectedFingerprint | InspectedModel) -> str:
    """Return an inspection as lines."""
    return lines(of_inspection.letter(found))


def vetting(vetting: Vetting) -> str:
    """Return a vetting as lines."""
    return lines(of_vetting.letter(vetting))


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield many verifications as a table."""
    yield lines(of_result.letter_of_many(judged))


def lines(letter: Letter) -> str:
    """Return a letter as lines."""
    parts = []
    for section in letter.sections:
        title = f"{section.title}\n" if section.title else ""
        parts.append(title + (table(section.rows) if section.rows else "".join(f"  {s}\n" for s in section.sentences)))
    return "\n".join([letter.headline, *letter.said, "", *parts])


def table(rows: Rows) -> str:
    """Return names and texts as lines, the texts aligned."""
    shown = [(" " * (len(name) - len(name.lstrip())) + one_line(name, 40), one_line(text, 2000)) for name, text in rows]
    width = max(len(name) for name, _ in shown)
    return "".join(f"  {name:<{width}}  {text}\n" for name, text in shown)
