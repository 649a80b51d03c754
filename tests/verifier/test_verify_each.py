"""One suspect is judged by several fingerprints as by each alone, and loaded once."""

from dataclasses import asdict

import numpy as np
import pytest

import fpverify
from fpverify.sandbox.parent import Sandbox
from fpverify.suspects import onnx_file


def without_times(result):
    return {name: value for name, value in asdict(result).items() if name not in ("seconds", "judged_at")}


@pytest.fixture
def fingerprints(fingerprint, make_fingerprint, tmp_path):
    """Two with other labels, one of them a file, and one of classes that no suspect here has."""
    shifted = make_fingerprint(labels=(np.arange(24, dtype=np.int64) + 1) % 3)
    fpverify.save_fingerprint(shifted, tmp_path / "shifted")
    return [fingerprint, tmp_path / "shifted"]


def test_each_fingerprint_gets_the_verdict_that_it_gets_alone(fingerprints, derived_file):
    found = list(fpverify.verify_each(fingerprints, derived_file))
    alone = [fpverify.verify(fingerprint, derived_file) for fingerprint in fingerprints]
    assert [result.retention for result in found] == [1.0, 0.0]
    assert list(map(without_times, found)) == list(map(without_times, alone))


def test_a_callable_is_judged_too(fingerprints):
    found = fpverify.verify_each(fingerprints, lambda inputs: inputs.reshape(len(inputs), -1)[:, :3])
    assert [result.retention for result in found] == [1.0, 0.0]


def test_the_suspect_is_loaded_and_hashed_once(fingerprints, derived_file, monkeypatch):
    loaded, hashed = [], []
    load, digest = Sandbox.start_loading, onnx_file.OnnxSuspect._digest_files
    monkeypatch.setattr(Sandbox, "start_loading", lambda *given: (loaded.append(given[1]), load(*given)))
    monkeypatch.setattr(onnx_file.OnnxSuspect, "_digest_files", lambda self: (hashed.append(self.path), digest(self)))
    assert len(list(fpverify.verify_each(fingerprints * 3, derived_file))) == 6
    assert loaded == [[str(derived_file)]]
    assert hashed == [str(derived_file)]


def test_what_one_fingerprint_cannot_judge_the_next_can(fingerprint, make_fingerprint, derived_file):
    strange = make_fingerprint(classes=("ant", "bee", "cow"))
    contract = {"classes": ["cat", "dog", "eel"]}
    first, second = fpverify.verify_each([strange, fingerprint], derived_file, contract=contract)
    assert isinstance(first, fpverify.SuspectError)
    assert "no name in common" in str(first)
    assert second.verdict is fpverify.Verdict.DERIVED


def test_a_suspect_whose_process_dies_is_an_error_for_each(fingerprints, derived_file, monkeypatch):
    run = Sandbox.run

    def killed(sandbox, *given):
        sandbox.stop()
        return run(sandbox, *given)

    monkeypatch.setattr(Sandbox, "run", killed)
    found = list(fpverify.verify_each(fingerprints, derived_file))
    assert len(found) == 2
    assert all(isinstance(error, fpverify.SuspectError) for error in found)


def test_no_model_at_all_is_an_error_before_any_verdict(fingerprints, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(fpverify.SuspectError, match="no ONNX model"):
        list(fpverify.verify_each(fingerprints, tmp_path / "m.onnx"))


def test_a_fingerprint_that_is_none_is_an_error(derived_file, tmp_path):
    (tmp_path / "f").write_bytes(b"no fingerprint")
    with pytest.raises(fpverify.FingerprintError):
        list(fpverify.verify_each([tmp_path / "f"], derived_file))
