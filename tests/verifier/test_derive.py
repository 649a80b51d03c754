"""What a suspect expects is worked out from its file, then from options, then from stated assumptions."""

import pytest

from fpverify import InputContract, SuspectError
from fpverify.contract import Origin, Values
from fpverify.onnx_format import OnnxHeader, Value
from fpverify.suspects.derive import candidates, derive_contract
from fpverify.suspects.options import check_contract

GREY = InputContract(channels="grey", height=28, width=28)
RGB = InputContract(channels="rgb", height=32, width=32)


def header(*shape, kind="tensor(float)", metadata=None, inputs=None, outputs=("scores",)):
    image = Value("x", kind, shape if shape != (None,) else None)
    return OnnxHeader(
        ir_version=8,
        producer="",
        producer_version="",
        opsets={"": 13},
        metadata=metadata or {},
        inputs=(image,) if inputs is None else inputs,
        defaults=(),
        outputs=tuple(Value(name, "tensor(float)", ("n", 10)) for name in outputs),
    )


SHAPES = {
    # shape, keys: layout, channels, height, width, batch
    ("n", 1, 28, 28): (GREY, "NCHW", "grey", 28, 28, None),
    (1, 1, 28, 28): (GREY, "NCHW", "grey", 28, 28, 1),
    (7, 28, 28, 1): (GREY, "NHWC", "grey", 28, 28, 7),
    ("unk__6", 28, 28, 1): (GREY, "NHWC", "grey", 28, 28, None),
    (None, 28, 28): (GREY, "NHW", "grey", 28, 28, None),
    ("n", 784): (GREY, "flat-CHW", "grey", 28, 28, None),
    (1, 784): (GREY, "flat-CHW", "grey", 28, 28, 1),
    (1, 784, 1): (GREY, "flat-CHW", "grey", 28, 28, 1),
    (1, 1, 784): (GREY, "flat-CHW", "grey", 28, 28, 1),
    ("n", "f"): (GREY, "flat-CHW", "grey", 28, 28, None),
    ("n", 3, 28, 28): (GREY, "NCHW", "rgb", 28, 28, None),
    ("n", 64): (GREY, "flat-CHW", "grey", 8, 8, None),
    ("n", 3, 32, 32): (RGB, "NCHW", "rgb", 32, 32, None),
    ("n", 3, 224, 224): (RGB, "NCHW", "rgb", 224, 224, None),
    ("n", 224, 192, 3): (RGB, "NHWC", "rgb", 224, 192, None),
    ("n", 3, "h", "w"): (RGB, "NCHW", "rgb", 32, 32, None),
    ("n", "h", "w", 3): (RGB, "NHWC", "rgb", 32, 32, None),
    ("n", "c", 32, 32): (RGB, "NCHW", "rgb", 32, 32, None),
    ("n", 1, 32, 32): (RGB, "NCHW", "grey", 32, 32, None),
    ("n", 1024): (RGB, "flat-CHW", "grey", 32, 32, None),
}


@pytest.mark.parametrize(("shape", "expected"), SHAPES.items(), ids=map(str, SHAPES))
def test_a_shape_says_how_images_are_laid_out(shape, expected):
    keys, *fields = expected
    found = derive_contract(header(*shape), {}, keys)
    assert [found.layout, found.channels, found.height, found.width, found.batch] == fields
    assert found.origins["layout"] is Origin.FILE


@pytest.mark.parametrize(
    ("shape", "keys", "field", "alternatives"),
    [
        ((None,), RGB, "layout", ("NCHW", "NHWC")),
        (("n", "a", "b", "c"), RGB, "layout", ("NCHW", "NHWC")),
        (("n", 3, 32, 3), RGB, "layout", ("NCHW", "NHWC")),
        (("n", 3072), RGB, "layout", ("flat-CHW", "flat-HWC")),
    ],
)
def test_where_two_values_are_possible_none_is_taken(shape, keys, field, alternatives):
    found = derive_contract(header(*shape), {}, keys)
    assert getattr(found, field) is None
    assert found.origins[field] is Origin.UNDETERMINED
    assert found.alternatives[field] == alternatives
    chosen = derive_contract(header(*shape), {field: alternatives[1]}, keys)
    assert getattr(chosen, field) == alternatives[1]
    assert chosen.origins[field] is Origin.OPTION


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), r"no batch of images; expected \(n, channels, height, width\)"),
        (("n",), "no batch of images"),
        (("n", 1, 1, 28, 28), "no batch of images"),
        (("n", 4, 28, 28), "fits no layout"),
        (("n", 785), "fits no layout"),
        (("n", 1, 28, 0), "an axis of size 0"),
        (("n", 1, 2**40, 2**40), "no image of a usable size"),
        ((2**40, 1, 28, 28), "no batch of images"),
        ((0, 1, 28, 28), "an axis of size 0"),
        ((3, 28, 28), "can be 3 images at once or one image without a batch axis"),
        ((28, 28, 1), "can be 28 images at once or one image without a batch axis"),
        ((28, 28), "can be 28 images at once or one image without a batch axis"),
    ],
)
def test_what_is_no_image_is_refused_with_what_was_expected(shape, message):
    with pytest.raises(SuspectError, match=message):
        derive_contract(header(*shape), {}, GREY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "NHWC"}, "fits no layout with layout NHWC as the options say"),
        ({"channels": "rgb"}, "with channels rgb"),
        ({"height": 30}, "with height 30"),
        ({"input": "y"}, "has no input 'y' that must be given; found 'x'"),
        ({"output": "logits"}, "has no output 'logits'; found 'scores'"),
        ({"mean": (0.5, 0.5, 0.5)}, "has 1 channels, but mean or std was given for 3"),
    ],
)
def test_options_that_contradict_the_file_are_refused(options, message):
    with pytest.raises(SuspectError, match=message):
        derive_contract(header("n", 1, 28, 28), check_contract(options, "test"), GREY)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("float", Values()),
        ("float16", Values()),
        ("double", Values()),
        ("bfloat16", Values()),
        ("uint8", Values(low=0, high=255)),
        ("int8", Values(low=-128, high=127)),
    ],
)
def test_the_element_type_suggests_the_range(kind, values):
    found = derive_contract(header("n", 1, 28, 28, kind=f"tensor({kind})"), {}, GREY)
    assert (found.type, found.values, found.origins["values"]) == (kind, values, Origin.ASSUMPTION)


@pytest.mark.parametrize("kind", ["tensor(string)", "tensor(bool)", "seq(tensor(float))", "undefined"])
def test_an_input_of_another_type_is_refused(kind):
    with pytest.raises(SuspectError, match="is no image; expected one of float, float16"):
        derive_contract(header("n", 1, 28, 28, kind=kind), {}, GREY)


def test_a_small_flat_image_is_not_taken_for_one_of_one_row():
    small = InputContract(channels="grey", height=4, width=4)
    found = derive_contract(header(1, 1, 16), {}, small)
    assert (found.layout, found.height, found.width) == ("flat-CHW", 4, 4)


def test_a_batch_of_images_without_channels_can_be_said_to_be_one():
    found = derive_contract(header(3, 28, 28), {"layout": "NHW"}, GREY)
    assert (found.layout, found.batch) == ("NHW", 3)


def test_a_second_input_is_refused_by_name():
    inputs = (Value("x", "tensor(float)", ("n", 1, 28, 28)), Value("age", "tensor(float)", ("n", 1)))
    with pytest.raises(SuspectError, match=r"one input that has no default.*found 2: 'x' .*'age' tensor\(float\)"):
        derive_contract(header(inputs=inputs), {}, GREY)


@pytest.mark.parametrize(
    ("metadata", "channels", "values"),
    [
        ({"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}, "bgr", Values(high=255)),
        ({"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_1_1"}, "rgb", Values(low=-1)),
    ],
)
def test_what_the_metadata_says_is_the_files_word(metadata, channels, values):
    found = derive_contract(header("n", 3, 32, 32, metadata=metadata), {}, RGB)
    assert (found.channels, found.values) == (channels, values)
    assert {found.origins["channels"], found.origins["values"]} == {Origin.FILE}
    assert candidates(found) == [{}]


def test_preprocessing_that_is_said_is_no_assumption():
    options = check_contract({"low": 0, "high": 255, "mean": [0.5], "std": [2]}, "test")
    found = derive_contract(header("n", 3, 32, 32), options, RGB)
    assert found.values == Values(low=0, high=255, mean=(0.5,) * 3, std=(2,) * 3)
    assert found.origins["values"] is Origin.OPTION


def test_every_open_reading_is_a_candidate_and_no_impossible_one():
    found = candidates(derive_contract(header("n", "a", "b", "c"), {}, RGB))
    assert {fields["layout"] for fields in found} == {"NCHW", "NHWC"}
    assert {fields["channels"] for fields in found} >= {"rgb", "bgr"}
    for fields in found:
        means = fields["values"].mean
        assert means is None or len(means) == (1 if fields["channels"] == "grey" else 3)
    assert found[0] == {"layout": "NCHW", "channels": "rgb", "values": Values()}


def test_the_fingerprints_own_normalisation_is_a_candidate():
    keys = InputContract(channels="grey", height=28, width=28, mean=(0.2,), std=(0.4,))
    found = [fields["values"] for fields in candidates(derive_contract(header("n", 1, 28, 28), {}, keys))]
    assert Values(mean=(0.2,), std=(0.4,)) in found
    assert len(found) == len(set(found))


def test_without_a_fingerprint_what_it_would_say_stays_open():
    found = derive_contract(header("n", 3, "h", "w"), {})
    assert (found.height, found.origins["height"]) == (None, Origin.UNDETERMINED)
