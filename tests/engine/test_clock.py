"""The clock of the machine, and things to do later."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.clock import WALL_CHECK_S, SystemClock, Timetable


class WallClock:
    """What ``time.time`` says: virtual time, set by hand as an administrator would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 1000.0
        monkeypatch.setattr(time, "time", lambda: trio.current_time() + self.offset)


async def test_sleeps_until_the_wall_says_so(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    WallClock(monkeypatch)
    clock = SystemClock()
    await clock.sleep_until_wall(1012.5)
    assert clock.now() == pytest.approx(1012.5)
    assert clock.monotonic() == trio.current_time()
    await clock.sleep_until_wall(0)
    assert clock.now() == pytest.approx(1012.5)


@pytest.mark.parametrize(("set_by", "after"), [(50.0, 50.0), (-50.0, 150.0)])
async def test_notices_that_the_wall_clock_is_set(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, set_by: float, after: float
) -> None:
    wall = WallClock(monkeypatch)

    async def set_clock() -> None:
        await trio.sleep(10.5)
        wall.offset += set_by

    nursery.start_soon(set_clock)
    await SystemClock().sleep_until_wall(1100)
    assert after <= trio.current_time() <= after + WALL_CHECK_S


async def test_things_happen_in_order_of_their_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    table = Timetable()
    happened: list[tuple[str, float]] = []

    def note(name: str) -> None:
        happened.append((name, trio.current_time()))

    table.after(1, lambda: note("before it runs"))
    nursery.start_soon(table.run)
    await wait_all_tasks_blocked()
    table.after(5, lambda: note("late"))
    table.after(2, lambda: table.after(0, lambda: note("from another")))
    table.after(3, lambda: note("first of two"))
    table.after(3, lambda: note("second of two"))
    await trio.sleep(10)
    assert happened == [
        ("before it runs", 1),
        ("from another", 2),
        ("first of two", 3),
        ("second of two", 3),
        ("late", 5),
    ]
