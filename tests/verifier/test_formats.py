"""Each format of reports holds the verdict, and nothing of a stranger's names is markup in it."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from sarif_pydantic import Sarif

from fpverify import OutputError, Verdict, verify
from fpverify.cli import main
from fpverify.commands.shared import exit_code
from fpverify.correction import correct
from fpverify.reports import FORMATS, as_html
from fpverify.result import Judged
from fpverify.saved import result_from

NASTY = "=<b>|`*\x07&\"'\u202e]]>.onnx"


@pytest.fixture
def result(fingerprint_file, derived_file):
    return verify(fingerprint_file, derived_file)


@pytest.fixture
def judged(result, fingerprint, by_key):
    named = replace(result, suspect=replace(result.suspect, name=NASTY))
    unrelated = verify(fingerprint, by_key(fingerprint, (fingerprint.labels + 1) % 3))
    others = [replace(result, suspect=replace(result.suspect, sha256=sign * 64)) for sign in "ab"]
    doubtful = correct([result, *others])[0]
    return [
        Judged(NASTY, "f.safetensors", named),
        Judged("b.onnx", "f.safetensors", unrelated),
        Judged("c.onnx", "f.safetensors", doubtful),
        Judged("d.onnx", "f.safetensors", None, f"is no ONNX file {NASTY}"),
    ]


def page(text):
    """Return tags and texts of a page; what is not closed as HTML says fails."""

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.texts, self.attributes = [], [], []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)
            self.attributes += attrs

        def handle_data(self, data):
            self.texts.append(data)

    reader = Reader()
    reader.feed(text)
    return reader


def test_every_format_writes_one_verdict_and_many(result, judged):
    for name, form in FORMATS.items():
        for text in (form.result(result), "".join(form.many(judged))):
            assert "derived" in text.lower(), name
            assert "\x07" not in text
            assert "\u202e" not in text
            assert text.endswith("\n") or name == "html"


@pytest.mark.parametrize("name", ["csv", "json", "jsonl"])
def test_programs_get_each_verdict_before_the_next_is_read(judged, name):
    read = []

    def later():
        for one in judged:
            read.append(one)
            yield one

    parts = FORMATS[name].many(later())
    written = ""
    while judged[0].fingerprint not in written:
        written += next(parts)
    assert read == judged[:1]
    assert written + "".join(parts) == "".join(FORMATS[name].many(judged))


def test_csv_has_a_line_for_each_and_no_formula(judged):
    rows = list(csv.DictReader(io.StringIO("".join(FORMATS["csv"].many(judged)))))
    assert [row["outcome"] for row in rows] == ["derived", "unrelated", "inconclusive", "no verdict"]
    assert rows[0]["suspect"].startswith("'=")
    assert (rows[0]["kept"], rows[1]["kept"], rows[3]["kept"]) == ("24", "0", "")
    assert float(rows[2]["corrected_p_value"]) == pytest.approx(3 * float(rows[2]["p_value"]))
    assert "is no ONNX file" in rows[3]["reason"]


def test_json_lines_hold_whole_results(judged):
    lines = [json.loads(line) for line in "".join(FORMATS["jsonl"].many(judged)).splitlines()]
    assert result_from(lines[1]["result"]) == judged[1].result
    assert (lines[3]["result"], lines[3]["outcome"]) == (None, "no verdict")
    assert lines == json.loads("".join(FORMATS["json"].many(judged)))


def test_markdown_escapes_names(judged):
    text = "".join(FORMATS["markdown"].many(judged))
    assert text.startswith("# 4 suspects by 1 fingerprint: 1 derived, 1 inconclusive, 1 unrelated, 1 no verdict\n")
    assert "\\<b\\>\\|\\`\\*" in text
    assert not re.search(r"(?<!\\)<b>", text)


def test_junit_counts_failures_errors_and_skipped(judged):
    suites = ET.fromstring("".join(FORMATS["junit"].many(judged)).encode())  # noqa: S314
    assert [suites.get(name) for name in ("tests", "failures", "errors")] == ["4", "1", "1"]
    assert suites.find("testsuite").get("skipped") == "1"
    cases = suites.findall("testsuite/testcase")
    assert [case[0].tag for case in cases] == ["failure", "system-out", "skipped", "error"]
    assert "<b>" in cases[0].get("name")


GRAMMAR = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "disabled", "errors"}, set()),
    "testsuite": (
        {"testcase", "testsuite", "properties", "system-out", "system-err"},
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package", "file"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": ({"skipped", "error", "failure", "system-out"}, {"name", "time", "classname", "group"}, {"name"}),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}
"""By Jenkins' `junit-10.xsd`: children that an element may have, attributes that it may have, and that it must have."""


def test_junit_is_what_jenkins_schema_allows(judged, result):
    for text in (
        "".join(FORMATS["junit"].many(judged)),
        FORMATS["junit"].result(result),
        "".join(FORMATS["junit"].many([])),
    ):
        root = ET.fromstring(text.encode())  # noqa: S314
        assert root.tag == "testsuites"
        for element in root.iter():
            children, allowed, required = GRAMMAR[element.tag]
            assert {child.tag for child in element} <= children
            assert required <= set(element.keys()) <= allowed
            assert re.fullmatch(r"[0-9]+\.[0-9]{3}", element.get("time", "0.000"))


def test_sarif_has_a_rule_and_a_place_for_each(judged):
    (run,) = json.loads("".join(FORMATS["sarif"].many(judged)))["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    levels = [(rules[one["ruleIndex"]], one["ruleId"], one["level"], one["kind"]) for one in run["results"]]
    assert levels == [
        ("fpverify/derived", "fpverify/derived", "error", "fail"),
        ("fpverify/unrelated", "fpverify/unrelated", "none", "pass"),
        ("fpverify/inconclusive", "fpverify/inconclusive", "warning", "fail"),
        ("fpverify/no-verdict", "fpverify/no-verdict", "warning", "fail"),
    ]
    Sarif.model_validate_json("".join(FORMATS["sarif"].many(judged)))  # an independent reading of the schema
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert re.fullmatch(r"[A-Za-z0-9%._/~-]+", uri)


def test_a_page_needs_nothing_from_elsewhere_and_shows_the_keys(result, fingerprint):
    text = as_html.result(result, fingerprint)
    found = page(text)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(found.tags)
    urls = [value for name, value in found.attributes if name in ("src", "href", "xlink:href", "action")]
    assert len(urls) == 24
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    assert "url(" not in text
    assert "@import" not in text
    assert sum("expected cat" in one for one in found.texts) == 8
    assert [value for name, value in found.attributes if name == "lang"] == ["en"]


def test_names_are_no_markup_in_a_page(judged):
    found = page("".join(FORMATS["html"].many(judged)))
    assert "b" not in found.tags
    assert any("<b>" in text for text in found.texts)


def test_a_page_is_of_one_fingerprint(result, make_backed):
    with pytest.raises(OutputError, match="the result is of another fingerprint"):
        as_html.result(result, make_backed())


def test_a_page_without_jinja_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(OutputError, match=r"pip install 'fpverify\[html\]'"):
        FORMATS["html"].result(result)


def test_a_notebook_shows_the_page(result):
    """In a frame, since the page's style would restyle the notebook."""
    shown = page(result._repr_html_())
    assert shown.tags == ["iframe"]
    attributes = dict(shown.attributes)
    assert attributes["srcdoc"] == FORMATS["html"].result(result)
    assert attributes["sandbox"] == ""


def test_the_suffix_of_a_file_says_its_format(fingerprint_file, derived_file, tmp_path):
    names = ["r.json", "r.jsonl", "r.csv", "r.md", "r.html", "r.sarif", "r.xml", "r.txt", "r.report"]
    outputs = [part for name in names for part in ("-o", str(tmp_path / name))]
    ran = CliRunner().invoke(main, ["verify", str(derived_file), "-f", str(fingerprint_file), *outputs])
    assert (ran.exit_code, ran.output) == (3, "")
    assert (tmp_path / "r.txt").read_text() == (tmp_path / "r.report").read_text()
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["verdict"] == "derived"
    forced = [
        "verify",
        str(derived_file),
        "-f",
        str(fingerprint_file),
        "--format",
        "json",
        "-o",
        str(tmp_path / "f.md"),
    ]
    assert CliRunner().invoke(main, forced).exit_code == 3
    assert json.loads((tmp_path / "f.md").read_text())["verdict"] == "derived"


def test_a_saved_verdict_is_written_in_another_format(fingerprint_file, derived_file, tmp_path):
    saved = tmp_path / "r.json"
    CliRunner().invoke(main, ["verify", str(derived_file), "-f", str(fingerprint_file), "-o", str(saved)])
    ran = CliRunner().invoke(main, ["report", str(saved)])
    assert ran.exit_code == 0
    assert ran.output.startswith("DERIVED: ")
    html = ["report", str(saved), "-f", str(fingerprint_file), "-o", str(tmp_path / "r.html")]
    assert CliRunner().invoke(main, html).exit_code == 0
    assert "expected cat" in (tmp_path / "r.html").read_text()
    over = CliRunner().invoke(main, ["report", str(saved), "-o", str(saved)])
    assert over.exit_code == 2
    assert "would overwrite a file that it is made from" in over.stderr


@pytest.mark.parametrize(
    ("outcomes", "fail_on", "code"),
    [
        (["unrelated"], [], 0),
        (["unrelated", "inconclusive"], [], 4),
        (["unrelated", "inconclusive", "no verdict"], [], 2),
        (["no verdict", "derived"], [], 3),
        (["derived"], ["derived"], 3),
        (["inconclusive"], ["derived"], 0),
        (["inconclusive"], ["derived", "inconclusive"], 4),
        (["no verdict"], ["derived"], 2),
        (["unrelated"], ["unrelated"], 5),
        (["inconclusive", "suspicious"], ["derived"], 0),
        (["inconclusive", "suspicious"], ["derived", "suspicious"], 4),
        (["inconclusive"], ["suspicious"], 0),
        (["inconclusive", "suspicious", "no verdict"], ["suspicious"], 2),
        (["derived", "no verdict"], ["never"], 0),
        ([], [], 0),
    ],
)
def test_exit_codes(outcomes, fail_on, code):
    assert exit_code(outcomes, fail_on) == code


@pytest.mark.parametrize(("fail_on", "code"), [("derived", 3), ("inconclusive", 0), ("never", 0)])
def test_a_gate_chooses_what_fails(fingerprint_file, derived_file, fail_on, code):
    ran = CliRunner().invoke(main, ["verify", str(derived_file), "-f", str(fingerprint_file), "--fail-on", fail_on])
    assert ran.exit_code == code
    assert ran.output.startswith(f"{Verdict.DERIVED.upper()}: ")
