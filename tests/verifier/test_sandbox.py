"""The suspect's process: what it is given, what it may take, and how its end is told."""

import itertools
import json
import os
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fpverify import Limits, PolicyError, SuspectError, verify
from fpverify.sandbox import spawn
from fpverify.sandbox.parent import Sandbox

SMALL = Limits(seconds=30, memory=2**30)


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Puts another program in the place of the suspect's process, as a model would be that had taken it over."""

    def put(code):
        script = tmp_path / "pretend.py"
        script.write_text(
            "import json, os, struct, sys, time, signal\n"
            "def frame(header, body=b''):\n"
            "    text = json.dumps(header).encode()\n"
            "    os.write(1, struct.pack('<Q', len(text)) + text + body)\n"
            "held = {'memory': None, 'cpu_seconds': None, 'no_writing': False, 'open_files': None,\n"
            "    'landlock': 0, 'seccomp': False}\n"
            "def hear():\n"
            "    size, = struct.unpack('<Q', sys.stdin.buffer.read(8))\n"
            "    return sys.stdin.buffer.read(size)\n"
            "def loaded():\n"
            "    frame({'runtime': '9', 'held': held})\n"
            "    frame({'provider': 'CPU'})\n" + code
        )
        monkeypatch.setattr(spawn, "CHILD", str(script))

    return put


def load(sandbox, path="model.onnx"):
    with sandbox:
        return start(sandbox, path)


def start(sandbox, path="model.onnx"):
    sandbox.start_loading([str(path)], 0, private=False)
    return sandbox.loaded()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.exit(0)", "ended its process with status 0 without an answer"),
        ("sys.exit(7)", "ended its process with status 7"),
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            r"while loading it \(SIGSEGV; the memory limit is 1 GiB",
        ),
        ("os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by the system, which does so where memory runs out"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", r"used more than .* s of processor time \(--cpu-time\)"),
        ("os.close(1); time.sleep(60)", "closed its connection without an answer"),
        ("print('hello, parent, this is no frame'); sys.stdout.flush(); time.sleep(60)", "invalid reply: a header of"),
        ("os.write(1, struct.pack('<Q', 5) + b'hello'); time.sleep(60)", "its header is no JSON"),
        ("os.write(1, struct.pack('<Q', 200000) + b'[' * 200000); time.sleep(60)", "its header is no JSON"),
        ("frame([1]); time.sleep(60)", "its header is no object"),
        ("frame({}); time.sleep(60)", "does not say which limits hold"),
        ("frame({'held': held}); time.sleep(60)", "does not say which ONNX Runtime"),
        ("frame({'error': 'failed', 'message': 'a\\nb\\x1b[2J'})", r"by ONNX Runtime: a b\\x1b\[2J"),
        ("frame({'error': 'missing', 'message': 'x'})", r'pip install "fpverify\[cpu\]"'),
        ("frame({'error': 'old', 'message': '1.16.0'})", "needs ONNX Runtime 1.28.1 or later, found 1.16.0"),
        ("frame({'error': 'memory', 'message': 'x'})", r"needs more memory than the limit of 1 GiB \(--memory\)"),
    ],
)
def test_however_the_process_ends_one_line_says_so(pretend, code, message):
    pretend(code)
    with pytest.raises(SuspectError, match=message) as caught:
        load(Sandbox(SMALL))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("doing", ["load", "run"])
def test_what_a_process_said_before_it_ended_is_heard_although_it_read_nothing(pretend, doing):
    pretend(("loaded(); hear(); hear(); " if doing == "run" else "") + "frame({'error': 'memory', 'message': 'x'})")
    with Sandbox(SMALL) as sandbox:
        if doing == "run":
            start(sandbox)
        sandbox._process.wait()
        with pytest.raises(SuspectError, match=r"needs more memory than the limit of 1 GiB \(--memory\)"):
            sandbox.run({}, bytes(2**20)) if doing == "run" else start(sandbox)


def test_a_process_that_answers_without_having_read_the_question_has_not_answered(pretend):
    pretend("loaded(); hear(); hear(); frame({'outputs': []})")
    with Sandbox(SMALL) as sandbox:
        start(sandbox)
        sandbox._process.wait()
        with pytest.raises(SuspectError, match="ended its process with status 0 without an answer"):
            sandbox.run({}, bytes(2**20))


@pytest.mark.parametrize("code", ["time.sleep(60)", "while True: pass"])
def test_a_process_that_does_not_answer_is_stopped_in_time(pretend, code):
    pretend(code)
    began = time.perf_counter()
    with pytest.raises(SuspectError, match=r"took longer than 0.5 s \(--timeout\)"):
        load(Sandbox(Limits(seconds=0.5)))
    assert time.perf_counter() - began < 30


def test_loading_and_running_share_the_time(pretend, monkeypatch):
    pretend("loaded(); time.sleep(60)")
    with Sandbox(Limits(seconds=90)) as sandbox:
        monkeypatch.setattr("fpverify.sandbox.parent.time.perf_counter", itertools.count(0, 100).__next__)
        start(sandbox)  # takes 100 s by this clock
        with pytest.raises(SuspectError, match="took longer than 90 s"):
            sandbox.run({}, b"")


@pytest.mark.parametrize(
    "claim",
    [
        {"memory": "x"},
        {"memory": 2**40},
        {"memory": -1},
        {"cpu_seconds": 1e308},
        {"cpu_seconds": []},
        {"no_writing": 1},
        {"seccomp": 1},
        {"landlock": -1},
        {"landlock": "7"},
        {"more": 1},
    ],
)
def test_a_limit_that_was_not_asked_is_not_believed(pretend, claim):
    pretend(f"held.update({claim!r}); loaded(); time.sleep(60)")
    with pytest.raises(SuspectError, match="sent an invalid reply"):
        load(Sandbox(SMALL))


def test_closing_does_not_wait_for_a_process_that_keeps_the_pipe(pretend):
    pretend("if os.fork(): os._exit(0)\nos.setsid(); time.sleep(60)")
    began = time.perf_counter()
    with pytest.raises(SuspectError):
        load(Sandbox(Limits(seconds=2)))
    assert time.perf_counter() - began < 30


REPLIES = {
    "no list": {"outputs": 5},
    "an output without a name": {"outputs": [{"kind": "other", "what": "x"}]},
    "an unknown kind": {"outputs": [{"name": "a", "kind": "pickle", "shape": [1], "dtype": "<f4"}]},
    "an object type": {"outputs": [{"name": "a", "kind": "array", "shape": [1], "dtype": "|O8"}]},
    "a structured type": {"outputs": [{"name": "a", "kind": "array", "shape": [1], "dtype": "f4,f4"}]},
    "no shape": {"outputs": [{"name": "a", "kind": "array", "dtype": "<f4"}]},
    "a negative shape": {"outputs": [{"name": "a", "kind": "array", "shape": [-1], "dtype": "<f4"}]},
    "a shape of fractions": {"outputs": [{"name": "a", "kind": "array", "shape": [0.5], "dtype": "<f4"}]},
    "a shape beyond memory": {"outputs": [{"name": "a", "kind": "array", "shape": [2**30, 2**9], "dtype": "<f4"}]},
    "a type that is a list": {"outputs": [{"name": "a", "kind": "array", "shape": [1], "dtype": []}]},
    "a long text": {"outputs": [{"name": "a", "kind": "texts", "shape": [1], "texts": ["x" * 2000]}]},
    "texts that do not fit": {"outputs": [{"name": "a", "kind": "texts", "shape": [3], "texts": ["x"]}]},
    "texts that are numbers": {"outputs": [{"name": "a", "kind": "texts", "shape": [1], "texts": [1]}]},
    "a header of many mebibytes": {"outputs": [], "padding": "x" * 2**23},
    "keys that do not fit": {"outputs": [{"name": "a", "kind": "maps", "shape": [1, 0], "dtype": "<f8", "keys": [1]}]},
    "keys of no kind": {"outputs": [{"name": "a", "kind": "maps", "shape": [1, 0], "dtype": "<f8", "keys": None}]},
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_reply_that_is_not_the_protocol_is_refused(pretend, reply):
    pretend(f"loaded(); frame({reply!r}); time.sleep(60)")
    with Sandbox(SMALL) as sandbox:
        start(sandbox)
        with pytest.raises(SuspectError, match="sent an invalid reply"):
            sandbox.run({}, b"")


def test_the_process_inherits_neither_secrets_nor_files(pretend, monkeypatch, tmp_path):
    monkeypatch.setenv("FPVERIFY_TEST_SECRET", "s3cret")
    secret = (tmp_path / "secret").open("wb")
    os.set_inheritable(secret.fileno(), True)
    pretend(
        "targets = (os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.lexists(f'/proc/self/fd/{fd}'))\n"
        "files = sorted(t for t in targets if not t.startswith(('pipe:', '/memfd:', '/dev/null', '/proc/')))\n"
        "values = [v for k, v in os.environ.items() if 'SECRET' in k]\n"
        "said = json.dumps([files, values, sys.flags.isolated, os.getpid() == os.getsid(0)])\n"
        "frame({'error': 'failed', 'message': said})"
    )
    with pytest.raises(SuspectError) as caught:
        load(Sandbox(SMALL))
    secret.close()
    assert str(caught.value).endswith("[[], [], 1, true]")


def test_what_the_process_started_ends_with_it(pretend, tmp_path):
    marker = tmp_path / "grandchild"
    pretend(
        "import subprocess\n"
        f"p = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(marker)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)"
    )
    with pytest.raises(SuspectError, match="took longer"):
        load(Sandbox(Limits(seconds=3)))
    grandchild = int(marker.read_text())
    for _ in range(100):
        state = _state(grandchild)
        if state in (None, "Z"):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {grandchild} still runs: {state}")


def test_what_the_process_started_ends_with_it_also_if_it_ends_first(pretend, tmp_path):
    marker = tmp_path / "grandchild"
    pretend(
        "import subprocess\n"
        f"p = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'], stdout=-3, stdin=-3)\n"
        f"open({str(marker)!r}, 'w').write(str(p.pid))\n"
        "os._exit(3)"
    )
    with pytest.raises(SuspectError, match="ended its process with status 3"):
        load(Sandbox(SMALL))
    grandchild = int(marker.read_text())
    for _ in range(100):
        if _state(grandchild) in (None, "Z"):
            return
        time.sleep(0.05)
    raise AssertionError("the grandchild still runs")


def _state(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def test_the_process_works_in_a_folder_in_which_nothing_can_be_made(pretend):
    pretend(
        "hear()\n"  # as the suspect's process does before it loads anything
        "try: open('left', 'w').write('x'); said = 'made'\n"
        "except OSError as error: said = 'could not'\n"
        "frame({'error': 'failed', 'message': said})"
    )
    with pytest.raises(SuspectError, match="could not"):
        load(Sandbox(SMALL))


def test_a_process_that_was_prepared_is_taken_once_and_never_left(pretend):
    pretend("loaded(); time.sleep(60)")
    spawn.prepare()
    (prepared,) = spawn._prepared
    with Sandbox(SMALL) as first, Sandbox(SMALL) as second:
        assert first._process is prepared
        assert second._process is not prepared
    spawn.prepare()
    (left,) = spawn._prepared
    spawn._clear()
    assert left.returncode is not None
    assert not spawn._prepared


def test_nothing_is_reported_to_anybody_and_nothing_is_kept_in_a_home(pretend):
    pretend("frame({'error': 'failed', 'message': json.dumps(dict(os.environ))})")
    with pytest.raises(SuspectError) as caught:
        load(Sandbox(SMALL))
    said = str(caught.value)
    assert '"ORT_DISABLE_TELEMETRY": "1"' in said
    assert f'"HOME": "{os.devnull}"' in said


def test_a_real_run_leaves_no_file_behind(derived_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with Sandbox(SMALL) as sandbox:
        start(sandbox, derived_file)
        time.sleep(1)  # for whatever ONNX Runtime does in the background
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_real_process_says_which_limits_hold(derived_file):
    with Sandbox(SMALL) as sandbox:
        assert start(sandbox, derived_file) == "CPUExecutionProvider"
        held = sandbox.held
    assert (held.seconds, held.cpu_seconds) == (SMALL.seconds, SMALL.processor_seconds)
    assert held.no_writing
    if sys.platform == "linux":
        assert held.memory == 2**30


def test_a_program_that_ends_takes_the_process_with_it(derived_file):
    # The parent is killed; the child reads the end of its input, or its own alarm rings.
    code = (
        "import os, sys, signal\nfrom fpverify import Limits\nfrom fpverify.sandbox.parent import Sandbox\n"
        "s = Sandbox(Limits(seconds=5))\n"
        f"s.start_loading([{str(derived_file)!r}], 0, False)\ns.loaded()\n"
        "print(s._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    deadline = time.monotonic() + 60
    while _state(child) not in (None, "Z"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_thread_and_no_process_is_left_behind(derived_file):
    threads = threading.active_count()
    sandbox = Sandbox(SMALL)
    load(sandbox, derived_file)
    assert sandbox._process.returncode is not None
    for _ in range(100):
        if threading.active_count() <= threads:
            break
        time.sleep(0.02)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seconds": 0}, "limits: seconds must be a finite number above 0, found 0"),
        ({"seconds": float("inf")}, "found inf"),
        ({"memory": float("nan")}, "memory must be a finite number above 0, found nan"),
        ({"memory": 2**20}, r"memory must be at least 268435456 bytes \(0.25 GiB\), found 1048576"),
        ({"cpu_seconds": -1}, "cpu_seconds"),
        ({"cpu_seconds": True}, "found True"),
        ({"seconds": "5"}, "found '5'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(PolicyError, match=message):
        Limits(**fields)


@pytest.mark.parametrize(
    ("memory", "machine", "size", "allowed"),
    [
        (None, 64, 0, 4),
        (None, 64, 2, 10),
        (None, 64, 100, 32),
        (None, 0, 100, 4),
        (None, 4, 100, 4),
        (1, 64, 100, 1),
    ],
)
def test_a_large_model_may_take_more_but_not_the_whole_machine(monkeypatch, memory, machine, size, allowed):
    monkeypatch.setattr("fpverify.sandbox.limits.physical_memory", lambda: machine * 2**30)
    assert Limits(memory=memory and memory * 2**30).memory_for(size * 2**30) == allowed * 2**30


def test_the_frames_are_what_both_sides_say_they_are():
    import io

    from fpverify.sandbox import child, replies

    stream = io.BytesIO()
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3)]
    entry = {"name": "a", "kind": "array", "dtype": "<f4", "shape": [2, 3]}
    child.send(stream, {"outputs": [entry]}, arrays)
    stream.seek(0)
    reply = replies.read_reply(stream)
    assert reply.outputs[0].array.tolist() == [[0, 1, 2], [3, 4, 5]]
    text = json.dumps({"do": "run", "bytes": 3}).encode()
    assert child.receive(io.BytesIO(struct.pack("<Q", len(text)) + text + b"abc")) == (json.loads(text), b"abc")
    assert child.receive(io.BytesIO(b"")) is None


def test_a_device_that_is_unknown_starts_nothing():
    with pytest.raises(SuspectError, match="device must be one of cpu, cuda, found 'tpu'"):
        Sandbox(SMALL, "tpu")


def test_a_suspect_is_judged_where_nothing_can_be_written(fingerprint_file, derived_file, monkeypatch):
    """As in a container with a read-only root and no folder for temporary files."""

    def refused(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("fpverify.sandbox.spawn.tempfile.mkdtemp", refused)
    assert verify(fingerprint_file, derived_file).verdict == "derived"
