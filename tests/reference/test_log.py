"""Positions, acknowledgement and the history of the reference's log (docs/state.md 1, 2, 15 to 17)."""

from __future__ import annotations

import pytest

from iii_fast.contracts import Changes
from iii_fast.errors import WireError
from iii_fast.reference.commit import DeleteOp, DeleteScopeOp, ExpireOp, SetOp, encode_commit
from iii_fast.reference.history import Filter
from iii_fast.reference.log import Log
from tests.reference.states import MANY, Disk

ALL = Filter()
FAILED = WireError(
    "STORAGE_FAILED",
    "state is read-only since a write to its files failed: disk full; "
    "free the disk or replace it, then restart the engine",
)


def set_op(key: str, value: str = "1", *, scope: str = "s", created: bool = True, until: int | None = None) -> SetOp:
    return SetOp(scope, key, value, created, until)


def read(log: Log, since: int, wanted: Filter = ALL, count_max: int = MANY, bytes_max: int = MANY) -> Changes:
    return log.read_changes(since, wanted, count_max, bytes_max)


def positions(changes: Changes) -> list[int]:
    return [int(item.split(b":")[1].split(b",")[0]) for item in changes.items]


def lost(since: int, position: int) -> WireError:
    text = f"changes after position {since} are not known any more; read the entries and watch from position {position}"
    return WireError("HISTORY_LOST", text)


def raised(log: Log, since: int) -> WireError:
    with pytest.raises(WireError) as caught:
        read(log, since)
    return caught.value


# Positions


def test_a_commit_uses_a_position_for_each_operation() -> None:
    log = Log(MANY)
    assert [log.commit([set_op("a")]), log.commit([set_op("b"), set_op("c")]), log.commit([DeleteOp("s", "a")])] == [
        1,
        3,
        4,
    ]
    assert (log.position, log.acknowledged, log.synced, log.durable) == (4, 4, 0, False)


def test_a_journal_takes_every_commit_and_goes_on_where_it_was() -> None:
    log, disk = Log(MANY), Disk()
    log.attach(disk, 7)
    assert (log.position, log.acknowledged, log.synced, log.durable) == (7, 7, 7, True)
    ops = [set_op("a"), set_op("b")]
    assert log.commit(ops) == 9
    assert disk.appended == [(9, ops)]
    assert log.acknowledged == 7


# Acknowledgement


def test_in_memory_everything_is_acknowledged_at_once() -> None:
    log = Log(MANY)
    heard: list[WireError | None] = []
    log.when_acknowledged(log.commit([set_op("a")]), False, heard.append)
    assert heard == [None]
    with pytest.raises(WireError) as caught:
        log.check_durable()
    assert caught.value == WireError(
        "DURABILITY_UNAVAILABLE",
        "field `durable`: this engine keeps state in memory only; configure store_method file_based",
    )


def test_writes_wait_for_the_level_they_need() -> None:
    log, disk = Log(MANY), Disk()
    log.attach(disk, 0)
    log.check_durable()
    heard: list[str] = []
    for name, durable in (("one", False), ("two", True), ("three", False)):
        log.when_acknowledged(log.commit([set_op(name)]), durable, lambda _, name=name: heard.append(name))
    assert disk.synced == [2]
    log.acknowledge(2, 1)
    assert heard == ["one"]
    log.acknowledge(3, 1)
    assert heard == ["one", "three"]
    log.acknowledge(3, 2)
    assert heard == ["one", "three", "two"]


def test_a_failed_disk_refuses_what_waits_and_what_comes() -> None:
    log = Log(MANY)
    log.attach(Disk(), 0)
    log.check_writable()
    heard: list[WireError | None] = []
    log.when_acknowledged(log.commit([set_op("a")]), False, heard.append)
    log.fail("disk full")
    log.fail("something else")
    assert heard == [FAILED]
    with pytest.raises(WireError) as caught:
        log.check_writable()
    assert caught.value == FAILED
    log.when_acknowledged(1, True, heard.append)
    assert heard == [FAILED, FAILED]
    log.when_acknowledged(0, True, heard.append)
    assert heard[-1] is None


# History


def test_the_text_of_changes() -> None:
    log = Log(MANY)
    log.begin_feed()
    log.commit([set_op('k"', '{"a":1 }'), set_op("k", "null", created=False, until=9)])
    log.commit([DeleteOp("é", "\n")])
    log.commit([ExpireOp("s", "k")])
    log.commit([DeleteScopeOp("s")])
    assert [item.decode() for item in read(log, 0).items] == [
        '{"position":2,"type":"created","scope":"s","key":"k\\"","value":{"a":1 }}',
        '{"position":2,"type":"updated","scope":"s","key":"k","value":null,"expires_at":9}',
        '{"position":3,"type":"deleted","scope":"é","key":"\\n"}',
        '{"position":4,"type":"expired","scope":"s","key":"k"}',
        '{"position":5,"type":"scope_deleted","scope":"s"}',
    ]


def test_in_memory_the_history_begins_with_the_feed() -> None:
    log = Log(MANY)
    log.commit([set_op("a")])
    assert raised(log, 1) == lost(1, 1)
    assert log.begin_feed() == 1
    log.commit([set_op("b")])
    assert log.begin_feed() == 2
    assert raised(log, 0) == lost(0, 2)
    assert positions(read(log, 1)) == [2]
    assert read(log, 2) == Changes([], 2)
    assert raised(log, 3) == lost(3, 2)


def test_with_a_journal_the_history_is_always_there_and_ends_with_what_is_acknowledged() -> None:
    log = Log(MANY)
    log.attach(Disk(), 5)
    log.commit([set_op("a")])
    log.commit([set_op("b")])
    assert log.begin_feed() == 5
    assert read(log, 5) == Changes([], 5)
    log.acknowledge(6, 6)
    assert positions(read(log, 5)) == [6]
    assert raised(log, 7) == lost(7, 6)


def test_the_history_is_bounded_by_the_bytes_of_records() -> None:
    size = len(encode_commit(1, [set_op("a")]))
    log = Log(3 * size)
    log.begin_feed()
    for _ in range(3):
        log.commit([set_op("a")])
    assert positions(read(log, 0)) == [1, 2, 3]
    log.commit([set_op("a")])
    assert raised(log, 0) == lost(0, 4)
    assert positions(read(log, 1)) == [2, 3, 4]
    log.commit([set_op("a", "x" * size * 3)])
    assert raised(log, 4) == lost(4, 5)
    assert read(log, 5) == Changes([], 5)
    log.commit([set_op("a")])
    assert positions(read(log, 5)) == [6]


def test_a_long_history_is_cut_without_losing_what_it_holds() -> None:
    size = len(encode_commit(1, [set_op("a")]))
    log = Log(10 * size)
    log.begin_feed()
    for _ in range(5_000):
        log.commit([set_op("a")])
    assert raised(log, 4_989) == lost(4_989, 5_000)
    assert positions(read(log, 4_990)) == list(range(4_991, 5_001))


def test_a_piece_ends_with_the_commit_that_makes_it_large_enough() -> None:
    log = Log(MANY)
    log.begin_feed()
    for _ in range(3):
        log.commit([set_op("a"), set_op("b"), set_op("c")])
    assert positions(read(log, 0, count_max=1)) == [3, 3, 3]
    assert positions(read(log, 0, count_max=3)) == [3, 3, 3]
    assert positions(read(log, 0, count_max=4)) == [3, 3, 3, 6, 6, 6]
    size = sum(map(len, read(log, 0, count_max=1).items))
    assert read(log, 0, bytes_max=size).position == 3
    assert read(log, 0, bytes_max=size + 1).position == 6


def test_the_filter() -> None:
    log = Log(MANY)
    log.begin_feed()
    log.commit([set_op("ab"), set_op("b"), set_op("ab", scope="t")])
    log.commit([DeleteScopeOp("t")])
    log.commit([DeleteScopeOp("s")])
    log.commit([ExpireOp("t", "x")])
    assert read(log, 0, Filter("s")).position == 6
    assert positions(read(log, 0, Filter("s"))) == [3, 3, 5]
    assert positions(read(log, 0, Filter("s", "a"))) == [3, 5]
    assert positions(read(log, 0, Filter("t", "y"))) == [4]
    assert read(log, 0, Filter("u")) == Changes([], 6)


def test_the_hook_hears_of_every_advance() -> None:
    log = Log(MANY)
    heard: list[int] = []
    log.on_advance = lambda: heard.append(log.acknowledged)
    log.commit([set_op("a")])
    log.attach(Disk(), 1)
    log.commit([set_op("b")])
    log.acknowledge(2, 2)
    assert heard == [1, 2]
