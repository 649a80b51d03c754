import hashlib
from dataclasses import replace

import numpy as np
import pytest

from fpverify import FingerprintError, Policy, SuspectError, Verdict, save_fingerprint, verify


def test_a_suspect_that_keeps_every_key_is_derived(fingerprint, fingerprint_file, derived_file):
    result = verify(fingerprint_file, derived_file)
    assert result.verdict is Verdict.DERIVED
    assert (result.kept, result.queries, result.retention, result.threshold) == (24, 24, 1.0, 0.75)
    assert (result.cut, result.p_value, result.q_value) == (18, 1 / 100, 1.0)
    assert result.false_positive_bound == pytest.approx(1 - 0.05 ** (1 / 99))
    assert result.fingerprint.sha256 == fingerprint.sha256
    assert result.fingerprint.path == str(fingerprint_file)
    assert result.suspect.kind == "onnx"
    assert result.suspect.sha256 == hashlib.sha256(derived_file.read_bytes()).hexdigest()
    assert set(result.versions) == {"fpverify", "numpy", "onnxruntime", "python"}
    assert result.seconds > 0


@pytest.fixture
def keeps(by_key):
    """Makes a callable that answers so many keys as the fingerprint says."""

    def make(fingerprint, count):
        answers = fingerprint.labels.copy()
        answers[count:] = (answers[count:] + 1) % 3
        return by_key(fingerprint, answers)

    return make


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        (24, "derived"),
        (18, "derived"),
        (17, "inconclusive"),
        (16, "inconclusive"),
        (7, "inconclusive"),
        (6, "unrelated"),
        (0, "unrelated"),
    ],
)
def test_a_callable_is_judged_by_what_it_keeps(fingerprint, kept, verdict, keeps):
    result = verify(fingerprint, keeps(fingerprint, kept))
    assert (result.kept, result.verdict) == (kept, verdict)
    assert (result.suspect.kind, result.suspect.sha256, result.suspect.path) == ("callable", None, None)
    assert result.fingerprint.path is None
    assert "onnxruntime" not in result.versions


@pytest.mark.parametrize(("private", "warned"), [(True, 1), (False, 0), ("yes", 0)])
def test_a_report_says_for_whom_a_fingerprint_of_private_images_is_no_evidence(
    fingerprint, keeps, private, warned, tmp_path
):
    stated = replace(fingerprint, method={**fingerprint.method, "private_images": private})
    save_fingerprint(stated, tmp_path / "stated.safetensors")
    result = verify(tmp_path / "stated.safetensors", keeps(stated, 24))
    said = [one for one in result.warnings if "p and the false-positive rate do not hold for a model" in one]
    assert len(said) == warned


def test_the_policy_decides_when_the_null_is_rejected(fingerprint, keeps):
    assert (
        verify(fingerprint, keeps(fingerprint, 24), policy=Policy(significance=0.005)).verdict is Verdict.INCONCLUSIVE
    )


def test_the_same_question_gets_the_same_answer(fingerprint_file, unrelated_file):
    first, second = (vars(verify(fingerprint_file, unrelated_file)) for _ in range(2))
    timeless = {"seconds": 0, "judged_at": ""}
    assert {**first, **timeless} == {**second, **timeless}


def test_nan_scores_give_no_verdict(tmp_path, fingerprint, make_onnx):
    with pytest.raises(SuspectError, match="scores that are not finite"):
        verify(fingerprint, make_onnx(tmp_path / "nan.onnx", fill=[np.nan] * 3))


def test_the_fingerprint_is_checked_before_the_suspect_is_touched(tmp_path, derived_file):
    with pytest.raises(FingerprintError, match="No such file"):
        verify(tmp_path / "missing", derived_file)


def test_a_suspect_must_be_a_path_or_callable(fingerprint):
    with pytest.raises(SuspectError, match=r"must be the path of an ONNX file or .*, found 7"):
        verify(fingerprint, 7)
