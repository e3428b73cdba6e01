"""The reference's sockets: what only this backend could get wrong, because trio-websocket sits in between."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from iii_fast.contracts import Control, Limits
from iii_fast.reference import ReferenceBackend, session
from iii_fast.reference.link import Link
from iii_fast.reference.outbox import Outbox
from tests.support.raw_client import PING, PONG, TEXT, RawClient, connect, encode_frame


class Calls:
    """A control plane that puts everything into a channel; it fails on a call named ``fail_on``."""

    def __init__(self, fail_on: str = "") -> None:
        self._fail_on = fail_on
        self._send, self.received = trio.open_memory_channel[tuple[Any, ...]](100)

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: Any) -> None:
            if name == self._fail_on:
                raise RuntimeError("a control plane that fails")
            self._send.send_nowait((name, *arguments))

        return note


Address = tuple[str, int]


@asynccontextmanager
async def serving(limits: Limits, control: Any = None) -> AsyncGenerator[tuple[ReferenceBackend, Address]]:
    """A backend on a loopback port."""
    backend = ReferenceBackend(limits)
    backend.define(["engine::x"])
    checked: Control = control or Calls()
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.serve, checked)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, backend.accept, [listener])
        yield backend, listener.socket.getsockname()[:2]
        nursery.cancel_scope.cancel()


async def closed_by(client: RawClient) -> tuple[int | None, str]:
    closed = await client.closed()
    return closed.code, closed.reason


async def test_pings_do_not_stop_reading_while_nothing_is_read() -> None:
    ours, theirs = trio.socket.socketpair()
    with theirs:
        outbox = Outbox()
        link = Link(trio.SocketStream(ours), outbox, Limits(outbox_throttle_bytes=1 << 20))
        pong = b"\x8a\x04pong"
        with trio.fail_after(5):
            while not link.crowded:
                await link.send_all(pong * 1000)
        assert outbox.waiting > 1 << 20
        await theirs.send(b"hello")
        async with trio.open_nursery() as nursery:
            received: list[bytes] = []

            async def read() -> None:
                received.append(bytes(await link.receive_some(100)))

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert received == []
            nursery.start_soon(link.flush)
            total = 0
            while outbox.waiting or total % len(pong):
                total += len(await theirs.recv(1 << 16))
        assert received == [b"hello"]
        await link.aclose()
        ours.close()


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.socket.socketpair()
    with theirs, ours:
        link = Link(trio.SocketStream(ours), Outbox(), Limits(stall_ms=30_000, silence_ms=60_000))
        await link.send_all(bytes(16 << 20))
        await link.flush()
        assert link.lost == "does not read: nothing could be written within 30000 ms"
        with pytest.raises(trio.BrokenResourceError):
            await link.send_all(b"x")
        assert trio.current_time() >= 30


async def test_a_silent_peer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.socket.socketpair()
    with theirs, ours:
        link = Link(trio.SocketStream(ours), Outbox(), Limits(silence_ms=60_000))
        assert await link.receive_some(10) == b""
        assert link.lost == "silent: nothing was heard of it within 60000 ms"
        assert link.ended.is_set()


async def test_a_ping_that_crosses_the_close_frame_harms_nobody() -> None:
    async with serving(Limits()) as (backend, address), connect(address) as client:
        backend.close_all(1012, "restart")
        for _ in range(3):
            await client.send_raw(encode_frame(PING, b"x"))
        frames = []
        while not frames or frames[-1].opcode == PONG:
            frames.append(await client.receive_frame())
        assert frames[-1].payload == b"\x03\xf4restart"
        await client.send_close(1012)
        async with connect(address) as another:
            assert await another.until_pong() == []


async def test_everything_before_the_close_frame_is_delivered() -> None:
    async with serving(Limits()) as (backend, address), connect(address) as client:
        (worker,) = backend.workers()
        for number in range(300):
            backend.push(worker.session, json.dumps({"type": "n", "n": number, "pad": "x" * 5000}).encode())
        backend.close(worker.session, 1000, "bye")
        backend.push(worker.session, b'{"type":"too late"}')
        assert [(await client.receive())["n"] for _ in range(300)] == list(range(300))
        assert await closed_by(client) == (1000, "bye")


async def test_what_waits_for_a_peer_goes_with_it() -> None:
    async with serving(Limits()) as (backend, address), connect(address) as client:
        (worker,) = backend.workers()
        (connection,) = backend._connections
        for _ in range(8):
            backend.push(worker.session, json.dumps({"pad": "x" * (1 << 20)}).encode())
        assert connection.outbox.waiting > 8 << 20
        client.cut()
        with trio.fail_after(5):
            while backend._connections:
                await trio.lowlevel.checkpoint()
        assert (connection.outbox.waiting, connection.outbox.pop()) == (0, None), "not when the garbage collector comes"


async def test_the_limit_of_a_message_is_one_of_bytes() -> None:
    async with serving(Limits(message_bytes_max=1000)) as (_, address), connect(address) as client:
        await client.send_text('{"type":"ping","e":"' + "é" * 489 + '"}')
        assert await client.receive() == {"type": "pong"}
        await client.send_text('{"type":"ping","e":"' + "é" * 490 + '"}')
        assert await closed_by(client) == (1009, "message of more than 1000 bytes")


async def test_our_own_bug_closes_that_connection_alone_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatch = session.dispatch

    def broken(core: Any, peer: Any, text: str) -> None:
        if "trip" in text:
            raise RuntimeError("tripped")
        dispatch(core, peer, text)

    monkeypatch.setattr(session, "dispatch", broken)
    control = Calls()
    async with serving(Limits(), control) as (_, address), connect(address) as other, connect(address) as client:
        await client.send_text('{"type":"trip"}')
        assert await closed_by(client) == (1011, "internal error")
        assert (await control.received.receive())[0] == "closed"
        assert await other.until_pong() == []
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_a_control_plane_that_fails_on_a_call_gets_the_next(caplog: pytest.LogCaptureFixture) -> None:
    control = Calls(fail_on="called")
    async with serving(Limits(), control) as (backend, address), connect(address) as client:
        await client.invoke("engine::x")
        await client.send("registertrigger", id="t")
        assert (await control.received.receive())[0] == "message"
        backend.invoke(5, "state::list", b'{"scope":"s"}')
        assert await control.received.receive() == ("settled", 5, b"[]")
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_what_the_backend_tells_about_workers_and_functions() -> None:
    async with serving(Limits()) as (backend, address), connect(address) as first, connect(address) as second:
        await second.register("g", "f")
        await first.invoke("f", None)
        await second.expect("invokefunction")
        assert [(function.function_id, function.worker_id) for function in backend.functions()] == [
            ("f", second.registered["worker_id"]),
            ("g", second.registered["worker_id"]),
        ]
        assert json.loads(backend.functions()[0].registration) == {"type": "registerfunction", "id": "f"}
        assert [(worker.worker_id, worker.invocations_in_flight) for worker in backend.workers()] == [
            (first.registered["worker_id"], 0),
            (second.registered["worker_id"], 1),
        ]
        stats = backend.stats()
        assert (stats.connections, stats.invocations_in_flight, stats.messages_ignored) == (2, 1, 0)


async def test_a_refused_upgrade_leaves_nothing() -> None:
    async with serving(Limits(connections_max=1)) as (backend, address):
        async with connect(address):
            stream = await trio.open_tcp_stream(*address)
            await stream.send_all(b"not http\r\n\r\n")
            answer = b""
            while data := await stream.receive_some(1000):
                answer += data
            assert answer.startswith(b"HTTP/1.1 400")
            await stream.aclose()
        while backend.stats().connections:
            await trio.testing.wait_all_tasks_blocked()
        async with connect(address) as client:
            assert await client.until_pong() == []


async def test_nothing_is_served_until_a_registration_has_taken_effect() -> None:
    served: list[int] = []

    class Slow(Calls):
        def message(self, *_: Any) -> None:
            served.append(backend.stats().messages_in)
            raise RuntimeError("fails, which must not hold up the worker")

    pair = (b'{"type":"registertrigger","id":"t"}', b'{"type":"ping"}')
    async with serving(Limits(), Slow()) as (backend, address), connect(address) as client:
        await client.send_raw(b"".join(encode_frame(TEXT, text) for text in pair * 20))
        for _ in range(20):
            await client.expect("pong")
    assert served == list(range(1, 40, 2))
