"""Named queues, by the enqueue action."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.config import QueueConfig
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from tests.triggers.bench import returns
from tests.triggers.queue_bench import fails, named, queue, values


async def test_enqueue_gives_a_receipt_and_runs_the_function_with_everything() -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        receipt = kind.enqueue("default", "f", b"[1]", metadata=b"[2]", traceparent="t", baggage="b")
        other = kind.enqueue("default", "f", b"[1]")
        assert len({receipt, other}) == 2
        assert len(receipt) == 36
        await wait_all_tasks_blocked()
        first = backend.invocations[0]
        assert (first.data, first.metadata, first.traceparent, first.baggage) == (b"[1]", b"[2]", "t", "b")


async def test_an_unknown_queue_is_named() -> None:
    async with queue(jobs=QueueConfig()) as (_, kind):
        with pytest.raises(WireError) as raised:
            kind.enqueue("nope", "f", b"null")
        assert raised.value.code == Code.ENQUEUE_ERROR
        assert "`nope`" in raised.value.message
        assert "default, jobs" in raised.value.message


async def test_named_queues_count_attempts_and_have_their_own_settings(autojump_clock: MockClock) -> None:
    config = QueueConfig(max_retries=2, concurrency=1, backoff_ms=4000)
    async with queue(jobs=config) as (backend, kind):
        backend.scripts["f"] = fails(100)
        kind.enqueue("jobs", "f", b"1")
        await backend.wait_for_invocations(2)
        assert trio.current_time() == pytest.approx(4)
        await trio.sleep(100)
        assert (len(backend.invocations), named(kind, "jobs").dead_count) == (2, 1)


async def test_fifo_orders_within_a_group_and_not_across(autojump_clock: MockClock) -> None:
    config = QueueConfig(kind="fifo", message_group_field="user", concurrency=2)
    async with queue(jobs=config) as (backend, kind):
        backend.held.add("f")
        for user, number in [("a", 1), ("a", 2), ("b", 3), ("c", 4)]:
            kind.enqueue("jobs", "f", json.dumps({"user": user, "n": number}).encode())
        await wait_all_tasks_blocked()
        assert [one["n"] for one in values(backend)] == [1, 3]
        backend.settle_held(0, WireError("boom", "x"))
        await wait_all_tasks_blocked()
        assert [one["n"] for one in values(backend)] == [1, 3, 4], "the group of the failed job waits with it"
        backend.settle_held(1)
        await trio.sleep(1.5)
        assert [one["n"] for one in values(backend)] == [1, 3, 4, 1]
        backend.settle_held(3)
        await wait_all_tasks_blocked()
        assert [one["n"] for one in values(backend)] == [1, 3, 4, 1, 2]


@pytest.mark.parametrize("data", [b"{}", b'{"user":null}', b"5", b"null"])
async def test_fifo_needs_its_group(data: bytes) -> None:
    async with queue(jobs=QueueConfig(kind="fifo", message_group_field="user")) as (_, kind):
        with pytest.raises(WireError, match="fifo and needs the field `user`"):
            kind.enqueue("jobs", "f", data)
        assert kind._runner.memory.jobs == 0
