"""Where the suspects of a scan are judged: on threads here, each with its suspect's process, or on a cluster."""

import contextlib
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from fpverify.errors import PolicyError

if TYPE_CHECKING:
    from concurrent.futures import Future

Found = TypeVar("Found")

Submit = Callable[[Callable[[str], Found], str], "Future[Found]"]  # imported by a scan alone
"""Begins to judge a suspect that is named."""

LOCAL = "local"
ENGINES = (LOCAL, "dask", "ray")
"""Names of the engines."""

RETRIES = 2
"""How often a suspect is begun again whose worker died."""


@contextlib.contextmanager
def running(engine: str, jobs: int) -> Iterator[Submit[Any]]:
    """Start an engine, and stop it at the end of the block.

    Args:
        engine: `local`; `dask`, which uses the client that this process has, or else the cluster of
            `DASK_SCHEDULER_ADDRESS`; `ray`, which uses that of `ray.init`, or else of `RAY_ADDRESS`. Without an
            address, a cluster is started here for the time.
        jobs: threads, or processes of a cluster that is started here.

    Yields:
        What begins a piece of work, and returns its future.

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
            yield pool.submit
            return
        try:
            submit = {"dask": _dask, "ray": _ray}[engine](stack, jobs)
        except ImportError as error:
            raise PolicyError(
                "it is not installed", culprit=f"engine {engine}", hint=f"pip install 'fpverify[{engine}]'"
            ) from error
        except OSError as error:
            raise PolicyError(f"its cluster cannot be reached: {error}", culprit=f"engine {engine}") from error
        yield submit


def _dask(stack: contextlib.ExitStack, jobs: int) -> Submit[Any]:
    distributed: Any = import_module("distributed")
    try:
        client = distributed.get_client()
    except ValueError:
        address: Any = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if address is None:
            cluster = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
            address = stack.enter_context(cluster)
        client = stack.enter_context(distributed.Client(address))
    pool = client.get_executor(pure=False, retries=RETRIES)
    stack.callback(pool.shutdown, wait=False)
    submit: Submit[Any] = pool.submit
    return submit


def _ray(stack: contextlib.ExitStack, jobs: int) -> Submit[Any]:
    ray: Any = import_module("ray")
    if not ray.is_initialized():
        if "RAY_ADDRESS" in os.environ:
            ray.init(log_to_driver=False)
        else:
            ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False)
        stack.callback(ray.shutdown)
    judge = ray.remote(max_retries=RETRIES)(_call)
    stored: dict[int, Any] = {}

    def submit(work: Callable[[str], Found], named: str) -> "Future[Found]":
        # sent to the cluster once, not with each suspect: it holds all fingerprints
        stored.setdefault(id(work), ray.put(work))
        future: Future[Found] = judge.remote(stored[id(work)], named).future()
        return future

    return submit


def _call(work: Callable[[str], Found], named: str) -> Found:
    return work(named)
