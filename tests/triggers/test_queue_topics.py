"""Who gets what is published to a topic, when, and in which order."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.triggers import queue as queue_module
from iii_fast.triggers.queue import DETACHED_S
from tests.triggers.bench import returns, trigger
from tests.triggers.queue_bench import publish, queue, subscribe, values


async def test_a_subscriber_gets_the_bare_data_and_its_metadata() -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns("ignored")
        kind.bind(subscribe(metadata=b"[7]"))
        kind.publish("news", b'{"x":1.0e2}', "trace", "bag")
        await wait_all_tasks_blocked()
        [got] = backend.invocations
        assert (got.data, got.metadata, got.traceparent, got.baggage) == (b'{"x":1.0e2}', b"[7]", "trace", "bag")
        assert kind._runner.memory.jobs == kind._runner.memory.bytes == 0


async def test_messages_before_the_first_subscriber_wait_in_order() -> None:
    async with queue() as (backend, kind):
        backend.scripts |= {"f": returns(None), "g": returns(None)}
        publish(kind, *range(30))
        publish(kind, "other", topic="other")
        kind.bind(subscribe())
        kind.bind(subscribe(function_id="g", trigger_id="2"))
        await wait_all_tasks_blocked()
        assert values(backend) == list(range(30))
        assert values(backend, "g") == [], "they went to the first"
        publish(kind, 99)
        await wait_all_tasks_blocked()
        assert (values(backend)[-1], values(backend, "g")) == (99, [99])


async def test_one_copy_per_function_and_triggers_of_one_function_share() -> None:
    async with queue() as (backend, kind):
        backend.scripts |= {"f": returns(None), "g": returns(None)}
        kind.bind(subscribe(trigger_id="1"))
        kind.bind(trigger("durable:subscriber", {"topic": "news"}, "f", "2", session=2))
        kind.bind(subscribe(function_id="g", trigger_id="3"))
        publish(kind, 1, 2)
        await wait_all_tasks_blocked()
        assert (values(backend), values(backend, "g")) == ([1, 2], [1, 2])


async def test_jobs_start_in_order_of_arrival_ten_at_a_time() -> None:
    async with queue() as (backend, kind):
        backend.held.add("f")
        kind.bind(subscribe())
        publish(kind, *range(25))
        await wait_all_tasks_blocked()
        assert values(backend) == list(range(10))
        for done, index in enumerate([3, 0, 9, 1, 2]):
            backend.settle_held(index)
            await wait_all_tasks_blocked()
            assert values(backend) == list(range(11 + done))


async def test_a_function_that_is_away_gets_what_was_published_meanwhile() -> None:
    async with queue() as (backend, kind):
        backend.scripts |= {"f": returns(None), "g": returns(None)}
        one, two = subscribe(), subscribe(function_id="g", trigger_id="2")
        kind.bind(one)
        kind.bind(two)
        kind.unbind(one)
        kind.unbind(two)
        publish(kind, 1)
        await wait_all_tasks_blocked()
        assert backend.invocations == []
        kind.bind(one)
        kind.bind(two)
        await wait_all_tasks_blocked()
        assert (values(backend), values(backend, "g")) == ([1], [1])


async def test_a_function_that_never_comes_back_is_forgotten(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        gone = subscribe()
        kind.bind(gone)
        kind.unbind(gone)
        publish(kind, 1)
        await trio.sleep(DETACHED_S + 1)
        publish(kind, 2)
        assert "1 messages lost" in caplog.text
        assert kind._runner.memory.jobs == 1
        kind.bind(subscribe(function_id="f"))
        await wait_all_tasks_blocked()
        assert values(backend) == [2]


async def test_detached_functions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "DETACHED_MAX", 2)
    async with queue() as (_, kind):
        for number in range(5):
            gone = subscribe(topic=str(number))
            kind.bind(gone)
            kind.unbind(gone)
        assert list(kind._topics) == ["3", "4"]


async def test_unbinding_lets_running_jobs_finish_and_starts_no_others() -> None:
    async with queue() as (backend, kind):
        backend.held.add("f")
        bound = subscribe(queue_config={"concurrency": 1})
        kind.bind(bound)
        publish(kind, 1, 2)
        await wait_all_tasks_blocked()
        kind.unbind(bound)
        backend.settle_held(0)
        await wait_all_tasks_blocked()
        assert (values(backend), backend.forgotten) == ([1], [])
        kind.bind(bound)
        assert values(backend) == [1, 2]
