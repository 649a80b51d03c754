"""How images are sent, and answers read: the Open Inference Protocol V2, MLflow, or any JSON service.

Source:
    KServe, "Open Inference Protocol (V2)", REST; MLflow, "Deploy MLflow Model as a Local Inference Server".
"""

import base64
import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import PolicyError
from fpverify.fingerprint import InputContract
from fpverify.onnx_format import OnnxHeader, Value
from fpverify.questions import eight_bit, png
from fpverify.sandbox.outputs import Output, as_texts
from fpverify.suspects.callables import output_of
from fpverify.suspects.endpoints.description import Endpoint
from fpverify.suspects.endpoints.http import Server
from fpverify.suspects.interface import anything, as_keys_are
from fpverify.text import one_line

BODY_BYTES = 2**22
"""Of one request, about: 224x224 RGB images take a megabyte each as JSON."""

DIGITS = 9
"""Significant digits of a pixel in JSON: as many as a single-precision number needs."""

TYPES = {
    "FP32": ("float", np.float32),
    "FP64": ("double", np.float64),
    "UINT8": ("uint8", np.uint8),
    "INT8": ("int8", np.int8),
    "UINT16": ("uint16", np.uint16),
    "INT16": ("int16", np.int16),
    "INT32": ("int32", np.int32),
    "INT64": ("int64", np.int64),
    "BOOL": ("bool", np.bool_),
}
"""V2's data type -> ONNX's name of it, and NumPy's."""


class Protocol(ABC):
    """How images are sent, and answers read."""

    def __init__(self, endpoint: Endpoint, server: Server) -> None:
        """Take what is said of the endpoint, and its server."""
        self.endpoint, self.server = endpoint, server

    def stated(self) -> OnnxHeader:
        """Return what the model states of its inputs and outputs; nothing where it cannot be asked."""
        return anything("images")

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:
        """Return what the kind of endpoint settles of the contract."""
        return as_keys_are(key_contract)

    @abstractmethod
    def ask(self, inputs: NDArray[Any], contract: SuspectContract) -> tuple[Output, ...]:
        """Send images in one request, and return the outputs.

        Raises:
            SuspectError: if the answer is none for these images.
        """

    def most(self, inputs: NDArray[Any]) -> int:
        """Return how many images fit into a request."""
        fitting = max(1, BODY_BYTES // (8 * max(1, int(inputs[0].size))))
        return min(fitting, self.endpoint.batch or fitting)

    def model(self) -> tuple[str | None, str | None]:
        """Return the model's name and version, as far as the server states them."""
        return None, None


class V2(Protocol):
    """The Open Inference Protocol: its metadata gives the interface."""

    def __init__(self, endpoint: Endpoint, server: Server) -> None:
        """Ask for the metadata, and whether it names one image input."""
        super().__init__(endpoint, server)
        found = server.get()
        try:
            name, versions = str(found["name"]), found.get("versions") or []
            self._inputs = [self._value(one) for one in found["inputs"]]
            self._outputs = [self._value(one) for one in found["outputs"]]
            self._name, self._versions, self._version = name, ", ".join(map(str, versions)), ""
        except (KeyError, TypeError, ValueError) as error:
            raise server.failure("gives no metadata of a model as V2 demands") from error

    @staticmethod
    def _value(found: Mapping[str, Any]) -> Value:
        sizes = tuple(size if type(size) is int and size > 0 else None for size in found["shape"])
        datatype = str(found["datatype"])
        name = (
            "tensor(string)" if datatype == "BYTES" else f"tensor({TYPES.get(datatype, (datatype.lower(), None))[0]})"
        )
        return Value(str(found["name"]), name, sizes)

    def stated(self) -> OnnxHeader:
        """Return the metadata as what a file says of itself."""
        return OnnxHeader(0, "", "", {}, {}, tuple(self._inputs), (), tuple(self._outputs))

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:  # noqa: ARG002
        """Return nothing: it is as with a file."""
        return {}

    def ask(self, inputs: NDArray[Any], contract: SuspectContract) -> tuple[Output, ...]:
        """Send one tensor, and read the tensors that come back."""
        kind = next(one for one in self._inputs if one.name == contract.input).type
        datatype = next(name for name, (onnx, _) in TYPES.items() if f"tensor({onnx})" == kind)
        tensor = {"name": contract.input, "shape": inputs.shape, "datatype": datatype, "data": _numbers(inputs.ravel())}
        found = self.server.post(json.dumps({"inputs": [tensor]}).encode(), len(inputs), "/infer")
        try:
            self._version = str(found.get("model_version") or "")
            return tuple(self._output(one, len(inputs)) for one in found["outputs"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self.server.failure("answers with no outputs as V2 demands") from error

    def _output(self, found: Mapping[str, Any], count: int) -> Output:
        name, shape, datatype, data = (found[key] for key in ("name", "shape", "datatype", "data"))
        if shape[:1] != [count] or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
            raise self.server.failure(f"answers {count} images with an output of shape {one_line(str(shape), 60)}")
        values = _flat(data)
        if len(values) != math.prod(shape):
            raise self.server.failure(f"answers with {len(values)} values for the shape {one_line(str(shape), 60)}")
        if datatype == "BYTES":
            return Output(str(name), None, texts=as_texts([str(one) for one in values]).reshape(shape))
        wanted = (int, float) if datatype.startswith("FP") else (bool,) if datatype == "BOOL" else (int,)
        if not all(type(one) in wanted for one in values):
            raise self.server.failure(f"answers with values that are no {one_line(str(datatype), 20)}")
        with np.errstate(all="ignore"):
            return Output(str(name), np.array(values, TYPES[datatype][1]).reshape(shape))

    def model(self) -> tuple[str | None, str | None]:
        """Return the model's name, and the version that answered, or all versions before one answered."""
        return one_line(self._name, 200), one_line(self._version or self._versions, 200) or None


class Mlflow(Protocol):
    """MLflow's scoring server."""

    def ask(self, inputs: NDArray[Any], contract: SuspectContract) -> tuple[Output, ...]:  # noqa: ARG002
        """Send nested lists as `inputs`, and read `predictions`."""
        body = json.dumps({"inputs": _numbers(inputs)}).encode()
        found = self.server.post(body, len(inputs))
        if not isinstance(found, Mapping) or "predictions" not in found:
            raise self.server.failure("answers without 'predictions'")
        return answered(found["predictions"], len(inputs), self.server)


class Json(Protocol):
    """Any service that takes and gives JSON."""

    def __init__(self, endpoint: Endpoint, server: Server) -> None:
        """Check where images go."""
        super().__init__(endpoint, server)
        self._one = '"$image"' in endpoint.body
        if self._one == ('"$images"' in endpoint.body):
            raise PolicyError(
                culprit="endpoint", where="body", expected='JSON with "$images", or with "$image" for one at a time'
            )
        try:
            json.loads(endpoint.body)
        except ValueError as error:
            raise PolicyError(culprit="endpoint", where="body", expected="JSON", found=str(error)) from error
        self._contract: InputContract | None = None

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:
        """Return the fingerprint's own layout, channels and range."""
        self._contract = key_contract
        return super().conventions(key_contract)

    def most(self, inputs: NDArray[Any]) -> int:
        """Return one where the body takes one."""
        return 1 if self._one else super().most(inputs)

    def ask(self, inputs: NDArray[Any], contract: SuspectContract) -> tuple[Output, ...]:  # noqa: ARG002
        """Put images into the body, and find the answers."""
        images = self._encoded(inputs)
        body = self.endpoint.body.replace(
            '"$image"' if self._one else '"$images"', json.dumps(images[0] if self._one else images)
        )
        found = self.server.post(body.encode(), len(inputs))
        for name in filter(None, self.endpoint.answers.split(".")):
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise self.server.failure(f"answers without '{name}' of '{self.endpoint.answers}'") from error
        return answered([found] if self._one else found, len(inputs), self.server)

    def _encoded(self, inputs: NDArray[Any]) -> list[Any]:
        if self.endpoint.image == "array" or self._contract is None:
            found: list[Any] = _numbers(inputs)
            return found
        files = [self._file(image) for image in eight_bit(inputs, self._contract)]
        return [base64.b64encode(content).decode() for content in files]

    def _file(self, image: NDArray[np.uint8]) -> bytes:
        return png(image) if self.endpoint.image == "png" else jpeg(image, self.endpoint.quality)


PROTOCOLS: Mapping[str, type[Protocol]] = {"v2": V2, "mlflow": Mlflow, "json": Json}
"""Each type of endpoint."""


def jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Return an `(H, W, C)` image as a JPEG file.

    Raises:
        PolicyError: if Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise PolicyError("JPEG needs Pillow, which is not installed", hint="pip install pillow") from error
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def answered(found: Any, count: int, server: Server) -> tuple[Output, ...]:
    """Return answers in JSON as outputs: labels, names, rows of scores, maps, or a map of several such outputs.

    Raises:
        SuspectError: if they are not for so many images.
    """
    named = found if isinstance(found, Mapping) and all(isinstance(one, list) for one in found.values()) else None
    outputs = {"answer": found} if named is None else named
    for name, values in outputs.items():
        if not isinstance(values, list) or len(values) != count:
            what = f"{len(values)} answers" if isinstance(values, list) else type(values).__name__
            raise server.failure(f"gives {what} as '{one_line(str(name), 60)}' for {count} images")
    return tuple(output_of(str(name), values) for name, values in outputs.items())


def _numbers(values: NDArray[Any]) -> Any:
    """Return numbers as JSON has them, a single-precision one with as few digits as give it back."""
    if values.dtype == np.float32:
        return np.array([float(f"{one:.{DIGITS}g}") for one in values.ravel().tolist()]).reshape(values.shape).tolist()
    return values.tolist()


def _flat(values: Any) -> list[Any]:
    """Return the values of nested lists, which V2 allows as well as one list."""
    if not isinstance(values, list):
        raise TypeError("no list")
    while any(isinstance(one, list) for one in values):
        values = [inside for one in values for inside in (one if isinstance(one, list) else [one])]
    return list(values)
