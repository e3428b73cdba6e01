"""The ``cron`` trigger type on virtual time."""

from __future__ import annotations

import heapq
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from iii_fast.errors import WireError
from iii_fast.triggers.cron import RUN_S_MAX, CronTrigger, Schedule
from tests.engine.fake_backend import FakeBackend
from tests.triggers.bench import VirtualClock, draining, make, returns, trigger

START = datetime(2026, 3, 4, 11, 58, 30, tzinfo=UTC).timestamp()  # a Wednesday


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@asynccontextmanager
async def cron() -> AsyncIterator[tuple[FakeBackend, CronTrigger, VirtualClock]]:
    backend, broker = make()
    clock = VirtualClock(START)
    kind = CronTrigger(broker, clock)
    async with trio.open_nursery() as nursery:
        await nursery.start(kind.run)
        yield backend, kind, clock
        nursery.cancel_scope.cancel()


# Expressions


@pytest.mark.parametrize(
    ("expression", "ticks"),
    [
        ("*/5 * * * *", ["2026-03-04T12:00:00", "2026-03-04T12:05:00"]),
        ("0 */5 * * * *", ["2026-03-04T12:00:00", "2026-03-04T12:05:00"]),
        ("30 0 12 * * *", ["2026-03-04T12:00:30", "2026-03-05T12:00:30"]),
        ("* * * * * *", ["2026-03-04T11:58:31", "2026-03-04T11:58:32"]),
        ("0 9 * * 1-5", ["2026-03-05T09:00:00", "2026-03-06T09:00:00", "2026-03-09T09:00:00"]),
        ("0 0 9 * * MON-FRI", ["2026-03-05T09:00:00", "2026-03-06T09:00:00", "2026-03-09T09:00:00"]),
        ("0 0 0 * * 0", ["2026-03-08T00:00:00"]),
        ("0 0 0 * * 7", ["2026-03-08T00:00:00"]),
        ("0 0 * * sun", ["2026-03-08T00:00:00"]),
        ("0 0 12 ? * WED", ["2026-03-04T12:00:00", "2026-03-11T12:00:00"]),
        ("0 0 12 1 * ?", ["2026-04-01T12:00:00"]),
        ("0 0 0 1 1 ? 2030", ["2030-01-01T00:00:00"]),
        ("0 0 0 1 1 * 2099", ["2099-01-01T00:00:00"]),
        ("59 59 23 31 12 ? 2099", ["2099-12-31T23:59:59"]),
        ("0 0 0 1 JAN,MAR * 2027-2028", ["2027-01-01T00:00:00", "2027-03-01T00:00:00", "2028-01-01T00:00:00"]),
        ("0 0 6 * 5", ["2026-03-06T00:00:00", "2026-03-13T00:00:00"]),
        ("0 0 0 6 * 5", ["2026-03-06T00:00:00", "2026-11-06T00:00:00"]),
        ("@hourly", ["2026-03-04T12:00:00", "2026-03-04T13:00:00"]),
        ("@daily", ["2026-03-05T00:00:00"]),
        ("@weekly", ["2026-03-08T00:00:00"]),
        ("@monthly", ["2026-04-01T00:00:00"]),
        (" @Yearly ", ["2027-01-01T00:00:00"]),
    ],
)
def test_when_expressions_fire(expression: str, ticks: list[str]) -> None:
    schedule = Schedule.read({"expression": expression})
    at, found = START, []
    for _ in ticks:
        following = schedule.after(at)
        assert following is not None
        at = following
        found.append(at)
    assert found == [utc(tick) for tick in ticks]


@pytest.mark.parametrize("config", [None, {}, {"expression": None}, {"expression": 5}, {"expression": " "}])
def test_an_expression_is_required(config: Any) -> None:
    with pytest.raises(WireError) as raised:
        Schedule.read(config)
    assert raised.value == WireError("trigger_registration_failed", "Cron expression is required")


@pytest.mark.parametrize(
    "expression",
    [
        "* * * *",
        "* * * * * * * *",
        "61 * * * *",
        "* * * * 8",
        "*/0 * * * *",
        "a b c d e",
        "@reboot",
        "R * * * *",
        "H(0-5) * * * *",
        "* * * * ;",
        "0 0 30 2 *",
        "0 0 0 1 1 ? 2001",
        "* " * 200,
    ],
)
async def test_bad_expressions_are_refused(expression: str, autojump_clock: MockClock) -> None:
    async with cron() as (_, kind, _):
        with pytest.raises(WireError, match="Invalid cron expression '"):
            kind.bind(trigger("cron", {"expression": expression}))


# Firing


async def test_the_payload_and_the_pace(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.scripts["f"] = returns("ignored")
        kind.bind(trigger("cron", {"expression": "*/5 * * * *"}, trigger_id="job", metadata=b'{"m":1}'))
        invocations = await backend.wait_for_invocations(3)
    assert [one.value["scheduled_time"] for one in invocations] == [
        "2026-03-04T12:00:00+00:00",
        "2026-03-04T12:05:00+00:00",
        "2026-03-04T12:10:00+00:00",
    ]
    assert invocations[0].value == {
        "trigger": "cron",
        "job_id": "job",
        "scheduled_time": "2026-03-04T12:00:00+00:00",
        "actual_time": "2026-03-04T12:00:00+00:00",
    }
    assert invocations[0].metadata == b'{"m":1}'


async def test_a_running_job_does_not_overlap_and_goes_on_afterwards(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.held.add("f")
        kind.bind(trigger("cron", {"expression": "* * * * *"}))
        await backend.wait_for_invocations(1)
        await trio.sleep(150)
        assert len(backend.invocations) == 1
        backend.settle_held(0)
        second = (await backend.wait_for_invocations(2))[1]
        assert second.value["scheduled_time"] == "2026-03-04T12:02:00+00:00"


async def test_one_hanging_job_does_not_hold_up_another(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.held.add("stuck")
        backend.scripts["f"] = returns(None)
        kind.bind(trigger("cron", {"expression": "* * * * *"}, "stuck", "1"))
        kind.bind(trigger("cron", {"expression": "* * * * *"}, "f", "2"))
        await backend.wait_for_invocations(5, "f")
        assert len(backend.invocations_of("stuck")) == 1


async def test_a_hanging_handler_is_given_up(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with cron() as (backend, kind, _):
        backend.held.add("f")
        kind.bind(trigger("cron", {"expression": "@hourly"}))
        await backend.wait_for_invocations(3)
    assert "given up" in caplog.text
    assert RUN_S_MAX == 3600


async def test_errors_are_logged_and_the_job_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with cron() as (backend, kind, _):
        backend.scripts["f"] = lambda data: WireError("boom", "it broke")
        kind.bind(trigger("cron", {"expression": "* * * * * *"}))
        await backend.wait_for_invocations(3)
    assert "boom: it broke" in caplog.text


async def test_conditions(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.scripts |= {"c": returns(False), "f": returns(None)}
        kind.bind(trigger("cron", {"expression": "* * * * * *", "condition_function_id": "c"}))
        await backend.wait_for_invocations(2, "c")
        assert backend.invocations_of("f") == []
        assert backend.invocations[0].value["trigger"] == "cron"
        backend.scripts["c"] = lambda data: WireError("C", "m")
        await backend.wait_for_invocations(4, "c")
        assert backend.invocations_of("f") == [], "a failing condition skips"
        backend.scripts["c"] = returns(None)
        await backend.wait_for_invocations(1, "f")


# Binding


async def test_unbinding_stops_ticks_and_lets_a_run_finish(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.held.add("f")
        job = trigger("cron", {"expression": "* * * * * *"})
        kind.bind(job)
        await backend.wait_for_invocations(1)
        kind.unbind(job)
        await trio.sleep(100)
        assert len(backend.invocations) == 1
        assert backend.forgotten == []
        backend.settle_held(0)
        await kind.drain()


async def test_unbinding_thousands_does_not_go_through_the_whole_schedule_each_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    heapify = heapq.heapify

    def counting(ticks: list[Any]) -> None:
        nonlocal seen
        seen += len(ticks)
        heapify(ticks)

    monkeypatch.setattr(heapq, "heapify", counting)
    async with cron() as (backend, kind, _):
        backend.scripts |= {"f": returns(None), "left": returns(None)}
        jobs = [trigger("cron", {"expression": "* * * * *"}, trigger_id=str(number)) for number in range(500)]
        for job in jobs:
            kind.bind(job)
        kind.bind(trigger("cron", {"expression": "@hourly"}, "left", "left"))
        for number, job in enumerate(jobs):
            kind.unbind(job)
            assert len(kind._ticks) <= 2 * (500 - number) + 1, "what is dead does not pile up"
        assert seen <= 2 * len(jobs)
        await backend.wait_for_invocations(1, "left")
        assert backend.invocations_of("f") == []


async def test_a_dead_tick_does_not_fire_and_its_successor_does(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, clock):
        backend.scripts |= {"f": returns(None), "g": returns(None)}
        for number in range(3):
            kind.bind(trigger("cron", {"expression": "@yearly"}, "g", f"other {number}"))
        gone = trigger("cron", {"expression": "* * * * *"})
        kind.bind(gone)
        kind.unbind(gone)
        kind.bind(trigger("cron", {"expression": "@hourly"}))
        [first] = await backend.wait_for_invocations(1)
        assert (first.function_id, clock.now()) == ("f", pytest.approx(utc("2026-03-04T12:00:00")))
        assert (kind._dead, len(kind._ticks)) == (0, 4)


async def test_replacing_a_job_does_not_overlap_its_running_call(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.held.add("f")
        job = trigger("cron", {"expression": "* * * * * *"})
        kind.bind(job)
        await backend.wait_for_invocations(1)
        kind.unbind(job)
        kind.bind(trigger("cron", {"expression": "*/2 * * * * *"}))
        await trio.sleep(20)
        assert len(backend.invocations) == 1
        backend.settle_held(0)
        await backend.wait_for_invocations(2)


async def test_an_earlier_job_bound_later_is_not_late(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, clock):
        backend.scripts["f"] = returns(None)
        kind.bind(trigger("cron", {"expression": "@yearly"}, trigger_id="1"))
        await trio.testing.wait_all_tasks_blocked()
        kind.bind(trigger("cron", {"expression": "@hourly"}, trigger_id="2"))
        [first] = await backend.wait_for_invocations(1)
        assert (first.value["job_id"], clock.now()) == ("2", pytest.approx(utc("2026-03-04T12:00:00")))


async def test_a_job_whose_years_are_over_ends(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with cron() as (backend, kind, _):
        backend.scripts["f"] = returns(None)
        job = trigger("cron", {"expression": "0 59 11 4 3 ? 2026"})
        kind.bind(job)
        await backend.wait_for_invocations(1)
        await trio.sleep(86400)
        assert len(backend.invocations) == 1
        kind.unbind(job)
    assert "no tick left" in caplog.text


async def test_a_wall_clock_set_back_does_not_fire_a_tick_twice(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, clock):
        backend.scripts["f"] = returns(None)
        kind.bind(trigger("cron", {"expression": "@hourly"}))
        await backend.wait_for_invocations(1)
        clock.offset -= 1800
        second = (await backend.wait_for_invocations(2))[1]
        assert second.value["scheduled_time"] == "2026-03-04T13:00:00+00:00"


async def test_drain_stops_ticks_and_waits_for_the_running_one(autojump_clock: MockClock) -> None:
    async with cron() as (backend, kind, _):
        backend.held.add("f")
        kind.bind(trigger("cron", {"expression": "* * * * * *"}))
        await backend.wait_for_invocations(1)
        async with draining(kind) as drained:
            await trio.sleep(10)
            assert not drained.is_set()
            backend.settle_held(0)
            await drained.wait()
        await trio.sleep(10)
        assert len(backend.invocations) == 1
