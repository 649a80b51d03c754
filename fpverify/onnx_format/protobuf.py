"""The protobuf wire format: a message is a row of numbered fields.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fpverify.errors import SuspectError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4, groups, are long out of use and refused."""

MAX_FIELDS = 2_000_000
"""How many fields to walk before giving up: a second or two. A model of 100,000 nodes has fewer."""

MAX_TEXT_BYTES = 2**20
"""Longest text that is read, in bytes."""

MAX_TEXTS_BYTES = 2**24
"""All texts that are read of one file, in bytes: names, metadata, locations."""


class Field(NamedTuple):
    """One field of a message; a tuple, because a file may have millions."""

    number: int
    """Which field, as the schema numbers them."""
    wire: int
    """Its wire type."""
    value: int
    """Of a varint: its value, unsigned; else 0."""
    content: memoryview
    """Of a field with a length: its bytes; else empty."""

    def integer(self) -> int:
        """Return the field as an int64.

        Returns:
            The number.

        Raises:
            SuspectError: if the field is no varint.
        """
        self.must_be(VARINT)
        return self.value - 2**64 if self.value >= 2**63 else self.value

    def must_be(self, wire: int) -> None:
        """Check the wire type.

        Args:
            wire: the one expected.

        Raises:
            SuspectError: if it is another.
        """
        if self.wire != wire:
            raise SuspectError(f"not an ONNX model: field {self.number} has the wire type {self.wire}, not {wire}")


class Reader:
    """Walks the fields of messages in one buffer, and counts them: the count bounds the time that a file can cost."""

    def __init__(self, buffer: bytes | memoryview) -> None:
        self._all = memoryview(buffer)
        self._left = MAX_FIELDS
        self._text_left = MAX_TEXTS_BYTES

    def text(self, field: Field | None) -> str:
        """Return a field as text.

        Args:
            field: which; None for a field that is not there.

        Returns:
            The text, empty if there is no field; bytes that are no UTF-8 are shown as escapes.

        Raises:
            SuspectError: if the field is no text, or it or all texts together are absurdly long.
        """
        if field is None:
            return ""
        field.must_be(LENGTH)
        size = len(field.content)
        if size > MAX_TEXT_BYTES:
            raise SuspectError(f"holds a text of {size} bytes, {MAX_TEXT_BYTES} at most")
        self._text_left -= size
        if self._text_left < 0:
            raise SuspectError(f"holds more than {MAX_TEXTS_BYTES} bytes of names and metadata")
        return bytes(field.content).decode("utf-8", "backslashreplace")

    def single(self, message: Field, wires: Mapping[int, int]) -> dict[int, Field]:
        """Return those fields of a message that may be there once, refusing what other readers would read otherwise.

        Protobuf ignores a known field of another wire type and merges a message that is there twice. A file that does
        either can say one thing here and another thing to ONNX Runtime.

        Args:
            message: a field that holds a message.
            wires: number of each field -> its wire type.

        Returns:
            The fields that are there, by number.

        Raises:
            SuspectError: if one has another wire type, or is there twice.
        """
        found: dict[int, Field] = {}
        for field in self.fields(message):
            if field.number not in wires:
                continue
            field.must_be(wires[field.number])
            if field.number in found:
                where = f"field {field.number} is there twice"
                raise SuspectError(f"not an ONNX model that all programs read alike: {where}")
            found[field.number] = field
        return found

    def fields(self, message: Field | None = None) -> Iterator[Field]:
        """Walk a message.

        Args:
            message: a field that holds one; None for the whole buffer.

        Yields:
            Each field.

        Raises:
            SuspectError: if the bytes are no message, or there are too many fields.
        """
        if message is not None:
            message.must_be(LENGTH)
        data = self._all if message is None else message.content
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise SuspectError(f"holds more than {MAX_FIELDS} fields to read")
            tag, at = _varint(data, at)
            wire, value, size = tag & 7, 0, 0
            if wire == VARINT:
                value, at = _varint(data, at)
            elif wire == LENGTH:
                size, at = _varint(data, at)
            elif wire in (FIXED64, FIXED32):
                size = 8 if wire == FIXED64 else 4
            if wire not in (VARINT, FIXED64, LENGTH, FIXED32) or not 1 <= tag >> 3 < 2**29:
                raise SuspectError(f"not an ONNX model: no protobuf field can begin with the tag {tag}")
            if size > len(data) - at:
                raise SuspectError(f"truncated, or not an ONNX model: a field of {size} bytes, {len(data) - at} left")
            yield Field(tag >> 3, wire, value, data[at : at + size])
            at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at an offset, and the offset after it."""
    if at < len(data) and data[at] < 0x80:  # nearly all of a graph's numbers have one byte
        return data[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise SuspectError("truncated, or not an ONNX model: it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise SuspectError("not an ONNX model: a number of more than ten bytes")
