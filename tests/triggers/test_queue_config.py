"""How a trigger says what its queue is like, and what happens when another one says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.errors import WireError
from iii_fast.triggers.queue_jobs import PROBE_S
from tests.triggers.bench import returns, trigger
from tests.triggers.queue_bench import fails, lane, publish, queue, subscribe, values


@pytest.mark.parametrize("type_id", ["queue", "durable:subscriber"])
@pytest.mark.parametrize("config", [None, {}, {"topic": ""}, {"topic": None}])
async def test_a_topic_is_required(type_id: str, config: Any) -> None:
    async with queue() as (_, kind):
        assert type_id in kind.ids
        with pytest.raises(WireError) as raised:
            kind.bind(trigger(type_id, config))
        assert raised.value == WireError("trigger_registration_failed", f"topic is required for {type_id} triggers")


@pytest.mark.parametrize(
    "config",
    [
        {"topic": 5},
        {"topic": "x", "queue_config": 5},
        {"topic": "x", "queue_config": {"concurrency": 0}},
        {"topic": "x", "queue_config": {"concurrency": 1_000_001}},
        {"topic": "x", "queue_config": {"maxRetries": 1_000_000}},
        {"topic": "x", "queue_config": {"backoffDelayMs": 86_400_001}},
        [],
    ],
)
async def test_bad_configs_are_refused(config: Any) -> None:
    async with queue() as (_, kind):
        with pytest.raises(WireError, match="Failed to parse trigger config"):
            kind.bind(trigger("queue", config))
        assert kind._topics == {}


async def test_queue_config_is_honoured(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = fails(100)
        kind.bind(subscribe(queue_config={"maxRetries": 1, "backoffDelayMs": 5000, "visibilityTimeout": 1}))
        publish(kind, 1)
        await backend.wait_for_invocations(2)
        assert trio.current_time() == pytest.approx(5)
        await trio.sleep(100)
        assert len(backend.invocations) == 2


async def test_flat_spellings_are_honoured_and_queue_config_wins() -> None:
    def config_of(**more: Any) -> tuple[str, int]:
        kind.bind(subscribe(**more))
        config = lane(kind).config
        return config.kind, config.concurrency

    async with queue() as (_, kind):
        assert config_of(type="fifo", concurrency=1) == ("fifo", 1)
        assert config_of(type="concurrent", concurrency=2) == ("standard", 2)
        assert config_of(type="fifo", concurrency=3, queue_config={"type": "standard"}) == ("standard", 3)
        assert config_of(type="fifo", concurrency=3, queue_config={"type": None, "concurrency": 4}) == ("fifo", 4)
        for wrong in ({"type": 5}, {"concurrency": -1}, {"concurrency": "x"}):
            with pytest.raises(WireError, match="Failed to parse trigger config"):
                kind.bind(subscribe(**wrong))


async def test_flat_concurrency_zero_pauses_until_another_trigger_comes() -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        kind.bind(subscribe(concurrency=0))
        publish(kind, 1, 2)
        await wait_all_tasks_blocked()
        assert values(backend) == []
        kind.bind(subscribe(trigger_id="2"))
        await wait_all_tasks_blocked()
        assert values(backend) == [1, 2]


async def test_jobs_of_a_standard_queue_keep_order_when_it_becomes_fifo(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.held.add("f")
        kind.bind(subscribe(concurrency=2))
        publish(kind, *range(6))
        await wait_all_tasks_blocked()
        kind.bind(subscribe(trigger_id="2", type="fifo", concurrency=5))
        publish(kind, 6)
        await wait_all_tasks_blocked()
        assert values(backend) == [0, 1], "what runs ends first"
        backend.settle_held(1)
        backend.settle_held(0, WireError("boom", "it broke"))
        await wait_all_tasks_blocked()
        assert values(backend) == [0, 1], "also what waits for its retry"
        await backend.wait_for_invocations(3)
        for count, value in enumerate([0, 2, 3, 4, 5, 6], 3):
            await wait_all_tasks_blocked()
            assert values(backend)[2:] == [0, 2, 3, 4, 5, 6][: count - 2], "one at a time"
            assert backend.invocations[-1].value == value
            backend.settle_held(count - 1)
        await wait_all_tasks_blocked()
        assert (lane(kind).depth, kind._runner.memory.bytes, lane(kind)._groups) == (0, 0, {})


async def test_jobs_of_a_fifo_queue_run_side_by_side_when_it_becomes_standard() -> None:
    async with queue() as (backend, kind):
        backend.held.add("f")
        second = subscribe(trigger_id="2", type="fifo")
        kind.bind(subscribe(concurrency=2))
        kind.bind(second)
        publish(kind, *range(4))
        await wait_all_tasks_blocked()
        assert values(backend) == [0]
        kind.unbind(second)
        await wait_all_tasks_blocked()
        assert values(backend) == [0, 1], "the trigger that is left decides"
        publish(kind, 4)
        for index in range(5):
            backend.settle_held(index)
            await wait_all_tasks_blocked()
        assert values(backend) == list(range(5))
        assert lane(kind).depth == 0


async def test_a_queue_may_change_its_kind_while_its_jobs_run_or_wait_for_a_function(
    autojump_clock: MockClock,
) -> None:
    async with queue() as (backend, kind):
        kind.bind(subscribe(concurrency=3))
        publish(kind, *range(4))
        await trio.sleep(2.5 * PROBE_S)
        for step in range(5):
            kind.bind(subscribe(trigger_id=str(step), type="concurrent" if step % 2 else "fifo"))
            publish(kind, 4 + step)
            await wait_all_tasks_blocked()
        seen = len(backend.invocations)
        backend.scripts["f"] = returns(None)
        await trio.sleep(3 * PROBE_S)
        assert values(backend)[seen:] == list(range(9))
        assert (lane(kind).depth, kind._runner.memory.bytes, lane(kind)._groups) == (0, 0, {})
