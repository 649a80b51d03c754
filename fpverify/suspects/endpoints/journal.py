"""Answers of an endpoint in a file, so that a run that broke goes on without sending an image twice."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.errors import PolicyError, SuspectError
from fpverify.files import read_bounded, write_atomically
from fpverify.sandbox.outputs import DTYPES, Output, as_texts

MAX_JOURNAL = 2**28
"""Bytes of a journal."""


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
