"""``state::watch`` and ``state::unwatch``: what is delivered, again and again until it is taken, and when it ends."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from iii_fast.broker import ENGINE_SESSION
from iii_fast.builtins import watch as watch_module
from iii_fast.builtins.watch import CHANGES_MAX, HANDLER_S_MAX, RETRY_S, RETRY_S_MAX, Watches
from iii_fast.contracts import Call, Changes, FunctionInfo, Outcome
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from tests.engine.conftest import running
from tests.engine.fake_backend import FakeBackend, call
from tests.triggers.bench import BrokerControl, make


class FeedControl(BrokerControl):
    """Also tells that the feed has advanced."""

    def __init__(self, broker: Any, watches: Watches) -> None:
        super().__init__(broker)
        self._watches = watches

    def advanced(self) -> None:
        self._watches.advanced()


@asynccontextmanager
async def bench() -> AsyncIterator[tuple[FakeBackend, Watches]]:
    """Watches above a fake backend where session 1 has registered ``f`` and ``slow``, and session 2 ``g``."""
    backend, broker = make()
    watches = Watches(broker, backend)
    backend.control = FeedControl(broker, watches)  # type: ignore[assignment]
    backend.function_list = [FunctionInfo(name, session, "w", b"{}") for name, session in OWNERS.items()]
    backend.scripts["f"] = backend.scripts["g"] = lambda data: None
    backend.held.add("slow")
    async with trio.open_nursery() as nursery:
        await nursery.start(watches.run)
        yield backend, watches
        nursery.cancel_scope.cancel()


OWNERS = {"f": 1, "slow": 1, "g": 2}


def watch(watches: Watches, function_id: str = "f", **fields: Any) -> dict[str, Any]:
    """The result of ``state::watch``, called by the owner of the function."""
    asked = call("state::watch", {"function_id": function_id, **fields}, session=OWNERS[function_id])
    result: dict[str, Any] = json.loads(watches.watch(asked))
    return result


def unwatch(watches: Watches, watch_id: str, session: int = 1) -> bool:
    result = json.loads(watches.unwatch(call("state::unwatch", {"watch_id": watch_id}, session=session)))
    assert list(result) == ["removed"]
    return bool(result["removed"])


def delivered(backend: FakeBackend, function_id: str = "f") -> list[tuple[list[str], int]]:
    """Keys and position of each delivery."""
    bodies = [one.value for one in backend.invocations_of(function_id)]
    return [([one["key"] for one in body["changes"]], body["position"]) for body in bodies]


# Inputs


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"5", "invalid type: number, expected an object"),
        (b"{}", "missing field `function_id`"),
        (b'{"function_id":null}', "field `function_id`: invalid type: null, expected a string"),
        (b'{"function_id":5,"since":-1}', "field `function_id`: invalid type: number, expected a string"),
        (b'{"function_id":"h"}', 'field `function_id`: this connection has not registered "h"'),
        (b'{"function_id":"g","scope":1}', 'field `function_id`: this connection has not registered "g"'),
        (b'{"function_id":"f","scope":1,"prefix":1}', "field `scope`: invalid type: number, expected a string"),
        (b'{"function_id":"f","scope":"s","prefix":[]}', "field `prefix`: invalid type: array, expected a string"),
        (b'{"function_id":"f","prefix":"p","since":-1}', "field `prefix`: needs `scope`"),
        (b'{"function_id":"f","since":-1}', "field `since`: expected an integer from 0 to 9007199254740991"),
        (b'{"function_id":"f","since":-0}', "field `since`: expected an integer from 0 to 9007199254740991"),
        (b'{"function_id":"f","since":1.0}', "field `since`: expected an integer from 0 to 9007199254740991"),
        (b'{"function_id":"f","since":"1"}', "field `since`: expected an integer from 0 to 9007199254740991"),
        (
            b'{"function_id":"f","since":9007199254740992}',
            "field `since`: expected an integer from 0 to 9007199254740991",
        ),
        (b'{"function_id":"f","since":1,"since":1}', "duplicate field `since`"),
    ],
)
async def test_wrong_input_of_watch(data: bytes, reason: str) -> None:
    async with bench() as (backend, watches):
        with pytest.raises(WireError) as raised:
            watches.watch(Call(1, "i", "state::watch", data))
        text = f"Failed to deserialize input for state::watch: {reason}"
        assert raised.value == WireError(Code.DESERIALIZATION_ERROR, text)
        backend.change("k")
        await wait_all_tasks_blocked()
        assert backend.invocations == []


async def test_wrong_input_of_unwatch() -> None:
    async with bench() as (_, watches):
        with pytest.raises(WireError, match="missing field `watch_id`"):
            watches.unwatch(call("state::unwatch", {}))
        assert not unwatch(watches, "unknown")


async def test_the_engine_itself_has_no_function_to_watch_with() -> None:
    async with bench() as (_, watches):
        with pytest.raises(WireError, match="has not registered"):
            watches.watch(call("state::watch", {"function_id": "f"}, session=ENGINE_SESSION))


# What is delivered


async def test_changes_come_in_order_from_now_on() -> None:
    async with bench() as (backend, watches):
        backend.change("before")
        began = watch(watches)
        assert began["position"] == 1
        await wait_all_tasks_blocked()
        assert backend.invocations == []
        backend.change("a", "b")
        await wait_all_tasks_blocked()
        backend.change("c", scope="other")
        await wait_all_tasks_blocked()
        assert [one.value for one in backend.invocations] == [
            {
                "watch_id": began["watch_id"],
                "changes": [{"position": 2, "scope": "s", "key": "a"}, {"position": 3, "scope": "s", "key": "b"}],
                "position": 3,
            },
            {
                "watch_id": began["watch_id"],
                "changes": [{"position": 4, "scope": "other", "key": "c"}],
                "position": 4,
            },
        ]


async def test_the_texts_of_changes_are_passed_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as (backend, watches):
        pages = iter([Changes([b'{"value":1.50}', b'{"value": "\xc3\xa4"}'], 9)])
        monkeypatch.setattr(backend, "read_changes", lambda *_: next(pages, Changes([], 9)))
        watch_id = watch(watches)["watch_id"]
        await wait_all_tasks_blocked()
        text = '{"watch_id":"%s","changes":[{"value":1.50},{"value": "ä"}],"position":9}'
        assert backend.invocations[0].data.decode() == text % watch_id


async def test_scope_and_prefix_choose() -> None:
    async with bench() as (backend, watches):
        watch(watches, scope="s")
        watch(watches, "g", scope="s", prefix="a")
        backend.change("a1", "b1", scope="s")
        backend.change("a2", scope="t")
        backend.change("a3", scope="s")
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(["a1", "b1", "a3"], 4)]
        assert delivered(backend, "g") == [(["a1", "a3"], 4)]


async def test_since_goes_on_where_another_connection_ended() -> None:
    async with bench() as (backend, watches):
        backend.change("a", "b", "c")
        assert watch(watches, since=1)["position"] == 1
        assert watch(watches, "g", since=0)["position"] == 0
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(["b", "c"], 3)]
        assert delivered(backend, "g") == [(["a", "b", "c"], 3)]


async def test_a_piece_is_bounded_and_the_next_follows_at_once() -> None:
    async with bench() as (backend, watches):
        keys = [f"k{number}" for number in range(CHANGES_MAX + 1)]
        backend.change(*keys)
        watch(watches, since=0)
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(keys[:CHANGES_MAX], CHANGES_MAX), (keys[CHANGES_MAX:], CHANGES_MAX + 1)]


async def test_the_backend_is_asked_for_bounded_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as (backend, watches):
        asked: list[Any] = []
        monkeypatch.setattr(backend, "read_changes", lambda *bounds: asked.append(bounds) or Changes([], 0))
        watch(watches, scope="s", prefix="p")
        await wait_all_tasks_blocked()
        assert asked == [(0, "s", "p", 100, 1_000_000)]


async def test_changes_of_one_position_come_together() -> None:
    async with bench() as (backend, watches):
        keys = [f"k{number}" for number in range(CHANGES_MAX + 50)]
        backend.change(*keys, position=7)
        backend.change("next")
        watch(watches, since=0)
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(keys, 7), (["next"], 8)]


async def test_pages_without_a_match_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as (backend, watches):
        pages = iter([Changes([], 5), Changes([], 9), Changes([b'{"key":"k"}'], 10)])
        monkeypatch.setattr(backend, "read_changes", lambda *_: next(pages, Changes([], 10)))
        watch(watches)
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(["k"], 10)]


async def test_one_delivery_is_under_way_at_a_time_and_a_slow_function_holds_up_nobody() -> None:
    async with bench() as (backend, watches):
        watch(watches, "slow")
        watch(watches)
        backend.change("a")
        await wait_all_tasks_blocked()
        backend.change("b")
        backend.change("c")
        await wait_all_tasks_blocked()
        assert delivered(backend, "slow") == [(["a"], 1)]
        assert delivered(backend) == [(["a"], 1), (["b", "c"], 3)]
        backend.settle_held(0, b"{}", "slow")
        await wait_all_tasks_blocked()
        assert delivered(backend, "slow") == [(["a"], 1), (["b", "c"], 3)]


# Failing functions


async def test_a_failure_is_answered_with_the_same_after_growing_pauses(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []

    def fail_ten_times(data: bytes) -> Outcome:
        times.append(trio.current_time())
        return WireError("BAD", "no") if len(times) <= 10 else None

    async with bench() as (backend, watches):
        backend.scripts["f"] = fail_ten_times
        watch(watches)
        backend.change("a")
        await backend.wait_for_invocations(1)
        backend.change("b")
        await backend.wait_for_invocations(12)
        assert len({one.data for one in backend.invocations[:11]}) == 1
        assert delivered(backend)[-2:] == [(["a"], 1), (["b"], 2)]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    doubled = [min(RETRY_S * 2**number, RETRY_S_MAX) for number in range(10)]
    assert pauses == pytest.approx([*doubled, 0])
    assert caplog.text.count("f failed, it gets the same again: BAD: no") == 1


async def test_no_result_in_time_is_a_failure(autojump_clock: MockClock) -> None:
    async with bench() as (backend, watches):
        watch(watches, "slow")
        backend.change("a")
        await backend.wait_for_invocations(2)
        assert trio.current_time() == pytest.approx(HANDLER_S_MAX + RETRY_S)
        assert delivered(backend, "slow") == [(["a"], 1), (["a"], 1)]
        assert backend.forgotten == [backend.invocations[0].ticket]


# The end of a watch


async def test_unwatch_ends_it_for_its_own_connection_only() -> None:
    async with bench() as (backend, watches):
        watch_id = watch(watches)["watch_id"]
        assert not unwatch(watches, watch_id, session=2)
        backend.change("a")
        await wait_all_tasks_blocked()
        assert unwatch(watches, watch_id)
        assert not unwatch(watches, watch_id)
        backend.change("b")
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(["a"], 1)]


async def test_nothing_begins_after_unwatch() -> None:
    async with bench() as (backend, watches):
        first = watch(watches, "slow")["watch_id"]
        backend.change("a")
        await wait_all_tasks_blocked()
        # The outcome of "a" and the change "b" are both there already when the task gets its turn.
        backend.settle_held(0, None, "slow")
        backend.change("b")
        assert unwatch(watches, first)
        second = watch(watches, since=0)["watch_id"]
        assert unwatch(watches, second)
        await wait_all_tasks_blocked()
        assert delivered(backend, "slow") == [(["a"], 1)]
        assert delivered(backend) == []


async def test_unwatch_abandons_what_is_under_way() -> None:
    async with bench() as (backend, watches):
        watch_id = watch(watches, "slow")["watch_id"]
        backend.change("a")
        await wait_all_tasks_blocked()
        assert unwatch(watches, watch_id)
        await wait_all_tasks_blocked()
        assert backend.forgotten == [backend.invocations[0].ticket]


async def test_watches_go_with_their_connection() -> None:
    async with bench() as (backend, watches):
        watch(watches)
        watch(watches, "g")
        watches.closed(1)
        watches.closed(77)
        backend.change("a")
        await wait_all_tasks_blocked()
        assert delivered(backend) == []
        assert delivered(backend, "g") == [(["a"], 1)]


@pytest.mark.parametrize("taken", [False, True])
async def test_a_watch_goes_with_its_function(taken: bool) -> None:
    async with bench() as (backend, watches):
        watch_id = watch(watches)["watch_id"]
        backend.function_list = [FunctionInfo("f", 2, "w2", b"{}")] if taken else []
        backend.change("a")
        await wait_all_tasks_blocked()
        assert backend.invocations == []
        assert not unwatch(watches, watch_id)


async def test_a_failed_delivery_notices_that_the_function_is_gone(autojump_clock: MockClock) -> None:
    async with bench() as (backend, watches):
        watch_id = watch(watches, "slow")["watch_id"]
        backend.change("a")
        await backend.wait_for_invocations(1)
        backend.function_list = []
        backend.settle_held(0, WireError(Code.INVOCATION_STOPPED, "Invocation stopped"), "slow")
        await trio.sleep(RETRY_S_MAX)
        assert len(backend.invocations) == 1
        assert not unwatch(watches, watch_id)


# History


@pytest.mark.parametrize("since", [1, 4])
async def test_a_since_that_is_not_known_is_refused(since: int) -> None:
    async with bench() as (backend, watches):
        backend.change("a", "b")
        backend.forget_changes()
        backend.change("c")
        with pytest.raises(WireError) as raised:
            watch(watches, since=since)
        assert raised.value.code == Code.HISTORY_LOST
        backend.change("d")
        await wait_all_tasks_blocked()
        assert backend.invocations == []


@pytest.mark.parametrize("outcome", [None, WireError("BAD", "no")])
async def test_a_watch_that_falls_behind_is_told_once_and_ends(outcome: Outcome) -> None:
    async with bench() as (backend, watches):
        watch_id = watch(watches, "slow")["watch_id"]
        backend.change("a")
        await wait_all_tasks_blocked()
        backend.change("b", "c")
        backend.forget_changes()
        backend.settle_held(0, None, "slow")
        await wait_all_tasks_blocked()
        assert backend.invocations[1].value == {
            "watch_id": watch_id,
            "error": {
                "code": "HISTORY_LOST",
                "message": "changes after position 1 are not known any more; read and watch from 3",
            },
            "position": 3,
        }
        backend.settle_held(1, outcome, "slow")
        backend.change("d")
        await wait_all_tasks_blocked()
        assert len(backend.invocations) == 2
        assert not unwatch(watches, watch_id)


# Bounds, shutdown, bugs


async def test_watches_of_one_connection_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "WATCHES_PER_CONNECTION_MAX", 2)
    async with bench() as (_, watches):
        first = watch(watches)["watch_id"]
        watch(watches, "slow")
        with pytest.raises(WireError) as raised:
            watch(watches)
        assert raised.value == WireError("TOO_MANY_WATCHES", "This connection has 2 watches, the limit is 2.")
        watch(watches, "g")
        assert unwatch(watches, first)
        watch(watches)


async def test_after_stop_nothing_begins() -> None:
    async with bench() as (backend, watches):
        watch(watches, "slow")
        backend.change("a")
        await wait_all_tasks_blocked()
        watches.stop()
        watch(watches)
        backend.change("b")
        backend.settle_held(0, None, "slow")
        await wait_all_tasks_blocked()
        assert len(backend.invocations) == 1


async def test_a_bug_ends_one_watch_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as (backend, watches):
        watch(watches)
        await wait_all_tasks_blocked()
        with monkeypatch.context() as broken:
            broken.setattr(backend, "read_changes", lambda *_: 1 / 0)
            broken_id = watch(watches, "slow")["watch_id"]
            await wait_all_tasks_blocked()
        backend.change("a")
        await wait_all_tasks_blocked()
        assert delivered(backend) == [(["a"], 1)]
        assert not unwatch(watches, broken_id)
    assert "Bug in the engine in a watch of slow" in caplog.text


# In the engine


async def test_the_engine_passes_on_calls_changes_and_departures() -> None:
    backend = FakeBackend(scripts={"f": lambda data: None})
    backend.function_list = [FunctionInfo("f", 1, "w", b"{}")]
    async with running(backend=backend) as started:
        assert backend.control is not None
        backend.control.called(call("state::watch", {"function_id": "f"}))
        watch_id = json.loads(backend.answers[0][3])["watch_id"]
        backend.change("a")
        await backend.wait_for_invocations(1)
        backend.control.closed(1, "w", "connection lost")
        backend.change("b")
        backend.control.called(call("state::unwatch", {"watch_id": watch_id}))
        assert backend.answers[1][3] == b'{"removed":false}'
        backend.control.called(call("state::watch", {"function_id": "f"}))
        started.engine.shut_down()
        await backend.said_goodbye.wait()
        backend.change("c")
        await started.ended.wait()
    assert delivered(backend) == [(["a"], 1)]
