"""Jobs that fail: attempts, pauses between them, dead letters."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.config import QueueConfig
from iii_fast.contracts import Pending
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.triggers import queue_jobs
from iii_fast.triggers.queue_jobs import BACKOFF_S_MAX, JOB_S_MAX, Job
from tests.triggers.bench import returns
from tests.triggers.queue_bench import fails, lane, named, publish, queue, subscribe, values


async def test_retries_back_off_and_end_in_the_dead_letters(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = fails(100)
        kind.bind(subscribe())
        times = []
        publish(kind, 1)
        for count in (1, 2, 3):
            await backend.wait_for_invocations(count)
            times.append(trio.current_time())
        assert times == pytest.approx([0, 1, 3])
        await trio.sleep(1000)
        assert len(backend.invocations) == 3
        [dead] = lane(kind).dead
        assert (dead.job.data, dead.job.attempts, dead.error.code) == (b"1", 3, "boom")
        assert (lane(kind).dead_count, lane(kind).depth, kind._runner.memory.bytes) == (1, 0, 0)


async def test_the_back_off_stops_growing_however_often_a_job_failed(autojump_clock: MockClock) -> None:
    config = QueueConfig(kind="fifo", message_group_field="user", max_retries=10_000)
    async with queue(jobs=config) as (backend, kind):
        backend.scripts["f"] = fails(2)
        job = Job("1", "f", b"1", attempts=5_000)
        kind._runner.memory.take(job)
        named(kind, "jobs").put(job, "ada")
        await backend.wait_for_invocations(3)
        assert trio.current_time() == pytest.approx(2 * BACKOFF_S_MAX)
        await wait_all_tasks_blocked()
        assert (named(kind, "jobs").depth, kind._runner.memory.bytes) == (0, 0)


@pytest.mark.parametrize("where", ["begin", "begin after a condition", "outcome"])
async def test_a_bug_of_ours_buries_the_job_and_frees_its_slot_and_group(
    where: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = returns(None)
        backend.scripts["c"] = returns(True)
        condition = {"condition_function_id": "c"} if "condition" in where else {}
        kind.bind(subscribe(queue_config={"type": "fifo", "concurrency": 1}, **condition))
        begin = kind._runner.invoker.begin

        class Broken:
            async def outcome(self) -> bytes | None:
                raise RuntimeError("a bug")

        def broken_begin(function_id: str, data: bytes, **more: Any) -> Pending:
            if data != b"1" or function_id == "c":
                return begin(function_id, data, **more)
            if where.startswith("begin"):
                raise RuntimeError("a bug")
            return Broken()

        monkeypatch.setattr(kind._runner.invoker, "begin", broken_begin)
        publish(kind, 1, 2, 3)
        await wait_all_tasks_blocked()
        [dead] = lane(kind).dead
        assert (dead.job.data, dead.error.code) == (b"1", Code.INTERNAL_ERROR)
        assert values(backend) == [2, 3]
        assert (lane(kind).depth, kind._runner.memory.bytes) == (0, 0)
    assert "Bug in the engine" in caplog.text


async def test_others_go_on_while_one_waits_for_its_retry(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = fails(1)
        kind.bind(subscribe(queue_config={"concurrency": 1}))
        publish(kind, 1, 2, 3)
        await backend.wait_for_invocations(4)
        assert values(backend) == [1, 2, 3, 1]


async def test_a_lost_executor_costs_an_attempt(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = lambda data: WireError(Code.INVOCATION_STOPPED, "Invocation stopped")
        kind.bind(subscribe())
        publish(kind, 1)
        await backend.wait_for_invocations(3)
        await trio.sleep(100)
        assert (len(backend.invocations), lane(kind).dead_count) == (3, 1)


async def test_a_hanging_handler_gives_its_slot_back(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.held.add("f")
        kind.bind(subscribe(queue_config={"concurrency": 1, "maxRetries": 0}))
        publish(kind, 1, 2)
        await backend.wait_for_invocations(2)
        assert trio.current_time() == pytest.approx(JOB_S_MAX)
        assert lane(kind).dead[0].error.code == Code.TIMEOUT


async def test_a_fifo_subscriber_keeps_order_across_retries(autojump_clock: MockClock) -> None:
    async with queue() as (backend, kind):
        backend.scripts["f"] = fails(1)
        kind.bind(subscribe(queue_config={"type": "fifo"}))
        publish(kind, 1, 2, 3)
        await backend.wait_for_invocations(4)
        assert values(backend) == [1, 1, 2, 3]


async def test_dead_letters_are_bounded(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setattr(queue_jobs, "DEAD_LETTERS_MAX", 2)
    async with queue() as (backend, kind):
        backend.scripts["f"] = fails(100)
        kind.bind(subscribe(queue_config={"maxRetries": 0}))
        publish(kind, 1, 2, 3)
        await wait_all_tasks_blocked()
        assert (len(lane(kind).dead), lane(kind).dead_count) == (2, 3)
        monkeypatch.setattr(queue_jobs, "DEAD_LETTER_BYTES_MAX", 10)
        publish(kind, 4)
        await wait_all_tasks_blocked()
        assert (len(lane(kind).dead), lane(kind).dead_count) == (0, 4)
