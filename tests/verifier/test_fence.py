"""What code in the model's place can reach: nothing but what it was given, and nobody can change that."""

import hashlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fpverify
from fpverify import Limits, SuspectError
from fpverify.sandbox import copies, spawn
from fpverify.sandbox.parent import Sandbox
from fpverify.suspects.onnx_file import OnnxSuspect

linux = pytest.mark.skipif(sys.platform != "linux", reason="the fence is Linux's")

ATTEMPTS = {
    "read /etc/passwd": "open('/etc/passwd').read()",
    "read the fingerprint": "open(FOLDER + '/secret').read()",
    "list a folder": "os.listdir(FOLDER)",
    "write a file": "open(FOLDER + '/new', 'w')",
    "append to a file": "open(FOLDER + '/secret', 'a')",
    "delete a file": "os.remove(FOLDER + '/secret')",
    "rename a file": "os.rename(FOLDER + '/secret', FOLDER + '/other')",
    "truncate a file": "os.truncate(FOLDER + '/secret', 0)",
    "change a file's mode": "os.chmod(FOLDER + '/secret', 0o777)",
    "make a folder": "os.mkdir(FOLDER + '/made')",
    "link a file": "os.link(FOLDER + '/secret', FOLDER + '/linked')",
    "make a symbolic link": "os.symlink(FOLDER, FOLDER + '/linked')",
    "change the working folder": "os.chdir(FOLDER)",
    "connect to a port": "__import__('socket').socket().connect(('127.0.0.1', PORT))",
    "open a socket of the machine": "__import__('socket').socket(1, 1)",
    "open a datagram socket": "__import__('socket').socket(2, 2)",
    "make a pair of sockets": "__import__('socket').socketpair()",
    "start a program": "os.execv('/bin/true', ['true'])",
    "spawn a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "fork": "os.fork() or os._exit(0)",
    "leave the group": "os.setsid()",
    "stop the parent": "os.kill(os.getppid(), 0)",
    "signal everybody": "os.kill(-1, 0)",
    "read the parent's environment": "open(f'/proc/{os.getppid()}/environ').read()",
    "read the parent's memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "trace the parent": "call(101, 16, os.getppid(), 0, 0)",
    "read memory of the parent": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "make a namespace": "call(272, 0x10000000)",
    "make a ring of calls": "call(425, 8, 0)",
    "make memory that is a file": "os.memfd_create('x')",
    "raise a limit": "__import__('resource').setrlimit(6, (1, 1))",
    "limit the parent": "__import__('resource').prlimit(os.getppid(), 0)",
    "change the model": "os.pwrite(MODEL, b'x', 0)",
    "shorten the model": "os.ftruncate(MODEL, 0)",
    "become somebody else": "os.setuid(65534)",
    "mount": "call(165, 0, 0, 0, 0, 0)",
    "load a module": "call(175, 0, 0, 0)",
}

HOSTILE = """
import ctypes
class Hostile:
    def __init__(self, runtime, header):
        import socket, resource
        global MODEL
        MODEL = int(header["file"].rpartition("/")[2]) if header["data"] else -1
        said = []
        for name, code in ATTEMPTS.items():
            try:
                eval(code)
                said.append(name)
            except (OSError, ValueError):
                pass
        raise ChildError("failed", json.dumps(said))
def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
        raise OSError
import socket, resource
Model = Hostile
"""


@pytest.fixture
def put(monkeypatch, tmp_path):
    """Puts code into the suspect's process in the model's place: after the limits, as a model's own code would run."""

    def change(code):
        source = Path(spawn.CHILD).read_text()
        start = "if __name__ =="
        script = tmp_path / "child.py"
        script.write_text(source.replace(start, f"{code}\n\n{start}"))
        monkeypatch.setattr(spawn, "CHILD", str(script))

    return change


@linux
@pytest.mark.parametrize("private", [True, False], ids=["copies", "in place"])
def test_code_in_the_models_place_reaches_nothing(put, tmp_path, derived_file, monkeypatch, private):
    monkeypatch.setenv("FPVERIFY_TEST_SECRET", "s3cret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "secret").write_text("s3cret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        names = {"FOLDER": str(folder), "PORT": server.getsockname()[1], "ATTEMPTS": ATTEMPTS}
        put("\n".join(f"{name} = {value!r}" for name, value in names.items()) + HOSTILE)
        if not private:
            monkeypatch.setattr(Sandbox, "copies", None)
        with Sandbox(Limits(seconds=10)) as sandbox:
            OnnxSuspect(sandbox, derived_file)
            with pytest.raises(SuspectError) as caught:
                sandbox.loaded()
            held = sandbox.held
    assert held.fenced, "this kernel has no Landlock or no seccomp: the test says nothing"
    assert str(caught.value).endswith("by ONNX Runtime: []"), str(caught.value)
    assert (folder / "secret").read_text() == "s3cret"
    assert [path.name for path in folder.iterdir()] == ["secret"]


@linux
def test_without_the_fence_the_attempts_succeed(put, tmp_path, derived_file):
    # What the test above finds impossible must be possible here without the fence, or it would prove nothing.
    (tmp_path / "secret").write_text("s3cret")
    some = ["read /etc/passwd", "read the fingerprint", "list a folder", "fork", "make memory that is a file"]
    names = {"FOLDER": str(tmp_path), "ATTEMPTS": {name: ATTEMPTS[name] for name in some}}
    without = "\nfenced = lambda header: {'landlock': 0, 'seccomp': False}\n"
    put("\n".join(f"{name} = {value!r}" for name, value in names.items()) + HOSTILE + without)
    with Sandbox(Limits(seconds=10)) as sandbox:
        sandbox.start_loading([str(derived_file)], 0, private=False)
        with pytest.raises(SuspectError) as caught:
            sandbox.loaded()
    assert json.loads(str(caught.value).partition("Runtime: ")[2]) == some


@linux
def test_the_parent_sees_for_itself_whether_system_calls_are_filtered(put, derived_file):
    put("fenced = lambda header: {'landlock': 7, 'seccomp': True}")
    with Sandbox(Limits(seconds=10)) as sandbox:
        sandbox.start_loading([str(derived_file)], 0, private=False)
        sandbox.loaded()
        assert not sandbox.held.seccomp
        assert not sandbox.held.fenced


def test_a_sandbox_that_is_required_and_not_there_gives_no_verdict(put, fingerprint, derived_file):
    put("fenced = lambda header: {'landlock': 0, 'seccomp': False}")
    assert fpverify.verify(fingerprint, derived_file, limits=Limits(seconds=20)).verdict.value == "derived"
    with pytest.raises(SuspectError, match="was not judged: this system cannot keep it from other files"):
        fpverify.verify(fingerprint, derived_file, limits=Limits(seconds=20, sandbox=True))


@linux
def test_a_required_sandbox_that_is_there_judges(fingerprint, derived_file):
    result = fpverify.verify(fingerprint, derived_file, limits=Limits(seconds=20, sandbox=True))
    assert result.verdict.value == "derived"
    assert (result.sandbox.fenced, result.sandbox.private_copy) == (True, True)


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_fence_stands_for_an_ordinary_user_too(derived_file, tmp_path):
    code = (
        "import os\nos.setuid(65534)\nfrom fpverify import Limits\nfrom fpverify.sandbox.parent import Sandbox\n"
        "from fpverify.suspects.onnx_file import OnnxSuspect\n"
        f"with Sandbox(Limits(seconds=20)) as s:\n    OnnxSuspect(s, {str(derived_file)!r})\n    s.loaded()\n"
        "    print(s.held.fenced, s.held.private_copy)"
    )
    for folder in (derived_file.parent, *derived_file.parents):
        if os.stat(folder).st_mode & 0o005 != 0o005 and str(folder).startswith("/tmp"):  # noqa: S108
            folder.chmod(0o755)
    derived_file.chmod(0o644)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "Permission" in done.stderr or "ModuleNotFound" in done.stderr:
        pytest.skip("an ordinary user cannot read this installation")
    assert done.stdout == "True True\n", done.stderr


def weighted(folder, value):
    """A classifier whose weights lie beside it: it names the brightest pixel, or with -1 the darkest."""
    weights = onnx.numpy_helper.from_array(np.eye(4, 3, dtype=np.float32) * value, "w")
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 2, 2])
    graph = helper.make_graph(
        nodes, "g", [given], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    return folder / "m.onnx"


@linux
@pytest.mark.parametrize("name", ["m.onnx", "w.bin"])
def test_what_is_hashed_is_what_is_judged_though_somebody_writes_through_a_map(name, tmp_path, fingerprint):
    import mmap

    honest, other = weighted(tmp_path / "a", 1), weighted(tmp_path / "b", -1)
    if name == "m.onnx":  # the same size with other weights in the file itself
        for path in (honest, other):
            model = onnx.load(path)
            onnx.save(model, path)
    target, contents = tmp_path / "a" / name, [(tmp_path / where / name).read_bytes() for where in "ab"]
    assert len(contents[0]) == len(contents[1])
    assert contents[0] != contents[1]
    digests = {hashlib.sha256(content).hexdigest(): place for place, content in enumerate(contents)}
    stop = threading.Event()

    def swap():
        with target.open("r+b") as file, mmap.mmap(file.fileno(), 0) as whole:
            turn = 0
            while not stop.is_set():
                whole[:] = contents[turn % 2]
                turn += 1
                time.sleep(0.002)

    thread = threading.Thread(target=swap)
    thread.start()
    judged = 0
    try:
        for _ in range(12):
            try:
                result = fpverify.verify(fingerprint, honest, limits=Limits(seconds=20))
            except SuspectError:
                continue  # half of each: such a file is broken
            digest = result.suspect.sha256 if name == "m.onnx" else result.suspect.external["w.bin"]
            if digest in digests:
                judged += 1
                assert result.retention == (1.0 if digests[digest] == 0 else 0.0)
    finally:
        stop.set()
        thread.join()
    assert judged > 2


@linux
def test_copies_cannot_be_changed_and_hold_every_file_once(tmp_path):
    made = copies.make_copies()
    (tmp_path / "m").write_bytes(b"model")
    (tmp_path / "w").write_bytes(b"\0" * 5_000_000 + b"weights")
    until = time.monotonic() + 60
    assert made.add_model(str(tmp_path / "m"), until) == 5
    assert made.add_data(["w", "./w"], str(tmp_path / "w"), until) == 5_000_007
    assert made.add_data(["m"], str(tmp_path / "m"), until) == 5
    surveyed = made.view()  # which may live for as long as anything refers to it
    made.seal()
    assert bytes(surveyed) == bytes(made.view()) == b"model"
    assert made.parts == {"w": (0, 5_000_007), "./w": (0, 5_000_007), "m": (5_000_007, 5)}
    assert os.pread(made.data, 12, 5_000_000) == b"weightsmodel"
    for location, name in ((None, "m"), ("w", "w"), ("./w", "w"), ("m", "m")):
        assert made.digest(location, until) == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert made.digest("w", time.monotonic() - 1) is None  # too late
    assert os.fstat(made.data).st_blocks * 512 < 5_000_000  # what is all zeros takes no memory
    for attempt in (lambda: os.pwrite(made.model, b"x", 0), lambda: os.ftruncate(made.data, 0)):
        with pytest.raises(PermissionError):
            attempt()
    made.close()


@linux
def test_a_copy_that_is_busy_for_a_moment_is_sealed_when_it_is_not(monkeypatch):
    made = copies.make_copies()
    os.pwrite(made.model, b"model", 0)
    busy = mmap.mmap(made.model, 0)
    waited = []
    monkeypatch.setattr(copies.time, "sleep", lambda seconds: (waited.append(seconds), busy.close()))
    made.seal()
    assert len(waited) == 1
    made.close()


@linux
def test_a_copy_that_stays_busy_cannot_be_sealed(monkeypatch):
    made = copies.make_copies()
    os.pwrite(made.model, b"model", 0)
    monkeypatch.setattr(copies.time, "sleep", lambda seconds: None)
    with mmap.mmap(made.model, 0), pytest.raises(OSError, match="busy"):
        made.seal()
    made.close()


@linux
def test_a_pipe_or_a_link_that_takes_a_files_place_is_not_followed(tmp_path):
    made = copies.make_copies()
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/etc/passwd", tmp_path / "link")
    began = time.monotonic()
    with pytest.raises(SuspectError, match="no regular file any more"):
        made.add_model(str(tmp_path / "pipe"), began + 60)
    with pytest.raises(OSError, match="symbolic links"):
        made.add_data(["w"], str(tmp_path / "link"), began + 60)
    assert time.monotonic() - began < 30
    made.close()


@linux
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_child_ends_with_its_parent_by_whatever_signal(name, derived_file):
    code = (
        "from fpverify import Limits\nfrom fpverify.sandbox.parent import Sandbox\nimport time\n"
        f"s = Sandbox(Limits(seconds=60))\ns.start_loading([{str(derived_file)!r}], 0, False)\ns.loaded()\n"
        "print(s._process.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.send_signal(getattr(signal, name))
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{child}"):
        with open(f"/proc/{child}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                break
        assert time.monotonic() < deadline
        time.sleep(0.02)
