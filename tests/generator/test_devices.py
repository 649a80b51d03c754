"""Where a machine has several GPUs, each process works on one of its own; the GPUs of these tests are pretended."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from fpverify_generator.run.context import open_run
from fpverify_generator.run.devices import default_jobs, take_gpu

SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace
import torch
from fpverify_generator.run.devices import take_gpu
names = {names!r}
torch.cuda.device_count = lambda: len(names)
torch.cuda.get_device_properties = lambda number: SimpleNamespace(uuid=names[number])
torch.cuda.set_device = lambda number: print(names[number], flush=True)
take_gpu(Path({folder!r}))
take_gpu(Path({folder!r}))
print("stays", flush=True)
sys.stdin.read()
"""


class Workers:
    """Processes that hold the GPUs that they took."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def start(self, *names: str) -> tuple[subprocess.Popen, str]:
        """Start one that sees these GPUs, in this order; return it and what it took."""
        script = SCRIPT.format(names=names, folder=str(self._folder))
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        took = process.stdout.readline().strip()
        assert process.stdout.readline().strip() == "stays"
        return process, took


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers(tmp_path / "gpus", stack)


def test_each_process_has_a_gpu_of_its_own_and_a_killed_one_leaves_it(workers: Workers) -> None:
    first, took = workers.start("a", "b")
    assert took == "a"
    assert workers.start("a", "b")[1] == "b"
    first.kill()
    first.wait()
    assert workers.start("a", "b")[1] == "a"


def test_more_processes_than_gpus_share_them_evenly(workers: Workers) -> None:
    assert [workers.start("a", "b")[1] for _ in range(4)] == ["a", "b", "a", "b"]


def test_gpus_that_are_seen_in_another_order_are_the_same(workers: Workers) -> None:
    """So Dask's workers for GPUs see them: each its own first."""
    assert [workers.start("a", "b")[1], workers.start("b", "a")[1]] == ["a", "b"]


def test_a_process_that_sees_one_gpu_or_none_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for count in (0, 1):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        take_gpu(tmp_path / "gpus")
    assert not (tmp_path / "gpus").exists()


def test_as_many_processes_as_gpus_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert open_run(tmp_path, device="cuda").jobs == 3
    assert open_run(tmp_path, device="cuda", jobs=1).jobs == 1
    assert default_jobs("cpu", 5) == 5
