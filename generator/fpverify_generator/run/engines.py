"""Where pieces of work run: on processes of this machine, or on a Dask or Ray cluster, through joblib's backends."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import joblib

from fpverify.engines import connected_ray, dask_client
from fpverify_generator.errors import PresetError

Engine = Literal["local", "dask", "ray"]
"""Names of the engines."""

ENGINES: tuple[Engine, ...] = ("local", "dask", "ray")
"""All of them."""


@contextlib.contextmanager
def running(engine: Engine, jobs: int, device: str = "cpu") -> Iterator[None]:
    """Let joblib's parallel calls inside run on an engine.

    Args:
        engine: `dask` uses the cluster of the client that this process has, or else that of `DASK_SCHEDULER_ADDRESS`;
            `ray` that of `ray.init`, or else of `RAY_ADDRESS`. Without an address, one is started here for the time.
        jobs: processes of a cluster that is started here.
        device: `cpu` or `cuda`. With CUDA, Ray gives each of its workers a GPU, and Dask's are expected to be started
            as `dask cuda worker` starts them, one for each GPU.

    Raises:
        PresetError: if the engine is not installed, or its cluster cannot be reached or has no GPU.
    """
    if engine == "local":
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(close_pool)
        try:
            settings = _dask(stack, jobs) if engine == "dask" else _ray(stack, jobs, device)
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
        parallel = stack.enter_context(joblib.Parallel(pre_dispatch="2*n_jobs", batch_size=1))
        _pools.append((stack, parallel))
    return _pools[0][1]


def close_pool() -> None:
    """Close the worker pool: the engine ends, or one of its workers died."""
    while _pools:
        stack, _ = _pools.pop()
        with contextlib.suppress(Exception):  # a pool that lost a worker may fail to close
            stack.close()


def _dask(stack: contextlib.ExitStack, jobs: int) -> dict[str, object]:
    dask_client(stack, jobs)
    return {"backend": "dask", "n_jobs": -1}


def _ray(stack: contextlib.ExitStack, jobs: int, device: str) -> dict[str, object]:
    ray = connected_ray(stack, jobs)
    from ray.util.joblib import register_ray

    register_ray()
    if device == "cpu":
        return {"backend": "ray", "n_jobs": -1}
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if not gpus:
        raise PresetError("its cluster has no GPU", culprit="--engine ray", hint="use --device cpu")
    return {"backend": "ray", "n_jobs": gpus, "ray_remote_args": {"num_gpus": 1}}
