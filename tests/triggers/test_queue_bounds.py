"""What all queues together may hold, and how they end."""

from __future__ import annotations

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.triggers import queue as queue_module
from iii_fast.triggers.queue_jobs import JOB_BYTES
from tests.triggers.bench import draining
from tests.triggers.queue_bench import publish, queue, subscribe


async def test_memory_is_bounded_for_all_queues_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "QUEUE_BYTES_MAX", 3 * (JOB_BYTES + 10))
    async with queue() as (backend, kind):
        backend.held.add("f")
        data = b"1234567890"
        kind.publish("news", data)
        kind.enqueue("default", "f", data)
        kind.publish("other", data)
        for refused in (lambda: kind.publish("news", data), lambda: kind.enqueue("default", "f", data)):
            with pytest.raises(WireError) as raised:
                refused()
            assert raised.value.code == Code.ENQUEUE_ERROR
        backend.settle_held(0)
        await wait_all_tasks_blocked()
        kind.publish("news", data)


async def test_a_fan_out_is_taken_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "QUEUE_BYTES_MAX", 2 * JOB_BYTES)
    async with queue() as (backend, kind):
        kind.bind(subscribe(trigger_id="1"))
        kind.bind(subscribe(function_id="g", trigger_id="2"))
        with pytest.raises(WireError):
            publish(kind, 1)
        assert kind._runner.memory.bytes == 0
        assert backend.invocations == []


async def test_drain_waits_for_running_jobs_and_tells_what_is_lost(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with queue() as (backend, kind):
        backend.held.add("f")
        kind.enqueue("default", "f", b"1")
        kind.publish("nobody", b"1")
        async with draining(kind) as drained:
            await wait_all_tasks_blocked()
            assert not drained.is_set()
            backend.settle_held(0)
            await drained.wait()
    assert "1 jobs are lost" in caplog.text
