"""Where the suspects of a scan are judged: on threads here, each with its suspect's process, or on a cluster."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpverify.errors import PolicyError

if TYPE_CHECKING:
    from concurrent.futures import Future

Work = Callable[[str], Any]
"""Judges a suspect that is named."""

LOCAL = "local"
ENGINES = (LOCAL, "dask", "ray")
"""Names of the engines."""

RETRIES = 2
"""How often a suspect is begun again whose worker died."""


@dataclass(frozen=True)
class Engine:
    """Begins pieces of work."""

    submit: Callable[[Work, str], "Future[Any]"]
    """Begins to judge a suspect that is named."""
    died: tuple[type[BaseException], ...] = ()
    """What the future raises where the worker died each time."""


@contextlib.contextmanager
def running(engine: str, jobs: int) -> Iterator[Engine]:
    """Start an engine, and stop it at the end of the block.

    Args:
        engine: `local`; `dask`, which uses the client that this process has, or else the cluster of
            `DASK_SCHEDULER_ADDRESS`; `ray`, which uses that of `ray.init`, or else of `RAY_ADDRESS`. Without an
            address, a cluster is started here for the time.
        jobs: threads, or processes of a cluster that is started here.

    Yields:
        The engine.

    Raises:
        PolicyError: if there is no such engine, it is not installed, or its cluster cannot be reached.
    """
    if engine not in ENGINES:
        raise PolicyError(where="engine", expected=f"one of {', '.join(ENGINES)}", found=f"{engine!r:.60}")
    with contextlib.ExitStack() as stack:
        if engine == LOCAL:
            from concurrent.futures import ThreadPoolExecutor

            pool = ThreadPoolExecutor(jobs)
            stack.callback(pool.shutdown, cancel_futures=True)
            yield Engine(pool.submit)
            return
        try:
            found = {"dask": _dask, "ray": _ray}[engine](stack, jobs)
        except ImportError as error:
            raise PolicyError(
                "it is not installed", culprit=f"engine {engine}", hint=f"pip install 'fpverify[{engine}]'"
            ) from error
        except (OSError, ValueError) as error:  # ValueError: an address that is none
            raise PolicyError(f"its cluster cannot be reached: {error}", culprit=f"engine {engine}") from error
        yield found


def dask_client(stack: contextlib.ExitStack, jobs: int) -> Any:
    """Return this process's Dask client, or one of a cluster that is reached or started until the stack is closed."""
    distributed: Any = import_module("distributed")
    try:
        return distributed.get_client()
    except ValueError:
        address: Any = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if address is None:
            cluster = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
            address = stack.enter_context(cluster)
        return stack.enter_context(distributed.Client(address))


def connected_ray(stack: contextlib.ExitStack, jobs: int) -> Any:
    """Return Ray with the cluster that it has, or one that is reached or started until the stack is closed."""
    ray: Any = import_module("ray")
    if not ray.is_initialized():
        if "RAY_ADDRESS" in os.environ:
            ray.init(log_to_driver=False)
        else:
            ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False)
        stack.callback(ray.shutdown)
    return ray


def _dask(stack: contextlib.ExitStack, jobs: int) -> Engine:
    client = dask_client(stack, jobs)
    sent: dict[int, Any] = {}

    def submit(work: Work, named: str) -> "Future[Any]":
        from concurrent.futures import Future

        if id(work) not in sent:  # it holds all fingerprints, so it is sent once
            sent[id(work)] = client.submit(_itself, work, pure=False)  # made again where its worker died
        begun = client.submit(_call, sent[id(work)], named, pure=False, retries=RETRIES)
        future: Future[Any] = Future()

        def finish(done: Any) -> None:
            try:
                future.set_result(done.result())
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                future.set_exception(error)

        begun.add_done_callback(finish)
        return future

    return Engine(submit, (import_module("distributed").KilledWorker,))


def _ray(stack: contextlib.ExitStack, jobs: int) -> Engine:
    ray = connected_ray(stack, jobs)
    judge = ray.remote(max_retries=RETRIES)(_call)
    sent: dict[int, Any] = {}

    def submit(work: Work, named: str) -> "Future[Any]":
        if id(work) not in sent:  # it holds all fingerprints, so it is sent once
            sent[id(work)] = ray.put(work)
        future: Future[Any] = judge.remote(sent[id(work)], named).future()
        return future

    return Engine(submit, (import_module("ray.exceptions").WorkerCrashedError,))


def _itself(work: Work) -> Work:
    return work


def _call(work: Work, named: str) -> Any:
    return work(named)
