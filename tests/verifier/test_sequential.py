"""Asking key by key: few queries, and the verdict that all keys would give."""

import hashlib

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from fpverify import (
    Calibration,
    Fingerprint,
    InTurn,
    Policy,
    PolicyError,
    SuspectError,
    Verdict,
    correct,
    load_fingerprint,
    verify,
    vet,
)
from fpverify.cli import main
from fpverify.reports import FORMATS
from fpverify.sequential import Possible, Rule, certain, prior_of, verdicts_of

KEYS = 24


@pytest.fixture
def fingerprint(make_backed):
    return make_backed()


@pytest.fixture
def study(pytestconfig):
    return pytestconfig.rootpath / "fixtures" / "study"


class Counting:
    """A suspect that records which images it is asked, and answers each key with a label of its own."""

    def __init__(self, fingerprint, labels, second=None):
        self.known = {key.tobytes(): number for number, key in enumerate(fingerprint.inputs)}
        self.labels, self.second, self.asked = labels, second, []

    def __call__(self, inputs):
        answers = []
        for one in inputs:
            number = self.known[one.tobytes()]
            again = number in self.asked
            self.asked.append(number)
            answers.append(self.second[number] if again and self.second is not None else self.labels[number])
        return np.array(answers)


@pytest.fixture
def plain(make_backed, fingerprint):
    """The fingerprint in format 1, without control images: only keys are asked."""
    parts = {name: getattr(fingerprint, name) for name in Fingerprint.__dataclass_fields__}
    return Fingerprint(**{**parts, "backing": None})


def test_the_set_is_that_of_the_hypergeometric_distribution():
    """Numbers whose likelihood is not a hundredth of the prior's average, by SciPy."""
    prior = prior_of(Calibration((0.9, 0.95, 1.0), (), (0.1, 0.3), 0.6, ""), 20)
    assert prior.sum() == pytest.approx(1)
    numbers = np.arange(21)
    kept, expected = [True, True, False, True, True, True, True], np.ones(21, bool)
    for asked, found in enumerate(Possible(prior, 0.01).sets(kept), 1):
        likelihood = stats.hypergeom(20, numbers, asked).pmf(sum(kept[:asked]))
        expected &= likelihood > 0.01 * (prior * likelihood).sum()
        assert (found == expected).all()


@pytest.mark.parametrize("number", [0, 5, 14, 15, 40])
def test_the_true_number_is_left_out_no_more_often_than_the_error_says(number):
    draw, rule, missed = (
        np.random.default_rng(number),
        Possible(prior_of(Calibration((), (), (0.2, 0.3, 0.5), 0.6, ""), 40), 0.1),
        0,
    )
    for _ in range(300):
        kept = draw.permutation(np.arange(40) < number)
        missed += not all(found[number] for found in rule.sets(kept))
    assert stats.binom.sf(missed - 1, 300, 0.1) > 0.001


def test_what_is_certain():
    assert certain(2, 3, 5).tolist() == [False, False, True, True, True, False]


def test_the_verdict_of_all_keys_takes_few_of_them(study):
    """Twelve models, 40 orders each: none differs, and half of the queries or less."""
    fingerprint = load_fingerprint(study / "fingerprint.safetensors")
    verdicts = verdicts_of(fingerprint.calibration, 100, Policy())
    rule, draw, asked = Rule(fingerprint.calibration, 100, verdicts, 0.01), np.random.default_rng(5), []
    for member in vet(fingerprint, study).counted:
        kept = np.array(member.answers) == fingerprint.labels
        for _ in range(40):
            decisions = list(rule.decisions(draw.permutation(kept)))
            first = next(number for number, one in enumerate(decisions) if one.verdict is not None)
            assert decisions[first].verdict is verdicts[int(kept.sum())]
            asked.append(first + 1)
    assert np.median(asked) < 40


def test_controls_come_first_and_a_derived_suspect_is_asked_few_keys(study):
    fingerprint = load_fingerprint(study / "fingerprint.safetensors")
    images = {one.tobytes(): "control" for one in fingerprint.backing.controls.inputs}
    images |= {one.tobytes(): "key" for one in fingerprint.inputs}
    truth = {one.tobytes(): label for one, label in zip(fingerprint.inputs, fingerprint.labels, strict=True)}
    controls = fingerprint.backing.controls
    truth |= {one.tobytes(): label for one, label in zip(controls.inputs, controls.labels, strict=True)}
    asked = []

    def copy(inputs):
        asked.extend(images[one.tobytes()] for one in inputs)
        return np.array([truth[one.tobytes()] for one in inputs])

    result = verify(fingerprint, copy, in_turn=InTurn())
    report = result.sequential
    assert result.verdict is Verdict.DERIVED
    assert (report.stopped, report.error, result.kept, result.queries) == ("bound", 0.01, report.asked, report.asked)
    assert report.asked < 20
    assert report.queries == len(asked)
    assert asked == ["control"] * 33 + ["key"] * report.asked  # 33 right answers show that it works
    assert result.controls.works
    assert "at least 72 of all 100 (wrong with a probability of at most 0.01)" in result.reason
    text = FORMATS["text"].result(result)
    assert f"{report.asked} of 100 keys in {report.queries} queries: the verdict of all keys is another" in text


@pytest.mark.parametrize("kept", range(KEYS + 1))
def test_without_a_bound_on_queries_the_verdict_is_that_of_all_keys(plain, kept):
    """With an error that decides nothing early, all but certain verdicts wait for all keys."""
    labels = np.where(np.arange(KEYS) < kept, plain.labels, (plain.labels + 1) % 3)
    suspect = Counting(plain, labels)
    result = verify(plain, suspect, in_turn=InTurn(error=1e-9))
    assert result.verdict is verify(plain, Counting(plain, labels)).verdict
    assert len(suspect.asked) == len(set(suspect.asked)) == result.sequential.queries
    assert result.sequential.error == 0


def test_a_suspect_that_does_not_work_is_not_called_unrelated(fingerprint):
    labels = (fingerprint.labels + 1) % 3
    result = verify(fingerprint, Counting(fingerprint, labels), in_turn=InTurn(error=0.2))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert not result.controls.works
    assert result.controls.inputs == 2  # of six, five must be right
    assert "could not be verified" in result.reason


def test_refused_keys_count_both_ways(plain):
    """Half are refused: as kept it would be derived, as lost it is not."""
    labels = np.where(np.arange(KEYS) % 2 == 0, plain.labels, -1)
    result = verify(plain, Counting(plain, labels), in_turn=InTurn(error=1e-4))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.sequential.asked == KEYS
    assert "if the 12 keys that it refused counted as kept" in result.reason


def test_ties_count_both_ways(plain):
    scores = np.eye(3)[plain.labels]
    scores[::2] = 1

    def model(inputs):
        known = {key.tobytes(): row for key, row in zip(plain.inputs, scores, strict=True)}
        return np.array([known[one.tobytes()] for one in inputs])

    result = verify(plain, model, in_turn=InTurn(error=1e-4))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.sequential.asked == KEYS
    assert "without one best answer" in result.reason


def test_asked_twice_it_must_say_the_same(plain):
    """First it answers as the source does, the second time it does not: no verdict may follow."""
    honest = Counting(plain, plain.labels, plain.labels)
    result = verify(plain, honest, policy=Policy(ask_twice=True), in_turn=InTurn(error=0.2))
    report = result.sequential
    assert result.verdict is Verdict.DERIVED
    assert report.queries == 2 * report.asked == len(honest.asked)
    assert (result.answers.asked_again, result.answers.disagreements) == (report.asked, 0)
    liar = Counting(plain, plain.labels, (plain.labels + 1) % 3)
    result = verify(plain, liar, policy=Policy(ask_twice=True), in_turn=InTurn(error=1e-4))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.sequential.asked == KEYS
    assert result.answers.disagreements == KEYS


def test_queries_that_are_spent_decide_nothing(plain, fingerprint, monkeypatch):
    suspect = Counting(plain, plain.labels)
    result = verify(plain, suspect, in_turn=InTurn(max_queries=3))
    assert (result.verdict, len(suspect.asked)) == (Verdict.INCONCLUSIVE, 3)
    assert result.sequential.stopped == "queries spent"
    assert "But all queries are spent." in result.reason
    suspect = Counting(plain, plain.labels)
    result = verify(plain, suspect, policy=Policy(ask_twice=True), in_turn=InTurn(error=0.2, max_queries=7))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert len(suspect.asked) <= 7
    suspect = Counting(fingerprint, fingerprint.labels)
    with pytest.raises(PolicyError, match="more than 5: so many control images at least are asked before the keys"):
        verify(fingerprint, suspect, in_turn=InTurn(max_queries=5))
    assert suspect.asked == []
    monkeypatch.setattr(
        "fpverify.in_turn.Order.of", lambda order, what, count: list(range(count))
    )  # the second control is the wrong one
    with pytest.raises(PolicyError, match="the control images took all queries"):
        verify(fingerprint, Counting(fingerprint, [0, 2, 2, 0, 1, 2] * 4), in_turn=InTurn(max_queries=6))


def test_keys_of_classes_that_it_does_not_know_are_not_asked(plain, fingerprint):
    labels = np.array(["cat", "dog", "dog"])[fingerprint.labels]
    suspect = Counting(fingerprint, labels)
    result = verify(fingerprint, suspect, contract={"classes": ["cat", "dog"]}, in_turn=InTurn(error=0.2))
    assert result.answers.left_out == 8
    assert result.sequential.keys == 16
    assert sum(fingerprint.labels[number] == 2 for number in suspect.asked[result.controls.inputs :]) == 0


def test_a_suspect_that_answers_alike_is_asked_on(plain):
    """One label fits a third of the keys; whatever it keeps, one label says nothing."""
    result = verify(plain, Counting(plain, np.zeros(KEYS, int)), in_turn=InTurn(error=0.9))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "every key the same label" in result.reason


def test_the_error_is_that_of_both_verdicts_together():
    """A number of keys that is neither verdict's may be taken for either: both together are below the error."""
    calibration = Calibration((1.0,) * 20, (0.0,) * 4, (0.0,) * 99, 0.8, "")
    for number, error in ((15, 0.4), (12, 0.2), (15, 0.1)):
        verdicts = [Verdict.UNRELATED] * number + [Verdict.INCONCLUSIVE] + [Verdict.DERIVED] * (20 - number)
        rule, draw, wrong = Rule(calibration, 20, verdicts, error), np.random.default_rng(number), 0
        for _ in range(400):
            kept = draw.permutation(np.arange(20) < number)
            first = next(one.verdict for one in rule.decisions(kept) if one.verdict is not None)
            wrong += first is not Verdict.INCONCLUSIVE
        assert stats.binom.sf(wrong - 1, 400, error) > 0.001


def test_a_first_answer_that_cannot_be_read_is_asked_on(plain):
    """All keys at once are read although one answer is odd; so they are here."""
    for odd in (7, 10**6):
        first = []

        def model(inputs, odd=odd, first=first):
            answers = Counting(plain, plain.labels)(inputs)
            if not first:
                first.append(1)
                answers[0] = odd
            return answers

        with pytest.raises(SuspectError):  # labels outside the classes are an error for all keys, too
            verify(plain, model, in_turn=InTurn())

    names = np.array(["cat", "dog", "eel"])
    first = []

    def named(inputs):
        answers = names[Counting(plain, plain.labels)(inputs)].astype(object)
        if not first:
            first.append(1)
            answers[0] = "zebra"
        return answers

    result = verify(plain, named, in_turn=InTurn())
    assert result.verdict is Verdict.DERIVED


def test_what_it_knows_may_grow_and_then_all_is_asked(fingerprint):
    """It answers a class that it seemed not to know: keys of that class count from then on, and none decides early."""
    names = {0: "katze", 1: "hund", 2: "aal"}

    def named(inputs):
        labels = Counting(fingerprint, fingerprint.labels)(inputs)
        return np.array([names[int(label)] for label in labels], object)

    renaming = {"renamed": {"katze": "cat", "hund": "dog", "aal": "eel"}}
    result = verify(fingerprint, named, contract=renaming, in_turn=InTurn(error=0.2))
    assert result.verdict is Verdict.DERIVED
    two = {"renamed": {"katze": "cat", "hund": "dog"}}
    result = verify(fingerprint, named, contract=two, in_turn=InTurn(error=0.2))
    whole = verify(fingerprint, named, contract=two)
    assert result.sequential.stopped in ("all keys", "bound", "certain")
    assert (result.verdict, result.answers.left_out) == (whole.verdict, whole.answers.left_out)


def test_classes_that_no_key_has_are_an_error(plain):
    suspect = Counting(plain, np.array(["owl"] * KEYS, object))
    with pytest.raises(SuspectError):
        verify(plain, suspect, contract={"classes": ["owl", "fox"]}, in_turn=InTurn())
    for _ in range(10):  # whichever key is asked first
        names = np.array(["cat", "dog", "dog"], object)[plain.labels]
        result = verify(plain, Counting(plain, names), contract={"classes": ["cat", "dog"]}, in_turn=InTurn())
        assert result.answers.left_out == 8


def test_twins_are_not_asked_in_turn(plain):
    with pytest.raises(PolicyError, match="leave --sequential and --probe out"):
        verify(plain, Counting(plain, plain.labels), in_turn=InTurn(), twins=[plain])


def test_files_and_probes_are_refused(plain, make_onnx, tmp_path):
    with pytest.raises(PolicyError, match="a file costs nothing to ask"):
        verify(plain, make_onnx(tmp_path / "m.onnx"), in_turn=InTurn())
    with pytest.raises(PolicyError, match="probe"):
        verify(plain, Counting(plain, plain.labels), probe=(plain.inputs, plain.labels), in_turn=InTurn())


def test_a_suspect_that_fails_in_between_gives_no_verdict(plain):
    suspect = Counting(plain, plain.labels)

    def failing(inputs):
        if len(suspect.asked) == 4:
            raise ConnectionError("gone")
        return suspect(inputs)

    with pytest.raises(SuspectError, match="ConnectionError: gone"):
        verify(plain, failing, in_turn=InTurn())


def test_outputs_that_change_their_names_give_no_verdict(plain):
    suspect = Counting(plain, plain.labels)
    with pytest.raises(SuspectError, match="other outputs for some inputs"):
        verify(plain, lambda inputs: {f"answer {len(suspect.asked)}": suspect(inputs)}, in_turn=InTurn())


@pytest.mark.parametrize(
    "wrong", [{"error": 0}, {"error": 1}, {"error": True}, {"max_queries": 0}, {"max_queries": 1.5}]
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(PolicyError, match=next(iter(wrong))):
        InTurn(**wrong)


def test_the_order_is_drawn_from_a_seed_and_can_be_drawn_again(plain):
    first, second, other = (Counting(plain, plain.labels) for _ in range(3))
    found = verify(plain, first, in_turn=InTurn(error=0.2))
    seed = found.sequential.seed
    again = verify(plain, second, in_turn=InTurn(error=0.2, seed=seed))
    assert (second.asked, again.sequential.seed) == (first.asked, seed)
    assert verify(plain, other, in_turn=InTurn(error=0.2)).sequential.seed != seed
    start = b"fpverify/asked/1\0" + bytes.fromhex(seed) + b"keys\0"
    order = sorted(range(24), key=lambda key: hashlib.sha256(start + key.to_bytes(4, "big")).digest())
    assert first.asked == order[: len(first.asked)]
    assert seed in FORMATS["text"].result(found)


def test_further_outputs_share_the_error(plain):
    """Each of two outputs, and the second answers, could decide by its own error: together they keep the stated one."""

    def asked(suspect, twice=False):
        counting = Counting(plain, plain.labels)
        policy, order = Policy(ask_twice=twice), InTurn(error=0.2, seed="5" * 64)
        verify(plain, lambda inputs: suspect(counting(inputs)), policy=policy, in_turn=order)
        return len(set(counting.asked))

    one = asked(lambda labels: labels)
    assert asked(lambda labels: {"label": labels, "also": labels}) > one
    assert asked(lambda labels: labels, twice=True) > one


def test_figures_of_keys_that_were_not_asked_are_called_bounds(plain):
    result = verify(plain, Counting(plain, plain.labels), in_turn=InTurn(error=0.2))
    text = " ".join(FORMATS["text"].result(result).split())
    assert "at most" in text[text.index('p, "unrelated"') :][:40]
    assert "with the error of stopping, the level is 0.22" in text


def test_a_verdict_that_stopped_early_is_not_corrected_for_others(plain):
    """It stops at the first p that is small enough for one test; with two, that is none, whatever the suspect."""
    found = [verify(plain, Counting(plain, plain.labels), in_turn=InTurn(error=0.2)) for _ in range(2)]
    assert all("ask all keys (without --sequential)" in one.reason for one in correct(found))


def test_the_command(study, tmp_path, monkeypatch):
    (tmp_path / "api_of_tests.py").write_text(
        "import onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(study / 'derived-ftal.onnx')!r})\n"
        "def ask(inputs):\n    return session.run(None, {'input': inputs})[0]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["verify", "api_of_tests:ask", "-f", str(study / "fingerprint.safetensors")]
    done = CliRunner().invoke(main, [*arguments, "--sequential"])
    assert done.exit_code == 3, done.output
    assert "asked in turn" in done.output
    done = CliRunner().invoke(main, [*arguments, "--sequential", "--max-queries", "46"])
    assert done.exit_code == 4, done.output
    done = CliRunner().invoke(main, [*arguments, "--max-queries", "36"])
    assert done.exit_code == 2
    assert "they say nothing without --sequential" in done.output
    done = CliRunner().invoke(main, ["verify", "api_of_tests:ask", *arguments[1:], "--sequential"])
    assert "--sequential: verdicts that stop early cannot be corrected for several suspects" in done.output
    file = str(study / "derived-ftal.onnx")
    done = CliRunner().invoke(main, ["verify", file, "-f", arguments[-1], "--sequential"])
    assert done.exit_code == 2
    assert "a file costs nothing to ask" in done.output
