"""The HTTP server over streams in memory: bytes in, bytes out, every limit from both sides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from iii_fast.http_message import HttpRequest, HttpResponse
from iii_fast.transport.http_server import HttpLimits, HttpServer

LIMITS = HttpLimits(head_bytes_max=1024, body_bytes_max=100, connections_max=2)


@dataclass
class Client:
    """The other end of one connection."""

    stream: trio.StapledStream[Any, Any]
    parser: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    buffered: bytes = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def response(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The next final response; a parser of its own per response, fed with what the last one left."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(self.buffered) if self.buffered else None
        head: h11.Response | None = None
        body = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(bytes(await self.stream.receive_some(4096)))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError
        self.buffered = bytes(parser.trailing_data[0])
        assert head is not None
        return head.status_code, {k.decode(): v.decode() for k, v in head.headers}, body

    async def closed(self) -> None:
        """Waits for the end of the connection; nothing may come before it."""
        assert self.buffered == b""
        assert await self.stream.receive_some(1) == b""


@dataclass
class Bench:
    """A server whose handler records requests and answers with ``answer``, after ``gate`` when there is one."""

    nursery: trio.Nursery
    limits: HttpLimits = LIMITS
    answer: HttpResponse = field(default_factory=lambda: HttpResponse(200, [("content-type", "text/plain")], b"hello"))
    gate: trio.Event | None = None
    requests: list[HttpRequest] = field(default_factory=list)
    left: int = 0
    """How many requests the handler has left, whichever way."""

    def __post_init__(self) -> None:
        self.server = HttpServer(self.handle, self.limits, [("x-refused", "yes")])

    async def handle(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.left += 1
        return self.answer

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.server.serve_stream, theirs)
        await trio.testing.wait_all_tasks_blocked()
        async with ours:
            yield Client(ours)


def get(path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def code(body: bytes) -> str:
    told: str = json.loads(body)["error"]["code"]
    return told


# Requests and responses


async def test_a_request_reaches_the_handler_whole(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/a%20b?x=1&y", "X-Name: Value", "x-name: 2", method="POST", body=b"12345"))
        status, headers, body = await client.response("POST")
    assert (status, body, headers["content-length"], headers["content-type"]) == (200, b"hello", "5", "text/plain")
    [request] = bench.requests
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a%20b", "x=1&y", b"12345")
    assert request.headers == [("host", "x"), ("x-name", "Value"), ("x-name", "2"), ("content-length", "5")]
    assert request.header("x-name") == "2"
    assert request.header("nope") is None


async def test_a_chunked_body_and_single_bytes(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    raw = get("/", "Transfer-Encoding: chunked", method="PUT") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with bench.client() as client:
        for byte in raw:
            await client.send(bytes([byte]))
        assert (await client.response("PUT"))[0] == 200
    assert bench.requests[0].body == b"abcde"


async def test_keep_alive_and_pipelining_in_order(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(b"".join(get(f"/{number}") for number in range(5)) + get("/5", method="POST", body=b"x"))
        for _ in range(6):
            assert (await client.response())[0] == 200
        await client.send(get("/6"))
        assert (await client.response())[0] == 200
    assert [one.path for one in bench.requests] == [f"/{number}" for number in range(7)]


@pytest.mark.parametrize("raw", [get("/", "Connection: close"), b"GET / HTTP/1.0\r\n\r\n"])
async def test_the_connection_ends_when_the_client_wants_it(nursery: trio.Nursery, raw: bytes) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(raw)
        assert (await client.response())[0] == 200
        await client.closed()


async def test_absolute_targets_are_reduced_to_their_path(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("http://host:1/a/b?q"))
        await client.response()
        await client.send(get("http://host"))
        await client.response()
    assert [(one.path, one.query) for one in bench.requests] == [("/a/b", "q"), ("/", "")]


async def test_an_upgrade_request_is_served_as_plain_http(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/", "Connection: Upgrade", "Upgrade: h2c"))
        assert (await client.response())[0] == 200
        await client.send(get("/next"))
        assert (await client.response())[0] == 200


async def test_head_has_the_length_and_no_body(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/", method="HEAD") + get("/2"))
        status, headers, body = await client.response("HEAD")
        assert (status, headers["content-length"], body) == (200, "5", b"")
        assert (await client.response())[2] == b"hello", "the next response is not misread as a body"


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(nursery: trio.Nursery, status: int) -> None:
    bench = Bench(nursery, answer=HttpResponse(status, [], b"must not be sent"))
    async with bench.client() as client:
        await client.send(get() + get())
        for _ in range(2):
            got, headers, body = await client.response()
            assert (got, body) == (status, b"")
            assert "content-length" not in headers
            assert "transfer-encoding" not in headers


async def test_the_server_owns_framing_headers(nursery: trio.Nursery) -> None:
    wrong = [("content-length", "99"), ("transfer-encoding", "chunked"), ("connection", "close")]
    bench = Bench(nursery, answer=HttpResponse(200, wrong, b"ok"))
    async with bench.client() as client:
        await client.send(get() + get())
        for _ in range(2):
            _, headers, body = await client.response()
            assert (headers["content-length"], body) == ("2", b"ok")


async def test_100_continue_is_sent_before_the_body(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/", "Expect: 100-continue", "Content-Length: 3", method="POST"))
        assert (await client.stream.receive_some(4096)).startswith(b"HTTP/1.1 100 ")
        await client.send(b"abc")
        assert (await client.response("POST"))[0] == 200


async def test_a_crashing_handler_is_500_and_the_connection_lives(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(nursery)
    bench.server.handler = lambda request: 1 / 0  # type: ignore[assignment, return-value]
    async with bench.client() as client:
        await client.send(get() + get())
        for _ in range(2):
            status, _, body = await client.response()
            assert (status, code(body)) == (500, "INTERNAL_ERROR")
    assert "ZeroDivisionError" in caplog.text


async def test_a_response_that_is_not_http_ends_the_connection_and_is_logged(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(nursery, answer=HttpResponse(200, [("bad name", "x")]))
    async with bench.client() as client:
        await client.send(get())
        await client.closed()
    assert "Bug" in caplog.text


# Limits


async def test_the_head_limit_from_both_sides(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    room = LIMITS.head_bytes_max - len(get("/", "X: "))
    async with bench.client() as client:
        for byte in get("/", "X: " + "y" * room):
            await client.send(bytes([byte]))
        assert (await client.response())[0] == 200
    async with bench.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nX: " + b"y" * LIMITS.head_bytes_max)
        status, headers, body = await client.response()
        assert (status, code(body)) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")
        assert headers["connection"] == "close"


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_body_limit_from_both_sides(nursery: trio.Nursery, chunked: bool) -> None:
    def post(size: int) -> bytes:
        body = b"z" * size
        if chunked:
            return get("/", "Transfer-Encoding: chunked", method="POST") + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
        return get("/", method="POST", body=body)

    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(post(100))
        assert (await client.response("POST"))[0] == 200
        await client.send(post(101))
        status, _, body = await client.response("POST")
        assert (status, code(body)) == (413, "PAYLOAD_TOO_LARGE")
        await client.stream.send_eof()
        await client.closed()
    assert len(bench.requests) == 1


async def test_a_client_that_waits_for_100_is_refused_before_it_sends(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/", "Expect: 100-continue", "Content-Length: 101", method="POST"))
        assert (await client.response("POST"))[0] == 413


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n"])
async def test_what_is_not_http_is_400(nursery: trio.Nursery, raw: bytes) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(raw)
        status, _, body = await client.response()
        assert (status, code(body)) == (400, "BAD_REQUEST")
    assert bench.requests == []


@pytest.mark.parametrize(
    ("raw", "status", "text"),
    [
        (b"GET /sp ace HTTP/1.1\r\n\r\n", 400, "illegal request line"),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", 400, "illegal header line"),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n", 400, "illegal chunk header"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host: header"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 2048, 431, "the request head exceeds the limit of 1024 bytes"),
        (get("/", "Transfer-Encoding: gzip", method="POST"), 501, "Only Transfer-Encoding: chunked is supported"),
    ],
)
async def test_a_refusal_is_plain_text_with_the_headers_of_refusals(
    nursery: trio.Nursery, raw: bytes, status: int, text: str
) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(raw)
        got, headers, body = await client.response()
    assert (got, json.loads(body)["error"]["message"]) == (status, text)
    assert headers["x-refused"] == "yes"


@pytest.mark.parametrize("order", [1, -1])
async def test_two_framings_at_once_are_refused(nursery: trio.Nursery, order: int) -> None:
    """RFC 9112, 6.1: it may be an attempt at request smuggling."""
    bench = Bench(nursery)
    framings = ["Content-Length: 3", "Transfer-Encoding: chunked"][::order]
    async with bench.client() as client:
        await client.send(get("/", *framings, method="POST") + b"3\r\nabc\r\n0\r\n\r\n" + get("/smuggled"))
        status, headers, body = await client.response("POST")
        assert (status, code(body), headers["connection"]) == (400, "BAD_REQUEST", "close")
        await client.stream.send_eof()
        await client.closed()
    assert bench.requests == []


async def test_http_1_0_has_no_chunks(nursery: trio.Nursery) -> None:
    """RFC 9112, 6.1: its framing is faulty."""
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert (await client.response("POST"))[0] == 400
    assert bench.requests == []


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (422, b"HTTP/1.1 422 Unprocessable Content\r\n"),
        (504, b"HTTP/1.1 504 Gateway Timeout\r\n"),
        (799, b"HTTP/1.1 799 \r\n"),
    ],
)
async def test_the_status_line_has_the_standard_phrase(nursery: trio.Nursery, status: int, line: bytes) -> None:
    bench = Bench(nursery, answer=HttpResponse(status))
    async with bench.client() as client:
        await client.send(get())
        assert bytes(await client.stream.receive_some(4096)).startswith(line)


async def test_a_slow_head_is_408(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        start = trio.current_time()
        await client.send(b"GET / HTTP/1.1\r\n")
        assert (await client.response())[0] == 408
        assert trio.current_time() - start == pytest.approx(LIMITS.head_ms / 1000)


async def test_dripping_does_not_buy_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        start = trio.current_time()

        async def drip() -> None:
            for _ in range(1000):
                await client.send(b"X: y\r\n")
                await trio.sleep(1)

        await client.send(b"GET / HTTP/1.1\r\n")
        nursery.start_soon(drip)
        assert (await client.response())[0] == 408
        assert trio.current_time() - start <= LIMITS.head_ms / 1000 + 1


async def test_a_slow_body_is_408(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/", "Content-Length: 5", method="POST") + b"12")
        assert (await client.response("POST"))[0] == 408
    assert bench.requests == []


async def test_idle_connections_are_closed_without_a_word(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.closed()
        assert trio.current_time() == pytest.approx(LIMITS.head_ms / 1000)
    async with bench.client() as client:
        await client.send(get())
        await client.response()
        start = trio.current_time()
        await client.closed()
        assert trio.current_time() - start == pytest.approx(LIMITS.idle_ms / 1000)


async def test_a_client_that_does_not_read_is_dropped(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    ours, theirs = trio.testing.lockstep_stream_pair()
    nursery.start_soon(bench.server.serve_stream, theirs)
    await ours.send_all(get())
    start = trio.current_time()
    await bench.server.drain()
    assert trio.current_time() - start == pytest.approx(LIMITS.write_ms / 1000)


async def test_connections_beyond_the_limit_get_503(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as one, bench.client() as two:
        async with bench.client() as three:
            status, _, body = await three.response()
            assert (status, code(body)) == (503, "UNAVAILABLE")
        for client in (one, two):
            await client.send(get())
            assert (await client.response())[0] == 200


async def test_a_vanished_client_leaves_nothing(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, gate=trio.Event())
    async with bench.client() as client:
        await client.send(get())
    async with bench.client() as client:
        await client.send(b"GET / HT")
    assert bench.gate is not None
    bench.gate.set()
    await bench.server.drain()
    assert bench.server.connections == 0


# Clients that leave


async def test_a_client_that_leaves_ends_its_request(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery, gate=trio.Event())
    async with bench.client() as client:
        await client.send(get())
        await trio.testing.wait_all_tasks_blocked()
        assert (bench.server.connections, len(bench.requests)) == (1, 1)
    await bench.server.drain()
    assert bench.left == 1, "the handler was cancelled: nobody opens its gate"


async def test_waiting_for_the_end_loses_no_pipelined_byte(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery, gate=trio.Event())
    assert bench.gate is not None
    pipelined = b"".join(get(f"/{number}") for number in range(1, 5))
    async with bench.client() as client:
        await client.send(get("/0"))
        await trio.sleep(2 * LIMITS.leave_ms / 1000)
        for byte in pipelined:
            await client.send(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert len(bench.requests) == 1
        bench.gate.set()
        for _ in range(5):
            assert (await client.response())[0] == 200
    assert [one.path for one in bench.requests] == [f"/{number}" for number in range(5)]


@pytest.mark.parametrize("takes", [0.5, 3])
async def test_requests_of_any_length_follow_each_other(
    autojump_clock: MockClock, nursery: trio.Nursery, takes: float
) -> None:
    """However the end of a request and looking for the client's departure meet, one reads from the stream at a time."""
    bench = Bench(nursery)

    async def handle(request: HttpRequest) -> HttpResponse:
        await trio.sleep(takes * LIMITS.leave_ms / 1000)
        return bench.answer

    bench.server.handler = handle
    async with bench.client() as client:
        for pause in (0.0, 0.4, 0.6, 1.0, 3.0) * 8:
            await client.send(get())
            assert (await client.response())[0] == 200
            await trio.sleep(pause * LIMITS.leave_ms / 1000)


async def test_what_is_read_ahead_is_bounded(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery, gate=trio.Event())
    ours, theirs = trio.testing.lockstep_stream_pair()
    nursery.start_soon(bench.server.serve_stream, theirs)
    await ours.send_all(get())
    await ours.send_all(b"x" * LIMITS.head_bytes_max)
    with trio.move_on_after(10 * LIMITS.leave_ms / 1000) as limit:
        await ours.send_all(b"x")
    assert limit.cancelled_caught


# Stopping


async def test_stop_does_not_wait_for_a_head(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as fresh, bench.client() as used:
        await fresh.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await used.send(get() + b"GET / HT")
        assert (await used.response())[0] == 200
        await trio.testing.wait_all_tasks_blocked()
        await bench.server.drain()
        await fresh.closed()
        await used.closed()
    assert len(bench.requests) == 1


async def test_stop_waits_for_the_body_of_a_request(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    async with bench.client() as client:
        await client.send(get("/", "Content-Length: 2", method="POST") + b"1")
        await trio.testing.wait_all_tasks_blocked()
        bench.server.stop()
        await client.send(b"2")
        assert (await client.response("POST"))[0] == 200
        await client.closed()


async def test_stop_closes_idle_connections_and_finishes_the_others(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    bench = Bench(nursery, gate=trio.Event())
    async with bench.client() as idle, bench.client() as busy:
        await busy.send(get("/1") + get("/2"))
        await trio.testing.wait_all_tasks_blocked()
        drained = trio.Event()

        async def drain() -> None:
            await bench.server.drain()
            drained.set()

        nursery.start_soon(drain)
        await idle.closed()
        assert not drained.is_set()
        assert bench.gate is not None
        bench.gate.set()
        status, headers, _ = await busy.response()
        assert (status, headers["connection"]) == (200, "close")
        await busy.closed()
        await drained.wait()
    assert [one.path for one in bench.requests] == ["/1"], "the pipelined second request was never begun"
    async with bench.client() as late:
        assert (await late.response())[0] == 503
