"""A commitment fixes a fingerprint and reveals no key; a part of the keys proves what was committed, or is refused."""

import hashlib
import hmac
import json
import os
import re
import stat
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from fpverify import (
    CommitmentError,
    Draw,
    Nonce,
    Policy,
    PolicyError,
    Proof,
    commit,
    disclose,
    load_fingerprint,
    verify,
)
from fpverify.cli import main
from fpverify.fingerprint import save_fingerprint
from fpverify.proof import commitment as commitments
from fpverify.proof.disclosure import check
from fpverify.proof.draw import order_of
from fpverify.questions import digest_of, eight_bit

SECRET, OURS, THEIRS = b"s" * 32, "01" * 32, "ef" * 32


@pytest.fixture
def whole(make_backed):
    return make_backed()


@pytest.fixture
def committed(whole):
    return commit(whole, SECRET)


def part_of(whole, committed, suspect="a" * 64, count=20):
    return disclose(whole, committed, SECRET, Draw(suspect, count, OURS, THEIRS))


def nonce_of(committed, number, suspect="a" * 64, keys=20):
    return Nonce(number, committed.sha256, suspect, keys)


def exchanged(committed, suspect="a" * 64, keys=20):
    """Return a proof as both sides make it: the auditor's number, and what the owner promised."""
    return Proof(committed, nonce_of(committed, THEIRS, suspect, keys), nonce_of(committed, OURS, suspect, keys).digest)


def test_a_digest_is_what_the_specification_says(whole, committed):
    """The leaf and its salt, by the standard library alone."""
    salt = hmac.new(SECRET, b"fpverify/salt/1\0key 5", "sha256").digest()
    answers = whole.backing.answers[:, 5].tolist()
    content = b"fpverify/key/1\0" + salt + struct.pack(">III", 5, int(whole.labels[5]), len(answers))
    content += struct.pack(f">{len(answers)}h", *answers)
    pixels = whole.inputs[5].ravel().tolist()
    content += struct.pack(f"<{len(pixels)}f", *pixels)
    assert committed.keys[5] == hashlib.sha256(content).hexdigest()


def test_the_vectors_of_the_specification_hold(whole):
    """They stand in formats/commitment-1.md; another program can check itself by them."""
    text = (Path(commitments.__file__).parents[1] / "formats" / "commitment-1.md").read_text()
    vectors = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL).group(1))
    draw = Draw(vectors["suspect"], vectors["shown"], vectors["owner"], vectors["auditor"])
    owner = Nonce(vectors["owner"], vectors["commitment"], vectors["suspect"], vectors["shown"])
    assert owner.digest == vectors["owner_digest"]
    assert order_of(draw, vectors["commitment"], 10) == vectors["order_of_10_keys"]
    secret = bytes.fromhex(vectors["secret"])
    assert commitments.salt(secret, "key 5").hex() == vectors["salt_of_key_5"]
    assert commitments.details_digest({"b": [1, 2.5], "a": "x"}, b"\0" * 32) == vectors["details_digest"]


def test_the_file_reveals_no_key_and_reads_back(whole, committed, tmp_path):
    content = committed.to_bytes()
    assert commitments.parse(content) == committed
    assert set(json.loads(content)) == commitments.FIELDS
    assert all(str(float(value)) not in content.decode() for value in np.unique(whole.inputs) if 0 < value < 1)
    other = commit(whole, b"t" * 32)  # the same keys, other salts: nobody can test a guess
    assert not set(other.keys) & set(committed.keys)
    assert (other.details, other.controls) != (committed.details, committed.controls)


def test_all_of_it_is_what_was_committed(whole, committed):
    found = check(whole, committed)
    assert (found.keys, found.disclosed, found.draw) == (24, 24, None)
    with pytest.raises(CommitmentError, match="not the one that was committed"):
        check(replace(whole, seeds={"run": 8}), committed)


def test_a_part_is_what_was_committed_and_drawn(whole, committed):
    part = part_of(whole, committed)
    found = check(part, committed)
    assert (found.keys, found.disclosed, found.draw.suspect) == (24, 20, "a" * 64)
    rows = part.method["disclosure"]["rows"]
    assert np.array_equal(part.inputs, whole.inputs[rows])
    kept = (whole.backing.answers[:, rows] == whole.labels[rows]).mean(axis=1)
    assert sorted(part.calibration.nulls) == pytest.approx(sorted(kept[-99:]))
    assert part.calibration.threshold == whole.calibration.threshold


def test_each_number_draws_other_keys_and_all_are_drawn_alike(committed):
    base = order_of(Draw("a" * 64, 20, OURS, THEIRS), committed.sha256, 24)
    assert sorted(base) == list(range(24))
    others = [Draw("b" * 64, 20, OURS, THEIRS), Draw("a" * 64, 21, OURS, THEIRS)]
    others += [Draw("a" * 64, 20, "02" * 32, THEIRS), Draw("a" * 64, 20, OURS, "02" * 32)]
    assert all(order_of(draw, committed.sha256, 24) != base for draw in others)
    assert order_of(Draw("a" * 64, 20, OURS, THEIRS), "0" * 64, 24) != base
    first = [order_of(Draw("s", 20, f"{number:064x}", THEIRS), committed.sha256, 8)[0] for number in range(800)]
    assert min(np.bincount(first, minlength=8)) > 65  # 100 each on average, 9 the standard deviation


def altered(part, **changes):
    """Return a part with something changed in its disclosure."""
    return replace(part, method={**part.method, "disclosure": {**part.method["disclosure"], **changes}})


def lies(part):
    """Return parts that a dishonest owner could make, with what each is told."""
    shown = part.method["disclosure"]
    rows, salts, draw = shown["rows"], shown["salts"], shown["draw"]
    inputs = part.inputs.copy()
    inputs[3, 0, 0, 0] = 0.5
    answers = part.backing.answers.copy()
    answers[0], answers[1] = answers[1].copy(), answers[0].copy()
    bright = replace(part.backing.controls, inputs=1 - part.backing.controls.inputs)
    low = replace(part.calibration, threshold=0.5)
    order = [1, 0, *range(2, len(rows))]
    swapped = altered(part, rows=[rows[k] for k in order], salts={**salts, "keys": [salts["keys"][k] for k in order]})
    return {
        "another input": (replace(part, inputs=inputs), "key .* is not as it was committed"),
        "others' answers": (replace(part, backing=replace(part.backing, answers=answers)), "key .* is not as it was"),
        "other controls": (replace(part, backing=replace(part.backing, controls=bright)), "control images"),
        "a lower threshold": (replace(part, calibration=low), "threshold is not"),
        "a lower threshold all over": (
            altered(replace(part, calibration=low), calibration={**shown["calibration"], "threshold": 0.5}),
            "not as they were committed",
        ),
        "another seed": (replace(part, seeds={"run": 8}), "not as they were committed"),
        "another salt": (altered(part, salts={**salts, "keys": ["0" * 64, *salts["keys"][1:]]}), "key .* is not as it"),
        "a key twice": (altered(part, rows=[rows[1], *rows[1:]]), "different numbers"),
        "a key that is none": (altered(part, rows=[24, *rows[1:]]), "different numbers"),
        "another order": (swapped, "key .* is not as it was committed"),
        "another draw": (altered(part, draw={**draw, "owner": "03" * 32}), "not those that both random numbers draw"),
        "another number of keys": (altered(part, draw={**draw, "keys": 21}), "another number of keys is shown"),
        "no number of keys": (altered(part, draw={**draw, "keys": "20"}), "number of keys must be an integer"),
        "another commitment": (altered(part, commitment="0" * 64), "belong to another commitment"),
        "too few salts": (altered(part, salts={**salts, "keys": salts["keys"][1:]}), "one for each key"),
        "a salt that is none": (altered(part, salts={**salts, "details": 3}), "hexadecimal digits"),
        "no draw's fields": (altered(part, draw={"suspect": "a"}), "draw must be exactly|draw: .*exactly"),
        "no calibration": (altered(part, calibration=[]), "calibration"),
        "a calibration that is none": (
            altered(part, calibration={**shown["calibration"], "threshold": 7}),
            "fraction in",
        ),
        "nothing": (replace(part, method={**part.method, "disclosure": None}), "disclosure"),
    }


CASES = ["another input", "others' answers", "other controls", "a lower threshold", "a lower threshold all over"]
CASES += ["another seed", "another salt", "a key twice", "a key that is none", "another order", "another draw"]
CASES += [
    "another number of keys",
    "no number of keys",
    "another commitment",
    "too few salts",
    "a salt that is none",
    "no draw's fields",
    "no calibration",
]
CASES += ["a calibration that is none", "nothing"]


@pytest.mark.parametrize("case", CASES)
def test_what_was_not_committed_is_refused_before_anything_is_asked(case, whole, committed):
    changed, message = lies(part_of(whole, committed))[case]
    asked = []
    with pytest.raises(CommitmentError, match=message):
        verify(changed, lambda inputs: asked.append(inputs), proof=exchanged(committed))
    assert asked == []


def test_every_case_is_tried(whole, committed):
    assert list(lies(part_of(whole, committed))) == CASES


def test_a_label_is_committed_with_its_key(whole, committed):
    part = part_of(whole, committed)
    labels = part.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    kept = part.backing.answers == labels
    counts = {role: [] for role in ("surrogate", "reference", "null")}
    for model, count in zip(part.backing.models, kept.sum(1), strict=True):
        counts[model.role].append(count / 20)
    calibration = replace(
        part.calibration,
        surrogates=tuple(counts["surrogate"]),
        references=tuple(counts["reference"]),
        nulls=tuple(counts["null"]),
    )
    with pytest.raises(CommitmentError, match="is not as it was committed"):
        check(replace(part, labels=labels, calibration=calibration), committed)


@pytest.mark.parametrize(
    ("changes", "promised", "message"),
    [
        ({"number": "05" * 32}, None, "not drawn with your random number"),
        ({}, "0" * 64, "not the one that he promised"),
        ({"suspect": "acme-api v1"}, None, "for another suspect than your random number"),
        ({"keys": 21}, None, "another number of keys is shown than you agreed to; expected 21"),
        ({"commitment": "0" * 64}, None, "your random number is for another commitment"),
    ],
)
def test_numbers_that_were_not_exchanged_are_refused(changes, promised, message, whole, committed, by_key):
    """An owner who could choose the suspect's name, or how many keys are shown, would choose the keys."""
    part = part_of(whole, committed, "the suspect")
    ours = replace(nonce_of(committed, THEIRS, "the suspect"), **changes)
    with pytest.raises(CommitmentError, match=message):
        verify(part, by_key(part, part.labels), proof=Proof(committed, ours, promised))


def test_what_is_drawn_from_is_promised_with_the_number(whole, committed, by_key):
    part = part_of(whole, committed, "the suspect", 21)
    ours = nonce_of(committed, THEIRS, "the suspect", 21)
    early = nonce_of(committed, OURS, "the suspect", 20).digest  # the owner promised 20 keys, and shows 21
    with pytest.raises(CommitmentError, match="not the one that he promised"):
        verify(part, by_key(part, part.labels), proof=Proof(committed, ours, early))


def test_one_commitment_holds_one_fingerprint(whole, committed):
    """Its parts are not mixed from two: of a whole fingerprint the source and the number of keys are compared, too."""
    for changes, message in [
        ({"source": "0" * 64}, "the source is not"),
        ({"keys": committed.keys[:5]}, "number of k"),
    ]:
        with pytest.raises(CommitmentError, match=message):
            check(whole, replace(committed, **changes))


@pytest.mark.parametrize(
    ("draw", "nonce", "promised", "doubt"),
    [
        (True, THEIRS, True, ""),
        (True, None, None, "nothing shows that the keys were drawn by both sides"),
        (True, THEIRS, None, "the owner may have chosen his random number"),
        (False, None, None, "the owner chose which 20 of 24 keys to show"),
    ],
)
def test_a_verdict_says_how_the_keys_were_chosen(draw, nonce, promised, doubt, whole, committed, by_key):
    part = disclose(whole, committed, SECRET, Draw("the suspect", 20, OURS, THEIRS) if draw else 20)
    whole_proof = exchanged(committed, "the suspect")
    proof = replace(whole_proof, nonce=nonce and whole_proof.nonce, promised=promised and whole_proof.promised)
    result = verify(part, by_key(part, part.labels), proof=proof)
    assert result.verdict == "derived"
    assert (result.proof.shown, result.proof.committed, result.proof.fair) == (20, 24, not doubt)
    assert any(doubt in warning for warning in result.warnings) == bool(doubt) or not doubt
    assert result.proof.commitment == committed.sha256


def test_keys_that_were_drawn_for_another_suspect_are_refused(whole, committed, derived_file):
    digest = hashlib.sha256(derived_file.read_bytes()).hexdigest()
    right, wrong = part_of(whole, committed, digest), part_of(whole, committed, "a" * 64)
    assert verify(right, derived_file, proof=exchanged(committed, digest)).proof.drawn_for == digest
    with pytest.raises(CommitmentError, match=r"^the fingerprint: the keys were drawn for another suspect"):
        verify(wrong, derived_file, proof=exchanged(committed))
    named = part_of(whole, committed, "the suspect")  # whoever judges a file names it by its digest
    with pytest.raises(CommitmentError, match="drawn for another suspect"):
        verify(named, derived_file, proof=Proof(committed))


def test_the_level_is_the_one_that_was_committed(whole, by_key):
    strict = commit(whole, SECRET, Policy(significance=0.01))
    suspect = by_key(whole, whole.labels)
    assert verify(whole, suspect, proof=Proof(strict)).policy.significance == 0.01
    with pytest.raises(PolicyError, match=r"significance 0\.01.*found significance 0\.05"):
        verify(whole, suspect, policy=Policy(significance=0.05), proof=Proof(strict))


def test_format_1_cannot_be_committed(fingerprint):
    with pytest.raises(CommitmentError, match="format 1 holds no answers"):
        commit(fingerprint, SECRET)


def test_a_part_is_not_committed_again(whole, committed):
    with pytest.raises(CommitmentError, match="a part of another one; commit to the whole"):
        commit(part_of(whole, committed), SECRET)


def test_another_fingerprint_or_secret_discloses_nothing(whole, committed):
    with pytest.raises(CommitmentError, match="to another fingerprint"):
        disclose(replace(whole, seeds={"run": 8}), committed, SECRET, 20)
    with pytest.raises(CommitmentError, match="not as they were committed"):
        disclose(whole, committed, b"t" * 32, 20)
    for count in (0, 25):
        with pytest.raises(CommitmentError, match="cannot be shown"):
            disclose(whole, committed, SECRET, count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1], "no strict JSON"),
        (lambda text: text + " ", "canonical form"),
        (lambda text: text.replace("commitment-1", "commitment-2"), "format must be"),
        (lambda text: text.replace('"source"', '"sauce"'), "must hold exactly"),
        (lambda text: text.replace('"min_keys":20', '"min_keys":0'), "min_keys"),
        (lambda text: re.sub(r'"keys":\[.*?\]', '"keys":[]', text), "a list of digests"),
        (lambda text: re.sub(r'"keys":\["..', '"keys":["XY', text), "key 0 must be 64"),
        (lambda text: "[]", "format must be"),
        (lambda text: "ä", "no strict JSON"),
    ],
)
def test_what_is_no_commitment_is_refused_with_its_file(change, message, committed, tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes(change(committed.to_bytes().decode()).encode())
    with pytest.raises(CommitmentError, match=message) as error:
        commitments.load_commitment(path)
    assert str(error.value).startswith(str(path))


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done


def test_both_sides_go_through_it_on_the_command_line(whole, derived_file, unrelated_file, tmp_path):
    """The owner commits; both draw and exchange numbers; the owner discloses; the auditor judges."""
    full, public, secret = tmp_path / "f", tmp_path / "c.json", tmp_path / "s"
    save_fingerprint(whole, full)
    run("commit", full, "-o", public, "--secret", secret)
    assert stat.S_IMODE(os.stat(secret).st_mode) == 0o600
    about = ["nonce", public, "--suspect", derived_file, "--keys", 20, "-o"]
    promised = [run(*about, tmp_path / name).stdout.split()[-1] for name in ("owner", "auditor")]
    digest = hashlib.sha256(derived_file.read_bytes()).hexdigest()
    disclosing = ["disclose", full, "--commitment", public, "--secret", secret]
    disclosing += ["--nonce", tmp_path / "owner", "--theirs", tmp_path / "auditor", "-o", tmp_path / "part"]
    assert "20 of 24" in run(*disclosing, "--promised", promised[1]).stdout
    judging = ["verify", derived_file, "-f", tmp_path / "part", "--commitment", public]
    said = run(*judging, "--nonce", tmp_path / "auditor", "--promised", promised[0], code=3)
    assert "20 of 24 keys were shown, drawn by both sides" in said.stdout
    assert re.search(rf"drawn for +{digest}\n", said.stdout)
    assert "Note: nothing shows that the keys were drawn by both sides" in run(*judging, code=3).stdout
    assert "not the one that he promised" in run(*disclosing, "--promised", "0" * 64, code=2).stderr
    assert "not drawn with your random number" in run(*judging, "--nonce", tmp_path / "owner", code=2).stderr
    assert "--keys: expected 20 to 24" in run(*about[:4], "--keys", 5, "-o", tmp_path / "n", code=2).stderr
    run(*about[:4], "--keys", 21, "-o", tmp_path / "n")
    other = [*disclosing[:6], "--nonce", tmp_path / "n", *disclosing[8:]]
    assert (
        "keys: both sides' random numbers are for different things; expected 21, found 20" in run(*other, code=2).stderr
    )
    both = run("verify", derived_file, unrelated_file, *judging[2:], code=2).stderr
    assert "its keys were drawn for one suspect" in both
    assert "there is a secret already" in run("commit", full, "-o", public, "--secret", secret, code=2).stderr
    assert "say nothing without --commitment" in run(*judging[:4], "--promised", "0" * 64, code=2).stderr
    assert load_fingerprint(tmp_path / "part").method["disclosure"]["draw"]["suspect"] == digest


def test_a_commitment_that_cannot_be_written_leaves_no_secret(whole, tmp_path):
    full = tmp_path / "f"
    save_fingerprint(whole, full)
    failed = run("commit", full, "-o", tmp_path / "no" / "c.json", "--secret", tmp_path / "s", code=2)
    assert "cannot write the commitment" in failed.stderr
    assert not (tmp_path / "s").exists()


def test_a_secret_is_never_shown(whole, tmp_path):
    full, public = tmp_path / "f", tmp_path / "c.json"
    save_fingerprint(whole, full)
    run("commit", full, "-o", public, "--secret", tmp_path / "s")
    (tmp_path / "s").write_text("my private words")
    for name in ("owner", "auditor"):
        run("nonce", public, "--suspect", "x", "--keys", 20, "-o", tmp_path / name)
    disclosing = ["disclose", full, "--commitment", public, "--secret", tmp_path / "s"]
    disclosing += ["--nonce", tmp_path / "owner", "--theirs", tmp_path / "auditor", "-o", tmp_path / "part"]
    failed = run(*disclosing, code=2)
    assert "not a secret; expected 64" in failed.stderr
    assert "private" not in failed.stderr


def test_weights_beside_a_file_are_a_part_of_what_it_is(whole, committed, make_onnx, tmp_path):
    """Two models with one graph and other weights: keys that were drawn for the one say nothing of the other."""
    found = []
    for name, scale in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        plain = onnx.load(make_onnx(tmp_path / f"{name}.onnx", weights=np.eye(4, 3) * scale))
        file = tmp_path / name / "m.onnx"
        onnx.save(plain, file, save_as_external_data=True, location="w.bin", size_threshold=0)
        found.append(verify(whole, file).suspect)
    first, second = found
    assert first.sha256 == second.sha256
    assert first.identity != second.identity
    weights = bytes.fromhex(first.external["w.bin"])
    content = b"fpverify/files/1\0" + bytes.fromhex(first.sha256) + weights + (5).to_bytes(4, "big") + b"w.bin"
    assert first.identity == hashlib.sha256(content).hexdigest()
    part = part_of(whole, committed, first.identity)
    assert verify(part, tmp_path / "a" / "m.onnx", proof=exchanged(committed, first.identity)).proof.fair
    with pytest.raises(CommitmentError, match="drawn for another suspect"):
        verify(part, tmp_path / "b" / "m.onnx", proof=exchanged(committed, first.identity))


def test_recorded_answers_are_called_what_both_sides_call_them(whole, committed, tmp_path):
    """The file of answers is written after the draw, so that its digest cannot be in it."""
    part = part_of(whole, committed, "acme-api")
    images = eight_bit(part.inputs, part.contract)
    rows = [*zip(map(digest_of, images), part.labels.tolist(), strict=True)]
    controls = eight_bit(part.backing.controls.inputs, part.contract)
    rows += zip(map(digest_of, controls), part.backing.controls.labels.tolist(), strict=True)
    answers = tmp_path / "answers.csv"
    answers.write_text("image,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    result = verify(part, answers, proof=exchanged(committed, "acme-api"))
    assert (result.verdict, result.proof.fair, result.proof.drawn_for) == ("derived", True, "acme-api")
