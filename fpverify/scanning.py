"""Judges many suspects by many fingerprints.

Each suspect runs in a process of its own, a few at a time, and is loaded once for all fingerprints. Results lie in a
folder, so memory does not grow with their number; and a second scan with the same folder asks nothing that was asked.
"""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from fpverify.correction import correct_one, corrections, deciding_p
from fpverify.documents import read_file
from fpverify.engines import LOCAL, Engine, running
from fpverify.errors import FpverifyError, OutputError, PolicyError, ResultError, SuspectError
from fpverify.files import sha256_of, write_atomically, write_new
from fpverify.fingerprint import Fingerprint, load_fingerprint
from fpverify.reports import FORMATS, framed
from fpverify.reports.as_csv import COLUMNS, record
from fpverify.result import Judged, Policy, Result
from fpverify.sandbox.limits import Limits
from fpverify.saved import MAX_BYTES, parse_result
from fpverify.secrets import without_credentials
from fpverify.suspects.options import check_contract
from fpverify.text import one_line
from fpverify.verification import verify_each
from fpverify.version import __version__

ADDRESS = re.compile(r"((v2|mlflow)\+)?https?:/|endpoint:", re.IGNORECASE)
"""How an endpoint begins; a path of an address has one slash left."""

SUFFIXES = (".onnx",)
"""Of the files that are taken as suspects in a folder; a file that is named is taken whatever it is called."""

FINGERPRINTS = (".safetensors",)
"""Of the files that are taken as fingerprints in a folder."""


@dataclass(frozen=True)
class _Named:
    """A fingerprint with what it is called."""

    path: str
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a verification lies; or why there is none. It is small: there are suspects times fingerprints of them."""

    suspect: str
    fingerprint: str
    file: str | None
    error: str
    p_value: float
    sha256: str = ""
    """Of the file, when it was written or read first."""


class Scan:
    """The outcome of a scan: suspects by fingerprints, in order; each is read from the folder when its turn comes."""

    def __init__(self, entries: Sequence[_Entry], method: str | None, stack: contextlib.ExitStack) -> None:
        self._entries, self._method, self._stack = entries, method, stack
        tested = [entry for entry in entries if entry.file is not None]
        adjusted: list[float] = []
        self._tests = 0
        if method is not None:  # copies of one file have one result, and are one test
            files = [entry.file for entry in tested]
            adjusted, self._tests = corrections([entry.p_value for entry in tested], method, files)
        self._adjusted = {id(entry): value for entry, value in zip(tested, adjusted, strict=False)}
        self.command: str | None = None
        """How it was asked for, if by a command; stands in each result."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Judged]:
        for entry in self._entries:
            if entry.file is None:
                yield Judged(entry.suspect, entry.fingerprint, None, entry.error)
                continue
            result, sha256 = _read(entry.file)
            if result is None or sha256 != entry.sha256:
                yield Judged(entry.suspect, entry.fingerprint, None, "another program changed its result meanwhile")
                continue
            suspect = replace(result.suspect, name=one_line(entry.suspect), path=entry.suspect)
            result = replace(result, suspect=suspect, command=self.command)
            if self._method is not None:
                result = correct_one(result, self._adjusted[id(entry)], self._method, self._tests)
            yield Judged(entry.suspect, entry.fingerprint, result)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: a row for each suspect and fingerprint, with the columns of the CSV format.

        Raises:
            OutputError: if pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise OutputError("pandas is not installed", hint="pip install pandas") from error
        return pandas.DataFrame([record(one) for one in self], columns=list(COLUMNS))

    def _repr_html_(self) -> str:
        """Return all verdicts as HTML for a notebook, in a frame."""
        return framed("".join(FORMATS["html"].many(self)))

    def close(self) -> None:
        """Delete the results, where no folder was named for them."""
        self._stack.close()

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scan(
    suspects: Iterable[str | os.PathLike[str]],
    fingerprints: Iterable[str | os.PathLike[str]],
    *,
    policy: Policy | None = None,
    correction: str | None = "holm",
    contract: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    device: str = "cpu",
    jobs: int = 2,
    cache: str | os.PathLike[str] | None = None,
    engine: str = LOCAL,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Judge every suspect by every fingerprint.

    Args:
        suspects: files, and folders with `.onnx` files in them, at any depth.
        fingerprints: files, and folders with `.safetensors` files in them.
        policy: how sure to be; `Policy()` if not given.
        correction: how verdicts are corrected for their number: `holm`, `benjamini-hochberg`, or None for not at all.
        contract: what is known of the input and output of all suspects: the fields of a contract file.
        limits: what each suspect may take, for all fingerprints together; `Limits()` if not given.
        device: `cpu` or `cuda`, on which files run.
        jobs: how many suspects run at a time.
        cache: a folder where results are kept, so that a suspect that was judged is not asked again; None for a
            temporary one.
        engine: `local`, or `dask` or `ray` for a cluster, whose machines see suspects and `cache` by the same paths.
        progress: is called with the suspects that are done, and how many there are.

    Returns:
        The verdicts, also of suspects that could not be judged. It can be iterated again, until it is closed.

    Raises:
        FingerprintError: if a fingerprint cannot be used.
        SuspectError: if nothing was found to judge.
        PolicyError: if the contract or the correction makes no sense, a suspect is an address, or the engine cannot be
            used.
        OutputError: if the folder cannot be written.
    """
    policy, limits = policy or Policy(), limits or Limits()
    if correction is not None:
        corrections([], correction, [])
    if type(jobs) is not int or jobs < 1:
        raise PolicyError(where="jobs", expected="an integer of at least 1", found=f"{jobs!r}")
    if engine != LOCAL and cache is None:
        raise PolicyError(
            "a cluster needs a folder that all its machines share", culprit="engine", hint="name the cache"
        )
    options = check_contract(contract or {}, "contract")
    named = [_Named(path, load_fingerprint(path)) for path in found_in(fingerprints, FINGERPRINTS)]
    if not named:
        raise PolicyError("there is no fingerprint", culprit="fingerprints", expected="a .safetensors file")
    closed: list[tuple[str, str]] = []
    paths = list(found_in(suspects, SUFFIXES, closed))
    if not paths:
        found = "; ".join(f"{path}: {why}" for path, why in closed[:3])
        raise SuspectError("there is no suspect", expected="an ONNX file, or a folder with .onnx files", found=found)
    stack = contextlib.ExitStack()
    folder = Path(cache) if cache is not None else Path(stack.enter_context(_temporary()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot keep results: {error.strerror or error}", culprit=folder) from error
    worker = _Worker(named, policy, options, limits, device, folder)
    try:
        with running(engine, jobs) as begin:
            entries = _judged(worker, paths, jobs, begin, progress or (lambda *_: None))
    except BaseException:
        stack.close()
        raise
    entries += [_Entry(path, one.path, None, why, 1.0) for path, why in closed for one in named]
    return Scan(entries, correction, stack)


def _judged(
    worker: "_Worker",
    paths: Sequence[str],
    jobs: int,
    engine: Engine,
    progress: Callable[[int, int], None],
) -> list[_Entry]:
    """Judge suspects, some at a time; what was not begun is not begun any more where something goes wrong."""
    entries: dict[int, list[_Entry]] = {}
    waiting: dict[Future[list[_Entry]], int] = {}
    alone: list[int] = []
    for number, path in enumerate(paths):
        waiting[engine.submit(worker, path)] = number
        while len(waiting) >= jobs or (number + 1 == len(paths) and waiting):
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                which = waiting.pop(done)
                try:
                    entries[which] = done.result()
                except engine.died:
                    alone.append(which)
                progress(len(entries) + len(alone), len(paths))
    for which in alone:  # the worker may have died of another suspect
        try:
            entries[which] = engine.submit(worker, paths[which]).result()
        except engine.died:
            entries[which] = worker.without(paths[which], "the worker that judged it died, each time")
    return [entry for number in range(len(paths)) for entry in entries[number]]


def _temporary() -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory(prefix="fpverify-")
    except OSError as error:
        raise OutputError(f"cannot keep results: {error.strerror or error}", hint="name a folder (--cache)") from error


def found_in(
    named: Iterable[str | os.PathLike[str]], suffixes: Sequence[str], closed: list[tuple[str, str]] | None = None
) -> Iterator[str]:
    """Yield each file once: those that are named, and those with a suffix in folders, in the order of their names.

    Args:
        named: files and folders.
        suffixes: of files in folders.
        closed: takes what was not entered, with the reason: folders that cannot be read or lie behind links, and named
            ones without such a file.
    """
    left_out = [] if closed is None else closed
    seen = set()
    for one in named:
        path = os.fspath(one)
        if ADDRESS.match(path) and not os.path.lexists(path):
            raise PolicyError(
                "an address is no file", culprit=without_credentials(path), hint="fpverify verify asks endpoints"
            )
        files = list(_inside(path, suffixes, left_out)) if os.path.isdir(path) else [path]
        if not files:
            left_out.append((path, f"there is no {' or '.join(suffixes)} file in it"))
        for file in files:
            if file not in seen:
                seen.add(file)
                yield file


def _inside(folder: str, suffixes: Sequence[str], closed: list[tuple[str, str]]) -> Iterator[str]:
    def refused(error: OSError) -> None:
        closed.append((str(error.filename), f"cannot be entered: {error.strerror or error}"))

    for root, folders, names in os.walk(folder, onerror=refused):
        folders.sort()
        links = [os.path.join(root, name) for name in folders if os.path.islink(os.path.join(root, name))]
        closed += [(link, "is a link to a folder, which is not followed: name the folder itself") for link in links]
        yield from (os.path.join(root, name) for name in sorted(names) if name.lower().endswith(tuple(suffixes)))


class _Worker:
    """Judges one suspect by all fingerprints, as far as that was not done before."""

    def __init__(
        self,
        named: Sequence[_Named],
        policy: Policy,
        options: Mapping[str, Any],
        limits: Limits,
        device: str,
        folder: Path,
    ) -> None:
        self._named, self._policy, self._options = named, policy, options
        self._limits, self._device, self._folder = limits, device, folder
        settings = {
            "policy": asdict(policy),
            "options": options,
            "version": __version__,
            "device": device,
            "sandbox": limits.sandbox,
        }
        self._settings = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()

    def __call__(self, path: str) -> list[_Entry]:
        sha256 = sha256_of(path)
        known: dict[str, _Entry] = {}
        if sha256 is not None:
            known = {one.path: entry for one in self._named if (entry := self._known(path, sha256, one))}
        wanted = [one for one in self._named if one.path not in known]
        fresh: dict[str, _Entry] = {}
        error = ""
        try:
            results = verify_each(
                [one.fingerprint for one in wanted],
                path,
                policy=self._policy,
                device=self._device,
                limits=self._limits,
                contract=self._options,
            )
            for one, result in zip(wanted, results, strict=True) if wanted else ():
                fresh[one.path] = self._kept(path, one, result)
        except OutputError:
            raise
        except FpverifyError as reason:
            error = reason_beside(path, reason)
        found = {**fresh, **known}
        return [found.get(one.fingerprint) or one for one in self.without(path, error)]

    def without(self, path: str, error: str) -> list[_Entry]:
        """Return a suspect without verdicts."""
        return [_Entry(path, one.path, None, error, 1.0) for one in self._named]

    def _name(self, sha256: str, one: _Named) -> Path:
        """Return how the names of the results of a file begin; what it reads beside it makes the rest."""
        name = hashlib.sha256(f"{sha256} {one.fingerprint.sha256} {self._settings}".encode()).hexdigest()
        return self._folder / name[:2] / name

    def _known(self, path: str, sha256: str, one: _Named) -> _Entry | None:
        """Return a verification that was made before, of the same file with the same files beside it."""
        name = self._name(sha256, one)
        for file in sorted(name.parent.glob(f"{name.name}-*.json")):
            result, written = _read(file)
            if result is None:
                continue  # damaged: it is made again
            beside = os.path.dirname(path)
            fits = result.suspect.sha256 == sha256 and result.fingerprint.sha256 == one.fingerprint.sha256
            parts = result.suspect.external.items()
            if fits and all(sha256_of(os.path.join(beside, part)) == found for part, found in parts):
                return _Entry(path, one.path, str(file), "", deciding_p(result), written)
        return None

    def _kept(self, path: str, one: _Named, result: Result | SuspectError) -> _Entry:
        if not isinstance(result, Result):
            return _Entry(path, one.path, None, reason_beside(path, result), 1.0)
        name = self._name(result.suspect.sha256 or path, one)
        beside = hashlib.sha256(json.dumps(sorted(result.suspect.external.items())).encode()).hexdigest()
        file, content = name.with_name(f"{name.name}-{beside}.json"), json.dumps(result.to_dict(), allow_nan=False)
        try:
            file.parent.mkdir(exist_ok=True)
            # A copy of the suspect may be judged at the same time: the first result is kept, for both.
            if not write_new(file, content.encode()):
                known, sha256 = _read(file)
                if known is not None and known.suspect.sha256 == result.suspect.sha256:
                    return _Entry(path, one.path, str(file), "", deciding_p(known), sha256)
                write_atomically(file, content.encode())
        except OSError as error:
            raise OutputError(f"cannot keep a result: {error.strerror or error}", culprit=file) from error
        return _Entry(path, one.path, str(file), "", deciding_p(result), hashlib.sha256(content.encode()).hexdigest())


def _read(file: str | Path) -> tuple[Result | None, str]:
    """Return a result and the digest of its file; no result where it is damaged, or gone."""
    try:
        data = read_file(file, "result", ResultError, MAX_BYTES)
        return parse_result(data), hashlib.sha256(data).hexdigest()
    except ResultError:
        return None, ""


def reason_beside(path: str, error: FpverifyError) -> str:
    """Return what is wrong with a suspect, without its name, which stands beside it."""
    return error.reason if error.culprit in ("", path, one_line(path)) else str(error)
