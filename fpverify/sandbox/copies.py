"""Private copies of a suspect's files: what is hashed is what is surveyed and what is run, whoever writes meanwhile.

On Linux a copy lies in memory, has no path, and is sealed: it cannot be changed any more, through any descriptor.
Elsewhere there is none.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import stat
import time
from dataclasses import dataclass, field

from fpverify.errors import SuspectError
from fpverify.sandbox.limits import physical_memory

PART = 2**22
"""Bytes that are copied between two looks at the clock."""

MAX_COPY_BYTES = 2**31 - 1
"""Bytes of all copies, if the machine has four times as much memory; larger files are run from where they are, since
ONNX Runtime takes no more from memory."""

SEALS = 0x1 | 0x2 | 0x4 | 0x8
"""No more seals, no shorter, no longer, no other content: F_SEAL_SEAL, _SHRINK, _GROW, _WRITE."""

ADD_SEALS = 1033
"""fcntl's F_ADD_SEALS."""

SEAL_TRIES, SEAL_PAUSE = 20, 0.1
"""How often sealing is tried, and the seconds between, while the system says that a copy is busy."""


@dataclass
class Copies:
    """Two descriptors of memory, which the suspect's process was started with: one for its model, one for its data."""

    model: int
    """The model's file alone."""
    data: int
    """The files that it reads, one after the other."""
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Location -> where its file begins in `data`, and how long it is."""

    def view(self) -> memoryview:
        """Return the model's bytes; it is mapped for as long as anything refers to it."""
        if os.fstat(self.model).st_size == 0:
            return memoryview(b"")
        # A shared mapping, also a read-only one, would keep the copy from being sealed for as long as it lives.
        return memoryview(mmap.mmap(self.model, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))

    def add_model(self, path: str, until: float) -> int | None:
        """Copy a model's file.

        Args:
            path: which.
            until: when to give up, as `time.monotonic` counts.

        Returns:
            Its size in bytes; None if the time was up.

        Raises:
            OSError: if it cannot be read, or there is no memory for it.
            SuspectError: if it is no regular file any more.
        """
        return self._copy(path, self.model, 0, until)

    def add_data(self, locations: list[str], path: str, until: float) -> int | None:
        """Copy a file that the model reads.

        Args:
            locations: by which the model names it.
            path: where it is.
            until: as in `add_model`.

        Returns:
            As `add_model`; raises the same.
        """
        begin = os.fstat(self.data).st_size
        # A link that has taken the file's place since it was looked at would lead elsewhere.
        size = self._copy(path, self.data, os.O_NOFOLLOW, until)
        self.parts.update(dict.fromkeys(locations, (begin, size or 0)))
        return size

    def digest(self, location: str | None, until: float) -> str | None:
        """Return the SHA-256 of a copy; once it is sealed, that is of what is run.

        Args:
            location: of a file that the model reads; None for the model.
            until: as in `add_model`.

        Returns:
            Hexadecimal digits; None if the time was up.
        """
        whole = 0, os.fstat(self.model).st_size
        descriptor, (at, left) = (self.model, whole) if location is None else (self.data, self.parts[location])
        content = hashlib.sha256()
        while left and (part := os.pread(descriptor, min(PART, left), at)):
            content.update(part)
            at, left = at + len(part), left - len(part)
            if time.monotonic() > until:
                return None
        return content.hexdigest()

    def seal(self) -> None:
        """Seal the copies: they cannot be changed any more.

        Raises:
            OSError: if the system cannot.
        """
        import fcntl

        for descriptor in (self.model, self.data):
            for attempt in range(SEAL_TRIES, 0, -1):
                try:
                    fcntl.fcntl(descriptor, ADD_SEALS, SEALS)
                    break
                except OSError as error:
                    # The system itself may hold a page for a moment (memfd_wait_for_pins in Linux' mm/memfd.c).
                    if error.errno != errno.EBUSY or attempt == 1:
                        raise
                    time.sleep(SEAL_PAUSE)

    def close(self) -> None:
        """Give the memory back, as soon as the suspect's process has ended, too."""
        for descriptor in (self.model, self.data):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @staticmethod
    def _copy(path: str, into: int, flags: int, until: float) -> int | None:
        begin = size = os.fstat(into).st_size
        # Without waiting, since a pipe may have taken the file's place since it was looked at.
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
        with open(opened, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise SuspectError("is no regular file any more", hint="judge a copy that nobody writes to")
            while part := file.read(PART):
                _write(part, into, size)
                size += len(part)
                if size > 2 * MAX_COPY_BYTES or time.monotonic() > until:
                    return None
        os.ftruncate(into, size)
        return size - begin


def most_copied() -> int:
    """Return how many bytes of files are copied at most."""
    return min(MAX_COPY_BYTES, physical_memory() // 4)


def _write(part: bytes, into: int, at: int) -> None:
    """Write a part of a file, but leave a hole for what is all zeros: a file with holes takes no disk, either."""
    if part == bytes(len(part)):
        return
    left = memoryview(part)
    while left:
        written = os.pwrite(into, left, at)
        left, at = left[written:], at + written


def make_copies() -> Copies | None:
    """Return two empty descriptors, or None where the system has none that can be sealed."""
    if not hasattr(os, "memfd_create") or not hasattr(os, "MFD_ALLOW_SEALING"):
        return None
    made: list[int] = []
    try:
        for name in ("model", "data"):
            made.append(_above(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)))
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        return None
    return Copies(model=made[0], data=made[1])


def _above(descriptor: int) -> int:
    """Return a descriptor under a number that is none of the standard streams', which may be closed here."""
    import fcntl

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    finally:
        os.close(descriptor)
