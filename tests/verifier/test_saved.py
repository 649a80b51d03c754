"""A result is the same after it was saved and read; what is damaged is named; a suspect can be judged again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from fpverify import InTurn, Policy, ResultError, Verdict, load_fingerprint, verify
from fpverify.cli import main
from fpverify.rechecking import recheck
from fpverify.result import PanelMember, Provenance
from fpverify.saved import load_result, parse_result, result_from
from fpverify.twins import ranked
from fpverify.vetting import judge_panel


def saved(result, path):
    path.write_text(json.dumps(result.to_dict()))
    return path


@pytest.fixture
def result(fingerprint_file, derived_file):
    return verify(fingerprint_file, derived_file)


def test_a_saved_result_is_the_same(result, make_backed, by_key, derived_file, tmp_path):
    backed = make_backed()
    labels = backed.labels.copy()
    labels[:3] = -1
    others = [
        verify(backed, derived_file, contract={"low": 0, "high": 1, "mean": [0.0], "std": [1.0]}),
        verify(backed, by_key(backed, labels), policy=Policy(ask_twice=True)),
        verify(backed, by_key(backed, labels), in_turn=InTurn()),
    ]
    for one in (result, *others):
        assert load_result(saved(one, tmp_path / "result.json")) == one


def test_the_answers_to_each_key_are_kept(result, make_backed, by_key):
    assert result.answers.given == tuple(number % 3 for number in range(24))
    backed = make_backed()
    labels = np.where(np.arange(24) < 20, backed.labels, -1)
    assert verify(backed, by_key(backed, labels)).answers.given == tuple(labels.tolist())
    short = verify(backed, by_key(backed, backed.labels), in_turn=InTurn(error=0.3))
    assert short.answers.given.count(-2) == 24 - short.sequential.asked


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "fpverify-result-0", "format must be 'fpverify-result-1'"),
        (("verdict",), "guilty", "verdict must be one of derived, unrelated, inconclusive, found 'guilty'"),
        (("kept",), "24", "kept must be an integer, found '24'"),
        (("kept",), True, "kept must be an integer, found True"),
        (("retention",), None, "retention must be a number, found None"),
        (("p_value",), float("nan"), "p_value must be a number, found nan"),
        (("answers", "given"), 3, "answers.given must be a list, found 3"),
        (("answers", "given", 2), "a", r"answers.given\[2\] must be an integer, found 'a'"),
        (("fingerprint", "null_ranges"), [], "fingerprint.null_ranges must be an object"),
        (("null_spread",), {"low": 0.0}, "null_spread must be the fields of format 1, found no median, no high"),
        (("suspect", "mood"), 3, "suspect must be the fields of format 1, found an unknown mood"),
        (("policy", "significance"), 2, "significance"),
        (("warnings",), ["a", 1], r"warnings\[1\] must be a text"),
    ],
)
def test_a_damaged_result_is_named_in_one_line(result, path, value, message):
    document = json.loads(json.dumps(result.to_dict()))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(Exception, match=message) as caught:
        result_from(document)
    assert type(caught.value).__name__ in ("ResultError", "PolicyError")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"[" * 100_000, b'{"format": "fpverify-result-1"}'])
def test_what_is_no_result_is_refused(content):
    with pytest.raises(ResultError):
        parse_result(content)


def test_a_suspect_that_is_judged_again_is_the_same(result, tmp_path):
    found = recheck(result)
    assert found.same
    assert found.lines[0] == "same  verdict: derived"
    ran = CliRunner().invoke(main, ["recheck", str(saved(result, tmp_path / "result.json"))])
    assert ran.exit_code == 3, ran.output
    assert "same  answers that differ: 0" in ran.output


def test_what_differs_is_said_and_is_no_verdict(result, tmp_path):
    answers = replace(result.answers, given=(*result.answers.given[:-1], 0))
    other = saved(replace(result, kept=23, answers=answers), tmp_path / "result.json")
    ran = CliRunner().invoke(main, ["recheck", str(other)])
    assert ran.exit_code == 2
    assert "OTHER  kept: 24 (saved: 23)" in ran.output
    assert "OTHER  answers that differ: 1 (saved: 0)" in ran.output
    assert "judged again, it is not the same" in ran.stderr


def test_other_files_are_refused(result, unrelated_file, make_backed, tmp_path):
    with pytest.raises(ResultError, match="is another suspect than the result's"):
        recheck(result, unrelated_file)
    from fpverify import save_fingerprint

    save_fingerprint(make_backed(), tmp_path / "other.safetensors")
    with pytest.raises(ResultError, match="is another fingerprint than the result's"):
        recheck(result, fingerprint=tmp_path / "other.safetensors")


def test_files_are_looked_for_where_they_lie_now(result, derived_file, fingerprint_file, tmp_path):
    (tmp_path / "moved").mkdir()
    model, keys = (path.rename(tmp_path / "moved" / path.name) for path in (derived_file, fingerprint_file))
    assert recheck(result, model, keys).same


def test_what_cannot_be_judged_again_is_said(fingerprint, fingerprint_file, make_backed, by_key, derived_file):
    called = verify(fingerprint, by_key(fingerprint, fingerprint.labels))
    with pytest.raises(ResultError, match="its suspect is no file"):
        recheck(called)
    with pytest.raises(ResultError, match="does not say where its fingerprint lies"):
        recheck(verify(fingerprint, derived_file))


def test_the_contract_of_a_result_is_used_again(fingerprint_file, make_onnx, tmp_path):
    """The suspect has its classes in another order, which the auditor said."""
    model = make_onnx(tmp_path / "turned.onnx", weights=[[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    options = {"classes": ["dog", "eel", "cat"], "low": 0, "high": 1}
    result = verify(fingerprint_file, model, contract=options)
    assert result.verdict == "derived"
    assert recheck(result).same


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "unrelated"},
        {"verdict": "unrelated", "correction": {"method": "holm", "tests": 1, "p_value": 1.0, "changed": False}},
        {"correction": {"method": "holm", "tests": 1, "p_value": 0.001, "changed": False}},
        {"threshold": 0.5},
        {"q_value": 0.5},
        {"cut": 3},
    ],
)
def test_a_forged_result_is_not_confirmed(result, tmp_path, change):
    document = json.loads(json.dumps({**result.to_dict(), **change}))
    (tmp_path / "forged.json").write_text(json.dumps(document))
    ran = CliRunner().invoke(main, ["recheck", str(tmp_path / "forged.json")])
    assert ran.exit_code == 2, ran.output
    assert "judged again, it is not the same" in ran.stderr


def test_what_softened_a_verdict_is_weighed_again(result, derived_file, fingerprint_file, tmp_path):
    """A panel that was pasted into a result frees nobody, and what is not checked is named."""
    members = [PanelMember(str(one), None, 0, (2,) * 24, "") for one in range(3)]
    panel = judge_panel(members, load_fingerprint(fingerprint_file), Policy())
    vetted = verify(fingerprint_file, derived_file, vetting=panel)
    assert recheck(vetted).same
    assert any("NOT CHECKED  the panel's answers" in line for line in recheck(vetted).lines)
    forged = replace(vetted, verdict=Verdict.INCONCLUSIVE)
    assert "OTHER  verdict: derived (saved: inconclusive)" in recheck(forged).lines
    refused = replace(vetted, verdict=Verdict.INCONCLUSIVE, vetting=replace(vetted.vetting, refusals=("forged",)))
    assert not recheck(refused).same
    twins = replace(vetted, twins=ranked(vetted.retention, [1.0, 1.0]), verdict=Verdict.INCONCLUSIVE)
    assert "OTHER  verdict: derived (saved: inconclusive)" in recheck(twins).lines  # three twins decide nothing
    stamped = replace(vetted, provenance=Provenance("fingerprint", None, "2020", None, None))
    assert any("NOT CHECKED  commitment, signature and timestamp" in line for line in recheck(stamped).lines)
    late = replace(stamped, provenance=replace(stamped.provenance, older=False), verdict=Verdict.INCONCLUSIVE)
    assert recheck(late).same


def test_a_corrected_result_is_corrected_again(result, tmp_path):
    from fpverify import correct

    others = [replace(result, suspect=replace(result.suspect, sha256=sign * 64)) for sign in "ab"]
    corrected = correct([result, *others])[0]
    assert corrected.correction.tests == 3
    assert recheck(corrected).same
    ran = CliRunner().invoke(main, ["recheck", str(saved(corrected, tmp_path / "r.json"))])
    assert ran.exit_code == 4


def test_an_address_in_a_result_is_never_asked(result, tmp_path):
    for named in ("mlflow+http://127.0.0.1:9/x", "endpoint:evil.toml"):
        other = replace(result, suspect=replace(result.suspect, path=named))
        with pytest.raises(Exception, match=r"No such file|cannot be read|no such file"):
            recheck(load_result(saved(other, tmp_path / "r.json")))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("queries",), 0, "kept must be 0 to"),
        (("retention",), 10**400, "retention must be a number"),
        (("retention",), -1, "retention must be a number from 0 to 1"),
        (("answers", "given"), [], "a class for each of 24 keys"),
        (("answers", "given", 3), -7, "a class for each of 24 keys"),
        (("answers", "given", 3), 3, "a class for each of 24 keys"),
        (("contract", "origins"), {}, "an origin for each field"),
    ],
)
def test_a_result_that_makes_no_sense_is_refused(result, path, value, message):
    document = json.loads(json.dumps(result.to_dict()))
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ResultError, match=message):
        result_from(document)
