"""The journal of a running engine: one task takes what waits, has it written and synced, and says so to the log.

Mirrors ``rust/journal/src/journal.rs`` and ``writer.rs``. Everything that touches a file runs in a thread, one piece of
work at a time; only snapshots are written beside it. Rules: docs/storage.md, Writing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from iii_fast.contracts import Storage
from iii_fast.errors import StorageError
from iii_fast.reference import segment, segment_writer, snapshot
from iii_fast.reference.catalog import Catalog, Segment
from iii_fast.reference.commit import Op, encode_commit
from iii_fast.reference.files import Files
from iii_fast.reference.log import Log
from iii_fast.reference.part import PartEntry, PartHeader
from iii_fast.reference.segment_writer import Current
from iii_fast.reference.state_entries import Entries

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that is open: what lies in it, up to where a snapshot makes the journal unnecessary, and the end."""

    files: Files
    catalog: Catalog
    start: int
    position: int
    current: Current


@dataclass(frozen=True, slots=True)
class _Batch:
    """Commits that are written at once; the last one has ``position``. ``captured``: the entries then, for a round."""

    records: bytes
    position: int
    captured: list[PartEntry] | None


class Journal:
    """Keeps the commits of ``log`` in the files of ``place``, which it gives back when it has run.

    Those who write have to wait when more than ``waiting_bytes_max`` wait for the disk.
    """

    def __init__(self, place: Place, storage: Storage, log: Log, entries: Entries, waiting_bytes_max: int) -> None:
        self._files, self._catalog, self._current = place.files, place.catalog, place.current
        self._storage = storage
        self._log = log
        self._entries = entries
        self._position = self._synced = place.position
        # What waits.
        self._records: list[bytes] = []
        self._last = place.position
        self._waiting_bytes = 0
        self._waiting_bytes_max = waiting_bytes_max
        self._room: trio.Event | None = None
        self._wanted = 0
        self._sync_due = math.inf
        self._woken = trio.Event()
        # Rounds of snapshots.
        self._start = place.start
        self._generation = place.catalog.generation + 1
        self._behind_min = 0
        self._in_round = False
        self.snapshot_failure: str | None = None
        self._ending = False

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files."""
        return self._catalog.disk_bytes

    # --- what the log tells ----------------------------------------------------------------------------------------

    def append(self, position: int, ops: Sequence[Op]) -> None:
        """Takes the next commit."""
        record = encode_commit(position, ops)
        self._records.append(record)
        self._last = position
        self._waiting_bytes += len(record)
        self._woken.set()

    def sync(self, position: int) -> None:
        """Somebody waits for ``position`` to be on the disk, whatever level is configured."""
        self._wanted = max(self._wanted, position)
        self._woken.set()

    def room(self) -> trio.Event | None:
        """What whoever has written has to wait for before it may write more; ``None`` when it need not."""
        if self._waiting_bytes <= self._waiting_bytes_max or self._log.failure is not None:
            return None
        if self._room is None:
            self._room = trio.Event()
        return self._room

    def _make_room(self) -> None:
        if self._room is not None and self.room() is None:
            self._room.set()
            self._room = None

    # --- the task --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Writes what comes until cancelled; then the rest, ends the journal in an orderly way and gives it back."""
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await self._keep_writing(nursery)
                finally:
                    self._ending = True
                    with trio.CancelScope(shield=True):
                        await self._write_out()
        finally:
            self._current.output.close()
            self._files.unlock()

    async def _keep_writing(self, nursery: trio.Nursery) -> None:
        while True:
            with trio.move_on_at(self._sync_due):
                await self._woken.wait()
            self._woken = trio.Event()
            with trio.CancelScope(shield=True):  # what was taken is written
                captured = await self._turn()
            if captured is not None:
                self._in_round = True
                nursery.start_soon(self._round, captured, self._position)

    async def _turn(self) -> list[PartEntry] | None:
        """Writes and syncs what is due, and says so; returns what a snapshot has to hold when a round has begun."""
        if self._log.failure is not None:
            return None
        batch = self._take()
        is_always = self._storage.sync == "always"
        is_sync_due = is_always or self._wanted > self._synced or trio.current_time() >= self._sync_due
        try:
            await trio.to_thread.run_sync(self._write, batch, is_sync_due)
        except Exception as error:
            self._fail(error)
            return None
        self._waiting_bytes -= len(batch.records)
        if self._synced == self._position:
            self._sync_due = math.inf
        elif self._storage.sync == "interval" and self._sync_due == math.inf:
            self._sync_due = trio.current_time() + self._storage.sync_interval_ms / 1000
        self._log.acknowledge(self._synced if is_always else self._position, self._synced)
        self._make_room()
        return batch.captured

    def _take(self) -> _Batch:
        """Everything that waits. What is captured at the same instant is what it leads to, and nothing later."""
        records, self._records = b"".join(self._records), []
        captured = snapshot.capture(self._entries) if self._is_round_due() else None
        return _Batch(records, self._last, captured)

    def _fail(self, error: Exception) -> None:
        """What was taken is not written, whatever the reason: nothing may follow it."""
        self._tell_bug(error)
        self._sync_due = math.inf
        self._log.fail(str(error))
        self._make_room()

    @staticmethod
    def _tell_bug(error: Exception) -> None:
        if not isinstance(error, StorageError):
            logger.error("writing to the files of state failed; this is a bug of iii-fast", exc_info=error)

    async def _write_out(self) -> None:
        """The end: everything that waits, and then a record that says so."""
        await self._turn()
        if self._log.failure is not None:
            return
        try:
            await trio.to_thread.run_sync(self._close)
        except Exception as error:
            self._fail(error)
            return
        self._log.acknowledge(self._position, self._synced)

    # --- in a thread -----------------------------------------------------------------------------------------------

    def _write(self, batch: _Batch, is_sync_due: bool) -> None:
        if batch.records:
            if self._catalog.segments[-1].bytes >= self._storage.segment_bytes:
                self._change_segment()
            self._append(batch.records)
            self._position = batch.position
        if is_sync_due:
            self._sync()
        if batch.captured is not None and self._catalog.segments[-1].first <= self._position:
            self._change_segment()

    def _append(self, records: bytes) -> None:
        """Appends a mark and the records."""
        data = segment.encode_mark(self._position, self._synced, self._current.number) + records
        self._current.output.append(data)
        self._catalog.segments[-1].bytes += len(data)

    def _sync(self) -> None:
        if self._synced < self._position:
            self._current.output.sync()
            self._synced = self._position

    def _change_segment(self) -> None:
        """Begins the segment behind everything that is written, which is synced first."""
        self._sync()
        first = self._position + 1
        former, self._current = self._current, segment_writer.begin(self._files, first)
        former.output.close()
        self._catalog.segments.append(Segment(first, segment.HEADER_BYTES))

    def _close(self) -> None:
        self._sync()
        self._append(segment.encode_close(self._position, self._current.number))
        self._current.output.sync()

    # --- rounds of snapshots ---------------------------------------------------------------------------------------

    def _is_round_due(self) -> bool:
        if self._in_round or self._ending:
            return False
        behind = self._catalog.bytes_behind(self._start)
        return behind >= max(self._storage.segment_bytes, self._behind_min) and behind > self._entries.bytes / 3

    async def _round(self, captured: list[PartEntry], start: int) -> None:
        """Writes a snapshot, then removes what it makes unnecessary. A failure leaves everything as it was."""
        header = snapshot.header(self._generation, start)
        try:
            size = await trio.to_thread.run_sync(self._write_part, header, captured)
            if size is not None:
                self._start, self._behind_min = start, 0
                self._catalog.parts[header.id] = size
                await trio.to_thread.run_sync(self._remove_unneeded)
            self.snapshot_failure = None
        except Exception as error:
            self._tell_bug(error)
            self.snapshot_failure = str(error)
            self._behind_min = self._catalog.bytes_behind(self._start) + self._storage.segment_bytes
        finally:
            self._in_round = False

    def _write_part(self, header: PartHeader, captured: list[PartEntry]) -> int | None:
        size = snapshot.write(self._files, header, captured, lambda: self._ending)
        if size is not None:
            snapshot.finish(self._files, header)
        return size

    def _remove_unneeded(self) -> None:
        """Parts of former processes first: without the journal behind them they would bring back what was deleted.

        What cannot be removed stays in the catalog: its time comes again with the next round.
        """
        for found in self._catalog.others(self._generation):
            self._files.remove(found.name)
            del self._catalog.parts[found]
        self._files.sync_names()
        for one in self._catalog.unneeded(self._start, self._storage.history_bytes_max):
            self._files.remove(one.name)
            self._catalog.segments.remove(one)
        self._files.sync_names()
