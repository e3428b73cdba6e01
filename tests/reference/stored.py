"""Directories of state for tests: written, read back and looked at without an engine around them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import trio

from iii_fast.contracts import Limits, Storage
from iii_fast.errors import WireError
from iii_fast.reference import state_calls
from iii_fast.reference.catalog import Catalog
from iii_fast.reference.files import Files
from iii_fast.reference.history import Filter
from iii_fast.reference.journal import Journal
from iii_fast.reference.log import Log
from iii_fast.reference.opening import open_journal
from iii_fast.reference.recovery import Found, recover
from iii_fast.reference.state import State
from iii_fast.reference.state_entries import Entries, Entry
from iii_fast.reference.state_quotas import Quotas

NOW: Final = 1_700_000_000_000
MANY: Final = 1 << 30

Content: TypeAlias = dict[tuple[str, str], Entry]
"""All entries by scope and key."""


def content(entries: Entries) -> Content:
    """What there is, in the order of insertion within each scope."""
    return {(name, key): entry for name, scope in sorted(entries.scopes().items()) for key, entry in scope.after()}


def put(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Makes a directory with these files."""
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def taken(directory: Path) -> dict[str, bytes]:
    """The files of a directory, without the lock."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and path.name != "lock"}


class Memory(Files):
    """Files that are only read, and are in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(Path("data"))
        self.files = files

    def sizes(self) -> dict[str, int]:
        return {name: len(data) for name, data in self.files.items()}

    def read(self, name: str, bytes_max: int = -1) -> bytes:
        return self.files[name] if bytes_max < 0 else self.files[name][:bytes_max]


def recovered(files: Mapping[str, bytes], *, salvage: bool = False) -> tuple[Content, Found]:
    """What a start reads from these files. Raises ``StorageError``."""
    memory, entries = Memory(files), Entries()
    found = recover(memory, Catalog.of(memory.sizes()), entries, MANY, salvage=salvage)
    return content(entries), found


class Opened:
    """State in files: ``now`` is its clock (Unix ms)."""

    def __init__(self, files: Files, **storage: Any) -> None:
        self.now = NOW
        self.log = Log(MANY)
        self.events: list[str] = []
        self.state = State(self.log, Quotas.of(Limits()), lambda: self.now, lambda *event: self.events.append(event[2]))
        self._files = files
        self._storage = Storage(files.directory, **storage)
        self.journal: Journal

    async def open(self, waiting_bytes_max: int = MANY) -> None:
        """Loads what is there. Raises ``StorageError``."""
        self.journal, self.recovered = await trio.to_thread.run_sync(
            open_journal, self._files, self._storage, self.log, self.state.entries, waiting_bytes_max
        )

    def start(self, function: str, **members: Any) -> list[WireError | None]:
        """Calls ``state::<function>``; the list gets what its reply waits for, when that has come."""
        answer = state_calls.call(self.state, f"state::{function}", json.dumps(members))
        heard: list[WireError | None] = []
        if answer.position is not None:
            self.log.when_acknowledged(answer.position, answer.durable, heard.append)
        return heard

    async def call(self, function: str, **members: Any) -> None:
        """Calls ``state::<function>``, and waits until it may be answered. Raises ``WireError``."""
        answer = state_calls.call(self.state, f"state::{function}", json.dumps(members))
        if answer.position is None:
            return
        event, errors = trio.Event(), list[WireError]()

        def settled(error: WireError | None) -> None:
            errors.extend([error] if error else [])
            event.set()

        self.log.when_acknowledged(answer.position, answer.durable, settled)
        await event.wait()
        if errors:
            raise errors[0]

    def content(self) -> Content:
        """What there is."""
        return content(self.state.entries)

    def changes(self, since: int = 0) -> list[str]:
        """The change feed. Raises ``WireError`` (``HISTORY_LOST``)."""
        return [item.decode() for item in self.log.read_changes(since, Filter(), MANY, MANY).items]


@asynccontextmanager
async def running(files: Files | Path, **storage: Any) -> AsyncIterator[Opened]:
    """State in files that are written to; leaving the context ends the journal in an orderly way."""
    opened = Opened(files if isinstance(files, Files) else Files(files), **storage)
    await opened.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.journal.run)
        yield opened
        nursery.cancel_scope.cancel()
