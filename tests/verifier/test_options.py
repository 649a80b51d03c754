import json

import pytest

from fpverify import PolicyError, load_classes, load_contract


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_toml_and_json_say_the_same(tmp_path):
    toml = write(tmp_path, "c.toml", 'layout = "NHWC"\nlow = -1.0\nmean = [0.5, 0.5, 0.5]\nclasses = ["a", "b"]\n')
    same = write(tmp_path, "c.json", '{"layout": "NHWC", "low": -1.0, "mean": [0.5, 0.5, 0.5], "classes": ["a", "b"]}')
    expected = {"layout": "NHWC", "low": -1.0, "mean": (0.5, 0.5, 0.5), "classes": ("a", "b")}
    assert load_contract(toml) == load_contract(same) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", "layout = ", "neither TOML nor"),
        ("c.json", "{", "neither TOML nor"),
        ("c.json", "[" * 100_000, "neither TOML nor"),
        ("c.json", "[]", "must hold fields such as layout"),
        ("c.toml", b"\xff", "must be UTF-8 text"),
        ("c.toml", 'lay = "NHWC"', "unknown field 'lay'; known are input, layout"),
        ("c.toml", 'layout = "CHWN"', "layout must be one of NCHW, NHWC, NHW, flat-CHW, flat-HWC, found 'CHWN'"),
        ("c.toml", 'channels = "rgba"', "channels must be one of grey, rgb, bgr"),
        ("c.toml", "height = 0", "height must be pixels, 1 to 65536, found 0"),
        ("c.toml", "height = true", "found True"),
        ("c.toml", "low = nan", "low must be a number"),
        ("c.toml", "low = inf", "low must be a number"),
        ("c.toml", "low = 255", "low must be below high"),
        ("c.toml", "mean = [1, 2]", "mean must be a list of one or three numbers"),
        ("c.toml", "std = [0.0]", "std must be a list of one or three numbers above 0"),
        ("c.toml", 'reading = "best"', "reading must be one of scores, labels, top-k"),
        ("c.toml", 'classes = ["a"]', "classes must be a list of at least two different names"),
        ("c.toml", 'classes = ["a", "a"]', "different names"),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused_in_one_line(tmp_path, name, text, message):
    with pytest.raises(PolicyError, match=message) as caught:
        load_contract(write(tmp_path, name, text))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["cat\n dog \n\nhot dog\n", '["cat", "dog", "hot dog"]', "cat\r\ndog\r\nhot dog"])
def test_class_lists_are_lines_or_json(tmp_path, text):
    assert load_classes(write(tmp_path, "classes", text)) == {"classes": ("cat", "dog", "hot dog")}


CLASS_OBJECTS = {
    "their names to ours": ('{"chat": "cat", "chien": "dog"}', {"renamed": {"chat": "cat", "chien": "dog"}}),
    "numbers to ours, from 1": ('{"2": "dog", "1": "cat"}', {"renamed": {"2": "dog", "1": "cat"}}),
    "places to names": ('{"1": "dog", "0": "cat"}', {"classes": ("cat", "dog"), "renamed": {"0": "cat", "1": "dog"}}),
    "names to places": ('{"dog": 1, "cat": 0}', {"classes": ("cat", "dog")}),
    "id2label": ('{"model_type": "vit", "id2label": {"1": "dog", "0": "cat"}}', {"classes": ("cat", "dog")}),
    "label2id": ('{"architectures": ["V"], "label2id": {"dog": 1, "cat": 0}}', {"classes": ("cat", "dog")}),
    "ImageNet's two cranes": (
        '{"id2label": {"0": "crane", "1": "dog", "2": "crane"}}',
        {"classes": ("crane (0)", "dog", "crane (2)")},
    ),
    "with a byte order mark": ("\ufeffcat\ndog", {"classes": ("cat", "dog")}),
}


@pytest.mark.parametrize(("text", "expected"), CLASS_OBJECTS.values(), ids=CLASS_OBJECTS)
def test_an_object_is_read_by_its_names_and_never_by_its_order(tmp_path, text, expected):
    assert load_classes(write(tmp_path, "classes.json", text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat", "at least two"),
        ("cat\ncat", "different"),
        ("[1, 2]", "names"),
        ('{"a": 1, "b": 2}', "names"),
        ('{"a": "x", "b": "x"}', "different"),
        ("[", "no JSON list of names"),
        ('{"a": "x", "b": "y", "a": "z"}', "has the name 'a' twice"),
        ('{"air plane": "x", "air_plane": "y"}', "air plane, air_plane differ only in case, spaces, _ or -"),
        ('{"model_type": "vit", "hidden_size": 64}', "a model's config.json without id2label"),
        ('{"0": ["n01", "x"], "1": ["n02", "y"]}', "must map numbers to names"),
        ("x" * 1001 + "\ny", "different names"),
    ],
)
def test_a_class_list_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(PolicyError, match=message):
        load_classes(write(tmp_path, "classes", text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PolicyError, match=r"missing.toml: cannot read it: No such file"):
        load_contract(tmp_path / "missing.toml")


def test_a_file_far_too_large_is_not_read(tmp_path):
    path = tmp_path / "c.toml"
    with path.open("wb") as file:
        file.truncate(2**25)
    with pytest.raises(PolicyError, match="33554432 bytes, at most"):
        load_contract(path)


PREPROCESSORS = {
    "ViT": (
        {"do_normalize": True, "do_rescale": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224},
        {"low": 0.0, "high": 1.0, "mean": (0.5,) * 3, "std": (0.5,) * 3, "height": 224, "width": 224},
    ),
    "a rounded factor": (
        {"rescale_factor": 0.00392, "size": {"height": 8, "width": 6}},
        {"low": 0.0, "high": 255 * 0.00392, "height": 8, "width": 6},
    ),
    "cropped": (
        {"do_center_crop": True, "crop_size": [64, 32], "size": {"shortest_edge": 70}, "do_resize": True},
        {"low": 0.0, "high": 1.0, "height": 64, "width": 32},
    ),
    "no steps": (
        {"do_normalize": False, "do_rescale": False, "do_resize": False, "image_mean": [0.5], "size": 9},
        {"low": 0.0, "high": 255.0},
    ),
    "EfficientNet": (
        {"image_processor_type": "E", "rescale_factor": 1 / 127.5, "rescale_offset": True, "resample": 0},
        {"low": -1.0, "high": 1.0},
    ),
    "MobileViT": (
        {"do_rescale": True, "do_flip_channel_order": True, "size": {"shortest_edge": 288}},
        {"low": 0.0, "high": 1.0, "height": 288, "width": 288, "channels": "bgr"},
    ),
}


@pytest.mark.parametrize(("content", "expected"), PREPROCESSORS.values(), ids=PREPROCESSORS)
def test_a_preprocessors_configuration_is_a_contract(tmp_path, content, expected):
    found = load_contract(write(tmp_path, "preprocessor_config.json", json.dumps(content)))
    three = {"channels": "rgb"} if len(expected.get("mean", ())) == 3 else {}
    assert found == {"layout": "NCHW", **three, **expected}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rescale_factor": 0}, "rescale_factor must be a number above 0, found 0"),
        ({"do_resize": True, "size": "large"}, "size must be pixels, a height and a width, or a shortest_edge"),
        ({"do_resize": True, "size": {"longest_edge": 9}}, "size must be pixels"),
        ({"image_mean": ["a"]}, "mean must be a list of one or three numbers"),
        ({"image_std": [0.0]}, "std must be a list of one or three numbers above 0"),
    ],
)
def test_a_preprocessors_configuration_is_checked(tmp_path, content, message):
    with pytest.raises(PolicyError, match=message):
        load_contract(write(tmp_path, "p.json", json.dumps(content)))
