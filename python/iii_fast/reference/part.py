"""Parts of a snapshot: name, header, and the entries in one. Mirrors ``rust/journal/src/part.rs``.

Works on bytes. Which entries a part has is known only to the process that wrote it; this backend writes one part.
Rules: docs/storage.md, Format.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from iii_fast.reference.commit import EXPIRES
from iii_fast.reference.record import (
    END,
    ENTRIES,
    HEAD_BYTES,
    VERSION,
    Body,
    BrokenError,
    Record,
    candidates,
    checksum,
    encode_numbers,
    encode_record,
    malformed,
    read_record,
    sized,
    sized_value,
    varint,
)
from iii_fast.reference.state_entries import Entry

HEADER_BYTES: Final = 48
_MAGIC: Final = b"IIIFASTS"
_NAME: Final = re.compile(r"snapshot-([0-9]{8})-([0-9]{5})\.snap")
_RECORD_BYTES: Final = 64 << 10  # a record with as much gets no more


@dataclass(frozen=True, order=True, slots=True)
class PartId:
    """What names a part. One generation is what one process writes."""

    generation: int
    part: int

    @property
    def name(self) -> str:
        """The file."""
        return f"snapshot-{self.generation:08}-{self.part:05}.snap"


def parse_name(text: str) -> PartId | None:
    """The part by the name of its file."""
    match = _NAME.fullmatch(text)
    return PartId(int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class PartHeader:
    """``parts``: how many the generation has; ``start``: changes up to this position are in it, later ones may be."""

    id: PartId
    parts: int
    start: int

    def encode(self) -> bytes:
        """The first bytes of the file."""
        numbers = struct.pack("<IIIIQ", VERSION, self.id.generation, self.id.part, self.parts, self.start)
        return _MAGIC + numbers + struct.pack("<I", checksum(_MAGIC + numbers)) + bytes(12)


def read_header(data: bytes, part: PartId) -> PartHeader:
    """The header of the file that is ``part`` by its name. Raises ``BrokenError``."""
    if len(data) < HEADER_BYTES:
        raise BrokenError("the header is cut short")
    version, generation, number, parts, start, expected = struct.unpack_from("<IIIIQI", data, 8)
    if not data.startswith(_MAGIC) or checksum(data[:32]) != expected:
        raise BrokenError("the header is not that of such a file, or its checksum is wrong")
    if version != VERSION:
        raise BrokenError(f"version {version} of the format; this engine knows version {VERSION}", other_version=True)
    header = PartHeader(PartId(generation, number), parts, start)
    if header.id != part or number >= parts:
        raise BrokenError("the header and the name of the file do not belong together")
    if data[:HEADER_BYTES] != header.encode():
        raise BrokenError("the header is not that of such a file, or its checksum is wrong")
    return header


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One entry and where it belongs."""

    scope: str
    key: str
    entry: Entry


def encode_entries(start: int, entries: Iterable[PartEntry]) -> Iterator[bytes]:
    """Everything behind the header, record by record."""
    body = bytearray()
    count = 0
    for entry in entries:
        body += _encode_entry(entry)
        count += 1
        if len(body) >= _RECORD_BYTES:
            yield encode_record(ENTRIES, start, bytes(body))
            body.clear()
    if body:
        yield encode_record(ENTRIES, start, bytes(body))
    yield encode_numbers(END, start, count)


def _encode_entry(found: PartEntry) -> bytes:
    entry = found.entry
    flags = 0 if entry.expires_at is None else EXPIRES
    until = b"" if entry.expires_at is None else struct.pack("<Q", entry.expires_at)
    names = sized(found.scope) + sized(found.key)
    return bytes((flags,)) + names + until + varint(entry.version) + varint(entry.insertion) + sized_value(entry.value)


def _decode_entries(body: bytes) -> list[PartEntry]:
    rest = Body(body)
    found = []
    while rest:
        flags = rest.flags(EXPIRES)
        scope, key = rest.text(), rest.text()
        expires_at = rest.u64() if flags & EXPIRES else None
        version, insertion = rest.varint(), rest.varint()
        found.append(PartEntry(scope, key, Entry(rest.value(), version, insertion, expires_at)))
    return found


class PartReader:
    """Reads the records of one part. ``offset``: what is read."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start
        self._count = 0
        self._skipped = False
        self.offset = HEADER_BYTES

    def next(self) -> list[PartEntry] | None:
        """The next entries, ``None`` at the end. Raises ``BrokenError``, and does not go past what is broken."""
        try:
            if self.offset >= len(self._data):
                raise BrokenError("the file ends before its last record")
            record = read_record(self._data, self.offset)
            entries = self._read(record)
        except BrokenError as error:
            error.offset = self.offset
            raise
        self.offset += record.size
        return entries

    def _read(self, record: Record) -> list[PartEntry] | None:
        if record.position != self._start:
            text = f"the record ends at position {record.position} and should begin at position {self._start}"
            raise BrokenError(text)
        if record.kind == ENTRIES:
            entries = _decode_entries(record.body)
            self._count += len(entries)
            return entries
        if record.kind != END:
            raise BrokenError(f"a record of kind {record.kind} does not belong here")
        [count] = record.numbers(1)
        if count != self._count and not self._skipped:
            raise BrokenError(f"the file has {self._count} entries and says that it has {count}")
        if self.offset + record.size < len(self._data):
            raise BrokenError("something follows the last record")
        return None

    def skip(self) -> None:
        """Goes on with the next entries that can be used, whatever their position; to the end if there are none."""
        self._skipped = True
        own = self.offset + HEAD_BYTES + int.from_bytes(self._data[self.offset : self.offset + 4], "little")
        for offset in (self.offset, own, *candidates(self._data, self.offset)):
            try:
                record = read_record(self._data, offset)
                if record.kind != ENTRIES:
                    raise malformed()
                _decode_entries(record.body)
            except BrokenError:
                continue
            self.offset, self._start = offset, record.position
            return
        self.offset = len(self._data)
