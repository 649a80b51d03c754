"""Keys become what a suspect expects; the numbers come from the formats' definitions and from Pillow's resize."""

from dataclasses import replace

import numpy as np
import pytest

from fpverify import InputContract
from fpverify.contract import Values
from fpverify.onnx_format import OnnxHeader, Value
from fpverify.suspects.derive import derive_contract
from fpverify.suspects.fit import fit, resample

RGB = InputContract(channels="rgb", height=2, width=3)
GREY = InputContract(channels="grey", height=2, width=3)


def contract(shape, keys, kind="float", **changes):
    image = Value("x", f"tensor({kind})", shape)
    header = OnnxHeader(8, "", "", {"": 13}, {}, (image,), (), (Value("y", "tensor(float)", ("n", 10)),))
    return replace(derive_contract(header, {}, keys), **changes)


def images(channels, seed=0):
    return np.random.default_rng(seed).random((4, channels, 2, 3), np.float32)


def test_what_fits_is_handed_over_bit_by_bit():
    given = images(3)
    fitted = fit(given, RGB, contract(("n", 3, 2, 3), RGB))
    assert fitted.dtype == np.float32
    assert np.array_equal(fitted, given)


LAYOUTS = {
    "NHWC": (("n", 2, 3, 3), lambda x: x.transpose(0, 2, 3, 1)),
    "flat-CHW": (("n", 18), lambda x: x.reshape(4, 18)),
    "flat-HWC": (("n", 18), lambda x: x.transpose(0, 2, 3, 1).reshape(4, 18)),
}


@pytest.mark.parametrize(("layout", "case"), LAYOUTS.items(), ids=LAYOUTS)
def test_the_axes_are_moved(layout, case):
    shape, moved = case
    fitted = fit(images(3), RGB, contract(shape, RGB, layout=layout))
    assert np.array_equal(fitted, moved(images(3)))
    assert fitted.flags.c_contiguous


@pytest.mark.parametrize(("shape", "expected"), [((1, 6, 1), (4, 6, 1)), ((1, 1, 600), None), (("n", 2, 3), (4, 2, 3))])
def test_odd_shapes_of_grey_images_are_met(shape, expected):
    keys = GREY if expected else InputContract(channels="grey", height=20, width=30)
    given = np.random.default_rng(0).random((4, *keys.shape), np.float32)
    fitted = fit(given, keys, contract(shape, keys))
    assert fitted.shape == (expected or (4, 1, 600))
    assert np.array_equal(fitted.ravel(), given.ravel())


@pytest.mark.parametrize(
    ("values", "of_white", "of_black"),
    [
        (Values(high=255.0), 255, 0),
        (Values(low=-1.0), 1, -1),
        (Values(mean=(0.5,), std=(0.25,)), 2, -2),
        (Values(high=255.0, mean=(100.0,)), 155, -100),
    ],
    ids=str,
)
def test_pixels_become_numbers_as_the_contract_says(values, of_white, of_black):
    given = np.stack([np.ones((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32)])
    fitted = fit(given, GREY, contract(("n", 1, 2, 3), GREY, values=values))
    assert np.unique(fitted[0]).tolist() == [of_white]
    assert np.unique(fitted[1]).tolist() == [of_black]


def test_a_fingerprint_with_another_range_is_scaled_from_it():
    keys = InputContract(channels="grey", height=2, width=3, low=-1.0, high=1.0)
    given = np.full((1, 1, 2, 3), -1.0, np.float32)
    assert fit(given, keys, contract(("n", 1, 2, 3), keys, kind="uint8")).max() == 0
    assert fit(-given, keys, contract(("n", 1, 2, 3), keys, kind="uint8")).min() == 255


@pytest.mark.parametrize(("kind", "low"), [("uint8", 0), ("int8", -128), ("int32", 0), ("int64", 0), ("uint16", 0)])
def test_every_grey_level_survives_the_way_to_whole_numbers(kind, low):
    levels = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(256, 1, 1, 1)
    keys = InputContract(channels="grey", height=1, width=1)
    options = contract(("n", 1, "h", "w"), keys, kind=kind, height=1, width=1)
    fitted = fit(levels, keys, options)
    assert str(fitted.dtype) == kind
    assert fitted.ravel().astype(int).tolist() == list(range(low, low + 256))


@pytest.mark.parametrize(("kind", "dtype"), [("float16", np.float16), ("double", np.float64)])
def test_floats_are_cast(kind, dtype):
    fitted = fit(images(1), GREY, contract(("n", 1, 2, 3), GREY, kind=kind))
    assert fitted.dtype == dtype
    assert np.array_equal(fitted, images(1).astype(dtype))


def test_bfloat16_is_rounded_to_the_nearest_as_ml_dtypes_does():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    keys = InputContract(channels="grey", height=2, width=3, low=-1e30, high=1e30)
    bits = np.random.default_rng(0).integers(0, 2**32, 4 * 6 * 500, dtype=np.uint64).astype(np.uint32).view(np.float32)
    given = np.clip(np.nan_to_num(bits), -1e30, 1e30).reshape(-1, 1, 2, 3)
    options = contract(("n", 1, 2, 3), keys, kind="bfloat16", values=Values(low=-1e30, high=1e30))
    assert np.array_equal(fit(given, keys, options), given.astype(ml_dtypes.bfloat16).view(np.uint16))


def test_channels_are_repeated_reversed_and_merged():
    grey, colour = images(1), images(3)
    assert np.array_equal(fit(grey, GREY, contract(("n", 3, 2, 3), GREY)), np.concatenate([grey] * 3, axis=1))
    bgr = fit(colour, RGB, contract(("n", 3, 2, 3), RGB, channels="bgr"))
    assert np.array_equal(bgr, colour[:, ::-1])
    to_grey = contract(("n", 1, 2, 3), RGB, layout="NCHW", channels="grey", height=2, width=3)
    merged = fit(colour, RGB, to_grey)
    expected = 0.299 * colour[:, 0] + 0.587 * colour[:, 1] + 0.114 * colour[:, 2]
    assert merged == pytest.approx(expected[:, None], abs=1e-6)


def test_a_normalisation_is_in_the_suspects_channel_order():
    means = Values(mean=(1.0, 2.0, 3.0))
    fitted = fit(images(3), RGB, contract(("n", 3, 2, 3), RGB, channels="bgr", values=means))
    assert fitted == pytest.approx(images(3)[:, ::-1] - np.array([1, 2, 3])[:, None, None], abs=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (8, 12), (5, 3), (11, 9), (1, 1), (7, 7)])
def test_resampling_is_pillows_bilinear(size):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(3).random((11, 9), np.float32)
    expected = np.asarray(image.fromarray(pixels).resize(size[::-1], image.Resampling.BILINEAR))
    assert resample(pixels[None, None], *size)[0, 0] == pytest.approx(expected, abs=1e-5)


def test_a_flat_picture_stays_flat_at_any_size():
    assert resample(np.full((1, 3, 8, 8), 0.25, np.float32), 13, 5) == pytest.approx(0.25)
