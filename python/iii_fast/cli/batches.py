"""Reads records from a file in batches that one call can write, and knows how far each of them reaches.

Everything here blocks: it runs in threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

import msgpack

from iii_fast import jsontext
from iii_fast.cli import packed
from iii_fast.cli.failure import CommandError
from iii_fast.cli.record import Record, RecordError, from_line, from_msgpack
from iii_fast.cli.saved_progress import ImportProgress
from iii_fast.protocol import JSON_DEPTH_MAX

BATCH_RECORDS: Final = 1_000
BATCH_BYTES: Final = 1 << 20
RECORD_BYTES_MAX: Final = 64 << 20
"""More than the engine takes in one message."""

READ_BYTES: Final = 1 << 20
WRAPPED_DEPTH_MAX: Final = JSON_DEPTH_MAX - 4
"""How deep a value can be in ``state::set_many``, which puts four levels around it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are written together. ``place`` says where they come from; ``progress`` holds when they are written.

    ``alone``: a single one whose value cannot be written together with others.
    """

    records: list[Record]
    place: str
    progress: ImportProgress | None = None
    alone: bool = False


def is_alone(value: bytes) -> bool:
    """Whether a value nests deeper than ``WRAPPED_DEPTH_MAX``, or is one that JSON does not have (``packed``)."""
    if packed.is_packed(value):
        return True
    if value.count(b"[") + value.count(b"{") <= WRAPPED_DEPTH_MAX:
        return False
    try:
        jsontext.check(value, WRAPPED_DEPTH_MAX)
    except jsontext.JsonTextError:
        return True
    return False


def groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Splits records into lists that one call can write; some are alone."""
    group: list[Record] = []
    size = 0
    for record in records:
        more = len(record.scope) + len(record.key) + len(record.value)
        alone = is_alone(record.value)
        if group and (alone or len(group) == BATCH_RECORDS or size + more > BATCH_BYTES):
            yield group
            group, size = [], 0
        group.append(record)
        size += more
        if alone:
            yield group
            group, size = [], 0
    if group:
        yield group


class RecordFile:
    """A file of records, read from ``start`` on. ``offset`` bytes are read so far."""

    def __init__(self, file: BinaryIO, name: str, start: ImportProgress) -> None:
        self._file = file
        self._name = name
        self._now = start
        self._hash = hashlib.sha256()
        self._broken: CommandError | None = None

    def skip_what_is_done(self) -> None:
        """Goes to where ``start`` is. Raises ``CommandError`` when the file before that is not what it was."""
        left = self._now.offset
        while left and (data := self._file.read(min(left, READ_BYTES))):
            self._hash.update(data)
            left -= len(data)
        if left or (self._now.offset and self._hash.hexdigest() != self._now.sha256):
            raise CommandError(
                f"{self._name} is not the file that was begun: its first {self._now.offset} bytes are others. "
                "Import it without --resume"
            )

    def batches(self) -> Iterator[Batch]:
        """What is left of the file. When a record is bad those before it come first, then ``CommandError``."""
        passed: list[tuple[bytes, int]] = []  # bytes and lines of each record that is in no batch yet

        def records() -> Iterator[Record]:
            reading = self._lines() if self._now.format == "jsonl" else self._maps()
            for record, raw, lines in reading:
                passed.append((raw, lines))
                yield record

        for group in groups(records()):
            place = self._place(1)
            for raw, lines in passed[: len(group)]:
                self._hash.update(raw)
                self._now = replace(
                    self._now,
                    offset=self._now.offset + len(raw),
                    records=self._now.records + 1,
                    lines=self._now.lines + lines,
                )
            del passed[: len(group)]
            self._now = replace(self._now, sha256=self._hash.hexdigest())
            places = place if len(group) == 1 else f"{place} to {self._place(0)}"
            yield Batch(group, places, self._now, len(group) == 1 and is_alone(group[0].value))
        if self._broken is not None:
            raise self._broken

    def _place(self, ahead: int) -> str:
        if self._now.format == "jsonl":
            return f"line {self._now.lines + ahead}"
        return f"record {self._now.records + ahead}"

    def _lines(self) -> Iterator[tuple[Record, bytes, int]]:
        """Records with their bytes (with the blank lines before them) and how many lines these are."""
        number = self._now.lines
        blank, blanks = b"", 0
        while line := self._file.readline(RECORD_BYTES_MAX + 1):
            number += 1
            if line.isspace():
                blank, blanks = blank + line, blanks + 1
                continue
            try:
                if len(line) > RECORD_BYTES_MAX:
                    raise RecordError(f"more than {RECORD_BYTES_MAX} bytes")
                record = from_line(line)
            except RecordError as error:
                self._broken = CommandError(f"{self._name} line {number}: {error}")
                return
            yield record, blank + line, blanks + 1
            blank, blanks = b"", 0

    def _maps(self) -> Iterator[tuple[Record, bytes, int]]:
        number = self._now.records + 1
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=RECORD_BYTES_MAX + 2 * READ_BYTES)
        buffer = bytearray()
        taken = 0
        try:
            while data := self._file.read(READ_BYTES):
                buffer += data
                unpacker.feed(data)
                for fields in unpacker:
                    end = unpacker.tell() - taken
                    taken += end
                    raw = bytes(buffer[:end])
                    del buffer[:end]
                    yield from_msgpack(fields), raw, 0
                    number += 1
            if buffer:
                raise RecordError("the file ends in the middle of it")
        except (ValueError, msgpack.UnpackException) as error:  # RecordError is a ValueError
            reason = str(error) or type(error).__name__
            self._broken = CommandError(f"{self._name} record {number}: {reason}")
