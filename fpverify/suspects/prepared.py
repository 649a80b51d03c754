"""Asks a suspect of any kind the images of a fingerprint, and reads its outputs as labels of that fingerprint."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.errors import SuspectError
from fpverify.fingerprint import InputContract
from fpverify.sandbox.outputs import Output
from fpverify.suspects.answers import Answers, read_answers
from fpverify.suspects.derive import derive_contract
from fpverify.suspects.fit import fit
from fpverify.suspects.interface import Suspect, named
from fpverify.suspects.outputs import check_outputs


class PreparedSuspect:
    """A suspect that is loaded, with its contract for one fingerprint."""

    def __init__(
        self, suspect: Suspect, key_contract: InputContract, names: tuple[str, ...], options: Mapping[str, Any]
    ) -> None:
        """Work out the contract, and wait until the suspect is loaded.

        Args:
            suspect: of any kind.
            key_contract: the fingerprint's contract.
            names: the fingerprint's classes.
            options: what the auditor says of the suspect's contract.

        Raises:
            SuspectError: if no contract fits, or it cannot be loaded within its limits.
        """
        self.suspect, self.key_contract, self._names = suspect, key_contract, names
        with named(suspect.name):
            self.contract = derive_contract(suspect.stated, options, key_contract, suspect.conventions(key_contract))
            check_outputs(suspect.stated, self.contract, names)
        suspect.prepare()

    @property
    def name(self) -> str:
        """Return what errors call the suspect."""
        return self.suspect.name

    @property
    def alive(self) -> bool:
        """Say whether the suspect can still be asked after it failed."""
        return self.suspect.alive

    @property
    def seconds_left(self) -> float:
        """Return how much of the suspect's time limit is left, in seconds."""
        return self.suspect.seconds_left

    def ask(self, inputs: NDArray[np.float32], contract: SuspectContract, one_at_a_time: bool = False) -> Answers:
        """Ask the suspect.

        Args:
            inputs: `(n, C, H, W)` as the fingerprint's contract says.
            contract: the suspect's, one candidate of it, with nothing undetermined.
            one_at_a_time: whether each input is asked alone, where the suspect does not fix another batch.

        Returns:
            Its answers as labels of the fingerprint's classes.

        Raises:
            SuspectError: if it does not answer within its limits, or not with labels or finite scores.
        """
        return self.read(self.outputs(inputs, contract, one_at_a_time), len(inputs), contract)

    def outputs(
        self, inputs: NDArray[np.float32], contract: SuspectContract, one_at_a_time: bool = False
    ) -> tuple[Output, ...]:
        """Ask the suspect, and return its outputs as they are: arguments and errors as for `ask`."""
        with named(self.name):
            return self.suspect.run(fit(inputs, self.key_contract, contract), contract, one_at_a_time)

    def read(self, outputs: tuple[Output, ...], count: int, contract: SuspectContract) -> Answers:
        """Read outputs for so many inputs as labels: errors as for `ask`."""
        with named(self.name):
            return read_answers(outputs, count, contract, self._names)


def settled(name: str, contract: SuspectContract) -> SuspectContract:
    """Return a contract in which nothing is undetermined.

    Args:
        name: the suspect's, for errors.
        contract: as derived.

    Returns:
        The same.

    Raises:
        SuspectError: naming what is undetermined, the readings that fit, and how to choose.
    """
    for field in ("layout", "channels", "height", "width"):
        if getattr(contract, field) is None:
            readings = " or ".join(map(str, contract.alternatives.get(field, ()))) or "anything"
            raise SuspectError(
                f"the {field} of its input {contract.input!r:.80} can be {readings}: its file does not say",
                culprit=name,
                hint=f"set {field} in --contract FILE, or let --probe FILE decide",
            )
    return contract
