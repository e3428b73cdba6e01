"""Conditions of queue triggers: what they deny, and that asking them keeps the order."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.config import QueueConfig
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.triggers.queue_jobs import CONDITION_S_MAX
from tests.triggers.bench import returns
from tests.triggers.queue_bench import fails, lane, named, publish, queue, subscribe, values


async def test_conditions() -> None:
    async with queue() as (backend, kind):
        backend.scripts |= {"f": returns(None), "c": lambda data: b"false" if data == b"1" else b"null"}
        kind.bind(subscribe(condition_function_id="c"))
        publish(kind, 1, 2)
        await wait_all_tasks_blocked()
        assert values(backend) == [2]
        assert lane(kind).depth == 0, "what the condition denies is done"


async def test_a_condition_keeps_the_order_of_arrival() -> None:
    async with queue() as (backend, kind):
        backend.scripts |= {"f": returns(None), "c": returns(True)}
        kind.bind(subscribe(condition_function_id="c", queue_config={"concurrency": 30}))
        # Trio resumes tasks forwards or backwards as a coin falls: once would pass by luck.
        for _ in range(10):
            publish(kind, *range(30))
            await wait_all_tasks_blocked()
        assert values(backend) == list(range(30)) * 10


async def test_jobs_wait_for_the_conditions_of_earlier_ones_whatever_these_say() -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        backend.held.add("c")
        kind.bind(subscribe(condition_function_id="c"))
        publish(kind, *range(4))
        await wait_all_tasks_blocked()
        asked = {one.value: one.ticket for one in backend.invocations_of("c")}
        backend.settled(asked[3], b"true")
        backend.settled(asked[2], b"false")
        await wait_all_tasks_blocked()
        assert values(backend) == []
        backend.settled(asked[0], b"null")
        await wait_all_tasks_blocked()
        assert values(backend) == [0]
        backend.settled(asked[1], WireError("boom", "it broke"))
        await wait_all_tasks_blocked()
        assert values(backend) == [0, 3]
        assert lane(kind).depth == 1, "the job whose condition failed waits for its retry"


async def test_jobs_without_a_condition_do_not_overtake_those_whose_condition_is_asked() -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        backend.held.add("c")
        kind.bind(subscribe(condition_function_id="c"))
        publish(kind, 1)
        await wait_all_tasks_blocked()
        kind.bind(subscribe(trigger_id="2"))
        publish(kind, 2)
        await wait_all_tasks_blocked()
        assert values(backend) == []
        backend.settle_held(0, b"true", "c")
        await wait_all_tasks_blocked()
        assert values(backend) == [1, 2]


async def test_a_hanging_condition_costs_the_others_no_attempt(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        backend.held.add("c")
        kind.bind(subscribe(condition_function_id="c", queue_config={"maxRetries": 0}))
        publish(kind, 1, 2)
        await wait_all_tasks_blocked()
        asked = {one.value: one.ticket for one in backend.invocations_of("c")}
        backend.settled(asked[2], b"true")
        await backend.wait_for_invocations(1, "f")
        assert (values(backend), trio.current_time()) == ([2], pytest.approx(CONDITION_S_MAX))
        await wait_all_tasks_blocked()
        assert [dead.error.code for dead in lane(kind).dead] == [Code.TIMEOUT]


async def test_conditions_of_other_groups_do_not_hold_up_a_fifo_queue() -> None:
    config = QueueConfig(kind="fifo", message_group_field="user")
    async with queue(jobs=config) as (backend, kind):
        backend.scripts["f"] = returns(None)
        backend.held.add("c")
        named(kind, "jobs").condition = "c"
        kind.enqueue("jobs", "f", b'{"user":1}')
        kind.enqueue("jobs", "f", b'{"user":2}')
        await wait_all_tasks_blocked()
        [second] = [one.ticket for one in backend.invocations_of("c") if one.value == {"user": 2}]
        backend.settled(second, b"true")
        await wait_all_tasks_blocked()
        assert values(backend) == [{"user": 2}]


async def test_a_failing_condition_retries(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts |= {"f": returns(None), "c": fails(1)}
        kind.bind(subscribe(condition_function_id="c"))
        publish(kind, 1)
        await backend.wait_for_invocations(1, "f")
        assert len(backend.invocations_of("c")) == 2
        assert trio.current_time() == pytest.approx(1.0)
