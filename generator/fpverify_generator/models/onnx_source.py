"""An owner's ONNX file as a source, read as `fpverify verify` reads a suspect: layout, element type, batch and range.

The file is trusted: it runs in this process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.files import regular_file_size
from fpverify.fingerprint import InputContract
from fpverify.onnx_format import OnnxHeader, Value, read_onnx_header, survey_model
from fpverify.suspects.derive import candidates, derive_contract
from fpverify.suspects.fit import fit
from fpverify.text import one_line
from fpverify_generator.errors import SourceError
from fpverify_generator.models.oracle import Oracle, open_session
from fpverify_generator.models.passes import at_most


class OnnxModel:
    """An ONNX classifier, loaded."""

    def __init__(
        self,
        path: Path,
        device: str,
        key_contract: InputContract,
        classes: tuple[str, ...],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Read and load the file.

        Args:
            path: the file.
            device: `cpu` or `cuda`.
            key_contract: what the owner's images are.
            classes: the names of their classes.
            options: the fields of its contract that are known.

        Raises:
            SourceError: if it cannot be loaded, or its input cannot be an image of this kind.
        """
        self.path, self.key_contract, self.classes = path, key_contract, classes
        self._check_options(options or {})
        try:
            regular_file_size(path)
            self.content = path.read_bytes()
            header = read_onnx_header(self.content)
            external = survey_model(self.content).external
            contract = derive_contract(header, options or {}, key_contract)
        except OSError as error:
            raise SourceError(f"cannot read the source ({error.strerror or error})", culprit=path) from error
        except SuspectError as error:
            raise SourceError(f"cannot be a source: {error}", culprit=path) from error
        self.beside, self._device, self._session = bool(external), device, None
        self.outputs = [output.name for output in self.session().get_outputs()]
        self.output = (options or {}).get("output")
        if self.output is not None and self.output not in self.outputs:
            names = one_line(", ".join(self.outputs), 200)
            raise SourceError(f"has no output {self.output!r:.100}; it has {names}", culprit=path)
        self.contracts = readings(contract)
        self.order = _order(contract.classes, classes)
        if not self.contracts or contract.type == "bfloat16":
            found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in header.inputs)
            raise SourceError(
                f"its input can be read in several ways ({one_line(found, 200)})",
                culprit=path,
                hint="export it with one input of float images of fixed size: "
                f"(n, {key_contract.shape[0]}, {key_contract.height}, {key_contract.width})",
            )

    def _check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what is said of the model and would not be applied."""
        unused = sorted({"renamed", "reading"} & set(options))
        if unused:
            raise SourceError(
                f"the contract's {', '.join(unused)} cannot be applied to a source",
                culprit=self.path,
                hint="name its classes as the data does (classes), and its output (output)",
            )
        if "classes" in options and sorted(options["classes"]) != sorted(self.classes):
            raise SourceError(
                culprit=self.path,
                where="classes of the contract",
                expected=f"the data's, in the model's order: {one_line(', '.join(self.classes), 200)}",
                found=one_line(", ".join(options["classes"]), 200),
            )

    def session(self, threads: int = 0) -> Any:
        """Return the model in ONNX Runtime, loaded once in each process.

        Args:
            threads: on which it runs; 0 for one a core.
        """
        if self._session is None:
            # what was digested is what is loaded, unless weights lie in files beside it
            self._session = open_session(
                self.path.absolute() if self.beside else self.content, self.path, self._device, threads
            )
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.session(threads=1)  # another process, of which there is one a core

    def oracle(self, contract: SuspectContract) -> Oracle:
        """Return the model as a function of the owner's images, read by one contract."""
        return OnnxOracle(self, contract)

    def ask(self, inputs: npt.NDArray[np.float32], contract: SuspectContract) -> npt.NDArray[Any]:
        """Return the answers to `(n, C, H, W)` images: `(n, classes)` scores or `(n,)` labels.

        Raises:
            SourceError: if ONNX Runtime cannot run it, or it answers with something else.
        """
        size = contract.batch or at_most(inputs[0].size)
        parts = [self._ask(inputs[start : start + size], contract) for start in range(0, len(inputs), size)]
        return np.concatenate(parts)

    def _ask(self, inputs: npt.NDArray[np.float32], contract: SuspectContract) -> npt.NDArray[Any]:
        try:
            batch = fit(inputs, self.key_contract, contract)
        except SuspectError as error:
            raise SourceError(error, culprit=self.path) from error
        if contract.batch is not None and len(batch) < contract.batch:
            batch = np.concatenate([batch, np.repeat(batch[-1:], contract.batch - len(batch), axis=0)])
        try:
            found = self.session().run(None, {contract.input: batch})
        except Exception as error:
            reason = one_line(" ".join(str(error).split()), 400)
            raise SourceError(
                f"ONNX Runtime cannot run it on {len(batch)} inputs of shape {batch.shape[1:]} ({reason})",
                culprit=self.path,
                hint="export it with a dynamic batch dimension",
            ) from error
        return self._answer(found, len(batch))[: len(inputs)]

    def _answer(self, found: Sequence[Any], count: int) -> npt.NDArray[Any]:
        """Return the only output that holds scores, or else the only one that holds labels."""
        scores, labels = {}, {}
        for name, output in zip(self.outputs, found, strict=True):
            if (
                self.output not in (None, name)
                or not isinstance(output, np.ndarray)
                or output.ndim == 0
                or len(output) != count
            ):
                continue
            if output.dtype.kind == "f" and output.size == count * len(self.classes):
                scores[name] = output.reshape(count, -1)[:, self.order]
            elif output.dtype.kind in "iu" and output.size == count:
                numbers = output.reshape(count).astype(np.int64)
                labels[name] = np.concatenate([np.argsort(self.order), [-1]])[np.clip(numbers, -1, len(self.order))]
        answers = scores or labels
        if len(answers) == 1:
            return next(iter(answers.values()))
        shapes = [
            f"{name} {output.dtype} {output.shape}"
            if isinstance(output, np.ndarray)
            else f"{name} {type(output).__name__}"
            for name, output in zip(self.outputs, found, strict=True)
        ]
        expected = f"one output of {len(self.classes)} scores per input, or of one label"
        raise SourceError(
            culprit=self.path,
            expected=expected,
            found=f"{one_line(', '.join(shapes), 300)} for {count} inputs",
            hint="check that the data's classes are the model's, and name the output that is its answer (output in "
            "--source-contract FILE, for a source)",
        )


@dataclass(frozen=True)
class OnnxOracle:
    """An ONNX model, read by one contract; it can be sent to another process."""

    model: OnnxModel
    """The model."""
    contract: SuspectContract
    """How it is read."""

    def __call__(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return its answers, as `OnnxModel.ask` does."""
        return self.model.ask(inputs, self.contract)


def _order(stated: Sequence[str] | None, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return where each of the owner's classes is among the model's, if its file names the same ones; else in order."""
    if stated is None or sorted(stated) != sorted(classes):
        return np.arange(len(classes))
    return np.array([list(stated).index(name) for name in classes])


def readings(contract: SuspectContract) -> list[SuspectContract]:
    """Return every contract that a derived one leaves open, the likeliest first; none with a field undetermined."""
    every = [replace(contract, **fields) for fields in candidates(contract)]
    needed = ("layout", "channels", "height", "width")
    return [one for one in every if all(getattr(one, name) is not None for name in needed)]


def readings_of_network(path: Path, key_contract: InputContract, options: Mapping[str, Any]) -> list[SuspectContract]:
    """Return the readings of a network that takes `(n, C, H, W)` single-precision images of the owner's size.

    Args:
        path: names it in errors.
        key_contract: what the owner's images are.
        options: the fields of its contract that are known.

    Raises:
        SourceError: if these do not fit such a network.
    """
    shape = ("n", *key_contract.shape)
    images, scores = Value("images", "tensor(float)", shape), Value("scores", "tensor(float)", ("n", None))
    header = OnnxHeader(
        ir_version=8,
        producer="",
        producer_version="",
        opsets={},
        inputs=(images,),
        defaults=(),
        outputs=(scores,),
        metadata={},
    )
    try:
        return readings(derive_contract(header, {"layout": "NCHW", **options}, key_contract))
    except SuspectError as error:
        raise SourceError(f"cannot be a source: {error}", culprit=path) from error


def in_words(contract: SuspectContract) -> str:
    """Say how images are handed to a model."""
    batch = "" if contract.batch is None else f", {contract.batch} at a time"
    size = f"{contract.width}x{contract.height}"
    return f"{contract.layout} {contract.channels} {size} {contract.type}, values {contract.values}{batch}"
