"""What an auditor says of an endpoint: a short address, or a TOML file."""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpverify.documents import read_file
from fpverify.errors import PolicyError
from fpverify.suspects.endpoints.http import Limits, checked_url
from fpverify.text import one_line

MAX_BYTES = 2**20
"""Of a file that describes an endpoint."""


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
