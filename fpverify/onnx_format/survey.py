"""What the graphs of an ONNX file do that matters before it is run and to whoever reads the verdict.

All graphs are walked: the model's, those in attributes of nodes at any depth, in local functions and in training
information; and all tensors, wherever they are. The walk keeps its own stack, so that no nesting exhausts Python's.

Source: onnx.proto of ONNX 1.17 (the field numbers); ONNX operator reference, BatchNormalization 9 and 14 and Dropout 12
(training mode).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fpverify.errors import SuspectError
from fpverify.onnx_format.protobuf import LENGTH, VARINT, Field, Reader

RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
"""Operators whose output changes from run to run."""

MAX_NODES = 100_000
"""How many nodes a model may have: the largest in public use have fewer than 20,000."""

MAX_PARTS = 100_000
"""Inputs, outputs and attributes of one node."""

BOOL = 9
"""TensorProto.BOOL."""

PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "initializer", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "initializer": {},
}
"""Of each kind of message, the fields that hold other messages, and their kind."""

TENSOR_SINGLE = {2: VARINT, 8: LENGTH, 9: LENGTH, 14: VARINT}
"""Fields that a tensor has once, and their wire types: element type, name, raw data, location of the data."""

MAX_LOCATION = 4096
"""Longest location of external data, in bytes."""

MAX_TEXT = 4096
"""Longest name or operator that is compared, in bytes; longer ones are none that matter."""


@dataclass(frozen=True)
class Survey:
    """What the graphs of a model hold."""

    nodes: int
    """How many nodes, in all graphs and functions."""
    external: tuple[str, ...]
    """Locations of data outside the file, as the file has them, each once."""
    random: tuple[str, ...]
    """Operators that answer differently each time, sorted."""
    training: tuple[str, ...]
    """Operators that were left in training mode, sorted."""


class _Walk:
    def __init__(self, buffer: bytes | memoryview) -> None:
        self.reader = Reader(buffer)
        self.nodes = 0
        self.external: dict[str, None] = {}
        self.random: set[str] = set()
        self.training: set[str] = set()
        self.true: set[str] = set()
        self.dropouts: list[str] = []

    def run(self) -> Survey:
        # Iterators and not lists: a message of a million empty parts must not become a million objects at once.
        left = [self._parts("model", None)]
        while left:
            entry = next(left[-1], None)
            if entry is None:
                left.pop()
                continue
            kind, message = entry
            if kind == "node":
                left.append(iter(self._node(message)))
            elif kind in ("tensor", "initializer"):
                self._tensor(message)
            else:
                left.append(self._parts(kind, message))
        # The flag is a value of the graph: an initializer or a constant, which may come after the node in the file.
        self.training.update("Dropout" for name in self.dropouts if name in self.true)
        return Survey(self.nodes, tuple(self.external), tuple(sorted(self.random)), tuple(sorted(self.training)))

    def _parts(self, kind: str, message: Field | None) -> Iterator[tuple[str, Field]]:
        parts = PARTS[kind]
        return ((parts[part.number], part) for part in self.reader.fields(message) if part.number in parts)

    def _node(self, node: Field) -> list[tuple[str, Field]]:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise SuspectError(f"holds more than {MAX_NODES} nodes")
        parts = list(islice(self.reader.fields(node), MAX_PARTS + 1))
        if len(parts) > MAX_PARTS:
            raise SuspectError(f"holds a node of more than {MAX_PARTS} parts")
        inputs, outputs, operators, attributes = (_of(parts, number) for number in (1, 2, 4, 5))
        if len(operators) > 1:
            raise SuspectError("not an ONNX model that all programs read alike: a node has two operators")
        operator = _short(operators[0]) if operators else ""
        if operator in RANDOM:
            self.random.add(operator)
        elif operator == "BatchNormalization":
            # Before opset 14 the further outputs were the mark of training; since then it is an attribute.
            further = sum(len(output.content) > 0 for output in outputs) > 1
            if further or any(self._integer(attribute, b"training_mode") for attribute in attributes):
                self.training.add(operator)
        elif operator == "Dropout" and len(inputs) > 2:
            self.dropouts.append(_short(inputs[2]))
        elif operator == "Constant" and outputs and self._constant_true(attributes):
            self.true.add(_short(outputs[0]))
        return [("attribute", attribute) for attribute in attributes]

    def _integer(self, attribute: Field, name: bytes) -> int:
        """Return an attribute's integer, if the attribute has this name; else 0."""
        found = self.reader.single(attribute, {1: LENGTH, 3: VARINT})
        named = 1 in found and bytes(found[1].content[:MAX_TEXT]) == name
        return found[3].integer() if named and 3 in found else 0

    def _constant_true(self, attributes: list[Field]) -> bool:
        parts = (part for attribute in attributes for part in self.reader.fields(attribute) if part.number == 5)
        return any(self._flag(tensor)[0] for tensor in parts)

    def _tensor(self, tensor: Field) -> None:
        true, name = self._flag(tensor)
        if true:
            self.true.add(name)

    def _flag(self, tensor: Field) -> tuple[bool, str]:
        """Return whether a tensor is one boolean that is true, and its name; note the files that it reads."""
        boolean, true, name = False, False, ""
        seen: set[int] = set()
        for part in self.reader.fields(tensor):
            if part.number in TENSOR_SINGLE:
                part.must_be(TENSOR_SINGLE[part.number])
                if part.number in seen:
                    raise SuspectError(
                        f"not an ONNX model that all programs read alike: a tensor has field {part.number} twice"
                    )
                seen.add(part.number)
            match part.number:
                case 2:
                    boolean = part.value == BOOL
                case 5 | 9:
                    true = true or bool(part.value & 1) or any(part.content[:8])
                case 8:
                    name = _short(part)
                case 13:
                    self._external(part)
        return boolean and true, name

    def _external(self, entry: Field) -> None:
        found = self.reader.single(entry, {1: LENGTH, 2: LENGTH})
        key = bytes(found[1].content[:MAX_TEXT]) if 1 in found else b""
        if key != b"location" or 2 not in found:
            return
        try:
            bytes(found[2].content[: MAX_LOCATION + 1]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise SuspectError("its external data has a location that is no UTF-8") from error
        if len(found[2].content) > MAX_LOCATION:
            raise SuspectError(f"its external data has a location of more than {MAX_LOCATION} bytes")
        self.external[self.reader.text(found[2])] = None


def survey_model(buffer: bytes | memoryview) -> Survey:
    """Walk all graphs of a ModelProto.

    Args:
        buffer: the whole file.

    Returns:
        What was found.

    Raises:
        SuspectError: if it is damaged, or has too many nodes or fields to walk.
    """
    return _Walk(buffer).run()


def _of(parts: Sequence[Field], number: int) -> list[Field]:
    """Return the parts with a number, which must be texts or messages."""
    found = [part for part in parts if part.number == number]
    for part in found:
        part.must_be(LENGTH)
    return found


def _short(field: Field) -> str:
    return bytes(field.content[:MAX_TEXT]).decode("utf-8", "replace")
