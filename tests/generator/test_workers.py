"""Workers end with the process that started them; one that is killed ends the run in one line, and the next resumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from fpverify_generator.errors import WorkerError
from fpverify_generator.run.cache import Cache
from fpverify_generator.run.context import RunContext, run_pieces

HERE = Path(__file__).parent


def piece(folder: Path, number: int, seconds: float, victim: int | None = None):
    """Return work that notes its process; the victim's process is killed the first time."""

    def make():
        (folder / f"{number}.pid").write_text(str(os.getpid()))
        if number == victim and not (folder / "killed").exists():
            (folder / "killed").touch()
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        return {"value": torch.tensor(number)}

    return make


def values(folder: Path, seconds: float, victim: int | None = None) -> list[int]:
    work = RunContext(0, Cache(folder / "cache"), jobs=2)
    pieces = {f"{number:064x}": piece(folder, number, seconds, victim) for number in range(4)}
    return [int(found["value"]) for found in run_pieces(pieces, work)]


SCRIPT = """
import signal
import sys
# whoever runs these tests may ignore them, as nohup and a shell's & do
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
sys.path.insert(0, {here!r})
import test_workers
test_workers.values(Path({folder!r}), 60)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda s: s.name)
def test_workers_end_with_their_parent(ending: signal.Signals, tmp_path: Path) -> None:
    script = SCRIPT.format(here=str(HERE), folder=str(tmp_path))
    # in a session of its own: a signal from a terminal reaches all
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.2)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = {int(file.read_text()) for file in tmp_path.glob("*.pid")}
    assert len(workers) == 2
    assert workers <= {child.pid for child in children}
    if ending is signal.SIGINT:
        os.killpg(process.pid, ending)
    else:
        process.send_signal(ending)
    process.wait(120)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert [child.pid for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    assert process.stderr is not None
    with process.stderr as errors:
        printed = errors.read()
    if ending is signal.SIGINT:
        assert printed.count("Traceback") == 1


def test_a_killed_worker_is_one_error_and_the_next_run_resumes(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"memory runs out.*start the same command again") as error:
        values(tmp_path, 0.0, victim=2)
    assert "\n" not in str(error.value)
    assert (tmp_path / "killed").exists()
    finished = list((tmp_path / "cache").glob("*.safetensors"))
    assert values(tmp_path, 0.0, victim=2) == [0, 1, 2, 3]
    assert len(finished) < 4


def test_work_that_is_no_longer_wanted_ends(tmp_path: Path) -> None:
    work = RunContext(0, Cache(tmp_path / "cache"), jobs=2)
    pieces = {f"{number:064x}": piece(tmp_path, number, 0.0 if number == 0 else 60) for number in range(4)}
    results = run_pieces(pieces, work)
    assert int(next(results)["value"]) == 0
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 20
    assert values(tmp_path / "cache", 0.0) == [0, 1, 2, 3]
