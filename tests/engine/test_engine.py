"""The engine above a fake backend: wiring, dispatch, listeners, drain and shutdown."""

from __future__ import annotations

import json
import logging
import signal
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from iii_fast import engine as engine_module
from iii_fast.config import CronSettings, HttpSettings, QueueSettings, StateSettings
from iii_fast.contracts import Limits, Stats
from iii_fast.engine import Bound, Engine, serve_until_signal
from iii_fast.errors import ConfigError, WireError
from tests.engine.conftest import LOCAL, Running, running
from tests.engine.fake_backend import FakeBackend, call


def control(backend: FakeBackend) -> Any:
    assert backend.control is not None
    return backend.control


def message(backend: FakeBackend, kind: str, session: int = 1, **fields: Any) -> None:
    control(backend).message(session, kind, json.dumps({"type": kind, **fields}).encode())


async def exchange(address: tuple[str, int], raw: bytes) -> bytes:
    """Sends ``raw`` and reads until the connection ends."""
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(raw)
        answer = b""
        while data := await stream.receive_some():
            answer += data
        return answer


GET = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# Wiring


async def test_ids_of_the_control_plane_are_reserved_before_anything_runs() -> None:
    backend = FakeBackend()
    Engine(LOCAL, backend)
    assert set(backend.defined) == {
        "engine::workers::register",
        "engine::workers::list",
        "engine::functions::list",
        "engine::health::check",
        "engine::channels::create",
        "engine::queue::enqueue",
        "state::watch",
        "state::unwatch",
        "enqueue",
        "iii::durable::publish",
        *(f"engine::log::{level}" for level in ("trace", "debug", "info", "warn", "error")),
    }


async def test_what_is_switched_off_is_not_there() -> None:
    backend = FakeBackend()
    settings = replace(
        LOCAL,
        http=HttpSettings(enabled=False),
        cron=CronSettings(enabled=False),
        queue=QueueSettings(enabled=False),
        state=StateSettings(triggers_enabled=False),
    )
    async with running(settings, backend) as started:
        assert started.bound.http == []
        assert "enqueue" not in backend.defined
        for kind in ("http", "cron", "queue", "state"):
            message(backend, "registertrigger", id=kind, trigger_type=kind, function_id="f", config=5)
        assert backend.pushed == [], "parked like any unknown type"
        control(backend).called(call("f", 1, queue="default"))
        assert backend.answers[0][3].code == "enqueue_error"
        control(backend).changed("s", "k", b"{}")


async def test_calls_are_answered_and_void_ones_are_not() -> None:
    backend = FakeBackend()
    async with running(backend=backend):
        control(backend).called(call("engine::log::info", {"message": "m"}, session=3, invocation_id="one"))
        control(backend).called(call("engine::log::info", {}, session=3, invocation_id="two"))
        control(backend).called(call("engine::log::info", {}, session=3, invocation_id=None))
    (first, second) = backend.answers
    assert first == (3, "one", "engine::log::info", None)
    assert second[:3] == (3, "two", "engine::log::info")
    assert isinstance(second[3], WireError)


async def test_the_enqueue_action_runs_the_function_later() -> None:
    backend = FakeBackend(scripts={"f": lambda data: None})
    async with running(backend=backend):
        control(backend).called(call("f", {"a": 1}, queue="default", metadata=b"[1]"))
        receipt = json.loads(backend.answers[0][3])["messageReceiptId"]
        assert len(receipt) == 36
        await backend.wait_for_invocations(1, "f")
        control(backend).called(call("f", {"a": 2}, queue="default", invocation_id=None))
        await backend.wait_for_invocations(2, "f")
        assert len(backend.answers) == 1
        control(backend).called(call("f", 1, queue="nope"))
        assert "`nope`" in backend.answers[1][3].message


async def test_a_trigger_of_the_engine_may_target_a_function_of_the_engine() -> None:
    backend = FakeBackend(scripts={"f": lambda data: None})
    async with running(backend=backend):
        message(backend, "registertrigger", id="1", trigger_type="state", function_id="enqueue", config=None)
        message(backend, "registertrigger", id="2", trigger_type="queue", function_id="f", config={"topic": "t"})
        control(backend).changed("s", "k", b'{"topic":"t","data":7}')
        [got] = await backend.wait_for_invocations(1, "f")
        assert got.value == 7


async def test_refusals_reach_the_registrant() -> None:
    backend = FakeBackend()
    async with running(backend=backend):
        wanted = {
            "http": "api_path is required for http triggers",
            "cron": "Cron expression is required",
            "queue": "topic is required for queue triggers",
            "durable:subscriber": "topic is required for durable:subscriber triggers",
        }
        for kind in wanted:
            message(backend, "registertrigger", session=7, id=kind, trigger_type=kind, function_id="f", config={})
        assert [(session, told["error"]["message"]) for session, told in backend.pushed] == [
            (7, text) for text in wanted.values()
        ]


async def test_a_worker_that_goes_takes_its_triggers_and_metadata_along() -> None:
    backend = FakeBackend()
    async with running(backend=backend):
        message(backend, "registertrigger", id="1", trigger_type="state", function_id="f", config={"scope": "s"})
        control(backend).called(call("engine::workers::register", {"name": "box"}))
        assert backend.watches == ["s"]
        control(backend).closed(1, "w1", "connection lost")
        assert backend.watches == []


async def test_one_broken_call_does_not_end_the_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    async with running(backend=backend) as started:
        for target, name in [
            ("_registry", "message"),
            ("_registry", "closed"),
            ("_broker", "settled"),
        ]:
            monkeypatch.setattr(getattr(started.engine._control, target), name, broken)
        monkeypatch.setattr(started.engine._types.state, "changed", broken)
        monkeypatch.setattr(started.engine._watches, "advanced", broken)
        monkeypatch.setitem(started.engine._control._functions, "enqueue", broken)
        plane = control(backend)
        plane.message(1, "registertrigger", b"{}")
        plane.closed(1, "w", "connection lost")
        plane.settled(1, None)
        plane.changed("s", "k", b"{}")
        plane.advanced()
        plane.called(call("enqueue"))
        assert backend.answers[0][3].code == "internal_error"
        await wait_all_tasks_blocked()
    assert caplog.text.count("Bug in the engine") == 6


# Listeners


async def test_both_loopbacks_are_served_on_one_port() -> None:
    backend = FakeBackend()
    async with running(backend=backend) as started:
        for addresses in (started.bound.worker, started.bound.http):
            assert addresses[0][0] == "127.0.0.1"
            assert {port for _, port in addresses} == {addresses[0][1]}
        for address in started.bound.worker:
            assert await exchange(address, b"") == b"taken"
        for address in started.bound.http:
            assert await exchange(address, b"") == b"taken"


async def test_an_address_in_use_is_a_configuration_error() -> None:
    async with running(backend=FakeBackend()) as started:
        for settings in (
            replace(LOCAL, port=started.worker[1]),
            replace(LOCAL, http=HttpSettings(port=started.http[1])),
        ):
            with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*in use"):
                await Engine(settings, FakeBackend()).serve()
            with pytest.raises(ConfigError, match="cannot listen"):
                await serve_until_signal(Engine(settings, FakeBackend()))


async def test_public_addresses_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(backend=FakeBackend()):
        pass
    assert "WITHOUT AUTHENTICATION" not in caplog.text
    async with running(replace(LOCAL, host="0.0.0.0"), FakeBackend()):
        pass
    assert "LISTENING ON 0.0.0.0 WITHOUT AUTHENTICATION" in caplog.text
    assert "Serving worker=ws://" in caplog.text
    caplog.clear()
    async with running(replace(LOCAL, host="0.0.0.0", http=HttpSettings(host="0.0.0.0", port=0)), FakeBackend()):
        pass
    assert caplog.text.count("WITHOUT AUTHENTICATION") == 1, "once per host"


async def test_a_crash_on_one_connection_is_logged_and_the_next_is_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend()
    serve = backend.accept

    async def crash(stream: trio.SocketStream) -> None:
        monkeypatch.setattr(backend, "accept", serve)
        await stream.aclose()
        raise ZeroDivisionError

    monkeypatch.setattr(backend, "accept", crash)
    async with running(backend=backend) as started:
        assert await exchange(started.worker, b"") == b""
        assert await exchange(started.worker, b"") == b"taken"
    assert "ZeroDivisionError" in caplog.text


async def test_connections_waiting_for_their_upgrade_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "UPGRADES_MAX", 1)
    backend = FakeBackend()
    release, arrived = trio.Event(), trio.Event()

    async def wait(stream: trio.SocketStream) -> None:
        arrived.set()
        await release.wait()
        await stream.aclose()

    monkeypatch.setattr(backend, "accept", wait)
    settings = replace(LOCAL, limits=Limits(connections_max=0))
    async with running(settings, backend) as started, await trio.open_tcp_stream(*started.worker):
        await arrived.wait()
        assert await exchange(started.worker, b"") == b"", "closed at once"
        release.set()


# Shutdown


class Calls:
    """Sets what the fake backend counts as in flight and connected."""

    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend

    def set(self, connections: int, in_flight: int) -> None:
        self._backend.current = Stats(connections=connections, invocations_in_flight=in_flight)


async def is_deaf(started: Running, backend: FakeBackend) -> bool:
    """Whether nobody listens any more once the engine has begun to look at what is in flight."""
    await backend.counted.wait()
    await wait_all_tasks_blocked()
    try:
        async with await trio.open_tcp_stream(*started.worker):
            return False
    except OSError:
        return True


async def test_shutdown_finishes_what_is_in_flight_then_says_1012_and_waits_for_the_closes() -> None:
    backend = FakeBackend()
    calls = Calls(backend)
    calls.set(2, 1)
    async with running(backend=backend) as started:
        started.engine.shut_down()
        assert await is_deaf(started, backend)
        assert (backend.closed, started.ended.is_set()) == ([], False)
        calls.set(2, 0)
        await backend.said_goodbye.wait()
        assert backend.closed == [(1012, "engine restart")]
        assert not started.ended.is_set()
        calls.set(0, 0)
        await started.ended.wait()


async def test_what_the_last_invocation_sets_off_is_finished_too() -> None:
    backend = FakeBackend(held={"on.change"})
    calls = Calls(backend)
    calls.set(0, 1)
    async with running(backend=backend) as started:
        message(backend, "registertrigger", id="1", trigger_type="state", function_id="on.change")
        started.engine.shut_down()
        assert await is_deaf(started, backend)
        control(backend).changed("s", "k", b"{}")
        calls.set(0, 0)
        backend.counted = trio.Event()
        await backend.counted.wait()
        await backend.wait_for_invocations(1)
        await wait_all_tasks_blocked()
        assert backend.closed == []
        backend.settle_held(0)
        await backend.said_goodbye.wait()
        await started.ended.wait()


@pytest.mark.parametrize(("connections", "in_flight"), [(1, 0), (1, 1), (0, 1)])
async def test_nothing_holds_up_the_end_for_ever(
    connections: int, in_flight: int, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend()
    Calls(backend).set(connections, in_flight)
    async with running(replace(LOCAL, shutdown_ms=30, limits=Limits(close_ms=30)), backend) as started:
        started.engine.shut_down()
        started.engine.shut_down()
        await started.ended.wait()
    told = "Not finished within 30 ms: invocations (1)"
    assert (told in caplog.text) is bool(in_flight)
    assert ("Not finished" in caplog.text) is bool(in_flight)


async def test_what_did_not_finish_is_named(caplog: pytest.LogCaptureFixture) -> None:
    backend = FakeBackend(held={"job"}, current=Stats(http_connections=1))
    async with running(replace(LOCAL, shutdown_ms=30), backend) as started:
        control(backend).called(call("job", queue="default"))
        await backend.wait_for_invocations(1, "job")
        started.engine.shut_down()
        await started.ended.wait()
    assert "Not finished within 30 ms: HTTP requests (1), runs of queue triggers" in caplog.text
    assert backend.http_stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order_and_a_second_one_at_once(number: signal.Signals) -> None:
    backend = FakeBackend()
    Calls(backend).set(0, 1)
    engine = Engine(LOCAL, backend)
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def serve() -> None:
            await serve_until_signal(engine)
            ended.set()

        nursery.start_soon(serve)
        await backend.served.wait()
        signal.raise_signal(number)
        await engine._stop.wait()
        assert not ended.is_set(), "an invocation is in flight"
        signal.raise_signal(number)
        await ended.wait()


async def test_serve_reports_where_it_listens() -> None:
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(Engine(LOCAL, FakeBackend()).serve)
        assert isinstance(bound, Bound)
        assert bound.worker[0][1] > 0
        nursery.cancel_scope.cancel()
