"""An auditor's own models vet a fingerprint: what convicts anybody is refused, and what is honest is not."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from fpverify import Controls, PanelError, Policy, PolicyError, SuspectError, Verdict, load_vetting, verify, vet
from fpverify.cli import main
from fpverify.fingerprint import load_fingerprint, save_fingerprint
from fpverify.reports import FORMATS
from fpverify.result import PanelMember
from fpverify.vetting import SMALLEST, judge_panel

KEYS = 24


@pytest.fixture
def fingerprint(make_backed):
    return make_backed()


@pytest.fixture
def model(by_key, fingerprint):
    """A model that keeps the first so many keys, and is right on the controls (the first six) if it keeps six."""

    def made(kept):
        labels = np.where(np.arange(KEYS) < kept, fingerprint.labels, (fingerprint.labels + 1) % 3)
        return by_key(fingerprint, labels)

    return made


def members(*kept):
    truth = [number % 3 for number in range(KEYS)]
    return [
        PanelMember(f"{number}", None, one, (*truth[:one], *((label + 1) % 3 for label in truth[one:])), "")
        for number, one in enumerate(kept)
    ]


def test_an_honest_fingerprint_is_not_refused(fingerprint, model):
    found = vet(fingerprint, [model(6), model(7), model(9)])
    assert found.refusals == ()
    assert [one.kept for one in found.counted] == [6, 7, 9]
    kept = np.array(found.counted[1].answers) == fingerprint.labels
    assert kept.tolist() == [True] * 7 + [False] * 17
    assert (found.reaching, found.cut, found.queries, found.smallest_p) == (0, 18, KEYS, 0.25)
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 3))


def test_keys_that_any_model_keeps_are_refused_and_decide_nothing(fingerprint, model):
    found = vet(fingerprint, [model(24), model(20), model(22)])
    assert found.refusals[0].startswith("3 of 3 models of the panel would be called derived")
    for suspect, alone in ((model(24), Verdict.DERIVED), (model(5), Verdict.UNRELATED)):
        assert verify(fingerprint, suspect).verdict is alone
        result = verify(fingerprint, suspect, vetting=found)
        assert result.verdict is Verdict.INCONCLUSIVE
        assert "the panel refuses the fingerprint" in result.reason
        assert FORMATS["text"].result(result).splitlines()[2].startswith("Refused: 3 independent models")


@pytest.mark.parametrize(("size", "fewest"), [(3, 1), (10, 1), (11, 2), (59, 2), (148, 2), (149, 3)])
def test_so_many_of_a_panel_refuse(fingerprint, size, fewest):
    """The fewest that are too many at 1 in 1,000, and the bounds, by SciPy."""
    assert fewest == next(k for k in range(1, size + 1) if stats.binom.sf(k - 1, size, 0.001) <= 0.01)
    for reaching in (fewest - 1, fewest):
        found = judge_panel(members(*[24] * reaching, *[6] * (size - reaching)), fingerprint, Policy())
        assert bool(found.refusals) is (reaching == fewest)
        assert found.bound == pytest.approx(stats.beta.ppf(0.95, reaching + 1, size - reaching))


def test_a_source_that_loses_a_key_is_refused(fingerprint, model):
    panel = [model(6) for _ in range(3)]
    assert vet(fingerprint, panel, source=model(24)).refusals == ()
    found = vet(fingerprint, panel, source=model(23))
    assert found.refusals == ("its source keeps 23 of 24 keys only",)


def test_a_panel_that_is_large_enough_ranks_the_suspect(fingerprint, model):
    """49 models give 0.02 at least: one that keeps as many keys as the suspect makes that 0.04."""
    for above, verdict in ((0, Verdict.DERIVED), (1, Verdict.INCONCLUSIVE)):
        panel = judge_panel(members(*[24] * above, *[6] * (49 - above)), fingerprint, Policy())
        result = verify(fingerprint, model(24), vetting=panel)
        assert not panel.refusals
        assert result.vetting.p_value == pytest.approx((1 + above) / 50)
        assert result.verdict is verdict
    small = judge_panel(members(24, *[6] * 18), fingerprint, Policy())
    assert verify(fingerprint, model(24), vetting=small).verdict is Verdict.DERIVED  # 19 models cannot give 0.02


def test_the_panel_is_ranked_on_the_keys_that_count(fingerprint, model):
    """A suspect that knows two of three classes is compared on their keys alone."""

    def two_classes(inputs):
        labels = model(24)(inputs)
        return np.array([["cat", "dog"][label % 2] for label in labels])

    def judged(answers):
        panel = [PanelMember(f"{number}", None, 8, tuple(answers.tolist()), "") for number in range(3)]
        vetting = judge_panel(panel, fingerprint, Policy())
        return verify(fingerprint, two_classes, contract={"classes": ["cat", "dog"]}, vetting=vetting)

    # Of the keys of the third class this panel keeps all, of the others none.
    result = judged(np.where(fingerprint.labels == 2, 2, 1 - fingerprint.labels % 2))
    assert result.answers.left_out == 8
    assert (result.vetting.queries, result.vetting.p_value) == (16, pytest.approx(1 / 4))
    # A label outside the suspect's classes counts as kept, as it does for null models: nobody knows what the model
    # would answer among these. And the cut is that of the keys that count, which this panel reaches.
    result = judged(np.where(fingerprint.labels == 2, 0, 2))
    assert (result.vetting.p_value, result.vetting.reaching) == (1, 3)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_models_that_say_nothing_do_not_count_and_are_named(fingerprint, model, make_onnx, tmp_path):
    save_fingerprint(fingerprint, tmp_path / "fingerprint.safetensors")
    folder = tmp_path / "panel"
    folder.mkdir()
    rolled = np.eye(4, 3)[[1, 2, 0, 3]]  # it answers the next class, whatever is asked
    make_onnx(folder / "a-right.onnx")
    make_onnx(folder / "b-wrong.onnx", weights=np.array([[1, 0, 0]] * 4))
    (folder / "c-broken.onnx").write_bytes(b"no model")
    shutil.copy(folder / "a-right.onnx", folder / "d-again.onnx")
    make_onnx(folder / "e-rolled.onnx", weights=rolled)
    with pytest.raises(PanelError, match="at least 3 models that count") as error:
        vet(tmp_path / "fingerprint.safetensors", folder)
    for part in ("b-wrong.onnx: does not work", "c-broken.onnx: ", "d-again.onnx: the same file as a-right.onnx"):
        assert part in str(error.value)
    found = vet(fingerprint, [model(6), model(6), model(6), folder / "c-broken.onnx"])
    assert (len(found.counted), len(found.members)) == (SMALLEST, 4)


def test_a_contract_lies_beside_a_model(fingerprint, make_onnx, tmp_path):
    """The file's classes are in another order, and six controls are too few to show it."""
    rolled = np.eye(4, 3)[[1, 2, 0, 3]]
    for name in "abc":
        make_onnx(tmp_path / f"{name}.onnx", weights=rolled + ord(name) / 1000)
        (tmp_path / f"{name}.toml").write_text('classes = ["eel", "cat", "dog"]\n')
    assert [one.kept for one in vet(fingerprint, tmp_path).counted] == [24, 24, 24]
    (tmp_path / "a.toml").write_text("classes = 3\n")
    with pytest.raises(PolicyError, match=r"a\.toml"):
        vet(fingerprint, tmp_path)


def test_a_source_that_cannot_be_asked_is_an_error(fingerprint, model, tmp_path):
    with pytest.raises(SuspectError):
        vet(fingerprint, [model(6) for _ in range(3)], source=tmp_path / "none.onnx")


def test_a_folder_without_models_is_an_error(fingerprint, tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(PanelError, match="expected a folder with ONNX files"):
            vet(fingerprint, path)


def test_a_vetting_reads_back(fingerprint, model, tmp_path):
    found = vet(fingerprint, [model(6), model(7), model(9)], source=model(24))
    path = tmp_path / "vetting.json"
    path.write_text(FORMATS["json"].vetting(found))
    read = load_vetting(path)
    assert (read.members, read.source_kept, read.fingerprint) == (found.members, 24, fingerprint.sha256)
    assert verify(fingerprint, model(24), vetting=path).vetting == verify(fingerprint, model(24), vetting=found).vetting


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format="fpverify-vetting-2"),
        lambda d: d.pop("queries"),
        lambda d: d.update(queries="24"),
        lambda d: d.update(source_kept=True),
        lambda d: d.update(members={}),
        lambda d: d["members"].append(1),
        lambda d: d.update(queries=0),
        lambda d: d.update(queries=10**400),
        lambda d: d.update(source_kept=10**400),
        lambda d: d.update(source_kept=25),
        lambda d: d.update(fingerprint=5),
        lambda d: d["members"][0].update(kept=25),
        lambda d: d["members"][0].update(kept="6"),
        lambda d: d["members"][0].update(kept=6.0),
        lambda d: d["members"][0].update(kept=None),
        lambda d: d["members"][0].update(left_out="broken"),
        lambda d: d["members"][0].update(answers="2" * 24),
        lambda d: d["members"][0].update(answers=[1.0] * 24),
        lambda d: d["members"][0].update(answers=[10**400] * 24),
        lambda d: d["members"][0].update(answers=[1] * 6),
        lambda d: d["members"][0].update(name=None),
        lambda d: d["members"][0].update(sha256=5),
        lambda d: d["members"][0].update(sha256="ab"),
        lambda d: d["members"][0].update(extra=1),
    ],
)
def test_a_damaged_vetting_is_refused(fingerprint, model, tmp_path, change):
    path = tmp_path / "vetting.json"
    document = json.loads(FORMATS["json"].vetting(vet(fingerprint, [model(6) for _ in range(3)])))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(PanelError, match=r"vetting\.json"):
        load_vetting(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format": 1}'])
def test_what_is_no_vetting_is_refused(tmp_path, content):
    path = tmp_path / "vetting.json"
    path.write_bytes(content)
    with pytest.raises(PanelError, match=r"vetting\.json"):
        load_vetting(path)
    with pytest.raises(PanelError, match="cannot read"):
        load_vetting(tmp_path / "none.json")


def test_a_vetting_is_of_one_fingerprint_and_of_other_models(fingerprint, model, make_backed, make_onnx, tmp_path):
    asked = []

    def watched(inputs):
        asked.append(len(inputs))
        return model(24)(inputs)

    found = vet(fingerprint, [model(6) for _ in range(3)])
    other = make_backed(fingerprint={"seeds": {"run": 8}})
    with pytest.raises(PanelError, match="another fingerprint was vetted"):
        verify(other, watched, vetting=found)
    for name in ("a", "b", "c"):
        make_onnx(tmp_path / f"{name}.onnx", weights=np.eye(4, 3) + ord(name))
    found = vet(fingerprint, tmp_path)
    with pytest.raises(PanelError, match="the suspect is one of the panel"):
        verify(fingerprint, tmp_path / "a.onnx", vetting=found)
    assert asked == []


def test_a_recorded_panel_is_checked_as_a_new_one_is(fingerprint, model, tmp_path):
    """Whoever changes the record does not get more models, the source among them, or other keys."""
    path = tmp_path / "vetting.json"
    document = json.loads(FORMATS["json"].vetting(vet(fingerprint, [model(6) for _ in range(3)])))
    source = fingerprint.source.sha256
    for sha256s, message in (
        (["ef" * 32, "cd" * 32, "cd" * 32], "the same file as"),
        (["ef" * 32, source, "cd" * 32], "it is the fingerprint's source"),
    ):
        for member, sha256 in zip(document["members"], sha256s, strict=True):
            member["sha256"] = sha256
        path.write_text(json.dumps(document))
        with pytest.raises(PanelError, match=message):
            verify(fingerprint, model(24), vetting=path)
    for member in document["members"]:
        member.update(sha256=None, kept=min(member["kept"], 3), answers=member["answers"][:5])
    document["queries"] = 5
    path.write_text(json.dumps(document))
    with pytest.raises(PanelError, match="answers to 24 keys"):
        verify(fingerprint, model(24), vetting=path)


def test_the_source_that_is_asked_is_the_fingerprints(fingerprint, model, make_onnx, tmp_path):
    other = make_onnx(tmp_path / "other.onnx")  # it keeps every key, and is another file
    with pytest.raises(PanelError, match="is not the fingerprint's source"):
        vet(fingerprint, [model(6) for _ in range(3)], source=other)


def test_the_owners_control_images_hide_no_conviction(make_backed, by_key):
    """With wrong labels on the controls no honest model works; those that keep the keys count all the same."""
    plain = make_backed()
    wrong = Controls(plain.inputs[:6], (plain.labels[:6] + 1) % 3, 1.0)
    fingerprint = make_backed(controls=wrong)
    found = vet(fingerprint, [by_key(fingerprint, fingerprint.labels) for _ in range(3)])
    assert found.reaching == 3
    assert found.refusals


def test_one_label_for_all_keys_and_the_same_object_do_not_count(fingerprint, model, by_key):
    plain = model(6)
    one = by_key(fingerprint, np.zeros(KEYS, int))
    found = vet(fingerprint, [plain, plain, model(7), model(8), one])
    assert len(found.counted) == 3
    assert found.members[1].left_out == "it is there already"
    with pytest.raises(PanelError, match="a folder, or a list of models"):
        vet(fingerprint, 5)


def test_a_panel_ranks_by_the_least_that_a_suspect_keeps(fingerprint, model):
    """Its second answers keep fewer keys than its first; the panel's p is that of the second."""
    asked = []

    def suspect(inputs):
        again = len(inputs) == 1
        asked.append(again)
        return model(18 if again else 24)(inputs)

    panel = judge_panel(members(20, *[6] * 48), fingerprint, Policy())
    result = verify(fingerprint, suspect, policy=Policy(ask_twice=True), vetting=panel)
    assert result.vetting.p_value == pytest.approx(2 / 50)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_models_that_guess_do_not_count_however_little_the_owner_asks(make_backed, by_key):
    """The owner states how well the source does on the control images: with 0 %, every model would work."""
    plain = make_backed()
    modest = Controls(np.tile(plain.inputs[:6], (2, 1, 1, 1)), np.tile(plain.labels[:6], 2), 0.0)
    fingerprint = make_backed(controls=modest)
    lost = np.where(np.arange(KEYS) < 2, fingerprint.labels, (fingerprint.labels + 1) % 3)
    with pytest.raises(PanelError, match="does not work: 4 of 12 ordinary images right"):
        vet(fingerprint, [by_key(fingerprint, lost) for _ in range(3)])


def test_a_panel_that_was_asked_no_ordinary_images_says_so(make_fingerprint, by_key, tmp_path):
    """Format 1 has no control images: models that do not work would vet any fingerprint."""
    fingerprint = make_fingerprint()
    lost = np.where(np.arange(KEYS) < 6, fingerprint.labels, (fingerprint.labels + 1) % 3)
    panel = [by_key(fingerprint, lost) for _ in range(3)]
    found = vet(fingerprint, panel)
    assert not found.tested
    assert "nothing shows that the models of the panel work" in FORMATS["text"].vetting(found)
    result = verify(fingerprint, by_key(fingerprint, fingerprint.labels), vetting=found)
    assert "But nothing shows that the models of the panel work" in FORMATS["text"].result(result)
    probe = tmp_path / "probe.npz"
    np.savez(probe, inputs=fingerprint.inputs[:6], labels=fingerprint.labels[:6])
    assert vet(fingerprint, panel, probe=probe).tested
    np.savez(probe, inputs=fingerprint.inputs[6:], labels=fingerprint.labels[6:])
    with pytest.raises(PanelError, match="near chance on ordinary inputs"):
        vet(fingerprint, panel, probe=probe)


class TestCommands:
    @pytest.fixture
    def place(self, fingerprint, make_onnx, tmp_path):
        save_fingerprint(fingerprint, tmp_path / "f.safetensors")
        for folder, lost in (("honest", 2), ("crude", 0)):
            (tmp_path / folder).mkdir()
            for number in range(3):
                weights = np.eye(4, 3) * (1 + number / 100)
                weights[lost:2] = weights[lost:2][:, [2, 1, 0]] if lost else weights[lost:2]
                make_onnx(tmp_path / folder / f"{number}.onnx", weights=weights)
        make_onnx(tmp_path / "suspect.onnx", weights=np.eye(4, 3) * 3)
        return tmp_path

    def run(self, *arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    def test_a_crude_fingerprint_ends_with_3_and_convicts_nobody(self, place):
        done = self.run("vet", place / "f.safetensors", "--panel", place / "crude")
        assert done.exit_code == 3, done.output
        assert done.output.startswith("REFUSED: ")
        assert "0.onnx  keeps 24 of 24 keys" in done.output
        verified = ("verify", place / "suspect.onnx", "-f", place / "f.safetensors")
        assert self.run(*verified).exit_code == 3
        done = self.run(*verified, "--panel", place / "crude")
        assert done.exit_code == 4
        assert "Refused: 3 independent models were asked these keys" in done.output

    def test_a_vetting_is_recorded_and_used(self, place):
        done = self.run(
            "vet", place / "f.safetensors", "--panel", place / "crude", "--format", "json", "-o", place / "v.json"
        )
        assert (done.exit_code, done.output) == (3, "")
        verified = ("verify", place / "suspect.onnx", "-f", place / "f.safetensors", "--vetting", place / "v.json")
        assert self.run(*verified).exit_code == 4
        done = self.run(*verified, "--panel", place / "crude")
        assert done.exit_code == 2
        assert "--panel, --vetting: one stands in place of the other" in done.output
        done = self.run(*verified, "-o", place / "v.json")
        assert "would overwrite" in done.output

    def test_a_verdict_without_a_panel_says_so_first(self, place):
        done = self.run("verify", place / "suspect.onnx", "-f", place / "f.safetensors")
        assert done.output.splitlines()[2].startswith("Not vetted: ")

    def test_a_panel_is_folders_files_and_functions(self, place, monkeypatch):
        (place / "panel_of_tests.py").write_text(
            "import numpy as np\ndef ask(inputs):\n    return np.eye(4, 3)[inputs.reshape(-1, 4)[:, :3].argmax(1)]\n"
        )
        monkeypatch.syspath_prepend(str(place))
        done = self.run(
            "vet",
            place / "f.safetensors",
            "--panel",
            place / "crude",
            "--panel",
            place / "honest" / "0.onnx",
            "--panel",
            "panel_of_tests:ask",
        )
        assert done.exit_code == 3, done.output
        assert "panel_of_tests.ask" in done.output
        assert "of 5 count" in done.output

    def test_nothing_is_decided_by_too_few(self, place):
        (place / "crude" / "0.onnx").unlink()
        done = self.run("vet", place / "f.safetensors", "--panel", place / "crude")
        assert done.exit_code == 2
        assert "panel: expected at least 3 models that count, found 2 of 2" in done.output


def test_the_published_fingerprint_is_not_refused_by_independent_models(pytestconfig, tmp_path):
    """Three models of other data on the study's fixture, and its source's copies as if they were a panel."""
    study = pytestconfig.rootpath / "fixtures" / "study"
    fingerprint = load_fingerprint(study / "fingerprint.safetensors")
    assert not vet(fingerprint, sorted(study.glob("unrelated-*-other-data-*.onnx"))).refusals
    assert vet(fingerprint, sorted(study.glob("derived-*.onnx"))).refusals
