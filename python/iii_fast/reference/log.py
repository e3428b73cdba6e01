"""The log of changes: gives every commit its position, tells when it is acknowledged, and remembers it for the feed.

Mirrors ``rust/core/src/log``. Knows no files: a journal takes the commits, if there is one, and reports how far they
have come. Without one everything is acknowledged at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import trio

from iii_fast.contracts import Changes
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference.commit import Op
from iii_fast.reference.history import Filter, History

Then: TypeAlias = Callable[[WireError | None], None]
"""Called once: with nothing when a write may be acknowledged, with ``STORAGE_FAILED`` when it never will be."""


class Journal(Protocol):
    """What keeps commits beyond the process. Reports with ``Log.acknowledge`` and ``fail``, not from within these."""

    def append(self, position: int, ops: Sequence[Op]) -> None:
        """Takes the next commit."""

    def sync(self, position: int) -> None:
        """Somebody waits for ``position`` to be on the disk, whatever level is configured."""

    def room(self) -> trio.Event | None:
        """What whoever has written has to wait for before it may write more; ``None`` when it need not."""


class Log:
    """The log of one engine. ``history_bytes_max`` bounds the records that the change feed can go back to."""

    def __init__(self, history_bytes_max: int, journal: Journal | None = None) -> None:
        self.history = History(history_bytes_max)
        self.on_advance: Callable[[], None] = lambda: None
        self.position = 0
        self.acknowledged = 0
        self.synced = 0
        self.failure: str | None = None
        self._journal = journal
        self._waiting: list[tuple[int, bool, Then]] = []

    def attach(self, journal: Journal, position: int) -> None:
        """``journal`` takes over; everything up to ``position`` is on the disk. Call it before anything is written."""
        self._journal = journal
        self.position = self.acknowledged = self.synced = position
        self.history.begin(position)

    # --- writers ---------------------------------------------------------------------------------------------------

    @property
    def durable(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    def check_writable(self) -> None:
        """Raises ``WireError`` (``STORAGE_FAILED``) once a write or sync has failed."""
        if self.failure is not None:
            raise self._failed()

    def check_durable(self) -> None:
        """Raises ``WireError`` (``DURABILITY_UNAVAILABLE``) when a write may not ask to be on the disk."""
        if not self.durable:
            raise WireError(
                Code.DURABILITY_UNAVAILABLE,
                "field `durable`: this engine keeps state in memory only; configure store_method file_based",
            )

    def commit(self, ops: Sequence[Op]) -> int:
        """Takes the operations (one or more) of one write; returns its position, which is that of the last of them."""
        self.position += len(ops)
        self.history.add(self.position, ops)
        if self._journal is None:
            self.acknowledge(self.position, 0)
        else:
            self._journal.append(self.position, ops)
        return self.position

    def when_acknowledged(self, position: int, durable: bool, then: Then) -> None:
        """Calls ``then`` when the write at ``position`` may be acknowledged: perhaps at once, perhaps with an error.

        ``durable``: it must be on the disk then, whatever level is configured.
        """
        if (self.synced if durable else self.acknowledged) >= position:
            then(None)
        elif self.failure is not None:
            then(self._failed())
        else:
            self._waiting.append((position, durable, then))
            if durable and self._journal is not None:
                self._journal.sync(position)

    def room(self) -> trio.Event | None:
        """What a connection that has written has to wait for before it is read on, if too much waits for the disk."""
        return None if self._journal is None else self._journal.room()

    # --- the journal -----------------------------------------------------------------------------------------------

    def acknowledge(self, acknowledged: int, synced: int) -> None:
        """Everything up to ``acknowledged`` may be acknowledged, and everything up to ``synced`` is on the disk."""
        self.acknowledged, self.synced = acknowledged, synced
        waiting, self._waiting = self._waiting, []
        for position, durable, then in waiting:
            if (synced if durable else acknowledged) >= position:
                then(None)
            else:
                self._waiting.append((position, durable, then))
        self.on_advance()

    def fail(self, reason: str) -> None:
        """A write or sync has failed: nothing more is acknowledged. The first reason counts."""
        if self.failure is None:
            self.failure = reason
        waiting, self._waiting = self._waiting, []
        for _, _, then in waiting:
            then(self._failed())

    def _failed(self) -> WireError:
        return WireError(
            Code.STORAGE_FAILED,
            f"state is read-only since a write to its files failed: {self.failure}; "
            "free the disk or replace it, then restart the engine",
        )

    # --- the change feed -------------------------------------------------------------------------------------------

    def begin_feed(self) -> int:
        """Remembers changes from now on; returns the position up to which writes are acknowledged."""
        self.history.begin(self.position)
        return self.acknowledged

    def read_changes(self, since: int, wanted: Filter, count_max: int, bytes_max: int) -> Changes:
        """Acknowledged changes after ``since``. Raises ``WireError`` (``HISTORY_LOST``)."""
        return self.history.read(since, self.acknowledged, wanted, count_max, bytes_max)
