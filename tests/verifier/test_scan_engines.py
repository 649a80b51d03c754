"""A scan on a cluster gives the verdicts of a scan here, also when one of its workers is killed half way."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from fpverify import PolicyError, save_fingerprint, scan
from fpverify.engines import running

SCRIPT = """
from pathlib import Path
from fpverify import scan

if __name__ == "__main__":
    folder = Path({folder!r})
    with scan([folder / "models"], [folder / "fingerprints"], cache=folder / "cache", engine={engine!r}) as found:
        for one in found:
            print(Path(one.suspect).name, one.outcome, one.result and one.result.kept)
"""


@pytest.fixture
def folder(tmp_path, make_backed, make_onnx):
    for name in ("models", "fingerprints"):
        (tmp_path / name).mkdir()
    save_fingerprint(make_backed(), tmp_path / "fingerprints" / "a.safetensors")
    make_onnx(tmp_path / "models" / "a.onnx")
    make_onnx(tmp_path / "models" / "b.onnx", weights=[[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    (tmp_path / "models" / "c.onnx").write_bytes(b"no model")
    return tmp_path


def started(folder, engine):
    """Begin a scan in a process of its own: clusters leave threads, and warn in ways of their own."""
    script = folder / "run.py"
    script.write_text(SCRIPT.format(folder=str(folder), engine=engine))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(process):
    printed, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    return [line.split(" ", 1) for line in printed.splitlines() if ".onnx" in line]


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_cluster_gives_the_same_verdicts(folder, engine):
    found = rows(started(folder, engine))
    assert [name for name, _ in found] == ["a.onnx", "b.onnx", "c.onnx"]
    assert [text.split()[0] for _, text in found] == ["derived", "inconclusive", "no"]
    assert len(list((folder / "cache").glob("*/*.json"))) == 2
    shutil.rmtree(folder / "cache")
    assert rows(started(folder, "local")) == found


def workers_at_work(process):
    """Return Dask's workers that have a suspect's process."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            inside = [" ".join(one.cmdline()) for one in child.children()]
            if "multiprocessing.spawn" in " ".join(child.cmdline()) and any("fpverify" in one for one in inside):
                yield child


def test_a_worker_that_dies_stops_no_scan(folder):
    """On Dask; that Ray begins such work again is tested with the generator's engines."""
    for number in range(20):
        shutil.copy(folder / "models" / "a.onnx", folder / "models" / f"copy-{number:02}.onnx")
    process = started(folder, "dask")
    victims = []
    while not victims and process.poll() is None:
        victims = list(workers_at_work(process))
    os.kill(victims[0].pid, signal.SIGKILL)
    found = rows(process)
    assert len(found) == 23
    assert [name for name, text in found if text.startswith("no verdict")] == ["c.onnx"]


def test_a_cluster_needs_a_folder_that_its_machines_share(folder):
    with pytest.raises(PolicyError, match="a cluster needs a folder that all its machines share"):
        scan([folder / "models"], [folder / "fingerprints"], engine="dask")


def test_an_engine_that_there_is_not_is_named(monkeypatch):
    with pytest.raises(PolicyError, match="engine must be one of local, dask, ray, found 'spark'"), running("spark", 1):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PolicyError, match=r"it is not installed; pip install 'fpverify\[dask\]'"), running("dask", 1):
        pass


def test_a_cluster_that_cannot_be_reached_is_an_error(folder):
    code = "from fpverify.engines import running\nwith running('dask', 1): pass"
    env = {
        **os.environ,
        "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:9",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "engine dask: its cluster cannot be reached" in done.stderr


KILLER = """
import os
from pathlib import Path
from fpverify import scan
from fpverify.scanning import _Worker

class Killer(_Worker):
    def __call__(self, path):
        if path.endswith("b.onnx"):
            os._exit(9)
        return super().__call__(path)

if __name__ == "__main__":
    import fpverify.scanning
    fpverify.scanning._Worker = Killer
    folder = Path({folder!r})
    with scan([folder / "models"], [folder / "fingerprints"], cache=folder / "cache", engine={engine!r}) as found:
        for one in found:
            print(Path(one.suspect).name, one.outcome, one.error)
"""


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_suspect_whose_workers_die_each_time_is_a_row(folder, engine):
    module = folder / "killer.py"
    module.write_text(KILLER.format(folder=str(folder), engine=engine))
    process = subprocess.Popen([sys.executable, str(module)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = dict(rows(process))
    assert found["b.onnx"] == "no verdict the worker that judged it died, each time"
    assert found["a.onnx"].startswith("derived")
    assert found["c.onnx"].startswith("no verdict")
