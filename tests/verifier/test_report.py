import json
from dataclasses import replace
from importlib import resources

import jsonschema
import pytest

from fpverify import Verdict, verify
from fpverify.reports import FORMATS

SCHEMA = json.loads(resources.files("fpverify").joinpath("formats/result-1.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_valid_and_closed():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"])


@pytest.mark.parametrize("kind", ["derived", "unrelated", "callable"])
def test_real_results_follow_the_schema(kind, by_key, fingerprint, fingerprint_file, derived_file, unrelated_file):
    files = {"derived": derived_file, "unrelated": unrelated_file, "callable": by_key(fingerprint, fingerprint.labels)}
    document = json.loads(FORMATS["json"].result(verify(fingerprint_file, files[kind])))
    VALIDATOR.validate(document)


@pytest.mark.parametrize(
    "change", [{"verdict": "guilty"}, {"retention": 1.5}, {"p_value": 0}, {"format": "2"}, {"more": 1}, {"suspect": {}}]
)
def test_the_schema_refuses_what_is_no_result(change, fingerprint, by_key):
    document = json.loads(FORMATS["json"].result(verify(fingerprint, by_key(fingerprint, fingerprint.labels))))
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**document, **change})


def test_the_text_says_what_a_dispute_needs(fingerprint, fingerprint_file, derived_file):
    result = verify(fingerprint_file, derived_file)
    text = FORMATS["text"].result(result)
    assert text.startswith("DERIVED: ")
    for part in [
        "24 of 24 keys (100.0%)",
        "18 keys and more are called derived (threshold 75.0%: midpoint; p at most 0.02)",
        "0.01. 0 of 99 null models keep as many keys as the suspect. DERIVED requires 0.02 or less.",
        "1. 20 of 20 held-out surrogates keep as few. UNRELATED requires 0.05 or less.",
        "At most 3.0% of models like the nulls would be called derived (0.95 confidence): 0 of 99 null models reach",
        "99 null models support this: p at most 0.02 is a false-positive rate of at most 4.7% (0.95 confidence).",
        "It does not show how the copy came about, who made it, or when.",
        fingerprint.sha256,
        result.suspect.sha256,
        fingerprint.source.sha256,
        "onnxruntime",
    ]:
        assert part in text


@pytest.mark.parametrize(
    ("variation", "shown"),
    [
        ({"steps": [0.5, 2, 1], "noise": (0.02, 0.15), "moved": 1}, "moved 1, noise 0.02 to 0.15, steps 0.5 to 2"),
        ({"label_noise": [0.02, 0.1], "kind": "x", "on": True, "none": [], "huge": 10**400}, "label noise 0.02 to 0.1"),
        ("long", "the fingerprint does not say"),
        (None, "the fingerprint does not say"),
    ],
)
def test_the_ranges_of_the_null_models_stand_beside_p(variation, shown, fingerprint, by_key):
    method = {**fingerprint.method, **({} if variation is None else {"variation": variation})}
    result = verify(replace(fingerprint, method=method), by_key(fingerprint, fingerprint.labels))
    assert f"    trained with    {shown}\n" in FORMATS["text"].result(result)
    VALIDATOR.validate(json.loads(FORMATS["json"].result(result)))


def test_a_suspects_name_cannot_rewrite_the_report(fingerprint, by_key):
    result = verify(fingerprint, by_key(fingerprint, fingerprint.labels))
    evil = replace(result, suspect=replace(result.suspect, name="a\x1b[2J\nUNRELATED"))
    text = FORMATS["text"].result(evil)
    assert "\x1b" not in text
    assert "\nUNRELATED" not in text


def test_the_text_names_what_was_measured_beside_the_suspect(fingerprint_file, derived_file):
    result = verify(fingerprint_file, derived_file)
    text = FORMATS["text"].result(replace(result, command="fpverify verify a.onnx -f b"))
    nulls, surrogates = result.null_spread, result.surrogate_spread
    for spread in (nulls, surrogates):
        assert f"they keep {spread.low:.1%} to {spread.high:.1%} of the keys, the median {spread.median:.1%}" in text
    assert f"  judged at    {result.judged_at}, in" in text
    assert "  command      fpverify verify a.onnx -f b\n" in text
    titles = ["What was measured", "How sure this is", "What was assumed", "What this shows", "How it was done"]
    assert [line for line in text.splitlines() if line in titles] == titles
    assert all(len(line) < 2100 for line in text.splitlines())


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_says_what_it_does_not_show(verdict, fingerprint, by_key):
    result = verify(fingerprint, by_key(fingerprint, fingerprint.labels))
    text = FORMATS["text"].result(replace(result, verdict=verdict))
    shown = text.split("What this shows\n")[1].split("\n\n")[0]
    assert "It does not show" in shown or "neither" in shown
