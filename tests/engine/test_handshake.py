"""The WebSocket upgrade of the native backend: which requests are upgraded, what the others hear, who has room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, open_stream_to_socket_listener, wait_all_tasks_blocked

from iii_fast.contracts import Limits
from iii_fast.native import NativeBackend
from iii_fast.transport.handshake import HandshakeError, Upgraded, upgrade
from tests.engine.conftest import LOCAL, running
from tests.support.raw_client import RawClient, UpgradeRefused
from tests.support.raw_client import upgrade as connect

HOST = "Host: x"
UPGRADE = "Upgrade: websocket"
CONNECTION = "Connection: Upgrade"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"


def request(*more: str, line: str = "GET / HTTP/1.1", upgrade: str = UPGRADE, connection: str = CONNECTION) -> bytes:
    return "\r\n".join([line, HOST, upgrade, connection, KEY, VERSION, *more, "", ""]).encode()


def yes() -> bool:
    return True


async def answer_to(raw: bytes, admit: Callable[[], bool] = yes) -> tuple[bytes, Upgraded | str]:
    """What the peer reads after ``raw`` and its end, and what ``upgrade`` came to."""
    client, server = memory_stream_pair()
    await client.send_all(raw)
    await client.send_eof()
    result: Upgraded | str
    try:
        result = await upgrade(server, {"/": "worker", "/otel": "telemetry"}, admit)
    except HandshakeError as error:
        result = str(error)
    await server.aclose()
    answer = b""
    while data := await client.receive_some():
        answer += data
    return answer, result


def status_and_body(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (request(), "/"),
        (request(line="GET /otel?token=x HTTP/1.1"), "/otel"),
        (request(upgrade="uPGRADE: WebSocket", connection="CONNECTION: keep-alive, UPGRADE"), "/"),
        (request("Connection: keep-alive", "Upgrade: h2c"), "/"),
        (request("Connection: upgrade", upgrade="Upgrade: h2c , websocket", connection="Connection: close"), "/"),
        (request(line="GET http://x:1/ HTTP/1.1"), "/"),
        (request(line="GET WS://x?token=http://y/z HTTP/1.1"), "/"),
        (request(line="GET http://x/otel?a=b HTTP/1.1"), "/otel"),
        (request("Content-Length: 0"), "/"),
    ],
)
async def test_requests_that_ask_for_a_websocket(raw: bytes, path: str) -> None:
    answer, result = await answer_to(raw + b"leftover")
    assert status_and_body(answer) == (101, b"")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert result == Upgraded(path, b"leftover")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (request(connection="Connection: not-upgrade"), 426),
        (request(upgrade="Upgrade: websockets"), 426),
        (request(line="GET / HTTP/1.0"), 400),
        (request("Content-Length: 5") + b"hello", 400),
        (request("Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (request(KEY), 400),
        (request(line="POST / HTTP/1.1"), 400),
        (request(line="GET /x HTTP/1.1"), 404),
        (request(line="GET http://x/y HTTP/1.1"), 404),
        (request(line="GET /http://x HTTP/1.1"), 404),
        (request(line="GET /ws/channels/1 HTTP/1.1"), 404),
        (request("X: " + "a" * 40_000), 431),
        (b"\x16\x03\x01\x02\x00" + bytes(200), 400),
    ],
)
async def test_other_requests_are_told_why_not(raw: bytes, status: int) -> None:
    answer, result = await answer_to(raw)
    got, body = status_and_body(answer)
    assert (got, result) == (status, f"{status} {body.decode()}")
    assert body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (request(line="HEAD / HTTP/1.1"), 400),
    ],
)
async def test_head_is_answered_without_a_body(raw: bytes, status: int) -> None:
    answer, result = await answer_to(raw)
    assert status_and_body(answer) == (status, b"")
    assert isinstance(result, str)


async def test_426_names_the_protocol_to_upgrade_to() -> None:
    answer, _ = await answer_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"\r\nUpgrade: websocket\r\n" in answer
    assert b"\r\nConnection: Upgrade, close\r\n" in answer


async def test_room_is_asked_for_last() -> None:
    asked: list[str] = []

    def no_room() -> bool:
        asked.append("room")
        return False

    await answer_to(request(line="GET / HTTP/1.0"), no_room)
    assert asked == []
    answer, _ = await answer_to(request(), no_room)
    assert (status_and_body(answer)[0], asked) == (503, ["room"])


async def refused(server: trio.abc.HalfCloseableStream, done: trio.Event) -> None:
    with pytest.raises(HandshakeError):
        await upgrade(server, {}, yes)
    done.set()


async def test_a_refused_peer_gets_its_answer_whole_and_is_read_until_its_end() -> None:
    client, server = memory_stream_pair()
    done = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, server, done)
        await client.send_all(request())
        answer = b""
        while data := await client.receive_some():
            answer += data
        assert status_and_body(answer)[0] == 404
        await client.send_all(b"more")
        await wait_all_tasks_blocked()
        assert not done.is_set(), "closing now would reset the connection behind the answer"
        await client.send_eof()
        await done.wait()


async def test_a_refused_peer_that_does_not_end_is_left(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()
    await client.send_all(request())
    await refused(server, trio.Event())
    assert trio.current_time() == pytest.approx(1.0)


async def test_a_refused_peer_that_does_not_stop_sending_is_left(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()
    await client.send_all(request() + bytes(128 << 10))
    await refused(server, trio.Event())
    assert trio.current_time() == 0


# Room


async def test_only_upgraded_connections_count_against_the_limit() -> None:
    settings = replace(LOCAL, backend="native", limits=Limits(connections_max=1))
    async with running(settings) as started, AsyncExitStack() as stack:
        for _ in range(3):
            silent = await stack.enter_async_context(await trio.open_tcp_stream(*started.worker))
            await silent.send_all(b"GET / ")
        worker = await connect(started.worker)
        await worker.expect("workerregistered")
        with pytest.raises(UpgradeRefused) as refusal:
            await connect(started.worker)
        assert refusal.value.status == 503
        await worker.stream.aclose()


async def test_upgrades_at_the_same_time_do_not_share_one_place() -> None:
    settings = replace(LOCAL, backend="native", limits=Limits(connections_max=2))
    statuses: list[int] = []
    clients: list[RawClient] = []

    async def one() -> None:
        try:
            clients.append(await connect(started.worker))
        except UpgradeRefused as refusal:
            statuses.append(refusal.status)

    async with running(settings) as started:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        for client in clients:
            await client.stream.aclose()
    assert (len(clients), statuses) == (2, [503] * 6)


async def test_an_upgrade_that_ends_after_the_goodbye_is_not_adopted() -> None:
    backend = NativeBackend(Limits())
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        listener,
        await open_stream_to_socket_listener(listener) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(backend.accept, await listener.accept())
        await wait_all_tasks_blocked()
        backend.close_all(1012, "engine restart")
        await client.send_all(request())
        while await client.receive_some():
            pass
    assert backend.stats().connections == 0


async def test_a_crowd_that_connects_at_once_is_upgraded() -> None:
    async with running(replace(LOCAL, backend="native")) as started, AsyncExitStack() as stack:
        for _ in range(400):  # as after a restart: all are connected before the first has asked
            await stack.enter_async_context(await trio.open_tcp_stream(*started.worker))
        worker = await connect(started.worker)
        await worker.expect("workerregistered")
        await worker.stream.aclose()
