"""Recorded answers are matched by what their rows name, and judged as a suspect's own answers are."""

import csv
import io
import json
import struct
import zlib

import numpy as np
import pytest
from click.testing import CliRunner

from fpverify import (
    Controls,
    FingerprintError,
    InTurn,
    OutputError,
    PolicyError,
    SuspectError,
    save_fingerprint,
    verify,
)
from fpverify.cli import main
from fpverify.questions import NAME, digest_of, eight_bit, png, questions_of, restored, write_questions

CLASSES, KEYS = ("cat", "dog", "eel"), 24


def labels_of(fingerprint, kept=KEYS, controls=True):
    """Return digest -> label: the first so many keys kept, the others lost, every control right."""
    answers = {}
    if controls and fingerprint.backing is not None:
        found = fingerprint.backing.controls
        images = eight_bit(found.inputs, fingerprint.contract)
        answers |= {digest_of(image): int(label) for image, label in zip(images, found.labels, strict=True)}
    for row, image in enumerate(eight_bit(fingerprint.inputs, fingerprint.contract)):
        label = int(fingerprint.labels[row])
        answers[digest_of(image)] = label if row < kept else (label + 1) % 3
    return answers


def as_csv(answers, path, header=("image", "label")):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(
        [f"{name[:NAME]}.png", *(value if isinstance(value, list) else [value])] for name, value in answers
    )
    path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize("kept", [KEYS, 6])
def test_every_form_of_a_file_gives_the_same_verdict(tmp_path, kept, make_fingerprint):
    fingerprint = make_fingerprint()
    labels = labels_of(fingerprint, kept)
    scores = {name: [float(place == label) for place in range(3)] for name, label in labels.items()}
    names = {name: CLASSES[label] for name, label in labels.items()}
    files = [as_csv(labels.items(), tmp_path / "labels.csv"), as_csv(names.items(), tmp_path / "names.csv")]
    files.append(as_csv(scores.items(), tmp_path / "scores.csv", ("image", "score_0", "score_1", "score_2")))
    turned = {name: row[::-1] for name, row in scores.items()}
    files.append(as_csv(turned.items(), tmp_path / "turned.csv", ("digest", *CLASSES[::-1])))
    for name, document in {"labels": labels, "names": names, "scores": scores}.items():
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(document))
    files.append(tmp_path / "maps.json")
    files[-1].write_text(json.dumps({n: dict(zip(CLASSES, row, strict=True)) for n, row in scores.items()}))
    digests = list(labels)
    np.savez(tmp_path / "labels.npz", digests=digests, labels=[labels[name] for name in digests])
    np.savez(
        tmp_path / "scores.npz",
        digests=digests,
        scores=[turned[name] for name in digests],
        classes=CLASSES[::-1],
    )
    files += [tmp_path / "labels.npz", tmp_path / "scores.npz"]
    results = [verify(fingerprint, file) for file in files]
    assert {result.kept for result in results} == {kept}
    assert {result.verdict for result in results} == {"derived" if kept == KEYS else "inconclusive"}
    assert {(result.suspect.kind, result.answers.asked_again) for result in results} == {("recorded", 0)}
    assert all("recorded: nothing shows which model" in result.warnings[0] for result in results)
    assert {result.suspect.sha256 is None for result in results} == {False}


def test_rows_are_matched_by_name_in_any_order_and_foreign_ones_are_reported(tmp_path, make_backed):
    fingerprint = make_backed()
    rows = list(labels_of(fingerprint).items())[::-1]
    result = verify(fingerprint, as_csv([("0" * 64, 1), *rows], tmp_path / "answers.csv"))
    assert (result.verdict, result.kept) == ("derived", KEYS)
    assert result.controls.right == 6
    assert any("images that are not the fingerprint's: 1" in warning for warning in result.warnings)


@pytest.mark.parametrize(("missing", "verdict"), [(4, "derived"), (12, "inconclusive")])
def test_missing_answers_decide_nothing(tmp_path, missing, verdict, make_fingerprint):
    """The cut is 18 of 24: 20 kept keys are enough whatever the others are, 12 are not."""
    fingerprint = make_fingerprint()
    rows = list(labels_of(fingerprint).items())[missing:]
    result = verify(fingerprint, as_csv(rows, tmp_path / "answers.csv"))
    assert (result.verdict, result.kept, result.answers.refusals) == (verdict, KEYS - missing, 0)
    assert result.answers.distinct == 3
    gap = f"{missing} of 24 keys have no answer; these figures count them as not kept. "
    assert result.reason.startswith(f"{gap}The suspect keeps {KEYS - missing} of 24 keys")
    assert any(f"{missing} images have no recorded answer" in warning for warning in result.warnings)


def test_missing_answers_do_not_make_a_suspect_unrelated(tmp_path, make_backed):
    fingerprint = make_backed(controls_of(20))
    answers = labels_of(fingerprint, 3)
    whole = verify(fingerprint, as_csv(answers.items(), tmp_path / "whole.csv"))
    assert whole.verdict == "unrelated"
    keys = {digest_of(image) for image in eight_bit(fingerprint.inputs[3:], fingerprint.contract)}
    part = [(name, label) for name, label in answers.items() if name not in keys]
    assert verify(fingerprint, as_csv(part, tmp_path / "part.csv")).verdict == "inconclusive"


def test_the_verdict_must_be_the_same_by_first_and_later_answers(tmp_path, make_fingerprint):
    fingerprint = make_fingerprint()
    rows = list(labels_of(fingerprint).items())
    same = verify(fingerprint, as_csv([*rows, *rows], tmp_path / "same.csv"))
    assert same.verdict == "derived"
    assert any("24 images are answered more than once, 0 of them differently" in text for text in same.warnings)
    later = [(name, (label + 1) % 3) for name, label in rows[:12]]
    other = verify(fingerprint, as_csv([*rows, *later], tmp_path / "other.csv"))
    assert other.verdict == "inconclusive"
    assert "answers of later rows" in other.reason


def test_empty_cells_are_missing_answers(tmp_path, make_fingerprint):
    fingerprint = make_fingerprint()
    rows = [(name, "" if row < 4 else label) for row, (name, label) in enumerate(labels_of(fingerprint).items())]
    assert verify(fingerprint, as_csv(rows, tmp_path / "answers.csv")).kept == 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a first line 'image,label'"),
        ("a.csv", b"name;label\n", "found 'name;label'"),
        ("a.csv", b"image,label\n", "holds no answers"),
        ("a.csv", b"image,label\nkey-1.png,3\n", "answer 1 names the image 'key-1.png'; expected the first 16"),
        ("a.csv", b"image,label\n0123456789abcdef,1,2\n", "line 2 has 3 cells; expected 2"),
        ("a.csv", b"image,a,b\n0123456789abcdef,1,x\n", "line 2: expected a number for each class"),
        ("a.csv", b"image,a,b\n0123456789abcdef,1,nan\n", "line 2: expected finite scores"),
        ("a.csv", b"image,a,a\n0123456789abcdef,1,2\n", "names a class twice"),
        ("a.csv", b"\xff\xfe\x00", "is no CSV file in UTF-8"),
        ("a.csv", b"image,label\n0123456789abcdef,1\n", "answers none of the fingerprint's 24 images"),
        ("a.json", b"{", "is no JSON file"),
        ("a.json", b"[" * 100_000, "is no JSON file"),
        ("a.json", b"[1]", "expected a JSON object"),
        ("a.json", b'{"0123456789abcdef": true}', "expected a label, a name or a list of scores, found True"),
        ("a.json", b'{"0123456789abcdef": 1, "0123456789abcdee": [1, 2]}', "answers of several kinds"),
        ("a.json", b'{"0123456789abcdef": [1], "0123456789abcdee": [1, 2]}', "different numbers of scores"),
        ("a.json", b'{"0123456789abcdef": {"a": 1}, "0123456789abcdee": {"b": 2}}', "scores of other classes"),
        ("a.json", b'{"0123456789abcdef": 1e400}', "expected a label"),
        ("a.npz", b"PK", "is no .npz file"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, content, message, make_fingerprint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SuspectError) as caught:
        verify(make_fingerprint(), tmp_path / name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": [1]}, "expected the arrays 'digests' and 'labels' or 'scores', found labels"),
        ({"digests": ["0123456789abcdef"], "labels": [1, 2]}, "must hold an answer for each of 1 digests"),
        ({"digests": ["0123456789abcdef"], "scores": [1.0]}, "must hold an answer for each of 1 digests"),
        ({"digests": ["0123456789abcdef"], "scores": [[1.0, 2]], "classes": ["a"]}, "names 1 classes; expected 2"),
        ({"digests": np.array([{}], object), "labels": [1]}, "is no .npz file"),
    ],
)
def test_a_wrong_npz_is_named_in_one_line(tmp_path, arrays, message, make_fingerprint):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SuspectError, match=message.replace("(", r"\(")):
        verify(make_fingerprint(), tmp_path / "a.npz")


def test_an_image_may_be_named_by_any_part_of_its_digest_that_is_long_enough(tmp_path, make_fingerprint):
    """Two digests with the same beginning are two images: the second is none of the fingerprint's."""
    fingerprint = make_fingerprint()
    answers = labels_of(fingerprint)
    (tmp_path / "a.json").write_text(
        json.dumps({f"keys\\{name.upper()}.PNG": label for name, label in answers.items()})
    )
    assert verify(fingerprint, tmp_path / "a.json").kept == KEYS


def test_recorded_answers_cannot_be_asked_in_turn(tmp_path, make_fingerprint):
    file = as_csv(labels_of(make_fingerprint()).items(), tmp_path / "a.csv")
    with pytest.raises(PolicyError, match="a file costs nothing to ask"):
        verify(make_fingerprint(), file, in_turn=InTurn())


def test_the_command_writes_what_it_later_reads(tmp_path, make_backed):
    fingerprint = make_backed(controls_of(20))
    save_fingerprint(fingerprint, tmp_path / "f.safetensors")
    arguments = ["ask", str(tmp_path / "f.safetensors"), "-o", str(tmp_path / "q.npz"), "--images", str(tmp_path / "q")]
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 0, ran.output
    assert "24 keys and the control images, in random order" in ran.output
    questions = np.load(tmp_path / "q.npz")
    pictures = sorted((tmp_path / "q").glob("*.png"))
    assert len(pictures) == len(questions["images"]) == len(set(questions["digests"].tolist()))
    labels = {
        f"{name[:NAME]}.png": int(image[..., 0].ravel()[:3].argmax())
        for name, image in zip(questions["digests"].tolist(), questions["images"], strict=True)
    }
    form = list(csv.reader((tmp_path / "q" / "answers.csv").read_text().splitlines()))
    assert form[0] == ["image", "label"]
    assert {row[0] for row in form[1:]} == {picture.name for picture in pictures}
    as_csv([(name.removesuffix(".png"), labels[name]) for name, _ in form[1:]], tmp_path / "q" / "answers.csv")
    judged = CliRunner().invoke(
        main, ["verify", str(tmp_path / "q" / "answers.csv"), "-f", str(tmp_path / "f.safetensors")]
    )
    assert judged.exit_code == 3, judged.output
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2
    assert "must be a folder that is empty, or not there yet" in again.stderr


def controls_of(count):
    inputs = np.zeros((count, 1, 2, 2), np.float32)
    for number in range(count):
        inputs[number].flat[number % 3] = 1.0
        inputs[number].flat[3] = np.float32(100 + number) / np.float32(255)
    return Controls(inputs, np.arange(count, dtype=np.int64) % 3, 1.0)


def test_a_png_holds_the_image():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    content = png(image)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    size = struct.unpack(">I", content[33:37])[0]
    rows = np.frombuffer(zlib.decompress(content[41 : 41 + size]), np.uint8).reshape(2, 10)
    assert (rows[:, 1:].reshape(2, 3, 3) == image).all()
    pillow = pytest.importorskip("PIL.Image")
    assert (np.array(pillow.open(io.BytesIO(content))) == image).all()


def test_keys_that_are_no_8_bit_images_are_rounded_and_that_is_said(tmp_path, make_fingerprint):
    fingerprint = make_fingerprint(inputs=make_fingerprint().inputs * np.float32(0.999))
    save_fingerprint(fingerprint, tmp_path / "f.safetensors")
    ran = CliRunner().invoke(main, ["ask", str(tmp_path / "f.safetensors"), "-o", str(tmp_path / "q.npz")])
    assert "they were rounded" in ran.output
    assert questions_of(make_fingerprint()).exact
    images = questions_of(make_fingerprint()).images
    assert (eight_bit(restored(images, fingerprint.contract), fingerprint.contract) == images).all()


def test_images_that_become_the_same_with_other_labels_are_refused(make_fingerprint):
    inputs = np.zeros((KEYS, 1, 2, 2), np.float32)
    inputs[:, 0, 0, 0] = np.arange(KEYS, dtype=np.float32) / 1e6
    with pytest.raises(FingerprintError, match="the same as 8-bit images"):
        questions_of(make_fingerprint(inputs=inputs))


def test_nothing_stays_behind_where_the_images_cannot_be_written(tmp_path, make_fingerprint):
    questions = questions_of(make_fingerprint())
    with pytest.raises(OutputError):
        write_questions(questions, tmp_path / "missing" / "q.npz", tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_an_answer_that_names_another_image_is_not_taken(tmp_path, make_fingerprint):
    """The first digits are a key's, and the whole digest is not."""
    fingerprint = make_fingerprint()
    rows = {f"{name[:NAME]}{'0' * 48}": label for name, label in labels_of(fingerprint).items()}
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(SuspectError, match="answers none of the fingerprint's"):
        verify(fingerprint, tmp_path / "a.json")


def test_a_file_that_unpacks_to_much_more_is_refused(tmp_path, make_fingerprint):
    np.savez_compressed(tmp_path / "a.npz", digests=["0" * 64], labels=np.zeros(2**25, np.int64))
    assert (tmp_path / "a.npz").stat().st_size < 2**20
    with pytest.raises(SuspectError, match=r"unpacks to \d+ bytes"):
        verify(make_fingerprint(), tmp_path / "a.npz")


def test_one_long_name_among_many_is_refused(tmp_path, make_fingerprint):
    rows = list(labels_of(make_fingerprint()).items())
    rows[0] = (rows[0][0], "x" * 2_000_000)
    (tmp_path / "a.json").write_text(json.dumps({name: str(label) + "y" for name, label in rows}))
    with pytest.raises(SuspectError, match="of up to 2000001 characters, which is too much"):
        verify(make_fingerprint(), tmp_path / "a.json")


@pytest.mark.parametrize("damage", [b"", b"x" * 40])
def test_a_damaged_archive_is_named(tmp_path, make_fingerprint, damage):
    np.savez_compressed(tmp_path / "a.npz", digests=["0" * 64], labels=[1])
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[60:100] = damage
    (tmp_path / "a.npz").write_bytes(bytes(data))
    with pytest.raises(SuspectError, match=r"is no \.npz file"):
        verify(make_fingerprint(), tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", [1])
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(SuspectError, match=r"is no \.npz file"):
        verify(make_fingerprint(), tmp_path / "b.npz")
