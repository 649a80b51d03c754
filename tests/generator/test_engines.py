"""Work is done on a cluster as at home, also when one of its two workers is killed half way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fpverify_generator.errors import PresetError
from fpverify_generator.run import engines
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.engines import running

PIECES = 8


def slow_piece(folder: Path, number: int):
    """Return work that notes which process did it, and takes long enough to be killed in."""

    def make():
        with (folder / f"{number}.pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return {"value": torch.tensor(number**2)}

    return make


def values(folder: Path, engine: str) -> list[int]:
    work = RunContext(0, Cache(folder / "cache"), jobs=2, engine=engine)
    pieces = {f"{number:064x}": slow_piece(folder, number) for number in range(PIECES)}
    with running(engine, 2):
        return [int(found["value"]) for found in run_pieces(pieces, work)]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_engines
Path({folder!r}, "found").write_text(str(test_engines.values(Path({folder!r}), {engine!r})))
"""


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_cluster_whose_worker_is_killed_ends_with_the_same_results(engine: str, tmp_path: Path) -> None:
    # in a process of its own: clusters leave threads, and warn in ways of their own
    script = SCRIPT.format(here=str(Path(__file__).parent), folder=str(tmp_path), engine=engine)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    victim = first_worker(tmp_path, process)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    assert (tmp_path / "found").read_text() == str([number**2 for number in range(PIECES)])
    workers = {int(pid) for file in tmp_path.glob("*.pids") for pid in file.read_text().split()}
    assert victim in workers
    assert len(workers) >= 2
    # the piece that the victim was at was begun again, and no finished one was
    begun = [len(file.read_text().split()) for file in tmp_path.glob("*.pids")]
    assert len(begun) == PIECES
    assert sum(begun) > PIECES


def first_worker(folder: Path, process: subprocess.Popen) -> int:
    """Wait until a worker has begun a piece, and return its process number."""
    until = time.monotonic() + 200
    while time.monotonic() < until and process.poll() is None:
        for file in sorted(folder.glob("*.pids")):
            if pids := file.read_text().split():
                return int(pids[0])
        time.sleep(0.02)
    raise AssertionError(f"no worker began: {process.communicate()[1][-3000:]}")


GPUS = """
import os, sys
from pathlib import Path
import ray
sys.path.insert(0, {here!r})
import test_engines
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.engines import running
ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
work = RunContext(0, Cache(Path({folder!r})), device="cuda", jobs=2, engine="ray")
pieces = {{f"{{number:064x}}": test_engines.gpu_piece() for number in range(8)}}
with running("ray", 2, "cuda"):
    found = sorted({{int(found["gpu"]) for found in run_pieces(pieces, work)}})
Path({folder!r}, "found").write_text(str(found))
"""


def gpu_piece():
    """Return work that says which GPU its worker was given, and waits, so that one worker cannot do all."""

    def make():
        time.sleep(0.5)
        return {"gpu": torch.tensor(int(os.environ["CUDA_VISIBLE_DEVICES"]))}

    return make


def test_each_worker_of_ray_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    """Ray hands out numbers of GPUs, whether or not there are any."""
    script = GPUS.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "found").read_text() == "[0, 1]"  # Ray's own messages may follow on stdout


def test_a_cluster_without_gpus_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 4.0})
    monkeypatch.setattr(engines, "connected_ray", lambda stack, jobs: ray)
    with pytest.raises(PresetError, match="--engine ray: its cluster has no GPU"), running("ray", 2, "cuda"):
        pass


def test_an_engine_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PresetError, match=r'pip install "fpverify-generator\[dask\]"'), running("dask", 2):
        pass


def test_at_home_the_results_are_the_same(tmp_path: Path) -> None:
    assert values(tmp_path, "local") == [number**2 for number in range(PIECES)]
