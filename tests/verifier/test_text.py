import pytest

from fpverify.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\t and  spaces", "two lines and spaces"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff", r"\udcff"),
        ("Zürich 漢字", "Zürich 漢字"),
    ],
)
def test_text_is_shown_on_one_line_without_control(text, shown):
    assert one_line(text) == shown


def test_long_text_is_cut():
    assert one_line("x" * 600) == "x" * 499 + "…"
