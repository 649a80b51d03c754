"""What every step of one run shares, and how its pieces of work are done: cached, resumable, on several processes."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch

from fpverify.errors import FpverifyError
from fpverify_generator.errors import PresetError, WorkerError
from fpverify_generator.run.cache import Cache, fits
from fpverify_generator.run.devices import default_jobs, take_gpu
from fpverify_generator.run.engines import Engine, close_pool, pool
from fpverify_generator.run.workers import in_workers

Make = Callable[[], Mapping[str, torch.Tensor]]
"""Does one piece of work; everything it needs is bound to it and can be sent to another process."""


@dataclass(frozen=True)
class RunContext:
    """What every step of one run shares."""

    seed: int
    """The run's seed."""
    cache: Cache
    """Where finished work lands."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    jobs: int = 1
    """Processes that work at the same time; 1 for none but this one."""
    log: Callable[[str], None] = lambda _: None
    """Takes one line of progress for people."""
    engine: Engine = "local"
    """Where they run."""


def open_run(
    folder: str | os.PathLike[str],
    seed: int = 0,
    device: str = "cpu",
    jobs: int | None = None,
    engine: Engine = "local",
    log: Callable[[str], None] = lambda _: None,
) -> RunContext:
    """Open a run: its cache, and the device and the processes that work.

    Each process has one thread: with two threads, small networks trained ten times slower on busy cores, where
    threads wait for each other at every layer; and a result's last bits, so the bytes of a fingerprint, would
    depend on the number of cores.

    Args:
        folder: where finished work lands, from which a killed run resumes.
        seed: of every random step.
        device: `cpu` or `cuda`.
        jobs: processes that train at the same time; None for one a core, or with CUDA one a GPU.
        engine: where they run.
        log: takes one line of progress for people.

    Returns:
        The context that every step takes.

    Raises:
        PresetError: if CUDA is asked for and PyTorch sees none.
        CacheError: if the folder cannot be made.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PresetError("PyTorch sees no CUDA device here", culprit="--device cuda", hint="use --device cpu")
    torch.set_num_threads(1)
    jobs = jobs or default_jobs(device, joblib.cpu_count())
    return RunContext(seed, Cache(Path(folder)), device, jobs, log, engine)


TRIES = 4
"""How often work is handed to a cluster whose workers die."""


def run_pieces(pieces: Mapping[str, Make], work: RunContext) -> Iterator[dict[str, torch.Tensor]]:
    """Do pieces of work that do not depend on each other, those that the cache does not hold.

    Args:
        pieces: cache key -> work. A result does not depend on which process made it.
        work: cache and number of processes.

    Yields:
        Each piece's result, in the order of the pieces, as soon as it and those before it are there.

    Raises:
        WorkerError: if a process that does the work was ended from outside; finished work stays.
    """
    missing = [key for key in pieces if not work.cache.holds(key)]
    damaged = sum(key in work.cache.damaged for key in missing)
    if damaged:
        work.log(
            f"cache: {damaged} of {len(pieces)} finished pieces of work have no valid SHA-256 (damaged, or written by "
            "an older version); they are made again"
        )
    if work.jobs == 1 or len(missing) < 2:
        yield from (work.cache.get(key, make) for key, make in pieces.items())
        return
    if work.engine != "local":
        _on_cluster(pieces, missing, work)
        yield from (work.cache.get(key, make) for key, make in pieces.items())
        return
    threads = torch.get_num_threads()
    calls = [(_in_worker, (work.cache.folder, key, pieces[key], threads, work.device)) for key in missing]
    waiting = set(missing)
    with contextlib.closing(in_workers(calls, work.jobs)) as results:
        for key, make in pieces.items():
            if key in waiting:
                next(results)
                work.cache.made += 1
            found = work.cache.read(key) if key in waiting else None
            yield found if found is not None and fits(make, found) else work.cache.get(key, make)
        next(results, None)


def _on_cluster(pieces: Mapping[str, Make], missing: Sequence[str], work: RunContext) -> None:
    """Do pieces on a cluster that shares the cache's folder; what a dying worker leaves undone is handed out again."""
    folder = work.cache.folder.absolute()
    for left in range(TRIES - 1, -1, -1):
        calls = [
            joblib.delayed(_in_worker)(folder, key, pieces[key], torch.get_num_threads(), work.device)
            for key in missing
        ]
        try:
            pool()(calls)
        except FpverifyError:
            raise
        except Exception as error:
            close_pool()
            if not left:
                first = (str(error).strip().splitlines() or [""])[0]
                raise WorkerError(
                    f"the cluster failed {TRIES} times ({type(error).__name__}: {first:.200})",
                    culprit=f"--engine {work.engine}",
                    hint="finished work stays in the cache: start the same command again",
                ) from error
        missing = [key for key in missing if not work.cache.holds(key)]
        if not missing:
            return
        work.log(f"{work.engine}: {len(missing)} pieces of work came back undone; handed out again")


def _in_worker(folder: Path, key: str, make: Make, threads: int, device: str) -> None:
    # The result is returned through the cache, so it is on disk before the parent continues.
    torch.set_num_threads(threads)
    if device == "cuda":
        take_gpu(folder / "gpus")
    Cache(folder, worker=True).get(key, make)
