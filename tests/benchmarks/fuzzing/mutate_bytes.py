"""Seeded mutations of a file's bytes, without a thought for its format."""

import random
from collections.abc import Callable, Sequence

from fuzzing.values import INTEGERS


def varint(value: int) -> bytes:
    """Write a number as protobuf does."""
    value %= 2**64
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def field(number: int, content: bytes) -> bytes:
    """Write a field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def _flip(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    data[at] = rng.choice((0, 1, 0x0A, 0x22, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _insert(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8, 100)))


def _delete(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    del data[at : at + rng.choice((1, 1, 2, 8, 100, 1000))]


def _duplicate(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    data[at:at] = data[at : at + rng.randint(1, 1000)] * rng.choice((1, 1, 2, 50))


def _splice(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    data[at:] = other[rng.randrange(len(other)) :]


def _truncate(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    del data[at:]


def _overwrite(rng: random.Random, data: bytearray, at: int, other: bytes) -> None:
    value, size = rng.choice(INTEGERS), rng.choice((1, 2, 4, 8))
    packed = (value % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    packed = rng.choice((varint(value), packed))
    data[at : at + len(packed)] = packed


BYTES: tuple[Callable[[random.Random, bytearray, int, bytes], None], ...] = (
    *(_flip, _set, _insert, _delete, _duplicate, _splice, _truncate, _overwrite),
)


def mutate_bytes(rng: random.Random, content: bytes, corpus: Sequence[bytes]) -> tuple[bytes, str]:
    """Mutate a file without a thought for its format; its beginning and its end more often than its middle."""
    if not content:
        return content, "empty already"
    last = len(content) - 1
    at = rng.choice((rng.randint(0, last), min(rng.randrange(2000), last), max(last - rng.randrange(500), 0)))
    data, work = bytearray(content), rng.choice(BYTES)
    work(rng, data, at, rng.choice(corpus))
    return bytes(data), f"{work.__name__[1:]} at {at}"


def nest(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Add a function to a model whose nodes hold graphs within graphs."""
    depth, node = rng.choice((2, 30, 200, 2000)), b""
    for _ in range(depth):
        node = field(4, b"If") + field(5, field(1, b"then_branch") + field(6, field(1, node)))
    return content + field(25, field(1, b"f") + field(10, b"local") + field(7, node)), f"nest {depth}"
