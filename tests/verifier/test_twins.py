"""Twin sources: a suspect's rank among networks that were trained like the source."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from fpverify import (
    Fingerprint,
    FingerprintError,
    Policy,
    PolicyError,
    SourceIdentity,
    Verdict,
    save_fingerprint,
    verify,
)
from fpverify.cli import main
from fpverify.reports import FORMATS
from fpverify.twins import drawn_among, list_of, others_among

KEYS = 24


@pytest.fixture
def twins(make_backed, fingerprint):
    """Four fingerprints of four sources; the keys differ in their last pixel."""
    found = []
    for number in range(4):
        inputs = fingerprint.inputs.copy()
        inputs[:, 0, 1, 1] += np.float32(number * KEYS / 255)
        source = SourceIdentity(sha256=f"{number}" * 64)
        found.append(make_backed(fingerprint={"inputs": inputs, "source": source}))
    return found


def keeping(twins, *kept):
    """A suspect that keeps so many keys of each twin's fingerprint."""
    known = {}
    for twin, count in zip(twins, kept, strict=True):
        for number, (key, label) in enumerate(zip(twin.inputs, twin.labels, strict=True)):
            known[key.tobytes()] = int(label) if number < count else (int(label) + 1) % 3
    controls = twins[0].backing.controls
    known |= {key.tobytes(): int(label) for key, label in zip(controls.inputs, controls.labels, strict=True)}
    return lambda inputs: np.array([known.get(one.tobytes(), 0) for one in inputs])


def test_a_copy_keeps_more_of_its_source_than_of_any_twin(twins):
    result = verify(twins[2], keeping(twins, 10, 6, 24, 12), twins=twins)
    found = result.twins
    assert (found.twins, found.above, found.p_value) == (4, 0, 0.25)
    assert found.retentions == (10 / 24, 6 / 24, 12 / 24)
    assert result.verdict is Verdict.DERIVED
    text = FORMATS["text"].result(result)
    assert (
        "0.25, for every model that was made without the source: the suspect keeps as much of 0 of its 3 twins" in text
    )


def test_the_twins_that_were_asked_are_named(twins):
    result = verify(twins[2], keeping(twins, 10, 6, 24, 12), twins=twins)
    assert result.twins.fingerprints == tuple(twins[number].sha256 for number in (0, 1, 3))
    assert "It holds if all were made alike" in " ".join(FORMATS["text"].result(result).split())


def test_decoys_are_no_twins(twins, fingerprint):
    """Fingerprints that were not made by the same procedure, or that decide nothing, would rank first for anybody."""
    parts = {name: getattr(twins[1], name) for name in Fingerprint.__dataclass_fields__}
    for changes in ({"backing": None}, {"method": {"name": "something else"}}):
        with pytest.raises(PolicyError, match="and one method"):
            others_among([twins[0], Fingerprint(**{**parts, **changes}), *twins[2:]], twins[0])
    useless = replace(fingerprint.calibration, surrogates=(0.1,) * 21)
    decoys = [Fingerprint(**{**parts, "backing": None, "calibration": useless, "source": SourceIdentity("c" * 64)})]
    with pytest.raises(PolicyError, match="decides nothing: only 0 of 21 held-out surrogates"):
        others_among([*decoys, *twins], twins[0])


def test_an_outside_draw_names_the_source(twins, tmp_path):
    """The owner stamps the list of the twins; a number that nobody knew then says which of them is published."""
    for number, twin in enumerate(twins):
        save_fingerprint(twin, tmp_path / f"twin-{number}.safetensors")
    listed = list_of(twin.sha256 for twin in twins)
    suspect = keeping(twins, 24, 3, 3, 3)
    with pytest.raises(PolicyError, match=r"twins\.json: cannot read"):
        verify(twins[0], suspect, twins=tmp_path, drawn_by="1")
    (tmp_path / "twins.json").write_bytes(listed)
    place = hashlib.sha256(b"fpverify/twin/1\0" + hashlib.sha256(listed).digest() + b"lottery of 2026-11-28: 7, 11")
    source = twins[int(place.hexdigest(), 16) % 4]
    found = verify(source, suspect, twins=tmp_path, drawn_by="lottery of 2026-11-28: 7, 11")
    digest = hashlib.sha256(listed).hexdigest()
    assert (found.twins.listed, found.twins.drawn_by) == (digest, "lottery of 2026-11-28: 7, 11")
    text = " ".join(FORMATS["text"].result(found).split())
    assert f"drawn among them by 'lottery of 2026-11-28: 7, 11'. It holds if their list (SHA-256 {digest})" in text
    other = next(twin for twin in twins if twin is not source)
    with pytest.raises(PolicyError, match="the draw names another twin as the source"):
        verify(other, suspect, twins=tmp_path, drawn_by="lottery of 2026-11-28: 7, 11")
    drawn = [drawn_among(listed, str(number)) for number in range(800)]
    assert min(map(drawn.count, (twin.sha256 for twin in twins))) > 150  # 200 each on average
    for wrong, message in (
        (listed + b" ", "no list|not a list"),
        (list_of(["0" * 64] * 4), "lists other fingerprints"),
    ):
        (tmp_path / "twins.json").write_bytes(wrong)
        with pytest.raises(PolicyError, match=message):
            verify(source, suspect, twins=tmp_path, drawn_by="1")
    with pytest.raises(PolicyError, match="for a folder of twins"):
        verify(source, suspect, twins=twins, drawn_by="1")


def test_a_tie_counts_against_the_accusation(twins):
    assert verify(twins[0], keeping(twins, 24, 24, 3, 24), twins=twins).twins.p_value == 0.75


def test_enough_twins_decide_with_the_fingerprint(twins):
    """Whoever keeps as much of a twin's keys is no copy of the source alone."""
    policy = Policy(significance=0.25)
    for kept, verdict in ((12, Verdict.DERIVED), (24, Verdict.INCONCLUSIVE)):
        result = verify(twins[0], keeping(twins, 24, kept, 3, 3), policy=policy, twins=twins)
        assert result.verdict is verdict
    assert "of 1 of the source's 3 twins" in result.reason
    assert verify(twins[0], keeping(twins, 24, 24, 3, 3), twins=twins).verdict is Verdict.DERIVED  # 4 cannot give 0.02


def test_the_rank_of_a_model_that_knows_no_source_is_even(twins):
    """Over which twin is published, by counting: p is at most k / 4 for k of 4, or fewer where ties are."""
    for kept in ((3, 9, 14, 24), (5, 5, 9, 20), (7, 7, 7, 7)):
        suspect = keeping(twins, *kept)
        ranks = sorted(verify(twin, suspect, twins=twins).twins.p_value for twin in twins)
        assert all(value >= (number + 1) / 4 for number, value in enumerate(ranks))


def test_what_are_no_twins(twins, make_backed):
    with pytest.raises(PolicyError, match="none of the twins"):
        others_among(twins[1:], twins[0])
    with pytest.raises(PolicyError, match="at least 3 different sources"):
        others_among(twins[:2], twins[0])
    again = make_backed(fingerprint={"seeds": {"run": 9}, "source": twins[0].source})
    with pytest.raises(PolicyError, match="at least 3 different sources"):
        others_among([*twins, again], twins[0])
    other = make_backed(fingerprint={"classes": ("cat", "dog", "owl"), "source": SourceIdentity(sha256="e" * 64)})
    with pytest.raises(PolicyError, match="the same classes"):
        others_among([*twins, other], twins[0])


def test_the_command(twins, make_onnx, tmp_path):
    folder = tmp_path / "twins"
    folder.mkdir()
    for number, twin in enumerate(twins):
        save_fingerprint(twin, folder / f"{number}.safetensors")
    arguments = ["verify", str(make_onnx(tmp_path / "m.onnx")), "-f", str(folder / "1.safetensors")]
    done = CliRunner().invoke(main, [*arguments, "--twins", str(folder)])
    assert done.exit_code == 3, done.output
    assert "by twins" in done.output
    done = CliRunner().invoke(main, [*arguments, "--twins", str(tmp_path)])
    assert done.exit_code == 2
    assert "a folder with the fingerprints of twins" in done.output
    with pytest.raises(FingerprintError):
        verify(twins[0], tmp_path / "m.onnx", twins=tmp_path / "none")
