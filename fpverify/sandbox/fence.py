"""Takes from this process, on Linux, every right that a model does not need; nothing gives one back.

Landlock refuses files, TCP, and signals to other processes. seccomp refuses every system call that is not on a list:
there is no call on it that starts a program or a process, opens a socket, looks into another process, or removes,
renames or changes a file. Where the kernel has one of the two, that one holds; where it has neither, nothing does, and
what is returned says so.

It runs in the suspect's process, after all imports and before the first byte of the model is read.

Source: https://docs.kernel.org/userspace-api/landlock.html and seccomp_filter.html; asm/unistd_64.h of x86-64 and
asm-generic/unistd.h (arm64), whose numbers never change.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_NO_NEW_PRIVS = 1, 4, 15, 16, 38
PR_SET_VMA = 0x53564D41
SIGKILL, EPERM, ENOSYS = 9, 1, 38

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
"""System calls; the same on every machine."""
READ_FILE = 1 << 2
"""The one right that is given, for the files that are named."""
TCP, SCOPES = 0b11, 0b11
"""Bind and connect; abstract sockets and signals."""

SECCOMP = {"x86_64": 317, "aarch64": 277}
SECCOMP_SET_MODE_FILTER, ALL_THREADS = 1, 1
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
"""From here on, x86-64 counts the calls of another convention."""

ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # name: (x86-64, arm64); None where the machine has no such call
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "poll": (7, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "access": (21, None),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "mincore": (27, 232),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "setitimer": (38, 103),
    "getpid": (39, 172),
    "exit": (60, 93),
    "uname": (63, 160),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "gettimeofday": (96, 169),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getppid": (110, 173),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "set_tid_address": (218, 96),
    "restart_syscall": (219, 128),
    "fadvise64": (221, 223),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "statx": (332, 291),
    "rseq": (334, 293),
    "faccessat2": (439, 439),
}
"""System calls that Python and ONNX Runtime still make, whatever their arguments."""

CONDITIONAL: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None),
    "fcntl": (72, 25),
    "prctl": (157, 167),
    "clone": (56, 220),
    "clone3": (435, 435),
    "tgkill": (234, 131),
    "openat": (257, 56),
    "prlimit64": (302, 261),
}
"""System calls that are allowed with some arguments."""

THREAD_FLAGS = 0x10F00
"""CLONE_VM, FS, FILES, SIGHAND and THREAD: what makes a thread of this process and no process of its own."""
MORE_THREAD_FLAGS = 0x7D0F00
"""With those, what glibc and musl pass besides."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
"""Flags of `open` with which a file could be changed."""

FCNTL = (0, 1, 2, 3, 1030, 1034)
"""Commands of `fcntl`: copy a descriptor, read flags, read seals; none that names a process to be signalled."""

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process as soon as the one that started it is gone; Linux alone can.

    Args:
        parent: the number of the process that started it.
    """
    if sys.platform != "linux":
        return
    _prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel could be told
        os._exit(1)


def put_up(files: Sequence[str]) -> dict[str, Any]:
    """Give up every right that is not needed.

    Args:
        files: paths of the files that may still be opened for reading.

    Returns:
        `landlock`, the version of its interface that holds (0 if none does), and `seccomp`, whether its list does.
    """
    held: dict[str, Any] = {"landlock": 0, "seccomp": False}
    if sys.platform != "linux":
        return held
    _prctl(PR_SET_DUMPABLE, 0)
    if _prctl(PR_SET_NO_NEW_PRIVS, 1) != 0:
        return held
    held["landlock"] = _landlock(files)
    held["seccomp"] = _seccomp()
    return held


def _prctl(option: int, value: int) -> int:
    number = ctypes.c_ulong
    done: int = _libc().prctl(ctypes.c_int(option), number(value), number(0), number(0), number(0))
    return done


def _landlock(files: Sequence[str]) -> int:
    """Refuse all that Landlock can refuse but reading some files; return its version, or 0."""
    version = _call(LANDLOCK_CREATE, None, 0, 1)
    # It holds for the thread that asks, and for those that this one starts later.
    if version < 1 or _threads() != 1:
        return 0
    rights = (1 << 13) - 1 | (version >= 2) << 13 | (version >= 3) << 14 | (version >= 5) << 15
    rules = struct.pack("=QQQ", rights, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    ruleset = _call(LANDLOCK_CREATE, rules, len(rules), 0)
    if ruleset < 0:
        return 0
    try:
        for path in files:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", READ_FILE, descriptor)
                if _call(LANDLOCK_ADD, ruleset, 1, rule, 0) != 0:
                    return 0
            finally:
                os.close(descriptor)
        return version if _call(LANDLOCK_RESTRICT, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _seccomp() -> bool:
    machine = os.uname().machine
    if machine not in SECCOMP or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    program = b"".join(_filter(machine, os.getpid()))
    content = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count, and after six bytes of padding a pointer
    header = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(content))
    return _call(SECCOMP[machine], SECCOMP_SET_MODE_FILTER, ALL_THREADS, header) == 0


def _filter(machine: str, pid: int) -> Iterator[bytes]:
    """Yield the program that decides about each system call, eight bytes an instruction."""
    column = int(machine == "aarch64")
    every = {name: numbers[column] for name, numbers in (ALLOWED | CONDITIONAL).items()}
    number = {name: value for name, value in every.items() if value is not None}
    yield _step(_LOAD, 4)  # the machine's convention
    yield _step(_EQUAL, AUDIT_ARCHITECTURE[machine], 1, 0)
    yield _step(_RETURN, _ERROR | EPERM)
    yield _step(_LOAD, 0)  # the call's number
    yield _step(_AT_LEAST, X32, 0, 1)
    yield _step(_RETURN, _ERROR | EPERM)
    for name in ALLOWED:
        if name in number:
            yield from _if_equal(number[name], [_step(_RETURN, _ALLOW)])
    # What clone3 is to start cannot be read here; without it, glibc takes clone.
    yield from _if_equal(number["clone3"], [_step(_RETURN, _ERROR | ENOSYS)])
    flags = [*_if_bits(0, ~MORE_THREAD_FLAGS, 0), *_if_bits(0, THREAD_FLAGS, THREAD_FLAGS)]
    yield from _if_equal(number["clone"], [*flags, _step(_RETURN, _ALLOW)])
    for name, argument in (("open", 1), ("openat", 2)):
        if name in number:
            yield from _if_equal(number[name], [*_if_bits(argument, WRITING, 0), _step(_RETURN, _ALLOW)])
    yield from _if_equal(number["fcntl"], list(_if_one_of(1, FCNTL)))
    yield from _if_equal(number["prctl"], list(_if_one_of(0, (PR_SET_NAME, PR_GET_NAME, PR_SET_VMA))))
    yield from _if_equal(number["tgkill"], list(_if_one_of(0, (pid,))))
    # Limits of this process may be read: the third argument, a pointer, would set them.
    none_new = [*_if_bits(2, ~0, 0), *_if_bits(2, ~0, 0, upper=True)]
    yield from _if_equal(number["prlimit64"], [*none_new, *_if_one_of(0, (0, pid))])
    yield _step(_RETURN, _ERROR | EPERM)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one instruction; the jumps say how many are skipped."""
    return struct.pack("=HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _if_equal(value: int, then: list[bytes]) -> Iterator[bytes]:
    """Do something if what was loaded is a value; it must end with a return."""
    yield _step(_EQUAL, value, 0, len(then))
    yield from then


def _if_bits(argument: int, mask: int, wanted: int, upper: bool = False) -> Iterator[bytes]:
    """Refuse the call unless some bits of a half of an argument are as wanted."""
    yield _step(_LOAD, 16 + 8 * argument + 4 * upper)
    yield _step(_AND, mask)
    yield _step(_EQUAL, wanted, 1, 0)
    yield _step(_RETURN, _ERROR | EPERM)


def _if_one_of(argument: int, values: Sequence[int]) -> Iterator[bytes]:
    """Allow the call if an argument is one of some values, and refuse it otherwise."""
    yield _step(_LOAD, 16 + 8 * argument)
    for value in values:
        yield from _if_equal(value, [_step(_RETURN, _ALLOW)])
    yield _step(_RETURN, _ERROR | EPERM)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # no /proc: nothing here starts a thread before
        return 1


def _call(number: int, *arguments: int | bytes | None) -> int:
    done: int = _libc().syscall(
        ctypes.c_long(number),
        *(ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments),
    )
    return done


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
