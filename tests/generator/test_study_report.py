"""Figures of merit are scikit-learn's and those by hand, and the report holds every row's story."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fpverify_generator.cli import main
from fpverify_generator.errors import StudyError
from fpverify_generator.report import Row, headline, read_rows, write_report, write_rows
from fpverify_generator.report.merit import (
    MERITS,
    Sample,
    difference,
    estimate,
    gap,
    paired,
    roc_auc,
    samples_of,
    true_positives,
)
from fpverify_generator.report.rows import settings_digest
from fpverify_generator.report.summary import summary
from fpverify_generator.report.tables import all_tables, rounded
from sklearn.metrics import roc_auc_score

ATTACKS = {"ftal": "modification", "jagielski": "extraction", "prune-0.9": "modification", "train-away": "adaptive"}
CELLS = ("same architecture, same data", "other architecture, other data")
METHODS = {
    "cem": "cem",
    "natural": "baseline",
    "sac": "baseline",
    "cem epsilon=0.1": "epsilon",
    "cem ensemble=4": "ensemble",
}


def row(
    method: str, seed: int, number: int, attack: str | None, cell: str | None, score: float | None, **changes
) -> Row:
    verdict = None if method == "sac" else "derived" if (score or 0) > 0.5 else "unrelated"
    return Row(
        preset="digits",
        seed=seed,
        method=method,
        group=METHODS[method],
        value={"cem epsilon=0.1": 0.1, "cem ensemble=4": 4.0}.get(method),
        epsilon={"cem": 0.3, "cem ensemble=4": 0.3, "cem epsilon=0.1": 0.1}.get(method, 0.0),
        ensemble={"cem": 24, "cem epsilon=0.1": 24, "cem ensemble=4": 4}.get(method, 0),
        statistic="correlation" if method == "sac" else "retention",
        kind="derived" if attack else "unrelated",
        suspect=f"{attack or cell} {number}",
        attack=attack,
        category=ATTACKS.get(attack or ""),
        cell=cell,
        architecture="<convolutional>",
        file=f"suspects/{number}.onnx",
        sha256="0" * 64,
        accuracy=0.5 if attack == "prune-0.9" else 0.9,
        source_accuracy=0.9,
        scores={"20": score, "100": score},
        verdicts=None if verdict is None else {"20": verdict, "100": verdict},
        no_verdict=None if verdict is None else {},
        cut=None if verdict is None else {"20": 0.5, "100": 0.5},
        p_value=None if verdict is None else {"20": 0.01, "100": 0.01},
        attack_queries=7,
        attack_seconds=1.5,
        seconds=0.1,
        device="cpu",
        versions={"torch": "<2>"},
        configuration={},
    )


STUDY = {"build": {"keys": 100}}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    draw = np.random.default_rng(0)
    found = []
    for seed in (0, 1):
        for method in METHODS:
            better = 0.35 if method == "cem" else 0.1
            for attack in ATTACKS:
                for number in range(2):
                    score = 0.3 if attack == "train-away" else round(0.5 + better + draw.uniform(-0.1, 0.1), 2)
                    found.append(row(method, seed, number, attack, None, score))
            for cell in CELLS:
                for number in range(3):
                    found.append(row(method, seed, number, None, cell, round(0.25 + draw.uniform(-0.1, 0.3), 2)))
    return found


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_area_is_scikit_learns_also_with_ties(levels: int) -> None:
    draw = np.random.default_rng(1)
    derived, unrelated = draw.integers(0, levels, (5, 30)) / levels + 0.1, draw.integers(0, levels, (5, 20)) / levels
    truth = [1] * 30 + [0] * 20
    expected = [roc_auc_score(truth, np.concatenate(pair)) for pair in zip(derived, unrelated, strict=True)]
    np.testing.assert_allclose(roc_auc(derived, unrelated), expected)


def test_gap_and_rates_by_hand() -> None:
    derived, unrelated = np.array([0.4, 0.6, 0.8, 0.9]), np.linspace(0.0, 0.5, 100)
    assert gap(derived, unrelated) == pytest.approx(-0.1)
    # none may be exceeded: 0.5 and above; one of a hundred may: 0.4949 and above
    assert true_positives(0.0)(derived, unrelated) == 0.75
    assert true_positives(0.01)(np.array([0.497, 0.9]), unrelated) == 1.0
    assert true_positives(0.01)(np.array([0.497, 0.9]), unrelated[50:]) == 0.5


def test_a_figure_is_the_mean_over_seeds_and_its_interval_holds_it() -> None:
    draw = np.random.default_rng(2)
    samples = [Sample(draw.normal(1, 1, 40), draw.normal(0, 1, 60)) for _ in range(3)]
    found = estimate(samples, roc_auc)
    assert found.value == pytest.approx(np.mean([roc_auc(one.derived, one.unrelated) for one in samples]))
    assert found.interval.low < found.value < found.interval.high
    assert found == estimate(samples, roc_auc)
    # the standard error of one area by Hanley and McNeil (1982), over three samples
    area = found.value
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + 39 * (q1 - area**2) + 59 * (q2 - area**2)) / (40 * 60) / 3
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.000"),
        (0.99977, "0.9998"),
        (0.999999, "0.999999"),
        (0.9994, "0.999"),
        (0.0, "0.000"),
        (-0.0, "0.000"),
        (-1e-17, "0.000"),
        (-0.0001, "-0.0001"),
        (-0.03, "-0.030"),
    ],
)
def test_a_figure_that_is_not_quite_1_is_not_shown_as_1(value: float, text: str) -> None:
    assert rounded(value) == text


def test_a_method_against_itself_differs_by_nothing() -> None:
    sample = [Sample(np.array([0.5, 0.7, 0.9]), np.array([0.1, 0.6]))]
    found = difference(sample, sample, roc_auc)
    assert (found.value, found.interval.low, found.interval.high) == (0, 0, 0)


def test_attacks_that_lose_the_accuracy_and_suspects_that_cannot_be_judged_are_left_out(rows: list[Row]) -> None:
    own = [one for one in rows if one.method == "cem" and one.seed == 0]
    (kept,), (every,) = samples_of(own, "100"), samples_of(own, "100", everything=True)
    assert len(kept.derived) == 6
    assert len(every.derived) == 8
    unjudged = [replace(one, scores={"20": None, "100": None}) if one.attack == "ftal" else one for one in own]
    assert len(samples_of(unjudged, "100")[0].derived) == 4


def test_a_seed_without_a_kind_is_said(rows: list[Row]) -> None:
    with pytest.raises(StudyError, match="seed 1 has no unrelated suspect for cem"):
        samples_of([one for one in rows if one.method == "cem" and (one.seed == 0 or one.kind == "derived")], "100")


def test_a_seed_of_which_nothing_keeps_the_accuracy_costs_the_figure_not_the_report(
    rows: list[Row], tmp_path: Path
) -> None:
    poor = [replace(one, accuracy=0.1) if one.seed == 1 and one.kind == "derived" else one for one in rows]
    write_report(poor, tmp_path, STUDY)
    assert table(poor, "methods")["cem"]["ROC AUC, 100 queries"] == "not judged"
    assert "(" in table(poor, "methods-all-attacks")["cem"]["ROC AUC, 100 queries"]
    assert summary(poor)["ROC AUC"] is None
    assert not (tmp_path / "plots" / "roc.png").exists()
    assert "no suspects for it: roc, auc-against-epsilon" in (tmp_path / "study.html").read_text()
    assert "ROC AUC at least 1: missed" in headline(poor)


def test_variants_are_compared_over_the_suspects_that_both_judged(rows: list[Row]) -> None:
    main, other = ([one for one in rows if one.method == name] for name in ("cem", "cem epsilon=0.1"))
    less = [
        replace(one, scores={"20": None, "100": None}) if one.suspect == "ftal 0" else one for one in reversed(other)
    ]
    first, second = paired(main, less, "100")
    for one, sample, twin in zip((0, 1), first, second, strict=True):
        by_hand = [row for row in main if row.seed == one and row.keeps_accuracy and row.suspect != "ftal 0"]
        derived = [row for row in by_hand if row.kind == "derived"]
        assert sample.derived.tolist() == [row.scores["100"] for row in derived]
        scores = {(row.seed, row.suspect): row.scores["100"] for row in less}
        assert twin.derived.tolist() == [scores[one, row.suspect] for row in derived]
    assert difference(*paired(main, main[::-1], "100"), roc_auc).interval.high == 0


def test_rows_are_read_as_written(rows: list[Row], tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ('{"seed": 1}', "line 2: preset: required field missing"),
        ("[]", "line 2: expected an object with the fields of a row, found .."),
        ({"colour": "red"}, r"line 2: extra fields found .colour."),
        ("NaN", "line 2: no JSON .NaN is no number"),
        ({"seed": "one"}, 'line 2: seed must be int, found "one"'),
        ({"seed": True}, "line 2: seed must be int, found true"),
        ({"accuracy": "high"}, 'line 2: accuracy must be a number, found "high"'),
        ({"scores": {"20": "x"}}, 'line 2: scores.20 must be a number, found "x"'),
        ({"verdicts": ["derived"]}, r"line 2: verdicts: expected a mapping, found .*derived"),
        ({"verdicts": {"20": "no verdict: x"}}, "line 2: verdicts.20 must be one of derived, .*found .no verdict: x"),
        ({"no_verdict": {"20": 3}}, "line 2: no_verdict.20 must be str, found 3"),
    ],
)
def test_a_line_that_is_no_row_is_named(line: str | dict, message: str, rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, rows[:1])
    text = line if isinstance(line, str) else json.dumps(json.loads(path.read_text()) | line)
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(StudyError, match=f"rows.jsonl, {message}"):
        read_rows(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [], "there are none"),
        (lambda rows: [one for one in rows if one.method != "cem"], "expected one method of group cem, found none"),
        (lambda rows: [*rows, rows[0]], "cem, seed 0, ftal 0: is there twice"),
        (lambda rows: [replace(rows[0], group="best"), *rows[1:]], "group must be one of .*found 'best'"),
        (lambda rows: [replace(rows[0], kind="stolen"), *rows[1:]], "kind must be .*found 'stolen'"),
        (lambda rows: [replace(rows[0], category="magic"), *rows[1:]], "known category, found 'magic'"),
        (lambda rows: [replace(one, cell=None) for one in rows], "needs its cell"),
        (lambda rows: [replace(rows[0], scores={"20": 1.0}), *rows[1:]], "scores must be at"),
    ],
)
def test_rows_that_are_not_of_one_study_are_refused_before_anything_is_written(
    change, message: str, rows: list[Row], tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=message):
        write_report(change(rows), tmp_path, STUDY)
    assert not list(tmp_path.iterdir())


def methods_rows(rows: list[Row], name: str) -> list[Row]:
    return [one for one in rows if one.method == name]


def table(rows: list[Row], name: str) -> dict[str, dict[str, str]]:
    (found,) = [one for one in all_tables(rows) if one.name == name]
    lines = list(csv.reader(io.StringIO(found.csv())))
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}


def test_the_tables_say_what_the_rows_say(rows: list[Row]) -> None:
    attacks = table(rows, "attacks")
    assert attacks["train-away"]["retention"] == "0.30 / 0.30 / 0.30"
    assert attacks["train-away"]["called derived"] == "0 of 4"
    assert attacks["prune-0.9"]["keeps it"] == "0 of 4"
    assert attacks["ftal"]["accuracy"] == "90.0% / 90.0% / 90.0%"
    assert (attacks["ftal"]["queries"], attacks["ftal"]["seconds"]) == ("7", "1.5")
    methods = table(rows, "methods")
    own = [one for one in rows if one.method == "cem"]
    assert methods["cem"]["ROC AUC, 100 queries"].startswith(f"{estimate(samples_of(own, '100'), roc_auc).value:.3f} (")
    assert set(methods) == {"cem", "natural", "sac"}
    assert set(table(rows, "ablation")) == {"cem", "cem epsilon=0.1", "cem ensemble=4"}
    verdicts = table(rows, "verdicts")
    assert verdicts["cem"]["derived called derived"] == "8 of 12"
    assert verdicts["cem"]["derived missed"] == "4 of 12"
    assert verdicts["sac"]["derived called derived"] == "-"
    assert verdicts["sac"]["ROC AUC"] == f"{estimate(samples_of(methods_rows(rows, 'sac'), '100'), roc_auc).value:.3f}"
    assert table(rows, "ablation")["cem"]["lowest derived"] == "0.30"
    assert table(rows, "ablation")["cem"]["change of gap"] == "-"
    assert table(rows, "retention")["train-away"]["cem"] == "0.30"


def test_a_suspect_that_cannot_be_judged_is_counted_not_zero(rows: list[Row]) -> None:
    changed = [
        replace(one, scores={"20": None, "100": None}, accuracy=None) if one.attack == "jagielski" else one
        for one in rows
    ]
    attacks = table(changed, "attacks")
    assert attacks["jagielski"]["retention"] == "not judged"
    assert attacks["jagielski"]["keeps it"] == "other classes"
    assert table(changed, "methods")["cem"]["not judged"] == "4"
    assert (summary(changed)["not judged"], summary(changed)["derived with other classes"]) == (4, 4)
    assert summary(changed)["derived that lost the accuracy"] == 4


def test_a_kind_of_unrelated_model_that_no_method_can_judge_is_shown(rows: list[Row]) -> None:
    changed = [replace(one, scores={"20": None, "100": None}) if one.cell == CELLS[0] else one for one in rows]
    (found,) = [one for one in all_tables(changed) if one.name == "unrelated"]
    first = dict(zip(found.header, found.lines[0], strict=True))
    assert (first["unrelated models"], first["number"], first["not judged"]) == (CELLS[0], "6", "6")
    assert (first["mean"], first["highest"]) == ("-", "-")


class Page(HTMLParser):
    """Checks that tags are closed in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        if tag not in ("meta", "path", "use", "rect", "image"):
            self.open.append(tag)
        if tag == "h2":
            self.headings.append(dict(attrs).get("id") or "")

    def handle_startendtag(self, tag: str, attrs) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "path", "use", "rect", "image"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(rows, folder, STUDY)
    return folder


def test_the_page_holds_every_table_and_picture_and_nothing_from_elsewhere(report: Path, rows: list[Row]) -> None:
    text = (report / "study.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert [name for name in page.headings if name] == [one.name for one in all_tables(rows)]
    for picture in (report / "plots").glob("*.svg"):
        assert f'<figure id="{picture.stem}">' in text
        assert picture.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(list((report / "plots").glob("*.svg"))) == 5
    assert not re.search(r'(src|href)="http', text)
    assert "&lt;2&gt;" in text
    assert "<2>" not in text
    assert all(f'id="{name}"' in text for name in re.findall('<a href="#([^"]+)"', text))


FACTS = {
    "made": "2026-11-26 12:56 UTC",
    "command": "fpverify-generator study --preset digits -o '<a folder>'",
    "data": "handwritten digits",
    "shape": [1, 8, 8],
    "classes": 10,
    "images": {"owner": 3020, "test": 1152},
    "architecture": "convolutional",
    "processor": "a processor",
    "cores": 2,
    "attacks": {name: f"What {name} does, in one <line>." for name in ATTACKS},
}


def test_the_page_says_what_was_measured_when_and_by_which_command(rows: list[Row], tmp_path: Path) -> None:
    study = {"build": {"surrogates": {"cem": 3, "selection": 2}, "references": 4, "nulls": 19}, "facts": FACTS}
    write_report(rows, tmp_path, study)
    text = (tmp_path / "study.html").read_text()
    assert text.index('id="facts"') < text.index("<figure")
    for fact in (
        "handwritten digits, 1 x 8 x 8 values each (channels, height, width), 10 classes",
        "owner 3,020, test 1,152",
        "convolutional, accuracy on test images 90.0% (seed 0), 90.0% (seed 1)",
        "16, made from the source by 4 attacks",
        "12, trained without the source, in 2 groups",
        "5 surrogates, 4 references, 19 null models for each fingerprint",
        "a processor, 2 cores, networks trained on cpu",
        "2026-11-26 12:56 UTC",
        "fpverify-generator study --preset digits -o &#39;&lt;a folder&gt;&#39;",
        *(f"What {name} does, in one &lt;line&gt;." for name in ATTACKS),
    ):
        assert fact in text, fact


def test_a_report_is_made_anew_from_its_files_also_of_a_study_that_noted_no_facts(
    report: Path, rows: list[Row], tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows.jsonl", rows)
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert headline(rows) in result.output
    assert (tmp_path / "study.html").read_bytes() == (report / "study.html").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "study.json: cannot read the study's settings (No such file or directory)"),
        ("{", "study.json: no JSON"),
        ("[]", "study.json: expected a JSON object, found list"),
        ('{"facts": {"cores": "many"}}', "study.json: facts.cores: expected int"),
        ('{"facts": 1}', "study.json: facts must be an object, found int"),
    ],
)
def test_a_study_that_cannot_be_read_costs_one_line(
    text: str | None, message: str, rows: list[Row], tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows.jsonl", rows)
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "study.html").exists()


def test_a_picture_marks_verdicts_by_shape_and_says_which(rows: list[Row], tmp_path: Path) -> None:
    changed = [
        replace(one, verdicts={"20": "inconclusive", "100": "inconclusive"})
        if one.suspect == "ftal 0" and one.verdicts
        else replace(one, verdicts={}, no_verdict={"20": "has 5 classes", "100": "has 5 classes"})
        if one.suspect == "jagielski 0" and one.verdicts
        else one
        for one in rows
    ]
    write_report(changed, tmp_path, STUDY)
    text = (tmp_path / "plots" / "retention-by-attack.svg").read_text()
    for word in ("circle: derived", "square: unrelated", "triangle: inconclusive", "cross: no verdict", "hollow: lost"):
        assert word in text
    # each series of marks has a path of its own: without their colours, the verdicts are still told apart
    assert len({tuple(path.split()) for path in re.findall(r'<path id="m\w+" d="([^"]+)"', text)}) >= 4


def test_a_narrow_page_gets_pictures_that_fit_it(report: Path) -> None:
    text = (report / "study.html").read_text()
    assert '<meta name="viewport" content="width=device-width' in text
    assert not re.search(r"[^-]width: \d+px", text[: text.index("</style>")])
    assert text.count("<table>") == text.count('<div class="scroll"')
    narrow = re.findall(r'<div class="narrow">(.*?)</div>', text, re.DOTALL)
    assert len(narrow) == text.count('class="wide"') == 5
    for picture in narrow:
        # points as pixels, on a phone of 390 pixels with margins of 12
        assert float(re.search(r'width="([\d.]+)pt"', picture)[1]) * 4 / 3 <= 390 - 2 * 12
        sizes = re.findall(r"font(?:-size)?: (?:[a-z0-9]+ )?([\d.]+)px", picture)
        assert min(map(float, sizes)) * 4 / 3 >= 11


def section(text: str, name: str) -> str:
    """Return a part of the page as text without tags."""
    return re.sub("<[^>]+>", " ", text.partition(f'<section id="{name}">')[2].partition("</section>")[0])


def test_the_words_of_the_page_are_explained_and_facts_that_an_older_study_has_not_are_left_out(report: Path) -> None:
    text = (report / "study.html").read_text()
    words = section(text, "words")
    for word in ("retention", "ROC AUC", "gap", "TPR", " p ", "cut", "inconclusive", "keeps the accuracy"):
        assert word in words
    facts = section(text, "facts")
    assert "Seeds" in facts
    assert not any(name in facts for name in ("Data", "Made", "Command", "Models of the owner"))


def test_attacks_that_do_the_same_are_explained_once(rows: list[Row], tmp_path: Path) -> None:
    notes = {"ftal": "Changes weights.", "prune-0.9": "Changes weights.", "train-away": "Knows the method."}
    write_report(rows, tmp_path, {"facts": {"attacks": notes}})
    explained = section((tmp_path / "study.html").read_text(), "attacks-explained")
    assert explained.count("Changes weights.") == 1
    assert all(name in explained for name in ATTACKS)


def test_a_hostile_name_is_text_on_the_page_and_in_pictures(rows: list[Row], tmp_path: Path) -> None:
    name = r"<script>alert(1)</script> $\frac$ &amp;"
    hostile = [replace(one, attack=name) if one.attack == "ftal" else one for one in rows]
    write_report(hostile, tmp_path, {"facts": {"command": "</code><script>", "attacks": {name: "</p><script>"}}})
    text = (tmp_path / "study.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert "<script" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt; $\frac$ &amp;amp;" in text
    assert r"$\frac$" in (tmp_path / "plots" / "retention-by-attack.svg").read_text()


def test_the_same_rows_give_the_same_bytes(report: Path, rows: list[Row], tmp_path: Path) -> None:
    for path in write_report(rows, tmp_path, STUDY):
        assert path.read_bytes() == (report / path.relative_to(tmp_path)).read_bytes()


def test_a_missed_bar_and_the_attacks_that_win_are_said_first(report: Path, rows: list[Row]) -> None:
    text = (report / "study.html").read_text()
    answer = text[text.index('class="answer"') : text.index("<figure")]
    assert "missed" in answer
    assert "train-away" in answer
    assert json.loads((report / "summary.json").read_text()) == json.loads(json.dumps(summary(rows)))
    printed = headline(rows)
    assert "ROC AUC at least 1: missed" in printed
    assert "not caught   at least once: train-away" in printed


def separation_bars(rows: list[Row]) -> dict[str, bool]:
    return {bar: met for bar, met in summary(rows)["bars"].items() if "ROC" in bar or "gap" in bar}


def test_the_bars_of_the_verdicts_count_them(rows: list[Row]) -> None:
    sound = [
        replace(
            one,
            verdicts={"20": one.kind, "100": one.kind} if one.verdicts else None,
            p_value={"20": 0.5, "100": 0.01 if one.kind == "derived" else 0.5} if one.verdicts else None,
        )
        for one in rows
    ]

    def bars(changed: list[Row]) -> list[bool]:
        return [met for bar, met in summary(changed)["bars"].items() if "ROC" not in bar and "gap" not in bar]

    def with_verdict(kind: str, verdict: str) -> list[Row]:
        first = next(one for one in sound if one.kind == kind and one.group == "cem" and one.keeps_accuracy)
        return [replace(one, verdicts={"20": verdict, "100": verdict}) if one is first else one for one in sound]

    assert bars(sound) == [True, True, True, True]
    assert bars(with_verdict("unrelated", "derived")) == [True, False, True, True]
    assert bars(with_verdict("derived", "unrelated")) == [True, True, False, True]
    assert bars(with_verdict("unrelated", "inconclusive")) == [True, True, True, False]
    cell = next(one.cell for one in sound if one.kind == "unrelated")
    low = [
        replace(one, p_value={"20": 0.04, "100": 0.04}) if one.cell == cell and one.p_value else one for one in sound
    ]
    assert bars(low) == [False, True, True, True]


def test_a_bar_that_is_met_is_said(rows: list[Row]) -> None:
    good = [replace(one, scores={"20": 0.9, "100": 0.9}) if one.kind == "derived" else one for one in rows]
    assert separation_bars(good) == {"ROC AUC at least 1": True, "gap above every baseline's": False}
    best = [replace(one, scores={"20": 0.0, "100": 0.0}) if one.method == "natural" else one for one in good]
    assert separation_bars(best) == {"ROC AUC at least 1": True, "gap above every baseline's": True}
    tied = [replace(one, scores={"20": 0.5, "100": 0.5}) if one.statistic == "retention" else one for one in rows]
    assert separation_bars(tied) == {"ROC AUC at least 1": False, "gap above every baseline's": False}
    other = [replace(one, preset="smoke") for one in good]
    assert "bars" not in summary(other)
    assert set(MERITS) <= set(summary(good))


def test_a_sweep_without_rows_is_said_to_be_left_out(rows: list[Row], tmp_path: Path) -> None:
    write_report([one for one in rows if one.group != "epsilon"], tmp_path, STUDY)
    assert not (tmp_path / "plots" / "auc-against-epsilon.png").exists()
    assert "Not drawn" in (tmp_path / "study.html").read_text()


def test_two_points_of_a_sweep_may_share_their_place(rows: list[Row], tmp_path: Path) -> None:
    twins = [replace(one, epsilon=0.3) if one.group == "epsilon" else one for one in rows]
    assert tmp_path / "plots" / "auc-against-epsilon.svg" in write_report(twins, tmp_path, STUDY)


def test_rows_and_settings_that_are_not_of_one_study_are_refused(rows: list[Row], tmp_path: Path) -> None:
    made = [replace(row, study=settings_digest(STUDY)) for row in rows]
    write_report(made, tmp_path, {**STUDY, "facts": {"cores": 2}})
    with pytest.raises(StudyError, match=r"rows: were made with other settings than study\.json says"):
        write_report(made, tmp_path, {"build": {"keys": 11}})
