"""Stolen models whose files lie: each is called derived, or inconclusive with the reason, and never unrelated."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, compose, helper, numpy_helper

import fpverify
from fpverify.suspects.onnx_file import OnnxSuspect

FIXTURES = Path(__file__).parents[2] / "fixtures"
STOLEN = FIXTURES / "study" / "derived-ftal.onnx"
INNOCENT = FIXTURES / "study" / "unrelated-perceptron-other-data-6.onnx"
WITH_CONTROLS = FIXTURES / "study" / "fingerprint.safetensors"


@pytest.fixture(scope="module")
def without_controls(tmp_path_factory):
    """The same fingerprint as format 1 holds it: retentions alone, and no ordinary images."""
    from dataclasses import replace

    path = tmp_path_factory.mktemp("plain") / "fingerprint.safetensors"
    fpverify.save_fingerprint(replace(fpverify.load_fingerprint(WITH_CONTROLS), backing=None), path)
    return path


class Lie:
    """A model that holds others: by default the stolen one."""

    def __init__(self, **models):
        self.nodes, self.weights, self.functions = [], [], {}
        self.outputs = [("scores", TensorProto.FLOAT, ["n", 10])]
        self.metadata = {}
        self.ends = {}
        for name, path in (models or {"stolen": STOLEN}).items():
            model = compose.add_prefix(onnx.load(path), f"{name}_")
            self.opsets = model.opset_import
            self.nodes += model.graph.node
            self.weights += model.graph.initializer
            self.ends[name] = (model.graph.input[0].name, model.graph.output[0].name)

    def constant(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator, inputs, output, first=False, **attributes):
        node = helper.make_node(operator, inputs, [output], **attributes)
        self.nodes.insert(0, node) if first else self.nodes.append(node)
        return output

    def save(self, path, shape=("n", 1, 8, 8)):
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))]
        outputs = [helper.make_tensor_value_info(*output) for output in self.outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=self.opsets, ir_version=9)
        helper.set_model_props(model, self.metadata)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def choosing(lie, condition):
    """Let the innocent model answer where a condition `(n, 1)` or `(1,)` holds, and the stolen one elsewhere."""
    for start, _ in lie.ends.values():
        lie.add("Identity", ["input"], start, first=True)
    lie.add("Where", [condition, lie.ends["innocent"][1], lie.ends["stolen"][1]], "scores")
    return lie


def rows(lie):
    return lie.add("Gather", [lie.add("Shape", ["input"], "shape"), lie.constant("zero", np.int64(0))], "rows")


def many_at_once():
    lie = Lie(stolen=STOLEN, innocent=INNOCENT)
    return choosing(lie, lie.add("Greater", [rows(lie), lie.constant("one", np.int64(1))], "condition"))


def one_at_a_time():
    lie = Lie(stolen=STOLEN, innocent=INNOCENT)
    return choosing(lie, lie.add("Equal", [rows(lie), lie.constant("one", np.int64(1))], "condition"))


def all_rows_but_the_first():
    lie = Lie(stolen=STOLEN, innocent=INNOCENT)
    count = rows(lie)
    number = lie.add("Range", [lie.constant("start", np.int64(0)), count, lie.constant("step", np.int64(1))], "number")
    column = lie.add("Unsqueeze", [number, lie.constant("axis", np.array([1]))], "column")
    return choosing(lie, lie.add("Greater", [column, lie.constant("first", np.int64(0))], "condition"))


def images_of(eight_bit):
    lie = Lie(stolen=STOLEN, innocent=INNOCENT)
    bits = lie.add("Mul", ["input", lie.constant("white", np.float32(255))], "bits")
    rest = lie.add("Abs", [lie.add("Sub", [bits, lie.add("Round", [bits], "whole")], "rest")], "distance")
    largest = lie.add("ReduceMax", [rest, lie.constant("axes", np.array([1, 2, 3]))], "largest", keepdims=0)
    column = lie.add("Unsqueeze", [largest, lie.constant("axis", np.array([1]))], "column")
    small = lie.constant("small", np.float32(1e-3))
    return choosing(lie, lie.add("Less" if eight_bit else "Greater", [column, small], "condition"))


def with_decoy(kind):
    """The true scores, and beside them what an innocent model answers."""
    lie = Lie(stolen=STOLEN, innocent=INNOCENT)
    for start, _ in lie.ends.values():
        lie.add("Identity", ["input"], start, first=True)
    stolen, innocent = (lie.ends[name][1] for name in ("stolen", "innocent"))
    lie.add("Identity", [stolen], "scores")
    labels = lie.add("ArgMax", [innocent], "label", axis=1, keepdims=0)
    if kind == "labels":
        lie.outputs.insert(0, ("label", TensorProto.INT64, ["n"]))
    elif kind == "scores":
        lie.add("Identity", [innocent], "probabilities")
        lie.outputs.insert(0, ("probabilities", TensorProto.FLOAT, ["n", 10]))
    elif kind == "names":
        names = lie.constant("all_names", np.array([str(number) for number in range(10)], object))
        lie.add("Gather", [names, labels], "name")
        lie.outputs.insert(0, ("name", TensorProto.STRING, ["n"]))
    else:
        lie.nodes.append(
            helper.make_node("TopK", [innocent, lie.constant("k", np.array([3]))], ["best", "best_labels"], axis=1)
        )
        lie.outputs.insert(0, ("best", TensorProto.FLOAT, ["n", 3]))
        lie.outputs.insert(1, ("best_labels", TensorProto.INT64, ["n", 3]))
    return lie


def behind(*steps, path=STOLEN):
    """A model behind nodes that undo what must be done to its input: (operator, constants, attributes)."""
    lie = Lie(model=path)
    name = "input"
    nodes = []
    for number, (operator, constants, attributes) in enumerate(steps):
        given = [lie.constant(f"c{number}_{place}", value) for place, value in enumerate(constants)]
        before = [*given[:1], name] if operator == "Sub" else [name, *given]
        name = f"step{number}"
        nodes.append(helper.make_node(operator, before, [name], **attributes))
    nodes.append(helper.make_node("Identity", [name], [lie.ends["model"][0]]))
    lie.nodes = [*nodes, *lie.nodes, helper.make_node("Identity", [lie.ends["model"][1]], ["scores"])]
    return lie


def flipped(*axes):
    starts, ends = np.full(len(axes), -1), np.full(len(axes), np.iinfo(np.int64).min)
    return ("Slice", [starts, ends, np.array(axes), np.full(len(axes), -1)], {})


def renamed(order):
    lie = behind()
    lie.metadata = {"classes": ",".join(map(str, order))}
    return lie


INVERTED = ("Sub", [np.float32(1)], {})
TRANSPOSED = ("Transpose", [], {"perm": [0, 1, 3, 2]})

FOUND = {
    "inverted": lambda: behind(INVERTED),
    "flipped": lambda: behind(flipped(3)),
    "upside down": lambda: behind(flipped(2)),
    "turned": lambda: behind(flipped(2, 3)),
    "transposed": lambda: behind(TRANSPOSED),
    "transposed and flipped": lambda: behind(TRANSPOSED, flipped(3)),
    "0 to 255": lambda: behind(("Div", [np.float32(255)], {})),
    "inverted and flipped": lambda: behind(INVERTED, flipped(3)),
    "class names rotated": lambda: renamed([*range(1, 10), 0]),
    "two class names swapped": lambda: renamed([0, 1, 2, 3, 4, 5, 6, 7, 9, 8]),
    "six class names swapped": lambda: renamed([1, 0, 3, 2, 5, 4, 6, 7, 8, 9]),
}
"""Lies about how it is to be asked: controls find the truth."""

CAUGHT = {
    "innocent to many at once": many_at_once,
    "innocent to one at a time": one_at_a_time,
    "innocent in all rows but the first": all_rows_but_the_first,
    "innocent labels beside": lambda: with_decoy("labels"),
    "innocent scores beside": lambda: with_decoy("scores"),
    "innocent names beside": lambda: with_decoy("names"),
    "innocent best three beside": lambda: with_decoy("best"),
}
"""Two models in one: it is asked in ways in which both answer, and no verdict follows."""


def verdict(fingerprint, path, **policy):
    result = fpverify.verify(fingerprint, path, policy=fpverify.Policy(**policy), limits=fpverify.Limits(seconds=60))
    return result.verdict.value, result.reason


@pytest.mark.parametrize("name", FOUND)
def test_controls_find_how_a_lying_file_must_be_asked(name, tmp_path, without_controls):
    path = FOUND[name]().save(tmp_path / "m.onnx")
    assert verdict(WITH_CONTROLS, path)[0] == "derived"
    # Without controls nothing shows that it was asked rightly: never unrelated.
    assert verdict(without_controls, path)[0] in ("derived", "inconclusive")


@pytest.mark.parametrize("shift", [0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("stolen", ["ftal", "prune-0.7", "train-away"])
def test_a_model_that_works_nearly_as_well_in_a_way_that_loses_the_keys_is_not_freed(stolen, shift, tmp_path):
    # It wants black to be below 0, and still answers three of four images rightly as it is asked.
    steps = ("Add", [np.float32(shift)], {}), ("Div", [np.float32(1 + shift)], {})
    lie = behind(*steps, path=STOLEN.with_name(f"derived-{stolen}.onnx"))
    for names in ("", "1,2,3,4,5,6,7,8,9,0"):
        lie.metadata = {"classes": names} if names else {}
        found, reason = verdict(WITH_CONTROLS, lie.save(tmp_path / "m.onnx"))
        assert found in ("derived", "inconclusive"), reason
        if found == "inconclusive":
            assert "which controls cannot tell apart" in reason or "it could not be verified" in reason


def test_a_suspect_too_slow_to_be_searched_is_not_called_unrelated(monkeypatch):
    assert verdict(WITH_CONTROLS, INNOCENT)[0] == "unrelated"
    left = itertools.chain([60.0], itertools.repeat(29.9))
    monkeypatch.setattr(OnnxSuspect, "seconds_left", property(lambda suspect: next(left)))
    found, reason = verdict(WITH_CONTROLS, INNOCENT)
    assert found == "inconclusive"
    assert "too slow for the other readings of its input to be tried in time" in reason


@pytest.mark.parametrize("name", CAUGHT)
def test_a_file_with_two_models_in_it_is_not_freed(name, tmp_path, without_controls):
    path = CAUGHT[name]().save(tmp_path / "m.onnx")
    for fingerprint in (WITH_CONTROLS, without_controls):
        # Which half of the keys is asked again is chance: the other half can be enough to call it derived, as it is.
        assert verdict(fingerprint, path)[0] in ("inconclusive", "derived")
        found, reason = verdict(fingerprint, path, ask_twice=True)
        assert found == "inconclusive", reason
        assert "But " in reason


def test_a_file_that_is_stolen_for_other_than_8_bit_images_alone_has_nothing_to_tell_keys_by(tmp_path):
    keys = fpverify.load_fingerprint(WITH_CONTROLS).inputs * 255
    assert np.abs(keys - keys.round()).max() < 1e-3
    assert verdict(WITH_CONTROLS, images_of(eight_bit=False).save(tmp_path / "m.onnx"))[0] == "derived"


def test_an_innocent_model_that_lies_is_asked_rightly_and_not_accused(tmp_path):
    for number, steps in enumerate([(), (INVERTED, flipped(3)), (TRANSPOSED,)]):
        path = behind(*steps, path=INNOCENT).save(tmp_path / f"{number}.onnx")
        assert verdict(WITH_CONTROLS, path)[0] == "unrelated"
