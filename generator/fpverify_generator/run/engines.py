"""Where pieces of work run: on processes of this machine, or on a Dask or Ray cluster, through joblib's backends."""

import contextlib
import os
from collections.abc import Iterator
from typing import Literal

import joblib

from fpverify_generator.errors import PresetError

Engine = Literal["local", "dask", "ray"]
"""Names of the engines."""

ENGINES: tuple[Engine, ...] = ("local", "dask", "ray")
"""All of them."""


@contextlib.contextmanager
def running(engine: Engine, jobs: int) -> Iterator[None]:
    """Let joblib's parallel calls inside run on an engine.

    Args:
        engine: `dask` uses the cluster of the client that this process has, or else that of `DASK_SCHEDULER_ADDRESS`;
            `ray` that of `ray.init`, or else of `RAY_ADDRESS`. Without an address, one is started here for the time.
        jobs: processes of a cluster that is started here.

    Raises:
        PresetError: if the engine is not installed or its cluster cannot be reached.
    """
    if engine == "local":
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(close_pool)
        try:
            settings = _dask(stack, jobs) if engine == "dask" else _ray(stack, jobs)
        except ImportError as error:
            raise PresetError(
                f'install it: pip install "fpverify-generator[{engine}]"', culprit=f"--engine {engine}"
            ) from error
        except OSError as error:
            raise PresetError(f"its cluster cannot be reached ({error})", culprit=f"--engine {engine}") from error
        stack.enter_context(joblib.parallel_config(**settings))
        yield


_pools: list[tuple[contextlib.ExitStack, joblib.Parallel]] = []
"""The cluster's pool of workers, if there is one: Ray takes seconds to start one."""


def pool() -> joblib.Parallel:
    """Return the engine's pool of workers, started when it is first asked for."""
    if not _pools:
        stack = contextlib.ExitStack()
        parallel = stack.enter_context(joblib.Parallel(n_jobs=-1, pre_dispatch="2*n_jobs", batch_size=1))
        _pools.append((stack, parallel))
    return _pools[0][1]


def close_pool() -> None:
    """Close the worker pool: the engine ends, or one of its workers died."""
    while _pools:
        stack, _ = _pools.pop()
        with contextlib.suppress(Exception):  # a pool that lost a worker may fail to close
            stack.close()


def _dask(stack: contextlib.ExitStack, jobs: int) -> dict[str, object]:
    import distributed

    try:
        distributed.get_client()
    except ValueError:
        address = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if address is None:
            local = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
            address = stack.enter_context(local)
        stack.enter_context(distributed.Client(address))
    return {"backend": "dask"}


def _ray(stack: contextlib.ExitStack, jobs: int) -> dict[str, object]:
    import ray
    from ray.util.joblib import register_ray

    if not ray.is_initialized():
        if "RAY_ADDRESS" in os.environ:
            ray.init(log_to_driver=False)
        else:
            ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False)
        stack.callback(ray.shutdown)
    register_ray()
    return {"backend": "ray"}
