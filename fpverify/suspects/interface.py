"""What every kind of suspect offers: it states its interface, answers inputs, and says what it is.

A further kind is a subclass of `Suspect` and a row in `opening.KINDS`. Everything else is the same for all kinds:
`prepared` works out the contract, fits the inputs and reads the outputs; `evidence` decides what is asked.
"""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.onnx_format import ANY_NAME, UNDEFINED, OnnxHeader, Value
from fpverify.result import HeldLimits, SuspectInfo

if TYPE_CHECKING:  # no NumPy: a file is opened before it is imported
    from numpy.typing import NDArray

    from fpverify.fingerprint import InputContract
    from fpverify.sandbox.outputs import Output


class Suspect(ABC):
    """A model that answers inputs. Nothing that it states or answers is trusted."""

    sandboxed: ClassVar[bool] = False
    """Whether it runs in a process within limits; else in this one, with all that this one may do."""
    again: ClassVar[bool] = True
    """Whether it can be asked the same a second time, and answer otherwise."""
    name: str
    """What errors and reports call it."""
    stated: OnnxHeader
    """What it states of its inputs, outputs and metadata."""

    def conventions(self, key_contract: "InputContract") -> Mapping[str, Any]:  # noqa: ARG002
        """Return the fields of its contract that are fixed by what kind of suspect it is, as options.

        Args:
            key_contract: the fingerprint's contract.
        """
        return {}

    @abstractmethod
    def prepare(self) -> None:
        """Wait until it can be asked; called before each fingerprint.

        Raises:
            SuspectError: if it cannot be loaded within its limits.
        """

    @abstractmethod
    def run(self, inputs: "NDArray[Any]", contract: SuspectContract, one_at_a_time: bool) -> "tuple[Output, ...]":
        """Return its outputs.

        Args:
            inputs: `(n, …)` as the contract says.
            contract: its contract, with nothing undetermined.
            one_at_a_time: whether each input is to be asked alone, where it does not fix another batch.

        Returns:
            Each output for all inputs.

        Raises:
            SuspectError: if it does not answer within its limits.
        """

    @property
    @abstractmethod
    def info(self) -> SuspectInfo:
        """Return what it is; known once it is prepared."""

    @property
    def alive(self) -> bool:
        """Say whether it can still be asked after it failed."""
        return True

    @property
    def seconds_left(self) -> float:
        """Return how much of its time limit is left, in seconds; infinite without one."""
        return math.inf

    @property
    def limits(self) -> HeldLimits | None:
        """Return the limits that it runs under; None in this process."""
        return None

    @property
    def runtime(self) -> str | None:
        """Return ONNX Runtime's version; None if that does not run it."""
        return None

    @property
    def unsteady(self) -> tuple[str, ...]:
        """Return why its answers may vary, one clause each, as far as that can be known before it is asked."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what else a reader of the verdict should know, once it was asked, a clause each."""
        return ()


def anything(name: str, metadata: Mapping[str, str] | None = None) -> OnnxHeader:
    """Return what a suspect states that says nothing: images of any shape, and outputs of any name and type.

    Args:
        name: of its input.
        metadata: what it says besides.
    """
    inputs, outputs = (Value(name, "tensor(float)", None),), (Value(ANY_NAME, UNDEFINED, None),)
    return OnnxHeader(0, "", "", {}, dict(metadata or {}), inputs, (), outputs)


def as_keys_are(key_contract: "InputContract") -> dict[str, Any]:
    """Return the fingerprint's own layout, channels and range, as the conventions of a suspect that takes keys so."""
    return {"layout": "NCHW", "channels": key_contract.channels, "low": key_contract.low, "high": key_contract.high}


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Put a suspect's name before what went wrong with it.

    Args:
        name: the suspect's.

    Raises:
        SuspectError: with the name, where one is raised inside.
    """
    try:
        yield
    except SuspectError as error:
        raise error.about(name) from error
