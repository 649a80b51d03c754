import pytest

from fpverify import SuspectError
from fpverify.suspects.classes import classes_in_metadata, match_classes


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"classes": '["cat", "dog"]'}, ("cat", "dog")),
        ({"Labels": "cat, dog , eel"}, ("cat", "dog", "eel")),
        ({"names": "{0: 'cat', 1: \"hot dog\"}"}, ("cat", "hot dog")),
        ({"id2label": '{"1": "dog", "0": "cat"}'}, ("cat", "dog")),
        ({"classes": "[3, 5]"}, ("3", "5")),
        ({"author": "cat, dog"}, None),
        ({"classes": "10"}, None),
        ({"classes": '["cat", "cat"]'}, None),
        ({"classes": '{"0": "cat", "2": "dog"}'}, None),
        ({"classes": '["cat", ["dog"]]'}, None),
        ({"classes": "[" * 100_000}, None),
        ({"names": "{" * 100_000 + "-" * 100_000}, None),
        ({"classes": "a," * 2_000_000}, None),
        ({}, None),
    ],
)
def test_class_names_are_found_in_metadata(metadata, expected):
    assert classes_in_metadata(metadata) == expected


def test_names_are_matched_whatever_their_case_and_spaces():
    assert match_classes(["Hot  Dog", "ant", "CAT"], ["cat", "hot dog"]).tolist() == [1, -1, 0]


def test_two_names_for_one_class_are_refused():
    with pytest.raises(SuspectError, match="two of its classes have the name of one class"):
        match_classes(["cat", "CAT"], ["cat", "dog"])
