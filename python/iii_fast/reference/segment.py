"""Segments of the journal: name, header, and the commits in one. Mirrors ``rust/journal/src/segment.rs``.

Works on bytes. Rules: docs/storage.md, Format and Recovery.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from iii_fast.reference.commit import Op, decode_ops
from iii_fast.reference.record import (
    CLOSE,
    COMMIT,
    HEAD_BYTES,
    MARK,
    VERSION,
    BrokenError,
    Record,
    candidates,
    checksum,
    encode_numbers,
    malformed,
    read_record,
)

HEADER_BYTES: Final = 40
_MAGIC: Final = b"IIIFASTJ"
_NAME: Final = re.compile(r"journal-([0-9]{20})\.log")


@dataclass(frozen=True, slots=True)
class Commit:
    """What was written at once. Its last operation has ``position``."""

    position: int
    ops: list[Op]

    @property
    def before(self) -> int:
        """The position before it."""
        return self.position - len(self.ops)


def name(first: int) -> str:
    """The file whose first position is ``first``."""
    return f"journal-{first:020}.log"


def parse_name(text: str) -> int | None:
    """The first position of a segment by its name."""
    match = _NAME.fullmatch(text)
    return int(match[1]) or None if match else None


def header(first: int, number: int) -> bytes:
    """The first bytes of a segment.

    ``number`` was drawn for it: its marks and closes repeat it, so that nothing that is stored can be taken for one.
    """
    start = _MAGIC + struct.pack("<IIQ", VERSION, 0, first)
    checked = start + struct.pack("<IQ", checksum(start), number)
    return checked + struct.pack("<I", checksum(checked))


def read_header(data: bytes, first: int) -> int:
    """The number of the segment that begins at ``first``. Raises ``BrokenError``."""
    version = _version(data)
    if version not in (None, VERSION):
        raise BrokenError(f"version {version} of the format; this engine knows version {VERSION}", other_version=True)
    if len(data) < HEADER_BYTES:
        raise BrokenError("the header is cut short")
    position, _, number = struct.unpack_from("<QIQ", data, 16)
    if data[:HEADER_BYTES] != header(position, number):
        raise BrokenError("the header is not that of such a file, or its checksum is wrong")
    if position != first:
        raise BrokenError("the header and the name of the file do not belong together")
    return int(number)


def _version(data: bytes) -> int | None:
    """The version of the format, by what is the same in every version of a header; ``None`` if it is none."""
    if not data.startswith(_MAGIC) or data[24:28] != struct.pack("<I", checksum(data[:24])):
        return None
    return int.from_bytes(data[8:12], "little")


def encode_mark(position: int, synced: int, number: int) -> bytes:
    """The record before a batch: the last one has ``position``, everything up to ``synced`` is on the disk.

    ``number`` is that of the segment.
    """
    return encode_numbers(MARK, position, synced, number)


def encode_close(position: int, number: int) -> bytes:
    """The last record after a clean stop: everything up to ``position``, that of the last one, is on the disk.

    ``number`` is that of the segment.
    """
    return encode_numbers(CLOSE, position, number)


class SegmentReader:
    """Reads commit after commit. ``offset``: what is read; ``last``: the position of the last commit."""

    def __init__(self, data: bytes, first: int) -> None:
        self._data = data
        self.offset = HEADER_BYTES
        self.last = first - 1
        self.closed = False
        self._number: int | None = None

    def check_header(self) -> None:
        """Reads the number in the header. Raises ``BrokenError`` when that is not the header of this file."""
        self._number = read_header(self._data, self.last + 1)

    def next(self) -> Commit | None:
        """The next commit, ``None`` at the end. Raises ``BrokenError``, and does not go past what is broken."""
        while self.offset < len(self._data):
            try:
                record = read_record(self._data, self.offset)
                commit = self._read(record)
            except BrokenError as error:
                error.offset = self.offset
                raise
            self.offset += record.size
            if commit is not None:
                return commit
        return None

    def _read(self, record: Record) -> Commit | None:
        if self.closed:
            raise BrokenError("something follows the last record")
        match record.kind:
            case kind if kind == COMMIT:
                commit = Commit(record.position, decode_ops(record.body))
                self._check_follows(commit.before, record.position)
                self.last = record.position
                return commit
            case kind if kind in (MARK, CLOSE):
                if self._says_synced(record) > record.position:
                    raise malformed()
                self._check_follows(record.position, record.position)
                self.closed = kind == CLOSE
            case kind:
                raise BrokenError(f"a record of kind {kind} does not belong here")
        return None

    def _check_follows(self, before: int, found: int) -> None:
        if before != self.last:
            text = f"the record ends at position {found} and should begin at position {self.last + 1}"
            raise BrokenError(text)

    # --- after something broken ------------------------------------------------------------------------------------

    def is_torn(self, error: BrokenError) -> bool:
        """Whether ``error``, in the last segment, is what a crash leaves of writes that nobody was promised."""
        return error.unfinished and self._synced_behind() <= self.last

    def _synced_behind(self) -> int:
        """Up to which position marks and closes from here on say that everything is on the disk."""
        return max(self._synced(candidates(self._data, self.offset)), default=0)

    def _synced(self, offsets: Iterator[int]) -> Iterator[int]:
        for offset in offsets:
            try:
                yield self._says_synced(read_record(self._data, offset))
            except BrokenError:
                continue

    def _says_synced(self, record: Record) -> int:
        """Up to which position a mark or close of this segment says that everything is on the disk.

        Raises ``BrokenError`` for others: one that has not the segment's number may be part of a key or value.
        """
        match record.kind:
            case kind if kind == MARK:
                synced, number = record.numbers(2)
            case kind if kind == CLOSE:
                synced, [number] = record.position, record.numbers(1)
            case _:
                raise malformed()
        if self._number not in (None, number):
            raise malformed()
        return synced

    def skip(self) -> None:
        """Goes on with the next record that can be used, whatever its position; to the end if there is none."""
        self.closed = False
        for offset in self._guesses():
            try:
                before = self._before(read_record(self._data, offset))
            except BrokenError:
                continue
            if before >= self.last:
                self.offset, self.last = offset, before
                return
        self.offset = len(self._data)

    def _before(self, record: Record) -> int:
        """The position before a record of a segment. Raises ``BrokenError`` for others."""
        if record.kind == COMMIT:
            return record.position - len(decode_ops(record.body))
        self._says_synced(record)
        return record.position

    def _guesses(self) -> Iterator[int]:
        """In place; where the record's own length leads (what looks like one before may be part of a key); anywhere."""
        yield self.offset
        yield self.offset + HEAD_BYTES + int.from_bytes(self._data[self.offset : self.offset + 4], "little")
        yield from candidates(self._data, self.offset)
