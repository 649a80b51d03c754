"""Asks a server: bounded, patient, and without giving credentials to anybody else.

Every answer is untrusted: its size and the time that it takes are bounded, and a redirect to another host is refused.
"""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from random import SystemRandom
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit, urlunsplit

from fpverify.errors import PolicyError, SuspectError
from fpverify.secrets import credentials, redacted
from fpverify.text import one_line

MAX_ANSWER = 2**26
"""Bytes of one answer."""

MAX_REDIRECTS = 3
"""To the same host."""

MOST_PATIENT = 60.0
"""Seconds that a server can ask us to wait."""

GRACE = 0.5
"""Seconds beyond a request's limit after which its thread is given up."""

HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""The name of a header."""

JSON = "application/json"

RETRIED = (429, 500, 502, 503, 504)
"""Answers after which a request is made again."""


@dataclass(frozen=True)
class Limits:
    """What asking a server may take."""

    timeout: float = 30.0
    """Seconds for one request, from its beginning to the end of the answer."""
    retries: int = 4
    """How often a request is made again."""
    per_second: float | None = None
    """Requests a second at most; None for as many as the server takes."""
    queries: int | None = None
    """Images in all that may be sent, those of repeated requests included; None for no limit."""
    total: float = 3600.0
    """Seconds for all requests together, pauses included."""


@dataclass
class Record:
    """What was asked so far."""

    requests: int = 0
    queries: int = 0
    first: str = ""
    last: str = ""
    certificate: str = ""
    """SHA-256 of the server's TLS certificate; empty without TLS."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Server:
    """One server, at one address."""

    def __init__(self, url: str, headers: Mapping[str, str], limits: Limits, authority: str | None = None) -> None:
        """Take an address; nothing is asked yet.

        Args:
            url: `http` or `https`, without credentials.
            headers: sent with each request; their values are credentials, and are never shown.
            limits: of time, retries, rate and queries.
            authority: a PEM file of certificates that are trusted; None for those of the system.

        Raises:
            PolicyError: if the address is none, or holds credentials, or urllib3 is not installed.
        """
        try:
            import urllib3
        except ImportError as error:
            raise PolicyError(
                "endpoints need urllib3, which is not installed", hint="pip install 'fpverify[http]'"
            ) from error
        self._urllib3 = urllib3
        self.url = checked_url(url)
        for name, value in headers.items():
            if not HEADER.fullmatch(name) or not all(" " <= sign <= "~" for sign in value):
                raise PolicyError(
                    "cannot be sent: only printable ASCII can",
                    culprit="endpoint",
                    where=f"header {one_line(name, 60)!r}",
                )
        self.shown = without_query(self.url)
        self._headers, self._limits, self.record = dict(headers), limits, Record()
        query = urlsplit(self.url).query
        values = [*headers.values(), query, *(value for _, value in parse_qsl(query))]
        parts = (part for value in values for part in (value, *value.split()) if len(part) > 3)
        self._secrets = credentials(parts)
        self._pool = urllib3.PoolManager(ca_certs=authority, retries=False)
        self._pool.pool_classes_by_scheme = {**self._pool.pool_classes_by_scheme, "https": self._noting_pool()}
        self._next, self._until = 0.0, time.monotonic() + limits.total
        self._stopped = threading.Event()

    def get(self) -> Any:
        """Return the JSON at the address."""
        return self._json("GET", self.url, None, 0)

    def post(self, body: bytes, images: int, path: str = "") -> Any:
        """Send JSON, and return the JSON that is answered.

        Args:
            body: of the request.
            images: how many are in it.
            path: below the address.

        Raises:
            SuspectError: if the server cannot be reached, refuses, or answers with anything else than JSON; or no more
                queries are allowed.
        """
        return self._json("POST", self._below(path), body, images)

    def _below(self, path: str) -> str:
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path)) if path else self.url

    def _json(self, method: str, url: str, body: bytes | None, images: int) -> Any:
        data = self._patiently(method, url, body, images)
        try:
            return self._cleaned(json.loads(data))
        except (ValueError, RecursionError) as error:
            raise self.failure(f"answered with no JSON: {self._shown(data)}") from error

    def _shown(self, data: bytes) -> str:
        """Return how an answer begins, without credentials: they are looked for before it is cut."""
        return one_line(redacted(data[: 2**16].decode("utf-8", "replace"), self._secrets), 80)

    def _cleaned(self, value: Any) -> Any:
        """Return an answer in which no text holds a credential: it may stand in a report later."""
        if isinstance(value, str):
            return redacted(value, self._secrets)
        if isinstance(value, dict):
            return {redacted(name, self._secrets): self._cleaned(one) for name, one in value.items()}
        if isinstance(value, list) and any(isinstance(one, str | dict | list) for one in value):
            return [self._cleaned(one) for one in value]
        return value

    def _patiently(self, method: str, url: str, body: bytes | None, images: int) -> bytes:
        """Ask, and ask again where that may help."""
        reason = ""
        for attempt in range(self._limits.retries + 1):
            self._wait_for_turn()
            try:
                status, data, pause = self._in_time(method, url, body, images)
            except self._urllib3.exceptions.HTTPError as error:
                reason, pause = f"cannot be reached: {_kind(error)}", None
            else:
                if status == 200:
                    return data
                reason = f"answered with status {status}: {self._shown(data)}"
                if status not in RETRIED:
                    break
            if attempt < self._limits.retries:
                self._pause_for(_pause(attempt, pause))
        raise self.failure(reason)

    def stop(self) -> None:
        """Let no further request begin, and end all pauses."""
        self._stopped.set()

    def _pause_for(self, seconds: float) -> None:
        """Wait, as long as there is time at all.

        Raises:
            SuspectError: if there is none, or the run was stopped.
        """
        left = self._until - time.monotonic()
        if self._stopped.wait(min(seconds, max(0.0, left))):
            raise self.failure("is asked no more: another request failed")
        if seconds >= left:
            raise self.failure(f"took more than {self._limits.total:g} seconds in all")

    def _in_time(self, method: str, url: str, body: bytes | None, images: int) -> tuple[int, bytes, float | None]:
        """Ask once, in a thread that is given up when time is over: a server can send its headers ever so slowly."""
        ended: list[tuple[int, bytes, float | None] | BaseException] = []

        def ask() -> None:
            try:
                ended.append(self._once(method, url, body, images))
            except BaseException as error:  # noqa: BLE001
                ended.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(self._limits.timeout + GRACE)
        if not ended:
            raise self._urllib3.exceptions.TimeoutError("slow")
        if isinstance(ended[0], BaseException):
            raise ended[0]
        return ended[0]

    def _once(self, method: str, url: str, body: bytes | None, images: int) -> tuple[int, bytes, float | None]:
        deadline = time.monotonic() + self._limits.timeout
        headers = {"Accept": JSON, **({} if body is None else {"Content-Type": JSON}), **self._headers}
        for _ in range(MAX_REDIRECTS + 1):
            self._count(images)
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                timeout=self._urllib3.Timeout(total=max(0.1, deadline - time.monotonic())),
            )
            try:
                moved = response.headers.get("Location") if response.status in (301, 302, 303, 307, 308) else None
                if moved is None:
                    return response.status, self._body(response, deadline), _retry_after(response.headers)
                try:
                    target = checked_url(urljoin(url, moved))
                    same = _origin(target) == _origin(url)
                except (ValueError, PolicyError) as error:
                    raise self.failure("redirects to what is no address") from error
                if not same:
                    raise self.failure(f"redirects to another host, {without_query(target)}: nothing is sent there")
                if method != "GET" and response.status in (301, 302, 303):
                    raise self.failure(f"answers a question with a redirect of status {response.status}")
                url = target
            finally:
                response.close()
        raise self.failure(f"redirects more than {MAX_REDIRECTS} times")

    def _body(self, response: Any, deadline: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            if time.monotonic() > deadline:
                raise self._urllib3.exceptions.TimeoutError("slow")
            part = response.read1(2**16, decode_content=True)  # what has come, however little
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > MAX_ANSWER:
                raise self.failure(f"answers with more than {MAX_ANSWER} bytes")
            parts.append(part)

    def _noting_pool(self) -> Any:
        """Return a pool whose connections note the certificate as they are made: some are closed with the answer."""
        urllib3: Any = self._urllib3
        record = self.record

        class Connection(urllib3.connection.HTTPSConnection):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                found = self.sock.getpeercert(binary_form=True)
                record.certificate = hashlib.sha256(found).hexdigest() if found else ""

        class Pool(urllib3.HTTPSConnectionPool):  # type: ignore[misc]
            ConnectionCls = Connection

        return Pool

    def _wait_for_turn(self) -> None:
        if self._limits.per_second is None:
            self._pause_for(0.0)
            return
        with self.record.lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 1 / self._limits.per_second
        self._pause_for(turn - now)

    def _count(self, images: int) -> None:
        with self.record.lock:
            most = self._limits.queries
            if most is not None and self.record.queries + images > most:
                raise self.failure(f"may be asked no more: {self.record.queries} of {most} queries are spent")
            self.record.queries += images
            self.record.requests += 1
            now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
            self.record.first = self.record.first or now
            self.record.last = now

    def failure(self, reason: str) -> SuspectError:
        """Return an error about this server, without credentials."""
        return SuspectError(redacted(reason, self._secrets), culprit=self.shown)


def checked_url(url: str) -> str:
    """Return an address that can be asked.

    Raises:
        PolicyError: if it is none, or holds credentials.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound, parts = False, urlsplit("")
    if not sound:
        found = "one with @ in it" if "@" in url else one_line(url, 100)
        raise PolicyError(culprit="endpoint", where="url", expected="http://… or https://…", found=found)
    if parts.username is not None or parts.password is not None:
        raise PolicyError(
            "holds a name or a password",
            culprit="endpoint",
            where="url",
            hint="send it in a header, from the environment",
        )
    return url


def without_query(url: str) -> str:
    """Return an address without its query, where credentials may stand."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return one_line(urlunsplit((parts.scheme, f"{host}{port}", parts.path, "", "")), 200)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443}.get(parts.scheme, 80)


def _pause(attempt: int, asked: float | None) -> float:
    """Return seconds to wait: what the server asks for, else ever longer, with some chance in it."""
    if asked is not None:
        return min(asked, MOST_PATIENT)
    spread = 0.5 + SystemRandom().random()
    return min(0.25 * float(2**attempt) * spread, MOST_PATIENT)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After, which can be a date; None where it says nothing."""
    said = headers.get("Retry-After", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(said))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    return None


def _kind(error: BaseException) -> str:
    """Return what went wrong, without the address: that may hold credentials."""
    reason = getattr(error, "reason", None) or error
    name = type(reason).__name__.removesuffix("Error")
    words = {
        "NewConnection": "nobody answers there",
        "ConnectTimeout": "it does not answer in time",
        "ReadTimeout": "it does not answer in time",
        "Timeout": "it does not answer in time",
        "SSL": "its TLS certificate is not trusted",
        "NameResolution": "its name is not known",
        "Protocol": "the connection broke",
        "Decode": "its answer is packed wrongly",
        "LocationParse": "its address is none",
        "IncompleteRead": "the answer ended too early",
    }
    return words.get(name, name)
