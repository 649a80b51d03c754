"""A model behind an HTTP endpoint as a suspect: the Open Inference Protocol V2, MLflow, or any JSON service.

Answers are journalled, if that is wanted, so that a run that broke goes on without sending an image twice.

Source:
    KServe, "Open Inference Protocol (V2)", REST; MLflow, "Deploy MLflow Model as a Local Inference Server".
"""

import base64
import hashlib
import io
import json
import math
import os
import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.documents import read_file
from fpverify.errors import PolicyError, SuspectError
from fpverify.files import read_bounded, write_atomically
from fpverify.fingerprint import InputContract
from fpverify.onnx_format import OnnxHeader, Value
from fpverify.questions import eight_bit, png
from fpverify.result import SuspectInfo
from fpverify.sandbox.outputs import DTYPES, Output, as_texts, together
from fpverify.suspects.callables import output_of
from fpverify.suspects.http import Limits, Server, checked_url
from fpverify.suspects.interface import Suspect, anything, as_keys_are
from fpverify.text import one_line

MAX_BYTES = 2**20
"""Of a file that describes an endpoint."""

MAX_JOURNAL = 2**28
"""Bytes of a journal."""

BODY_BYTES = 2**22
"""Of one request, about: 224x224 RGB images take a megabyte each as JSON."""

DIGITS = 9
"""Significant digits of a pixel in JSON: as many as a single-precision number needs."""

JPEG_KEPT = ((95, 1.0), (90, 0.93), (85, 0.93), (75, 0.82))
"""Qualities of JPEG, and the share of its keys that the worst of our copies kept there, of those that it kept
without (`tests/benchmarks/lossy.py`, photographs; digits lose less)."""

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


@dataclass(frozen=True)
class Endpoint:
    """What an auditor says of an endpoint: the fields of an endpoint file."""

    url: str
    """Of the model: `…/v2/models/NAME` for V2, `…/invocations` for MLflow, else where images are sent."""
    type: str = "json"
    """`v2`, `mlflow` or `json`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request; `$NAME` stands for an environment variable."""
    authority: str | None = None
    """A PEM file of certificates that are trusted; None for those of the system."""
    timeout: float = Limits.timeout
    """Seconds for a request."""
    retries: int = Limits.retries
    """How often a request is made again."""
    per_second: float | None = None
    """Requests a second at most."""
    queries: int | None = None
    """Images in all that may be sent."""
    concurrency: int = 1
    """Requests at a time."""
    batch: int | None = None
    """Images in a request at most; None for as many as fit."""
    total: float = Limits.total
    """Seconds for all requests together."""
    price: float | None = None
    """Of a query, for `--dry-run`."""
    journal: str | None = None
    """A file where answers are kept."""
    image: str = "array"
    """Of a JSON service: `array` for nested lists, `png` or `jpeg` for the file in base64."""
    quality: int = 95
    """Of JPEG, 1 to 100."""
    body: str = '{"inputs": "$images"}'
    """Of a JSON service: JSON in which `"$images"` stands for the list of images, or `"$image"` for one."""
    answers: str = ""
    """Of a JSON service: where the answers stand, names and numbers with dots between, such as `result.labels`."""


CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "url": (lambda value: isinstance(value, str), "an address"),
    "type": (lambda value: value in ("v2", "mlflow", "json"), "v2, mlflow or json"),
    "headers": (
        lambda value: isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values()),
        "a table of texts",
    ),
    "authority": (lambda value: isinstance(value, str), "a path"),
    "timeout": (lambda value: type(value) in (int, float) and 0 < value <= 3600, "seconds, at most 3600"),
    "retries": (lambda value: type(value) is int and 0 <= value <= 20, "0 to 20"),
    "per_second": (lambda value: type(value) in (int, float) and 0 < value <= 1e6, "a number above 0"),
    "queries": (lambda value: type(value) is int and value >= 1, "an integer of at least 1"),
    "concurrency": (lambda value: type(value) is int and 1 <= value <= 64, "1 to 64"),
    "batch": (lambda value: type(value) is int and 1 <= value <= 4096, "1 to 4096"),
    "total": (lambda value: type(value) in (int, float) and 0 < value <= 10**6, "seconds, at most a million"),
    "price": (lambda value: type(value) in (int, float) and value >= 0, "a number"),
    "journal": (lambda value: isinstance(value, str), "a path"),
    "image": (lambda value: value in ("array", "png", "jpeg"), "array, png or jpeg"),
    "quality": (lambda value: type(value) is int and 1 <= value <= 100, "1 to 100"),
    "body": (lambda value: isinstance(value, str), "JSON as a text"),
    "answers": (lambda value: isinstance(value, str), "names and numbers with dots between"),
}
"""The check of each field, and what it expects."""

SHORT = re.compile(r"(v2|mlflow)\+(https?://.*)", re.DOTALL)
"""An endpoint without a file: `v2+https://host/v2/models/NAME`, `mlflow+http://host:5000/invocations`."""


def load_endpoint(named: str | os.PathLike[str]) -> Endpoint:
    """Return what names an endpoint: a short address, or `endpoint:` and a TOML file.

    Raises:
        PolicyError: if the file cannot be read, or a field makes no sense.
    """
    text = os.fspath(named)
    short = SHORT.fullmatch(text)
    if short:
        return Endpoint(checked_url(short[2]), short[1])
    text = text.removeprefix("endpoint:")
    data = read_file(text, "endpoint file", PolicyError, MAX_BYTES)
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"is no TOML: {one_line(str(error), 100)}", culprit=text) from error
    unknown = [name for name in document if name not in CHECKS]
    if unknown or "url" not in document:
        found = f"an unknown '{one_line(unknown[0], 60)}'" if unknown else "no url"
        raise PolicyError(culprit=text, expected=f"url, and perhaps {', '.join(list(CHECKS)[1:])}", found=found)
    for name, value in document.items():
        holds, expected = CHECKS[name]
        if not holds(value):
            raise PolicyError(culprit=text, where=name, expected=expected, found=one_line(repr(value), 60))
    beside = Path(text).parent
    for name in ("authority", "journal"):
        if name in document:
            document[name] = str(beside / document[name])
    checked_url(document["url"])
    if "authority" in document and not os.path.isfile(document["authority"]):
        raise PolicyError(culprit=text, where="authority", expected="a file that is there", found=document["authority"])
    return Endpoint(**document)


def headers_of(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers with the values of environment variables.

    Raises:
        PolicyError: if a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise PolicyError(f"the environment variable {match[1]} is not set", culprit="endpoint", where="headers")
        return found

    return {name: re.sub(r"\$(\w+)", value, text) for name, text in endpoint.headers.items()}


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

    def described(self) -> str:
        """Return what is known of the model, for the report."""
        return self.endpoint.type


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

    def described(self) -> str:
        """Return the model's name and version."""
        version = self._version or self._versions
        return one_line(f"V2 model {self._name}" + (f" version {version}" if version else ""), 200)


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


class EndpointSuspect(Suspect):
    """A model behind an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Reach the endpoint, as far as its protocol demands.

        Args:
            endpoint: of `load_endpoint`.

        Raises:
            PolicyError: if what is said of it makes no sense.
            SuspectError: if it cannot be reached.
        """
        limits = Limits(endpoint.timeout, endpoint.retries, endpoint.per_second, endpoint.queries, endpoint.total)
        server = Server(endpoint.url, headers_of(endpoint), limits, endpoint.authority)
        self._endpoint, self._server = endpoint, server
        self.name = server.shown
        self._protocol = PROTOCOLS[endpoint.type](endpoint, server)
        self.stated = self._protocol.stated()
        self._journal = None
        if endpoint.journal is not None:
            bound = [endpoint.url, endpoint.type, endpoint.body, endpoint.answers, endpoint.image, endpoint.quality]
            digest = hashlib.sha256(json.dumps([*bound, self._protocol.described()]).encode()).hexdigest()
            self._journal = Journal(Path(endpoint.journal), f"{server.shown} {digest}")

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:
        """Return what its protocol settles."""
        return self._protocol.conventions(key_contract)

    def prepare(self) -> None:
        """Do nothing: the server is there, or it is not."""

    def run(self, inputs: NDArray[Any], contract: SuspectContract, one_at_a_time: bool) -> tuple[Output, ...]:
        """Send images in as many requests as they need; those in the journal are not sent."""
        most = 1 if one_at_a_time else min(self._protocol.most(inputs), contract.batch or len(inputs))
        parts = np.array_split(inputs, range(most, len(inputs), most)) if len(inputs) else [inputs]
        with ThreadPoolExecutor(self._endpoint.concurrency) as pool:
            pending = [pool.submit(self._part, part, contract, one_at_a_time) for part in parts]
            try:
                return together([one.result() for one in pending])
            except BaseException:
                self._server.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _part(self, inputs: NDArray[Any], contract: SuspectContract, one_at_a_time: bool) -> tuple[Output, ...]:
        if self._journal is None:
            return self._protocol.ask(inputs, contract)
        known = self._journal
        names = [known.name(image, one_at_a_time) for image in inputs]
        new = [row for row, name in enumerate(names) if name not in known]
        if new:
            known.add([names[row] for row in new], self._protocol.ask(inputs[new], contract))
        return together([known.outputs(name) for name in names])

    @property
    def info(self) -> SuspectInfo:
        """Return the address without credentials; what the server said of its model, and when it was asked."""
        record = self._server.record
        said = [self._protocol.described()]
        said += [f"TLS certificate SHA-256 {record.certificate}"] if record.certificate else []
        when = f", {record.first} to {record.last}" if record.requests else ""
        said += [f"{record.queries} images in {record.requests} requests{when}"]
        return SuspectInfo("endpoint", self.name, None, None, {}, "; ".join(said))

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what speaks against an endpoint as evidence."""
        notes = ["the suspect is an endpoint: what answers there can change, and nothing shows which model it was"]
        if self._journal is not None and self._journal.old:
            notes.append(
                f"{self._journal.old} answers are old: they come from the journal, and another model may answer now"
            )
        if self._endpoint.type == "json" and self._endpoint.image == "jpeg":
            quality, left = next((one for one in JPEG_KEPT if self._endpoint.quality >= one[0]), JPEG_KEPT[-1])
            below = "" if self._endpoint.quality >= quality else ", or fewer"
            notes.append(
                f"keys were sent as JPEG, which weakens them: at quality {quality} copies of our own models kept "
                f"{left:.0%} of the keys that they keep otherwise{below}; a derived model may look unrelated"
            )
        return tuple(notes)


class Journal:
    """Answers that were given, a line of JSON each; a line that a kill cut off is left out."""

    def __init__(self, path: Path, endpoint: str) -> None:
        """Read what is there.

        Args:
            path: the file; it need not be there yet.
            endpoint: whose answers they are, without credentials.

        Raises:
            PolicyError: if the file cannot be read, or is of another endpoint.
        """
        self._path, self._endpoint = path, endpoint
        self._known: dict[str, list[dict[str, Any]]] = {}
        self._given: set[str] = set()
        self.old = 0
        try:
            data = read_bounded(path, MAX_JOURNAL + 1) if path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if len(data) > MAX_JOURNAL:
                raise PolicyError(f"holds more than {MAX_JOURNAL} bytes", culprit=path)
            if len(whole) < len(data):
                write_atomically(path, whole)  # a kill cut the last line off
            if not whole:
                self._write({"endpoint": endpoint})
        except OSError as error:
            raise PolicyError("cannot read or write the journal", culprit=path) from error
        for number, line in enumerate(whole.splitlines()):
            try:
                found = json.loads(line)
                if number == 0 and found["endpoint"] != endpoint:
                    raise PolicyError("holds answers of another endpoint, or to other questions", culprit=path)
                if number:
                    outputs = found["outputs"]
                    for one in outputs:
                        _from_json(one)
                    self._known[str(found["image"])] = outputs
            except (ValueError, KeyError, TypeError, RecursionError, SuspectError) as error:
                raise PolicyError(f"line {number + 1} is no answer", culprit=path) from error

    def __contains__(self, name: str) -> bool:
        return name in self._known

    @staticmethod
    def name(image: NDArray[Any], again: bool) -> str:
        """Return what names an image, and whether it was asked alone."""
        return hashlib.sha256(f"{image.dtype.str} {image.shape} {again} ".encode() + image.tobytes()).hexdigest()

    def add(self, names: Sequence[str], outputs: tuple[Output, ...]) -> None:
        """Keep the answers to some images."""
        for row, name in enumerate(names):
            kept = [_as_json(output, row) for output in outputs]
            self._known[name] = kept
            self._given.add(name)
            self._write({"image": name, "outputs": kept})

    def outputs(self, name: str) -> tuple[Output, ...]:
        """Return the answer to an image."""
        self.old += name not in self._given
        return tuple(_from_json(one) for one in self._known[name])

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _as_json(output: Output, row: int) -> dict[str, Any]:
    if output.texts is not None:
        return {"name": output.name, "texts": output.texts[row : row + 1].tolist()}
    if output.array is None:
        return {"name": output.name, "other": output.other}
    part = output.array[row : row + 1]
    return {"name": output.name, "type": part.dtype.str, "values": part.tolist(), "columns": output.columns}


def _from_json(found: Mapping[str, Any]) -> Output:
    name = str(found["name"])
    if "texts" in found:
        return Output(name, None, texts=as_texts([str(one) for one in found["texts"]]))
    if "values" not in found:
        return Output(name, None, other=str(found["other"]))
    columns, kind = found["columns"], np.dtype(found["type"])
    if kind.str not in DTYPES:
        raise ValueError("an element type that no answer has")
    return Output(name, np.array(found["values"], kind), columns=None if columns is None else tuple(columns))


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
