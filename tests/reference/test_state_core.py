"""State behind the wire: the change feed, replies that wait for the disk, expiry in the background, what stats tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from iii_fast.contracts import Changes, Limits, Recovered, Storage, StorageStats
from iii_fast.errors import WireError
from iii_fast.reference import ReferenceBackend
from iii_fast.reference.calls import Advanced, AnyCall, Changed, Settled
from iii_fast.reference.core import Core
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.payload import Payload
from iii_fast.reference.session import WorkerSession
from iii_fast.reference.wall_clock import WallClock
from tests.reference.states import MANY, Disk

SET = '{"scope":"s","key":"k","value":1}'
FAILED = (
    "state is read-only since a write to its files failed: disk full; "
    "free the disk or replace it, then restart the engine"
)


def up(core: Core) -> list[AnyCall]:
    """Takes the calls for the control plane."""
    return list(iter(core.calls.pop, None))


class Worker:
    """One session."""

    def __init__(self, core: Core) -> None:
        self.outbox = Outbox()
        self.session = WorkerSession(core, core.connect(1, self.outbox, "loopback", 1))
        self.sent()

    def sent(self) -> list[str]:
        return list(iter(self.outbox.pop, None))

    def calls(self, function: str, data: str, more: str = "") -> list[str]:
        ids = f'"invocation_id":"i","function_id":"state::{function}"'
        self.session.receive(f'{{"type":"invokefunction",{ids},"data":{data}{more}}}')
        return self.sent()


def result(function: str, outcome: str) -> list[str]:
    return [f'{{"type":"invocationresult","invocation_id":"i","function_id":"state::{function}",{outcome}}}']


# The change feed


def test_the_feed_is_announced_once_for_many_and_only_when_asked_for() -> None:
    core = Core(Limits())
    core.invoke(1, "state::set", Payload(SET))
    assert Advanced() not in up(core)
    assert core.begin_feed() == 1
    assert up(core) == []
    for _ in range(3):
        core.invoke(1, "state::set", Payload(SET))
    assert up(core).count(Advanced()) == 1
    core.invoke(1, "state::get", Payload(SET))
    core.invoke(1, "state::delete", Payload('{"scope":"s","key":"x"}'))
    assert Advanced() not in up(core)
    core.invoke(1, "state::delete", Payload(SET))
    assert up(core).count(Advanced()) == 1


def test_with_a_journal_the_feed_advances_when_it_acknowledges() -> None:
    core = Core(Limits())
    core.log.attach(Disk(), 0)
    assert core.begin_feed() == 0
    core.invoke(1, "state::set", Payload(SET))
    assert up(core) == []
    core.log.acknowledge(1, 0)
    assert Advanced() in up(core)


def test_the_backend_reads_the_feed() -> None:
    backend = ReferenceBackend(Limits(), storage=Storage(history_bytes_max=60))
    assert backend.begin_feed() == 0
    for key in ("ab", "b", "ac"):
        backend.invoke(1, "state::set", json.dumps({"scope": "s", "key": key, "value": 1}).encode())
    # Each record has 20 bytes and a body of 8 or 9.
    with pytest.raises(WireError) as caught:
        backend.read_changes(0, None, None, MANY, MANY)
    assert caught.value == WireError(
        "HISTORY_LOST", "changes after position 0 are not known any more; read the entries and watch from position 3"
    )
    text = b'{"position":3,"type":"created","scope":"s","key":"ac","value":1}'
    assert backend.read_changes(1, "s", "a", MANY, MANY) == Changes([text], 3)
    assert backend.read_changes(1, "t", None, MANY, MANY) == Changes([], 3)
    assert backend.read_changes(3, None, None, MANY, MANY) == Changes([], 3)


# Replies and the disk


def test_a_reply_waits_until_its_write_is_acknowledged() -> None:
    core, disk = Core(Limits()), Disk()
    core.log.attach(disk, 0)
    worker = Worker(core)
    assert worker.calls("set", SET) == []
    assert worker.calls("get", SET) == result("get", '"result":1')
    assert worker.calls("delete_many", '{"keys":[{"scope":"s","key":"x"}]}') == (
        result("delete_many", '"result":{"deleted":0,"version":null}')
    )
    core.log.acknowledge(1, 0)
    assert worker.sent() == result("set", '"result":{"old_value":null,"new_value":1}')
    assert disk.synced == []


def test_a_durable_reply_waits_for_the_sync() -> None:
    core, disk = Core(Limits()), Disk()
    core.log.attach(disk, 0)
    worker = Worker(core)
    assert worker.calls("set", SET[:-1] + ',"durable":true}') == []
    assert disk.synced == [1]
    core.log.acknowledge(1, 0)
    assert worker.sent() == []
    core.log.acknowledge(1, 1)
    assert worker.sent() == result("set", '"result":{"old_value":null,"new_value":1}')


def test_a_write_whose_disk_fails_is_told_so() -> None:
    core = Core(Limits())
    core.log.attach(Disk(), 0)
    worker = Worker(core)
    assert worker.calls("set", SET) == []
    core.invoke(7, "state::set", Payload(SET))
    core.log.fail("disk full")
    failure = json.dumps({"code": "STORAGE_FAILED", "message": FAILED}, separators=(",", ":"))
    assert worker.sent() == result("set", f'"error":{failure}')
    assert up(core) == [Settled(7, WireError("STORAGE_FAILED", FAILED))]
    assert worker.calls("set", SET) == result("set", f'"error":{failure}')
    assert worker.calls("get", SET) == result("get", '"result":1')


def test_nobody_is_answered_who_does_not_wait_any_more() -> None:
    core = Core(Limits())
    core.log.attach(Disk(), 0)
    worker = Worker(core)
    assert worker.calls("set", SET) == []
    assert worker.calls("set", SET, ',"action":{"type":"void"}') == []
    core.invoke(7, "state::set", Payload(SET))
    core.forget(7)
    core.invoke(8, "state::set", Payload(SET))
    worker.session.end("gone")
    up(core)
    core.log.acknowledge(4, 4)
    assert worker.sent() == []
    assert up(core) == [Settled(8, b'{"old_value":1,"new_value":1}')]


def test_events_come_before_the_reply_and_wait_as_it_does() -> None:
    core = Core(Limits())
    core.log.attach(Disk(), 0)
    core.state.watch("s")
    core.invoke(7, "state::set", Payload(SET))
    assert up(core) == []
    core.log.acknowledge(1, 0)
    changed, settled = up(core)
    assert isinstance(changed, Changed)
    assert isinstance(settled, Settled)


# Time


def test_the_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5_999_999, 4_000_000, 7_000_000])
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    clock = WallClock()
    assert [clock(), clock(), clock()] == [5, 5, 7]


class Control:
    """A control plane that puts changes into a channel and needs nothing else."""

    def __init__(self) -> None:
        self._send, self.events = trio.open_memory_channel[Any](10)

    def changed(self, scope: str, key: str, event: bytes) -> None:
        self._send.send_nowait(json.loads(event)["event_type"])

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


async def test_what_is_due_is_removed_in_the_background(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    backend, control = ReferenceBackend(Limits()), Control()
    backend.watch("s")
    await nursery.start(backend.serve, control)
    # A time of the system, which passes while the virtual clock jumps: a moment of real time, not slept for.
    backend.invoke(1, "state::set", b'{"scope":"s","key":"k","value":1,"ttl_ms":1}')
    assert await control.events.receive() == "state:created"
    assert await control.events.receive() == "state:expired"
    assert backend.stats().storage.keys == 0


# What there is


async def test_open_and_stats() -> None:
    backend = ReferenceBackend(Limits())
    assert await backend.open() == Recovered()
    assert backend.stats().storage == StorageStats()
    backend.invoke(1, "state::set", '{"scope":"é","key":"k","value":"v"}'.encode())
    assert backend.stats().storage == StorageStats(keys=1, live_bytes=6, position=1, acknowledged=1)
