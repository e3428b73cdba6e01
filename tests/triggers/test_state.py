"""The ``state`` trigger type: which events reach which function, and in which order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.errors import WireError
from iii_fast.triggers import state as state_module
from iii_fast.triggers.state import DROPPED_LOG_S, EVENT_BYTES, HANDLER_S_MAX, StateTrigger
from tests.engine.fake_backend import FakeBackend
from tests.triggers.bench import draining, make, returns, trigger


@asynccontextmanager
async def state() -> AsyncIterator[tuple[FakeBackend, StateTrigger]]:
    backend, broker = make()
    kind = StateTrigger(broker, backend)
    async with trio.open_nursery() as nursery:
        await nursery.start(kind.run)
        yield backend, kind
        nursery.cancel_scope.cancel()


def change(kind: StateTrigger, number: int, key: str = "k", scope: str = "s") -> None:
    kind.changed(scope, key, json.dumps({"scope": scope, "key": key, "n": number}).encode())


def numbers(backend: FakeBackend, function_id: str = "f") -> list[int]:
    return [one.value["n"] for one in backend.invocations_of(function_id)]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"scope": 5}, "Failed to parse trigger config: field `scope`: invalid type: number, expected a string"),
        ({"key": []}, "Failed to parse trigger config: field `key`: invalid type: array, expected a string"),
        ("x", "Failed to parse trigger config: invalid type: string, expected an object"),
    ],
)
async def test_bad_configs_are_refused_and_watch_nothing(config: Any, text: str) -> None:
    async with state() as (backend, kind):
        with pytest.raises(WireError) as raised:
            kind.bind(trigger("state", config))
        assert raised.value == WireError("trigger_registration_failed", text)
        assert backend.watches == []


async def test_watches_are_paired() -> None:
    async with state() as (backend, kind):
        bound = [
            trigger("state", {"scope": "s"}, trigger_id="1"),
            trigger("state", {"scope": "s", "key": "k"}, trigger_id="2"),
            trigger("state", {}, trigger_id="3"),
            trigger("state", None, trigger_id="4"),
        ]
        for one in bound:
            kind.bind(one)
        assert backend.watches == ["s", "s", None, None]
        for one in bound:
            kind.unbind(one)
        assert backend.watches == []
        change(kind, 1)
        await wait_all_tasks_blocked()
        assert backend.invocations == []


async def test_filters() -> None:
    async with state() as (backend, kind):
        configs = {"all": None, "scope": {"scope": "s"}, "key": {"key": "k"}, "both": {"scope": "s", "key": "k"}}
        for name, config in configs.items():
            backend.scripts[name] = returns(None)
            kind.bind(trigger("state", config, name, name, metadata=b"[7]"))
        change(kind, 1, "k", "s")
        change(kind, 2, "k", "other")
        change(kind, 3, "other", "s")
        change(kind, 4, "other", "other")
        await wait_all_tasks_blocked()
        found = {name: sorted(numbers(backend, name)) for name in configs}
        assert found == {"all": [1, 2, 3, 4], "scope": [1, 3], "key": [1, 2], "both": [1]}
        assert {one.metadata for one in backend.invocations} == {b"[7]"}


async def test_events_of_a_key_wait_for_each_other_and_others_do_not() -> None:
    async with state() as (backend, kind):
        backend.held |= {"f", "g"}
        kind.bind(trigger("state", {}, "f", "1"))
        kind.bind(trigger("state", {}, "g", "2"))
        for number in range(3):
            change(kind, number, "a")
        change(kind, 10, "b")
        change(kind, 20, "a", "other scope")
        await wait_all_tasks_blocked()
        assert sorted(numbers(backend)) == [0, 10, 20]
        for step in range(1, 3):
            backend.settled(next(one.ticket for one in backend.invocations_of("f") if one.value["n"] == step - 1), None)
            await wait_all_tasks_blocked()
            assert max(one for one in numbers(backend) if one < 10) == step
        assert sorted(numbers(backend, "g")) == [0, 10, 20], "another trigger keeps its own pace"


async def test_a_failing_handler_does_not_stop_the_next_event(caplog: pytest.LogCaptureFixture) -> None:
    async with state() as (backend, kind):
        backend.scripts["f"] = lambda data: WireError("boom", "it broke")
        kind.bind(trigger("state", {}))
        change(kind, 1)
        change(kind, 2)
        await wait_all_tasks_blocked()
        assert numbers(backend) == [1, 2]
    assert "boom: it broke" in caplog.text


async def test_a_hanging_handler_is_left_behind(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with state() as (backend, kind):
        backend.held.add("f")
        kind.bind(trigger("state", {}))
        change(kind, 1)
        change(kind, 2)
        await backend.wait_for_invocations(2)
        assert trio.current_time() == pytest.approx(HANDLER_S_MAX)
        assert backend.forgotten == [1]
    assert "no result within 30 s" in caplog.text


async def test_conditions() -> None:
    async with state() as (backend, kind):
        backend.scripts |= {"f": returns(None), "c": lambda data: b"false" if json.loads(data)["n"] == 1 else b"0"}
        kind.bind(trigger("state", {"condition_function_id": "c"}))
        change(kind, 1)
        change(kind, 2)
        await wait_all_tasks_blocked()
        assert numbers(backend) == [2]
        backend.scripts["c"] = lambda data: WireError("C", "m")
        change(kind, 3)
        await wait_all_tasks_blocked()
        assert numbers(backend) == [2], "a failing condition skips"


async def test_unbinding_drops_what_waits_and_lets_the_running_one_finish() -> None:
    async with state() as (backend, kind):
        backend.held.add("f")
        bound = trigger("state", {})
        kind.bind(bound)
        change(kind, 1)
        change(kind, 2)
        await wait_all_tasks_blocked()
        kind.unbind(bound)
        await wait_all_tasks_blocked()
        assert backend.forgotten == []
        backend.settle_held(0)
        await kind.drain()
        assert numbers(backend) == [1]


async def test_waiting_events_are_bounded_per_trigger(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_module, "EVENTS_WAITING_MAX", 3)
    async with state() as (backend, kind):
        backend.held.add("slow")
        backend.scripts["f"] = returns(None)
        kind.bind(trigger("state", {}, "slow", "1"))
        kind.bind(trigger("state", {}, "f", "2"))
        for number in range(5):
            change(kind, number)
            await wait_all_tasks_blocked()
        assert numbers(backend) == [0, 1, 2, 3, 4], "another trigger loses nothing"
        assert "dropped" in caplog.text
        backend.held.clear()
        backend.scripts["slow"] = returns(None)
        backend.settle_held(0, None, "slow")
        await kind.drain()
        assert numbers(backend, "slow") == [0, 1, 2]
        change(kind, 9)
        await kind.drain()
        assert numbers(backend, "slow") == [0, 1, 2, 9], "there is room again"


async def test_waiting_events_share_a_budget_of_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    event = json.dumps({"scope": "s", "key": "k", "n": 0}).encode()
    monkeypatch.setattr(state_module, "WAITING_BYTES_MAX", 3 * (len(event) + EVENT_BYTES))
    async with state() as (backend, kind):
        backend.held |= {"f", "g"}
        kind.bind(trigger("state", {}, "f", "1"))
        kind.bind(trigger("state", {}, "g", "2"))
        change(kind, 0)
        change(kind, 1)
        await wait_all_tasks_blocked()
        assert "State trigger '2' is too slow: 1 events dropped so far" in caplog.text
        backend.settle_held(0, None, "f")
        backend.settle_held(0, None, "g")
        await wait_all_tasks_blocked()
        assert (numbers(backend, "f"), numbers(backend, "g")) == ([0, 1], [0])
        backend.settle_held(1, None, "f")
        await kind.drain()
        change(kind, 2)
        await wait_all_tasks_blocked()
        assert (numbers(backend, "f"), numbers(backend, "g")) == ([0, 1, 2], [0, 2]), "there is room again"


async def test_dropped_events_are_all_counted_and_not_a_line_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(state_module, "EVENTS_WAITING_MAX", 1)
    async with state() as (backend, kind):
        backend.held.add("f")
        kind.bind(trigger("state", {}))

        def logged() -> list[str]:
            return [record.getMessage().split(": ")[1].split()[0] for record in caplog.records]

        for number in range(101):
            change(kind, number)
        await wait_all_tasks_blocked()
        assert logged() == ["100"]
        change(kind, 101)
        await trio.sleep(DROPPED_LOG_S / 2)
        change(kind, 102)
        await trio.sleep(DROPPED_LOG_S * 2)
        assert logged() == ["100", "102"]
        change(kind, 103)
        await wait_all_tasks_blocked()
        change(kind, 104)
    assert logged() == ["100", "102", "103", "104"], "also the last ones"


async def test_unbinding_tells_what_it_drops_and_gives_the_room_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with state() as (backend, kind):
        backend.held.add("f")
        bound = trigger("state", {})
        kind.bind(bound)
        for key in "ab":
            for number in range(4):
                change(kind, number, key)
        await wait_all_tasks_blocked()
        kind.unbind(bound)
        assert "State trigger 't' is unbound: 6 waiting events dropped" in caplog.text
        monkeypatch.setattr(state_module, "WAITING_BYTES_MAX", kind._waiting_bytes)
        for _ in range(2):
            backend.settle_held(0)
            del backend.invocations[0]
        await kind.drain()
        assert kind._waiting_bytes == 0
        caplog.clear()
        kind.bind(bound)
        kind.unbind(bound)
        assert caplog.text == "", "nothing waited"


async def test_an_event_before_the_unbinding_whose_task_had_no_turn_yet_is_delivered() -> None:
    async with state() as (backend, kind):
        backend.scripts["f"] = returns(None)
        bound = trigger("state", {})
        kind.bind(bound)
        change(kind, 1)
        kind.unbind(bound)
        await kind.drain()
        assert numbers(backend) == [1]


async def test_drain_waits_for_every_event() -> None:
    async with state() as (backend, kind):
        backend.held.add("f")
        kind.bind(trigger("state", {}))
        change(kind, 1)
        change(kind, 2)
        async with draining(kind) as drained:
            for index in range(2):
                await backend.wait_for_invocations(index + 1)
                assert not drained.is_set()
                backend.settle_held(index)
            await drained.wait()
