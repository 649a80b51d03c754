"""A Python callable, or an object with `predict_proba` or `predict`, as a suspect. It runs in this process."""

import functools
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.fingerprint import InputContract
from fpverify.result import SuspectInfo
from fpverify.sandbox.outputs import Output, as_texts, together
from fpverify.secrets import redacted
from fpverify.suspects.interface import Suspect, anything, as_keys_are
from fpverify.text import one_line

INPUT, OUTPUT = "inputs", "answer"
"""What its input is called, and an output that it returns without a name."""


def module_file(named: str) -> Path | None:
    """Return the file of the module that `module:name` names; None if there is none."""
    try:
        found = importlib.util.find_spec(named.partition(":")[0])
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(found.origin) if found is not None and found.origin is not None else None


class CallableSuspect(Suspect):
    """A function of a batch of images; the auditor wrote it, so it takes the keys as they are unless told otherwise.

    It returns `(n,)` labels (-1 for a refusal) or names, `(n, classes)` scores, a list of maps from class to score, or
    a mapping from names to several such outputs.
    """

    def __init__(self, function: Callable[[Any], Any], name: str | None = None) -> None:
        self._function = function
        self.name = name or name_of(function)
        self.stated = anything(INPUT)

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:
        """Return the fingerprint's own layout, channels and range."""
        return as_keys_are(key_contract)

    def prepare(self) -> None:
        """Do nothing: it is in this process already."""

    def run(
        self,
        inputs: NDArray[Any],
        contract: SuspectContract,  # noqa: ARG002
        one_at_a_time: bool,
    ) -> tuple[Output, ...]:
        """Call the function with a copy of the inputs, so that it cannot change the keys."""
        parts = np.split(inputs, len(inputs)) if one_at_a_time else [inputs]
        answers = [self._outputs(part.copy()) for part in parts]
        return together(answers)

    def _outputs(self, inputs: NDArray[Any]) -> tuple[Output, ...]:
        try:
            answer = self._function(inputs)
        except SuspectError:
            raise
        except (Exception, SystemExit) as error:
            raise SuspectError(f"raised {one_line(redacted(f'{type(error).__name__}: {error}'), 300)}") from error
        if isinstance(answer, Mapping):
            return tuple(output_of(str(name), value) for name, value in answer.items())
        return (output_of(OUTPUT, answer),)

    @property
    def info(self) -> SuspectInfo:
        """Return its name; a callable cannot be pinned down by a digest."""
        return SuspectInfo("callable", self.name, None, None, {}, None)


class PredictorSuspect(CallableSuspect):
    """An object with `predict_proba` or `predict`, as scikit-learn's.

    One with `n_features_in_` takes flat images; the scores of one with `classes_` are in that order.
    """

    def __init__(self, model: Any) -> None:
        scores = hasattr(model, "predict_proba")
        super().__init__(model.predict_proba if scores else model.predict, name_of(model))
        self._flat = hasattr(model, "n_features_in_")
        classes = [str(name) for name in getattr(model, "classes_", ())]
        if scores and classes and classes != [str(number) for number in range(len(classes))]:
            self.stated = anything(INPUT, {"classes": json.dumps(classes)})

    def conventions(self, key_contract: InputContract) -> Mapping[str, Any]:
        """Return the fingerprint's own channels and range, and a layout without axes where it counts features."""
        return {**super().conventions(key_contract), **({"layout": "flat-CHW"} if self._flat else {})}


def load_callable(text: str) -> Any:
    """Import what `module:name` names.

    Args:
        text: a module on Python's path and an attribute of it, with a colon between.

    Returns:
        The attribute.

    Raises:
        SuspectError: if the module cannot be imported or lacks it.
    """
    module, _, attribute = text.partition(":")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (Exception, SystemExit) as error:
        what = one_line(redacted(f"{type(error).__name__}: {error}"), 300)
        raise SuspectError(
            f"no such file, and as module:name it cannot be imported ({what})",
            culprit=one_line(text, 200),
            hint="PYTHONPATH says where modules are searched",
        ) from error


def name_of(suspect: Any) -> str:
    """Return what to call a suspect in messages and reports.

    Args:
        suspect: any object.

    Returns:
        The path of a file, the qualified name of a function, else what `repr` says.
    """
    path = getattr(suspect, "path", None)
    if isinstance(path, str):
        return one_line(path)
    name = getattr(suspect, "__qualname__", None)
    if isinstance(name, str):
        return one_line(f"{getattr(suspect, '__module__', None) or '?'}.{name}")
    return one_line(repr(suspect), 200)


def output_of(name: str, answer: Any) -> Output:
    """Return what a callable or a service answered as an output.

    Args:
        name: of the output.
        answer: labels, names, rows of scores, or maps from class to score.

    Raises:
        SuspectError: if it is no array.
    """
    try:
        if isinstance(answer, list | tuple) and answer and all(isinstance(one, str) for one in answer):
            return Output(name, None, texts=as_texts(answer))
        if _are_maps(answer):
            columns = tuple(answer[0])
            scores = np.array([[row[key] for key in columns] for row in answer])
            if scores.dtype.kind not in "biuf":
                raise SuspectError("returned maps from class to what is no number")
            return Output(name, scores, columns=columns)
        if isinstance(answer, list | tuple) and any(isinstance(one, str) for one in answer):
            raise SuspectError("returned names and something else")
        array = np.asarray(answer)
    except SuspectError:
        raise
    except (Exception, SystemExit) as error:
        raise SuspectError(f"returned what is no array ({one_line(str(error), 200)})") from error
    if array.dtype.kind in "US" or (array.size and all(isinstance(one, str) for one in array.flat)):
        return Output(name, None, texts=array.astype(str).astype(object))
    if array.dtype.kind in "biuf":
        return Output(name, array)
    return Output(name, None, other=f"{array.dtype} {array.shape}")


def _are_maps(answer: Any) -> bool:
    """Say whether an answer is a list of maps with the same keys: scores by class."""
    return (
        isinstance(answer, Sequence)
        and len(answer) > 0
        and all(isinstance(row, Mapping) and row.keys() == answer[0].keys() for row in answer)
    )
