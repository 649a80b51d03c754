"""Reports as Markdown, for a pull request or a wiki."""

import re
from collections.abc import Iterable, Iterator

from fpverify.reports import of_result
from fpverify.reports.letter import Letter
from fpverify.result import Judged, Result
from fpverify.text import one_line


def result(result: Result) -> str:
    """Return a verification as Markdown."""
    return markdown(of_result.letter(result))


def many(judged: Iterable[Judged]) -> Iterator[str]:
    """Yield many verifications as Markdown."""
    yield markdown(of_result.letter_of_many(judged))


def markdown(letter: Letter) -> str:
    """Return a letter as a heading, paragraphs, and a table or a list for each section."""
    parts = [f"# {escaped(letter.headline)}", *map(escaped, letter.said)]
    for section in letter.sections:
        parts.append(f"## {escaped(section.title)}")
        if section.rows:
            rows = [f"| {_name(name)} | {escaped(text)} |" for name, text in section.rows]
            parts.append("\n".join(["| | |", "|---|---|", *rows]))
        else:
            parts.append("\n".join(f"- {escaped(sentence)}" for sentence in section.sentences))
    return "\n\n".join(parts) + "\n"


def _name(name: str) -> str:
    text = escaped(name.strip())
    return text if name.startswith(" ") else f"**{text}**"


def escaped(text: str) -> str:
    """Return a text on one line in which nothing is markup: names are those of a stranger's files."""
    escaped_signs = re.sub(r"([\\`*_{}\[\]<>#|!&~@])", r"\\\1", one_line(text, 2000))
    return re.sub(r"(?i)://|www\.", lambda found: f"{found[0][:-1]}\\{found[0][-1]}", escaped_signs)  # no address
