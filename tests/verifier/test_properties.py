"""Properties that hold for any input: canonical JSON, class lists, layouts, and the fingerprint's reader."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as some

from fpverify import FingerprintError, InputContract, SuspectError
from fpverify.contract import Origin, SuspectContract, Values
from fpverify.fingerprint import canonical, parse, serialise
from fpverify.suspects.classes import fold, match_classes
from fpverify.suspects.fit import fit

settings.register_profile(
    "gate",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("gate")

NUMBERS = some.integers(-(2**53), 2**53) | some.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = some.recursive(
    some.none() | some.booleans() | NUMBERS | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
LETTERS = some.text(some.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(DOCUMENTS)
def test_canonical_json_reads_back_and_has_one_spelling(document):
    text = canonical.dumps(document, "it")
    assert text.isascii()
    assert canonical.loads(text, "it") == json.loads(text) == document
    assert canonical.dumps(canonical.loads(text, "it"), "it") == text


@given(some.dictionaries(some.text(max_size=6), NUMBERS, min_size=2), some.randoms())
def test_the_order_of_keys_does_not_change_canonical_json(document, draw):
    shuffled = list(document.items())
    draw.shuffle(shuffled)
    assert canonical.dumps(dict(shuffled), "it") == canonical.dumps(document, "it")


@given(
    some.lists(LETTERS, min_size=2, max_size=8, unique_by=fold), some.randoms(), some.sampled_from(["", "_", " ", "-"])
)
def test_classes_are_matched_by_name_in_any_order_and_spelling(names, draw, ending):
    assume(all(fold(name) for name in names))
    order = list(range(len(names)))
    draw.shuffle(order)
    theirs = [f"{names[place]}{ending}" for place in order]
    assume([fold(name) for name in theirs] == [fold(names[place]) for place in order])
    assert match_classes(theirs, names).tolist() == order


@given(some.lists(LETTERS, min_size=1, max_size=5), some.lists(LETTERS, min_size=2, max_size=5, unique_by=fold))
def test_a_class_is_never_matched_with_one_of_another_name(theirs, names):
    try:
        labels = match_classes(theirs, names)
    except SuspectError:
        return
    for name, label in zip(theirs, labels.tolist(), strict=True):
        assert label == -1 or name == names[label] or fold(name) == fold(names[label])


def contract(**fields):
    return SuspectContract(
        **{
            "input": "x",
            "type": "float",
            "batch": None,
            "layout": "NCHW",
            "channels": "rgb",
            "height": None,
            "width": None,
            "values": Values(),
            "output": None,
            "reading": None,
            "classes": None,
            "origins": dict.fromkeys(("layout", "channels", "values"), Origin.OPTION),
            **fields,
        }
    )


SIZES = some.integers(1, 5)
BACK = {
    "NCHW": lambda x, c, h, w: x,
    "NHWC": lambda x, c, h, w: x.transpose(0, 3, 1, 2),
    "flat-CHW": lambda x, c, h, w: x.reshape(-1, c, h, w),
    "flat-HWC": lambda x, c, h, w: x.reshape(-1, h, w, c).transpose(0, 3, 1, 2),
}


@given(some.sampled_from(sorted(BACK)), some.sampled_from(["grey", "rgb"]), SIZES, SIZES, SIZES, some.randoms())
def test_a_layout_holds_every_pixel_in_its_place(layout, channels, count, height, width, draw):
    keys = InputContract(channels=channels, height=height, width=width)
    inputs = np.random.default_rng(draw.getrandbits(32)).random((count, *keys.shape), dtype=np.float32)
    fitted = fit(inputs, keys, contract(layout=layout, channels=channels))
    assert np.array_equal(BACK[layout](fitted, *keys.shape), inputs)


@given(some.floats(-300, 300), some.floats(1, 600), some.randoms())
def test_a_range_is_mapped_linearly_from_black_to_white(low, span, draw):
    keys = InputContract(channels="grey", height=2, width=2)
    inputs = np.random.default_rng(draw.getrandbits(32)).random((3, 1, 2, 2), dtype=np.float32)
    inputs[0, 0, 0] = (0, 1)
    fitted = fit(inputs, keys, contract(channels="grey", values=Values(low=low, high=low + span)))
    assert fitted[0, 0, 0].tolist() == pytest.approx([low, low + span], rel=1e-6, abs=1e-4)
    assert np.allclose((fitted - low) / span, inputs, atol=1e-3)


@given(data=some.data())
def test_no_other_bytes_are_the_fingerprint(data, fingerprint):
    whole = serialise(fingerprint)
    start = data.draw(some.integers(0, len(whole)))
    end = data.draw(some.integers(start, min(len(whole), start + 64)))
    changed = whole[:start] + data.draw(some.binary(max_size=16)) + whole[end:]
    if changed == whole:
        assert parse(changed) == fingerprint
    else:
        with pytest.raises(FingerprintError):
            parse(changed)
