"""A model behind an HTTP endpoint as a suspect."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpverify.contract import SuspectContract
from fpverify.fingerprint import InputContract
from fpverify.result import EndpointInfo, SuspectInfo
from fpverify.sandbox.outputs import Output, together
from fpverify.suspects.endpoints.description import Endpoint, headers_of
from fpverify.suspects.endpoints.http import Limits, Server
from fpverify.suspects.endpoints.journal import Journal
from fpverify.suspects.endpoints.protocols import PROTOCOLS
from fpverify.suspects.interface import Suspect

JPEG_KEPT = ((95, 1.0), (90, 0.94), (85, 0.94), (75, 0.83))
"""Qualities of JPEG, and the share of its keys that the worst of our copies kept there, of those that it kept
without (`tests/benchmarks/lossy.py`, photographs; digits lose less)."""


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
            digest = hashlib.sha256(json.dumps([*bound, *self._protocol.model()]).encode()).hexdigest()
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
        name, version = self._protocol.model()
        certificate, first, last = record.certificate or None, record.first or None, record.last or None
        asked = EndpointInfo(
            self._endpoint.type, name, version, certificate, record.queries, record.requests, first, last
        )
        return SuspectInfo("endpoint", self.name, None, None, {}, None, asked)

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
