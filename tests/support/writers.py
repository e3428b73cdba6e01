"""Writers with ledgers against a running engine: several connections at once, until the engine ends; then the audit."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import trio

from tests.support import sdks
from tests.support.engine_process import EngineProcess
from tests.support.ledger import COUNTERS, Found, Ledger, Write
from tests.support.pipelined import Lost, Pipelined, pipelined
from tests.support.steered_worker import CallFailed, SteeredWorker

AT_ONCE: Final = 16
"""Writes under way on a connection."""
PAGE: Final = 1000

Heard = Callable[[], None]


class Writers:
    """Some ledgers and the way each one's writes take: raw connections, and one published SDK when asked for."""

    def __init__(self, seed: int, raw: int = 3, sdk: str | None = None, durable_share: float = 0.0) -> None:
        self._random = Random(seed)
        self.raw = [Ledger(f"raw{n}", Random(self._random.random()), durable_share) for n in range(raw)]
        self.sdk = sdk
        self.of_sdk = Ledger("sdk", Random(self._random.random()))
        self._asked = {"durable": True} if durable_share else {}
        self._floor = 0
        self._moved = 0
        self._begun = False

    @property
    def ledgers(self) -> list[Ledger]:
        return [*self.raw, *([self.of_sdk] if self.sdk else [])]

    async def _begin(self, address: tuple[str, int]) -> None:
        """Makes what the writers share."""
        self._begun = True
        async with pipelined(address) as connection:
            for key in ("up", "down"):
                await connection.call("state::set", {"scope": COUNTERS, "key": key, "value": {"n": 0}, **self._asked})

    async def write(self, engine: EngineProcess, acknowledgements: int, end: Callable[[], None] | None) -> None:
        """Everybody writes; the acknowledgement with that number calls ``end``, after which all go on until their
        connections end. Without ``end`` they stop by themselves then.
        """
        if not self._begun:
            await self._begin(engine.worker)
        heard = 0
        worker = sdks.worker(self.sdk, engine.url) if self.sdk else None
        over = trio.Event()

        def count() -> None:
            nonlocal heard
            heard += 1
            if heard == acknowledgements:
                over.set()
                if end is not None:
                    end()
                if worker is not None:
                    worker.process.process.kill()  # it would wait for the engine to come back

        async with trio.open_nursery() as nursery:
            for ledger in self.raw:
                nursery.start_soon(_write_raw, ledger, engine.worker, count, over if end is None else trio.Event())
            if worker is not None:
                nursery.start_soon(_write_sdk, self.of_sdk, worker, count, over)
        if worker is not None:
            worker.stop()
        assert over.is_set(), "the connections ended by themselves"

    async def audit(self, address: tuple[str, int], durable_only: bool = False) -> None:
        """What the engine has now is explained by what was written. Then it is where the writers go on from.

        ``durable_only``: only what was written with ``durable`` need be there.
        """
        async with pipelined(address) as connection:
            highest = self._floor
            for ledger in self.ledgers:
                found = Found({scope: await _entries(connection, scope, f"{ledger.name}-") for scope in ledger.scopes})
                moved, version = ledger.explain(found, self._floor, durable_only)
                self._moved += moved
                highest = max(highest, version)
            if not self._begun:
                return
            counters = await _entries(connection, COUNTERS, "")
            values = {key: value["n"] for key, (value, _) in counters.items()}
            assert values == {"up": self._moved, "down": -self._moved}
            self._floor = max(highest, *(version for _, version in counters.values()))
            if self._asked:
                # What was found comes before this: it has to be on the disk as well then.
                await connection.call("state::set", {"scope": "audits", "key": "last", "value": 1, **self._asked})


async def _write_raw(ledger: Ledger, address: tuple[str, int], count: Heard, stop: trio.Event) -> None:
    """Many writes under way at a time, sent in the order of the ledger."""
    slots = trio.Semaphore(AT_ONCE)

    async def hear(connection: Pipelined, write: Write, answer: Callable[[], Any]) -> None:
        try:
            ledger.acknowledge(write, await answer())
        except Lost:
            return
        finally:
            slots.release()
        count()

    async with pipelined(address) as connection, trio.open_nursery() as answers:
        try:
            while not stop.is_set():
                await slots.acquire()
                write = ledger.next()
                pending = await connection.begin(write.function_id, write.data)
                answers.start_soon(hear, connection, write, pending.answer)
        except Lost:
            pass


async def _write_sdk(ledger: Ledger, worker: SteeredWorker, count: Heard, over: trio.Event) -> None:
    """One write at a time."""
    while not over.is_set():
        write = ledger.next()
        try:
            answer = await trio.to_thread.run_sync(worker.call, write.function_id, write.data)
        except (AssertionError, CallFailed, OSError):
            assert over.is_set(), f"{write} failed while the engine ran"
            return
        ledger.acknowledge(write, answer)
        count()


async def _entries(connection: Pipelined, scope: str, prefix: str) -> dict[str, tuple[Any, int]]:
    """Values and versions by key, in insertion order."""
    asked = {"scope": scope, "limit": PAGE, "max_bytes": 16_000_000, **({"prefix": prefix} if prefix else {})}
    page = await connection.call("state::list_entries", asked)
    assert page["done"], page
    if not page["entries"]:
        return {}
    keys = [{"key": key} for key, _ in page["entries"]]
    with_versions = await connection.call("state::get_many", {"scope": scope, "keys": keys, "meta": True})
    found = {}
    for (key, value), entry in zip(page["entries"], with_versions["entries"], strict=True):
        assert entry["value"] == value
        found[key] = value, entry["version"]
    return found
