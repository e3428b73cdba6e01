"""The directory as a start reads it: the newest whole snapshot, then every commit behind it.

Mirrors ``rust/journal/src/recovery.rs``. Changes no file. Rules: docs/storage.md, Recovery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iii_fast.reference import part, segment
from iii_fast.reference.catalog import Catalog, Segment
from iii_fast.reference.commit import DeleteScopeOp, SetOp
from iii_fast.reference.faults import Faults, Piece
from iii_fast.reference.files import Files
from iii_fast.reference.history import History
from iii_fast.reference.part import PartEntry, PartHeader, PartId, PartReader
from iii_fast.reference.record import BrokenError
from iii_fast.reference.segment import Commit, SegmentReader
from iii_fast.reference.state_entries import Entries, Entry


@dataclass(slots=True)
class Found:
    """What a start has found, besides the entries. ``tail`` is the last segment as far as it is whole."""

    history: History
    dropped: list[Piece]
    start: int = 0
    position: int = 0
    tail: Segment | None = None
    torn: Piece | None = None
    bytes_read: int = 0


def recover(files: Files, catalog: Catalog, entries: Entries, history_bytes_max: int, *, salvage: bool) -> Found:
    """Puts everything into ``entries``, which is empty. Raises ``StorageError``."""
    recovery = _Recovery(files, catalog, Faults(files.directory, salvage), entries, history_bytes_max)
    recovery.run()
    return recovery.found


@dataclass(slots=True)
class _Recovery:
    files: Files
    catalog: Catalog
    faults: Faults
    entries: Entries
    history_bytes_max: int
    found: Found = field(init=False)
    remembered: int = field(init=False, default=0)

    def run(self) -> None:
        self.found = Found(History(self.history_bytes_max), self.faults.dropped)
        parts, start = self._choose_snapshot()
        newest = self._load(parts)
        needed, missing = self.catalog.first_needed(start)
        if missing is not None:
            self.faults.missing(missing)
        self.found.start = self.found.position = start or 0
        for index, one in enumerate(self.catalog.segments):
            data = self._read(one.name)
            if index < needed:
                self._remember_all(one, data)
            else:
                self._replay_segment(one, data)
        last = self.found.position
        if newest > last:
            self.faults.missing(f"the snapshot knows changes up to position {newest}, and the journal ends at {last}")
            self.found.position = newest

    def _read(self, name: str) -> bytes:
        data = self.files.read(name)
        self.found.bytes_read += len(data)
        return data

    # --- the snapshot ----------------------------------------------------------------------------------------------

    def _choose_snapshot(self) -> tuple[list[PartId], int | None]:
        """The parts to load and the start: of the newest generation of which all parts are there.

        Older ones, and one that was only begun, are not needed. When salvaging and there is none, all that is left.
        """
        try:
            for generation in sorted({found.generation for found in self.catalog.parts}, reverse=True):
                headers = [self._header(found) for found in self.catalog.parts if found.generation == generation]
                if all(header.parts == len(headers) for header in headers):
                    return [header.id for header in headers], min(header.start for header in headers)
        except BrokenError:
            pass  # told when the part is loaded
        return (list(self.catalog.parts) if self.faults.salvage else []), None

    def _header(self, found: PartId) -> PartHeader:
        data = self.files.read(found.name, part.HEADER_BYTES)
        try:
            return part.read_header(data, found)
        except BrokenError as error:
            if error.other_version or not self.faults.salvage:
                self.faults.damage(found.name, error, data)
            raise

    def _load(self, parts: Sequence[PartId]) -> int:
        """Loads parts; returns the greatest version in them."""
        loaded: dict[tuple[str, str], PartEntry] = {}
        for found in parts:
            for entry in self._entries_of(found):
                other = loaded.get((entry.scope, entry.key))
                if other is None or other.entry.version < entry.entry.version:
                    loaded[entry.scope, entry.key] = entry
        # In their order: putting each where it belongs among the others would take long.
        for entry in sorted(loaded.values(), key=lambda one: one.entry.insertion):
            self.entries.put(entry.scope, entry.key, entry.entry)
        return max((one.entry.version for one in loaded.values()), default=0)

    def _entries_of(self, found: PartId) -> list[PartEntry]:
        data = self._read(found.name)
        start = 0
        try:
            start = part.read_header(data, found).start
        except BrokenError as error:
            self.faults.damage(found.name, error, data[: part.HEADER_BYTES])
        reader = PartReader(data, start)
        entries: list[PartEntry] = []
        while True:
            try:
                some = reader.next()
            except BrokenError as error:
                reader.skip()
                self.faults.damage(found.name, error, data[error.offset : reader.offset])
                if reader.offset >= len(data):
                    return entries
                continue
            if some is None:
                return entries
            entries += some

    # --- the journal -----------------------------------------------------------------------------------------------

    def _replay_segment(self, one: Segment, data: bytes) -> None:
        self._check_gap(one)
        is_last = one is self.catalog.segments[-1]
        reader = SegmentReader(data, one.first)
        try:
            reader.check_header()
        except BrokenError as error:
            if is_last and len(data) <= segment.HEADER_BYTES and not error.other_version:
                self._cut(one, data, 0)  # whoever began it wrote nothing else
                return
            self.faults.damage(one.name, error, data[: segment.HEADER_BYTES])
        while True:
            try:
                commit = reader.next()
            except BrokenError as error:
                if is_last and reader.is_torn(error):
                    self._cut(one, data, reader.offset)
                    break
                reader.skip()
                self.faults.damage(one.name, error, data[error.offset : reader.offset])
                continue
            if commit is None:
                self.found.tail = Segment(one.first, len(data))
                break
            if commit.position > self.found.start:
                replay(self.entries, commit)
            self._remember(commit)
        self.found.position = max(self.found.position, reader.last)

    def _check_gap(self, one: Segment) -> None:
        last = self.found.position
        if one.first != last + 1:
            self.faults.missing(f"the journal ends at position {last} before {one.name}")

    def _cut(self, one: Segment, data: bytes, offset: int) -> None:
        reason = "the end of the journal had not been written whole"
        self.found.torn = Piece(one.name, offset, reason, data[offset:])
        self.found.tail = Segment(one.first, offset)

    # --- the history -----------------------------------------------------------------------------------------------

    def _remember_all(self, one: Segment, data: bytes) -> None:
        """Reads a segment that only the history wants: it is no loss of state when it is damaged."""
        reader = SegmentReader(data, one.first)
        try:
            reader.check_header()
            while (commit := reader.next()) is not None:
                self._remember(commit)
        except BrokenError:
            return

    def _remember(self, commit: Commit) -> None:
        if commit.before != self.remembered:  # also at the beginning: what was before is not known
            self.found.history = History(self.history_bytes_max)
        self.found.history.begin(commit.before)
        self.found.history.add(commit.position, commit.ops)
        self.remembered = commit.position


def replay(entries: Entries, commit: Commit) -> None:
    """Applies each operation to what is not newer than it. What has its own position is of the same commit."""
    for insertion, op in enumerate(commit.ops, commit.before + 1):
        keys = [key for key, _ in entries.scope(op.scope).after()] if isinstance(op, DeleteScopeOp) else [op.key]
        for key in keys:
            former = entries.get(op.scope, key)
            if former is not None and former.version > commit.position:
                continue
            if isinstance(op, SetOp):
                number = insertion if op.created or former is None else former.insertion
                entries.put(op.scope, key, Entry(op.value, commit.position, number, op.expires_at))
            elif former is not None:
                entries.remove(op.scope, key)
