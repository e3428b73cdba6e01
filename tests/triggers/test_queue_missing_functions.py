"""Jobs whose function no worker provides wait, and lose nothing by it."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.errors import WireError
from iii_fast.protocol import Code, function_not_found
from iii_fast.triggers.queue_jobs import PROBE_S
from tests.triggers.bench import returns
from tests.triggers.queue_bench import fails, lane, named, publish, queue, subscribe, values


async def test_a_missing_function_costs_no_attempts_and_keeps_order(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        kind.bind(subscribe())
        publish(kind, *range(20))
        await trio.sleep(100 * PROBE_S)
        probes = len(backend.invocations)
        assert 100 <= probes <= 120, "one job asks per second, not all"
        backend.scripts["f"] = returns(None)
        await trio.sleep(2 * PROBE_S)
        assert values(backend)[probes:] == list(range(20))
        assert lane(kind).dead_count == 0


async def test_waiting_for_a_function_leaves_all_attempts(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        kind.bind(subscribe())
        publish(kind, 1)
        await trio.sleep(20 * PROBE_S)
        backend.scripts["f"] = fails(2)
        await trio.sleep(20)
        assert (lane(kind).dead_count, lane(kind).depth) == (0, 0), "the third attempt succeeded"


async def test_new_jobs_for_a_missing_function_do_not_ask_themselves(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        kind.bind(subscribe())
        publish(kind, 0)
        await wait_all_tasks_blocked()
        asked = len(backend.invocations)
        publish(kind, *range(1, 100))
        await wait_all_tasks_blocked()
        assert len(backend.invocations) == asked
        backend.scripts["f"] = returns(None)
        await trio.sleep(2 * PROBE_S)
        assert values(backend)[asked:] == list(range(100))


async def test_a_returning_worker_gets_its_jobs_at_once(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        bound = subscribe()
        kind.bind(bound)
        publish(kind, 1, 2)
        await wait_all_tasks_blocked()
        seen = len(backend.invocations)
        kind.unbind(bound)
        backend.scripts["f"] = returns(None)
        kind.bind(bound)
        await wait_all_tasks_blocked()
        assert (values(backend)[seen:], trio.current_time()) == ([1, 2], 0)
        await trio.sleep(10)
        assert len(backend.invocations) == seen + 2


async def test_a_slow_first_job_after_the_return_does_not_hold_up_the_others(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        kind.bind(subscribe())
        publish(kind, 1, 2, 3)
        await trio.sleep(5.5)
        seen = len(backend.invocations)
        backend.held.add("f")
        await trio.sleep(3)
        assert values(backend)[seen:] == [1, 2, 3]
        for invocation in backend.invocations[seen:]:
            backend.settled(invocation.ticket, None)
        await kind.drain()
        assert lane(kind).depth == 0


async def test_a_missing_function_holds_up_only_its_own_jobs(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["there"] = returns(None)
        for number in range(20):
            kind.enqueue("default", "missing", str(number).encode())
        kind.enqueue("default", "there", b"1")
        await wait_all_tasks_blocked()
        assert values(backend, "there") == [1]
        await trio.sleep(10)
        backend.scripts["missing"] = returns(None)
        await trio.sleep(2)
        assert named(kind).depth == 0


async def test_not_found_from_inside_a_handler_is_an_ordinary_failure(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = lambda data: WireError(Code.FUNCTION_NOT_FOUND, function_not_found("another"))
        kind.bind(subscribe())
        publish(kind, 1)
        await backend.wait_for_invocations(3)
        await trio.sleep(100)
        assert (len(backend.invocations), lane(kind).dead_count) == (3, 1)


async def test_a_missing_condition_waits_too(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        kind.bind(subscribe(condition_function_id="c"))
        publish(kind, 1)
        await trio.sleep(20)
        assert lane(kind).dead_count == 0
        backend.scripts["c"] = returns(True)
        await backend.wait_for_invocations(1, "f")
