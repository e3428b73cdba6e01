"""Records: the frame that everything in the files of state has, and the pieces their bodies are made of.

Mirrors ``rust/core/src/log/record.rs``. Rules: docs/storage.md, Format. Knows no files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import google_crc32c

from iii_fast.reference import codec_value

HEAD_BYTES: Final = 20
"""Bytes of a record before its body."""
COMMIT: Final = 1
MARK: Final = 2
CLOSE: Final = 3
ENTRIES: Final = 16
END: Final = 17
_KINDS: Final = frozenset({COMMIT, MARK, CLOSE, ENTRIES, END})
VERSION: Final = 3
"""The only version of every kind, and of the files, that is known: since it marks and closes name their segment."""

_HEAD: Final = struct.Struct("<IIBBHQ")
_CHECKED_FROM: Final = 8
_U64_MAX: Final = 2**64 - 1


class BrokenError(Exception):
    """Bytes that do not say what was written. ``offset`` is where in the file, once a reader of files knows.

    ``unfinished``: a write that did not come to its end looks like this. ``other_version``: no damage, another version
    of the engine wrote them.
    """

    def __init__(self, reason: str, offset: int = 0, *, unfinished: bool = False, other_version: bool = False) -> None:
        super().__init__(reason)
        self.offset = offset
        self.unfinished = unfinished
        self.other_version = other_version


def malformed() -> BrokenError:
    """The checksum is right, but the body is not what its kind says."""
    return BrokenError("the body is malformed")


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record with a right checksum."""

    kind: int
    position: int
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return HEAD_BYTES + len(self.body)

    def numbers(self, count: int) -> tuple[int, ...]:
        """The u64 of which the bodies of marks, closes and a snapshot's end consist. Raises ``BrokenError``."""
        if len(self.body) != 8 * count:
            raise malformed()
        return struct.unpack(f"<{count}Q", self.body)


def checksum(data: bytes) -> int:
    """CRC-32C."""
    return int(google_crc32c.value(data))


def encode_record(kind: int, position: int, body: bytes) -> bytes:
    """A record of any kind: bytes of the body, checksum, kind, version, position, body."""
    checked = struct.pack("<BBHQ", kind, VERSION, 0, position) + body
    return struct.pack("<II", len(body), checksum(checked)) + checked


def encode_numbers(kind: int, position: int, *numbers: int) -> bytes:
    """A record whose body consists of u64."""
    return encode_record(kind, position, struct.pack(f"<{len(numbers)}Q", *numbers))


def read_record(data: bytes, offset: int) -> Record:
    """The record at ``offset``. Raises ``BrokenError``."""
    body = offset + HEAD_BYTES
    if body > len(data):
        raise BrokenError("the record is cut short", offset, unfinished=True)
    size, expected, kind, version, zero, position = _HEAD.unpack_from(data, offset)
    if body + size > len(data):
        raise BrokenError("the record is cut short", offset, unfinished=True)
    if checksum(data[offset + _CHECKED_FROM : body + size]) != expected:
        raise BrokenError("the checksum is wrong", offset, unfinished=True)
    if kind not in _KINDS or version != VERSION:
        text = f"a record of kind {kind}, version {version}, which this engine does not know"
        raise BrokenError(text, offset, other_version=True)
    if zero != 0:
        raise malformed()
    return Record(kind, position, data[body : body + size])


def candidates(data: bytes, offset: int) -> Iterator[int]:
    """Where, from ``offset`` on, a record may begin: whatever has its version and the zeros behind it."""
    pattern, back = bytes((VERSION, 0, 0)), 9
    at = data.find(pattern, offset + back)
    while at >= 0:
        yield at - back
        at = data.find(pattern, at + 1)


# --- bodies ----------------------------------------------------------------------------------------------------------


def sized(name: str) -> bytes:
    """A name: its length in UTF-8 as varint, and its bytes."""
    raw = name.encode()
    return varint(len(raw)) + raw


def sized_value(text: str) -> bytes:
    """A value: the same of its JSON text, or of 0xc1 and its msgpack."""
    raw = codec_value.to_raw(text)
    return varint(len(raw)) + raw


def varint(number: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Body:
    """Reads a body from its beginning to its end. Everything raises ``BrokenError`` for what cannot be read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise malformed()
        self._at += count
        return taken

    def byte(self) -> int:
        """A u8."""
        return self.take(1)[0]

    def flags(self, known: int) -> int:
        """A u8 of which only the bits of ``known`` may be set."""
        flags = self.byte()
        if flags & ~known:
            raise malformed()
        return flags

    def u64(self) -> int:
        """A u64."""
        return int.from_bytes(self.take(8), "little")

    def varint(self) -> int:
        """A varint: at most 64 bits, and no longer than it has to be."""
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if number > _U64_MAX or (shift and not byte):
                raise malformed()
            if byte < 0x80:
                return number
            shift += 7

    def text(self) -> str:
        """A name."""
        return self._sized(bytes.decode)

    def value(self) -> str:
        """A value, as ``codec_value`` has it."""
        return self._sized(codec_value.from_raw)

    def _sized(self, read: Callable[[bytes], str]) -> str:
        try:
            return read(self.take(self.varint()))
        except UnicodeDecodeError as error:
            raise malformed() from error
