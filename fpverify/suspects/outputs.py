"""Says from a file alone what its outputs can be: before anything is run, and without a fingerprint too."""

from collections.abc import Sequence
from dataclasses import dataclass

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.onnx_format import UNDEFINED, OnnxHeader, Value
from fpverify.suspects.derive import axes, chosen_outputs, shown

FLOATS = tuple(f"tensor({name})" for name in ("float", "double", "float16", "bfloat16"))
"""Types of scores."""

INTEGERS = tuple(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))
"""Types of labels."""


@dataclass(frozen=True)
class _Shape:
    """What a tensor has for each input, as far as its file says."""

    fixed: tuple[int, ...]
    """Sizes above 1."""
    open: int
    """Axes of unknown size, which can be 1."""
    known: bool
    """Whether there is a shape at all."""

    def can_be(self, *sizes: int) -> bool:
        """Say whether it can have just these axes, once axes of size 1 are left out."""
        if not self.known:
            return True
        if len(self.fixed) > len(sizes) or len(sizes) > len(self.fixed) + self.open:
            return False
        left = list(sizes)
        for size in self.fixed:
            if size not in left:
                return False
            left.remove(size)
        return True

    @property
    def can_be_row(self) -> bool:
        """Whether it can have one axis."""
        return not self.known or len(self.fixed) == 1 or (not self.fixed and self.open > 0)


def check_outputs(header: OnnxHeader, contract: SuspectContract, names: Sequence[str] | None) -> None:
    """Refuse a model of whose outputs none can be an answer: detectors, segmenters, embeddings.

    Args:
        header: what its file says.
        contract: as derived, with what the auditor says.
        names: the fingerprint's classes; None for no fingerprint in particular.

    Raises:
        SuspectError: if no output can be an answer, whatever the sizes are that the file leaves open.
    """
    classes = contract.classes or names
    count = len(classes) if classes else None
    outputs = chosen_outputs(header, contract.output)
    if any(_can_answer(output, header, contract, count) for output in outputs):
        return
    single = [output for output in outputs if output.type in FLOATS and _shape(output, contract).can_be()]
    if len(single) > 1:
        return  # a column for each class
    if not outputs:
        raise SuspectError("has no output")
    found = ", ".join(map(shown, outputs[:8]))
    rows = "scores" if count is None else f"{count} scores"
    wide = [output for output in outputs if output.type in FLOATS and _shape(output, contract).can_be_row]
    hint = "; if it has other classes than the fingerprint, name them in --classes FILE" if wide else ""
    plural = "s" if len(outputs) > 1 else ""
    raise SuspectError(
        f"its output{plural} {found} {'are' if plural else 'is'} no row of {rows}",
        expected=f"scores (n, {'classes' if count is None else count}), or labels or names (n,){hint}",
    )


def doubt_about_outputs(header: OnnxHeader, contract: SuspectContract, names: Sequence[str] | None) -> str:
    """Return why outputs that `check_outputs` accepts are still hardly an answer; empty if they can well be one."""
    classes = contract.classes or names
    outputs = chosen_outputs(header, contract.output)
    one = len(outputs) == 1 and outputs[0].type in FLOATS and len(axes(outputs[0]) or ()) > 1
    shape = _shape(outputs[0], contract) if one else None
    if shape is None or not shape.known or shape.fixed or shape.open or (classes and len(classes) == 2):
        return ""
    row = f"{len(classes)} scores" if classes else "scores"
    return (
        f"its output {shown(outputs[0])} is no row of {row}: one number for each input is an answer only if it is a "
        "label, or the score of one of two classes"
    )


def count_classes(header: OnnxHeader) -> int | None:
    """Return how many classes a model's outputs tell apart.

    Args:
        header: what its file says.

    Returns:
        The one number of columns that its rows of scores have, or of its columns where each is an output; None if the
        outputs do not say it, as those with the best few classes do.
    """
    shapes = [(output.type, _shape(output, None)) for output in header.outputs]
    tables = {shape.fixed for kind, shape in shapes if kind in INTEGERS and len(shape.fixed) == 1}
    rows = [shape.fixed for kind, shape in shapes if kind in FLOATS and len(shape.fixed) == 1 and not shape.open]
    widths = {row[0] for row in rows if row not in tables}
    if len(widths) == 1:
        return widths.pop()
    single = [shape for kind, shape in shapes if kind in FLOATS and shape.known and not shape.fixed and not shape.open]
    return len(single) if not rows and len(single) > 1 else None


def _can_answer(output: Value, header: OnnxHeader, contract: SuspectContract, count: int | None) -> bool:
    shape = _shape(output, contract)
    if "map(" in output.type or output.type.startswith("optional("):
        return True
    row = shape.can_be_row if count is None else shape.can_be(count)
    if output.type == "tensor(string)":
        return shape.can_be() or shape.can_be_row
    if output.type == "tensor(bool)":
        return row or (shape.can_be() and count in (2, None))
    if output.type in FLOATS:
        return row or shape.can_be()  # labels can be floats too
    if output.type not in INTEGERS:
        return output.type == UNDEFINED or "type" in output.type
    beside = [_shape(other, contract) for other in header.outputs if other.type in FLOATS]
    pair = contract.reading == "top-k" or any(other.can_be_row and other.fixed == shape.fixed for other in beside)
    return row or shape.can_be() or (shape.can_be_row and pair)


def _shape(output: Value, contract: SuspectContract | None) -> _Shape:
    """Return an output's axes without that of the batch, which a model for one image may leave out."""
    sizes = axes(output)
    if sizes is None:
        return _Shape((), 0, False)
    left_out = (
        contract is not None and contract.batch == 1 and sizes[:1] != (1,) and isinstance(next(iter(sizes), 0), int)
    )
    inner = sizes if left_out else sizes[1:]
    fixed = tuple(size for size in inner if isinstance(size, int) and size != 1)
    return _Shape(fixed, sum(not isinstance(size, int) for size in inner), True)
