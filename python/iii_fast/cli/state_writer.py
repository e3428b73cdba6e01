"""Writes batches of records into a running engine, several calls at a time, in the order of the batches."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import trio

from iii_fast import jsontext
from iii_fast.cli import packed
from iii_fast.cli.batches import Batch
from iii_fast.cli.failure import CommandError
from iii_fast.cli.record import Record
from iii_fast.cli.session import NoEngineError, Pending, Session
from iii_fast.errors import WireError
from iii_fast.protocol import Code

BATCHES_IN_FLIGHT: Final = 4
SINGLES_IN_FLIGHT: Final = 256
CALLS_MAX: Final = SINGLES_IN_FLIGHT

_TRUE: Final = b"true"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """``durable``: replies wait for the disk; ``None``: if the engine has one. ``if_absent``: keep what is there."""

    durable: bool | None = None
    if_absent: bool = False


@dataclass(slots=True)
class Counts:
    """``written`` entries; ``kept`` are those that were there already."""

    written: int = 0
    kept: int = 0


class StateWriter:
    """Calls ``acknowledged`` (in a thread) for every batch that is written, in their order."""

    def __init__(self, session: Session, options: WriteOptions, acknowledged: Callable[[Batch], None]) -> None:
        self.counts = Counts()
        self._session = session
        self._options = options
        self._durable = options.durable is not False
        self._decided = options.durable is not None
        self._acknowledged = acknowledged
        self._limit = SINGLES_IN_FLIGHT if options.if_absent else BATCHES_IN_FLIGHT
        self._window: deque[tuple[Pending, Batch, bool]] = deque()

    async def write(self, batches: Iterator[Batch]) -> None:
        """Writes all batches. Raises ``CommandError`` with the place of what was refused, and ``NoEngineError``.

        When reading fails or the connection is lost, the batches before that count.
        """
        try:
            while (batch := await trio.to_thread.run_sync(next, batches, None)) is not None:
                await self._send(batch)
        except (CommandError, NoEngineError):
            await self._settle(0)  # what is answered by now counts
            raise
        await self._settle(0)

    async def _send(self, batch: Batch) -> None:
        calls = self._calls(batch)
        start = 0 if self._decided else await self._first(calls[0], batch, len(calls) == 1)
        if not start:
            calls = self._calls(batch)
        for at in range(start, len(calls)):
            await self._settle(self._limit - 1)
            pending = await self._session.begin(*calls[at])
            self._window.append((pending, batch, at == len(calls) - 1))

    async def _first(self, call: tuple[str, bytes], batch: Batch, only: bool) -> int:
        """Makes the first call of all and waits for it: 1, or 0 when it has to be made again without a disk."""
        self._decided = True
        pending = await self._session.begin(*call)
        try:
            await pending.result()
        except WireError as error:
            if error.code == Code.DURABILITY_UNAVAILABLE:
                self._durable = False
                print("this engine keeps state in memory only: what is imported ends with it", file=sys.stderr)
                return 0
        self._window.append((pending, batch, only))  # what it came to is looked at in its turn
        return 1

    def _calls(self, batch: Batch) -> list[tuple[str, bytes]]:
        """The calls that write a batch: function ids and payloads."""
        if self._options.if_absent or batch.alone:
            function_id = "state::compare-and-set" if self._options.if_absent else "state::set"
            return [(function_id, self._entry(record)) for record in batch.records]
        entries = b"[" + b",".join(record.members() for record in batch.records) + b"]"
        return [("state::set_many", self._data(jsontext.build([("entries", entries)])))]

    def _entry(self, record: Record) -> bytes:
        if packed.is_packed(record.value):
            members = {"scope": record.scope, "key": record.key, "expires_at": record.expires_at}
            return packed.TAG + packed.with_last({**members, "durable": self._durable}, "value", record.value)
        return self._data(record.members())

    def _data(self, members: bytes) -> bytes:
        return members[:-1] + b',"durable":true}' if self._durable else members

    async def _settle(self, left: int) -> None:
        """Waits until no more than ``left`` calls are under way."""
        while len(self._window) > left:
            pending, batch, last = self._window.popleft()
            try:
                self._count(batch, await pending.result())
            except WireError as error:
                self._window.clear()
                raise CommandError(f"{batch.place}: the engine refused it with {error}") from None
            if last:
                await trio.to_thread.run_sync(self._acknowledged, batch)

    def _count(self, batch: Batch, answer: bytes) -> None:
        if not self._options.if_absent:
            self.counts.written += len(batch.records)
        elif _swapped(answer):
            self.counts.written += 1
        else:
            self.counts.kept += 1


def _swapped(answer: bytes) -> bool:
    if packed.is_packed(answer):
        return bool(packed.unpack(answer)["swapped"])
    return dict(jsontext.members(answer) or ()).get("swapped") == _TRUE
