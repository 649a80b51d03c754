"""Opens what an auditor names as a suspect: the table of kinds.

An ONNX file is opened without NumPy, so that its process is told to load it before this one imports that.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from fpverify.errors import SuspectError
from fpverify.sandbox.limits import Limits
from fpverify.sandbox.parent import Sandbox
from fpverify.suspects.interface import Suspect
from fpverify.suspects.onnx_file import OnnxSuspect
from fpverify.text import one_line

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""`module:name`."""

ADDRESSES = ("endpoint:", "v2+http://", "v2+https://", "mlflow+http://", "mlflow+https://")
"""How an endpoint is named: by a file that describes it, or by its protocol and address."""

RECORDED = (".csv", ".json", ".npz")
"""Suffixes of files of recorded answers."""


def is_callable_name(named: str | os.PathLike[str]) -> bool:
    """Say whether what was named is `module:name`, and neither a file nor an endpoint's (`endpoint:endpoint.toml`).

    Args:
        named: on the command line.
    """
    text = os.fspath(named)
    return bool(NAME.fullmatch(text)) and not os.path.lexists(text) and not is_endpoint(text)


def _predictor(named: Any) -> Suspect:
    from fpverify.suspects.callables import PredictorSuspect

    return PredictorSuspect(named)


def _callable(named: Any) -> Suspect:
    from fpverify.suspects.callables import CallableSuspect

    return CallableSuspect(named)


def _recorded(named: Any) -> Suspect:
    from fpverify.suspects.recorded import RecordedSuspect

    return RecordedSuspect(named)


def _onnx(named: Any, sandbox: Sandbox) -> Suspect:
    """Open a file, or the model in a folder; a folder in which it is not clear which says so as a file would."""
    path = os.fspath(named)
    if isinstance(path, str) and os.path.isdir(path):
        from fpverify.suspects.folders import model_in, with_classes

        inside = model_in(path)
        if inside is not None:
            found = OnnxSuspect(sandbox, inside)
            found.stated = with_classes(found.stated, path)
            return found
    return OnnxSuspect(sandbox, named)


def _endpoint(named: Any) -> Suspect:
    from fpverify.suspects.endpoints.description import load_endpoint
    from fpverify.suspects.endpoints.suspect import EndpointSuspect

    return EndpointSuspect(load_endpoint(named))


def is_endpoint(named: Any) -> bool:
    """Say whether what was named is an endpoint, and no file of that name.

    A file that describes one is never taken for such by its suffix: it can have credentials sent anywhere, and a
    suspect's file is a stranger's.
    """
    return isinstance(named, str) and named.startswith(ADDRESSES) and not os.path.lexists(named)


def _is_recorded(named: Any) -> bool:
    return isinstance(named, str | os.PathLike) and os.path.splitext(os.fspath(named))[1].lower() in RECORDED


Opener = Callable[[Any, Callable[[], Sandbox]], Suspect]
"""Makes a suspect of what was named; the second argument gives the process in which a file runs."""

KINDS: tuple[tuple[Callable[[Any], bool], Opener], ...] = (
    (lambda named: isinstance(named, Suspect), lambda named, _: named),
    (is_endpoint, lambda named, _: _endpoint(named)),
    (_is_recorded, lambda named, _: _recorded(named)),
    (lambda named: isinstance(named, str | os.PathLike), lambda named, sandbox: _onnx(named, sandbox())),
    (lambda named: hasattr(named, "predict_proba"), lambda named, _: _predictor(named)),
    (callable, lambda named, _: _callable(named)),
    (lambda named: hasattr(named, "predict"), lambda named, _: _predictor(named)),
)
"""Each kind of suspect: whether what was named is one, and how it is opened. The first that fits is taken."""


@contextlib.contextmanager
def open_suspect(
    suspect: Any, *, device: str = "cpu", limits: Limits | None = None, sandbox: Sandbox | None = None
) -> Iterator[Suspect]:
    """Open a suspect, and close it at the end of the block.

    Args:
        suspect: the path of an ONNX file, or of a folder with one, which runs in a process of its own; the path of
            recorded answers; an endpoint, as `endpoint:FILE.toml` or `v2+https://…`; a callable; an object with
            `predict_proba` or `predict`; or one that is open already.
        device: `cpu` or `cuda`, on which an ONNX file runs.
        limits: what an ONNX file may take; `Limits()` if not given.
        sandbox: the process for an ONNX file, where one was started before.

    Yields:
        The suspect.

    Raises:
        SuspectError: if it is none of these, or no file that can be read.
    """
    with contextlib.ExitStack() as stack:

        def process() -> Sandbox:
            return sandbox or stack.enter_context(Sandbox(limits or Limits(), device))

        for is_kind, opened in KINDS:
            if is_kind(suspect):
                found = opened(suspect, process)
                if (limits or Limits()).sandbox and not found.sandboxed:
                    raise SuspectError("runs in this process, and a sandbox is required", culprit=found.name)
                yield found
                return
        raise SuspectError(
            where="a suspect",
            expected="the path of an ONNX file or of recorded answers, a callable, or an object with predict_proba or "
            "predict",
            found=one_line(repr(suspect), 100),
        )
