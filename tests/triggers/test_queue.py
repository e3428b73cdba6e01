"""Topics, named queues, retries and dead letters on virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.config import QueueConfig, QueueSettings
from iii_fast.contracts import Pending
from iii_fast.errors import WireError
from iii_fast.protocol import Code, function_not_found
from iii_fast.triggers import queue as queue_module
from iii_fast.triggers import queue_jobs
from iii_fast.triggers.queue import DETACHED_S, QueueTrigger
from iii_fast.triggers.queue_jobs import BACKOFF_S_MAX, CONDITION_S_MAX, JOB_BYTES, JOB_S_MAX, PROBE_S, Job, JobQueue
from tests.engine.fake_backend import FakeBackend
from tests.triggers.bench import VirtualClock, make, returns, trigger


@asynccontextmanager
async def queue(**queues: QueueConfig) -> AsyncIterator[tuple[FakeBackend, QueueTrigger]]:
    backend, broker = make()
    kind = QueueTrigger(broker, VirtualClock(0), QueueSettings(queue_configs=MappingProxyType(queues)))
    async with trio.open_nursery() as nursery:
        await nursery.start(kind.run)
        yield backend, kind
        nursery.cancel_scope.cancel()


def subscribe(topic: str = "news", function_id: str = "f", trigger_id: str = "t", **more: Any) -> Any:
    metadata = more.pop("metadata", None)
    return trigger("queue", {"topic": topic, **more}, function_id, trigger_id, metadata=metadata)


def publish(kind: QueueTrigger, *values: Any, topic: str = "news") -> None:
    for value in values:
        kind.publish(topic, json.dumps(value).encode())


def values(backend: FakeBackend, function_id: str | None = "f") -> list[Any]:
    return [one.value for one in backend.invocations_of(function_id)]


def fails(times: int) -> Any:
    """A function that fails the first times it is called."""
    left = [times]

    def script(data: bytes) -> bytes | WireError:
        left[0] -= 1
        return WireError("boom", "it broke") if left[0] >= 0 else b"null"

    return script


def named(kind: QueueTrigger, name: str = "default") -> JobQueue:
    return kind._queues[name]


def lane(kind: QueueTrigger, function_id: str = "f") -> JobQueue:
    return kind._topics["news"].lanes[function_id].queue


# Config


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


# Topics


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


# Retries


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


# Functions that are not there


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


# Named queues


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


# Bounds, end


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
        drained = trio.Event()
        async with trio.open_nursery() as nursery:

            async def drain() -> None:
                await kind.drain()
                drained.set()

            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            assert not drained.is_set()
            backend.settle_held(0)
            await drained.wait()
    assert "1 jobs are lost" in caplog.text
