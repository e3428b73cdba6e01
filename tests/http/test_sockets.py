"""Http through real sockets on each backend: what only a socket can show."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest
import trio

from iii_fast.contracts import HttpLimits, Limits
from tests.engine.conftest import LOCAL, Running, running
from tests.engine.test_end_to_end import bind, settled
from tests.http.site import Response, read_responses, request
from tests.support.raw_client import RawClient, connect

Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(params=["reference", "native", "native-3"])
def start(request: pytest.FixtureRequest) -> Start:
    """Starts an engine with these http limits; one of them has three reactors."""
    backend, _, loops = request.param.partition("-")

    def start_one(**limits: int) -> AbstractAsyncContextManager[Running]:
        changed = Limits(http=HttpLimits(**limits))
        return running(replace(LOCAL, backend=backend, loops=int(loops or 1), limits=changed))

    return start_one


async def read_response(stream: trio.SocketStream) -> Response:
    """One whole response with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await some(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        body += await some(stream)
    [response] = read_responses(head + b"\r\n\r\n" + body, ["GET"])
    return response


async def some(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some(1 << 16))
    assert data, "the connection ended"
    return data


async def rest(stream: trio.SocketStream) -> bytes:
    """What comes until the connection ends, whichever way."""
    data = b""
    try:
        while more := await stream.receive_some(1 << 16):
            data += more
    except trio.BrokenResourceError:
        pass
    return data


async def serve(worker: RawClient, result: Callable[[Any], Any]) -> None:
    """Answers invocations until cancelled."""
    while True:
        got = await worker.expect("invokefunction")
        outcome = result(got["data"])
        await worker.send("invocationresult", invocation_id=got["invocation_id"], function_id="f", result=outcome)


async def test_many_connections_with_keep_alive_each_get_their_own_answers(start: Start) -> None:
    async with start() as started, connect(started.worker) as worker, trio.open_nursery() as nursery:
        await bind(worker, "http", "f", {"api_path": "a/:n"})
        nursery.start_soon(serve, worker, lambda data: {"body": data["path_params"]["n"]})

        async def client(number: int) -> None:
            async with await trio.open_tcp_stream(*started.http) as stream:
                for round_ in range(5):
                    await stream.send_all(request(f"/a/{number}-{round_}"))
                    assert (await read_response(stream)).value == f"{number}-{round_}"

        async with trio.open_nursery() as clients:
            for number in range(20):
                clients.start_soon(client, number)
        nursery.cancel_scope.cancel()


async def test_large_bodies_there_and_back(start: Start) -> None:
    async with start() as started, connect(started.worker) as worker, trio.open_nursery() as nursery:
        await bind(worker, "http", "f", {"api_path": "a", "http_method": "POST"})
        nursery.start_soon(serve, worker, lambda data: {"body": data["body"] * 3})
        async with await trio.open_tcp_stream(*started.http) as stream:
            body = b"x" * ((1 << 20) - 1)
            for _ in range(2):
                await stream.send_all(request("/a", "Content-Type: text/plain", method="POST", body=body))
                response = await read_response(stream)
                assert response.body == b'"' + body * 3 + b'"'
        nursery.cancel_scope.cancel()


async def test_a_client_that_does_not_read_is_dropped_and_one_that_does_is_not(start: Start) -> None:
    async with start(write_ms=1500) as started, connect(started.worker) as worker, trio.open_nursery() as nursery:
        await bind(worker, "http", "f", {"api_path": "a"})
        nursery.start_soon(serve, worker, lambda data: {"body": "x" * (16 << 20)})
        stalled = await trio.open_tcp_stream(*started.http)
        steady = await trio.open_tcp_stream(*started.http)
        await stalled.send_all(request())
        await steady.send_all(request())
        assert len((await read_response(steady)).body) == (16 << 20) + 2
        with trio.fail_after(10):
            while started.engine._backend.stats().http_connections > 1:
                await trio.lowlevel.checkpoint()
        assert len(await rest(stalled)) < 16 << 20
        await steady.send_all(request())
        assert (await read_response(steady)).status == 200
        for stream in (stalled, steady):
            await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_a_refused_client_that_still_sends_reads_why(start: Start) -> None:
    async with start(body_bytes_max=1000) as started, await trio.open_tcp_stream(*started.http) as stream:
        # `Settings` has a word about this limit too.
        limit = started.engine._settings.limits.http.body_bytes_max
        await stream.send_all(request("/a", f"Content-Length: {limit + 1}", method="POST") + b"x" * 300_000)
        response = await read_response(stream)
        assert (response.status, response.code) == (413, "PAYLOAD_TOO_LARGE")
        await stream.send_eof()
        assert await stream.receive_some(1) == b""


async def test_a_refused_client_that_goes_on_sending_is_cut_off(start: Start) -> None:
    async def send_on(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"nonsense\r\n\r\n" * 1000)

    limits = {"linger_ms": 60_000, "linger_bytes_max": 100_000}
    async with start(**limits) as started, await trio.open_tcp_stream(*started.http) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await send_on(stream)


async def test_a_refused_client_that_says_nothing_is_let_go(start: Start) -> None:
    async with start(linger_ms=1000) as started, await trio.open_tcp_stream(*started.http) as stream:
        await stream.send_all(b"nonsense\r\n\r\n")
        assert (await read_response(stream)).status == 400
        assert await stream.receive_some(1) == b""
        with trio.fail_after(10):
            while started.engine._backend.stats().http_connections > 0:
                await trio.lowlevel.checkpoint()


async def test_connections_beyond_the_limit_are_told_and_room_is_given_back(start: Start) -> None:
    async with start(connections_max=2) as started:
        streams = [await trio.open_tcp_stream(*started.http) for _ in range(2)]
        for stream in streams:
            await stream.send_all(request())
            assert (await read_response(stream)).status == 404
        async with await trio.open_tcp_stream(*started.http) as third:
            assert (await read_response(third)).status == 503
        await streams[0].aclose()
        with trio.fail_after(10):
            while True:
                async with await trio.open_tcp_stream(*started.http) as again:
                    await again.send_all(request())
                    if (await read_response(again)).status == 404:
                        break
        await streams[1].aclose()


async def test_slow_heads_cost_others_nothing(start: Start) -> None:
    async with start(head_ms=1000) as started:
        slow = [await trio.open_tcp_stream(*started.http) for _ in range(30)]
        for stream in slow:
            await stream.send_all(b"GET / HTTP/1.1\r\n")
        async with await trio.open_tcp_stream(*started.http) as quick:
            await quick.send_all(request())
            assert (await read_response(quick)).status == 404
        for stream in slow:
            assert (await read_response(stream)).status == 408
            await stream.aclose()


WRITING = ("set", "update", "delete", "compare-and-set", "set_many", "delete_many", "delete_scope", "transact")
"""The functions of state that write."""


async def test_no_route_writes_state_by_itself(start: Start) -> None:
    """A full log need not hold routes back: a request names no scope, so that no function of state takes it."""
    async with start() as started, connect(started.worker) as worker:
        for function in WRITING:
            config = {"api_path": function, "http_method": "POST"}
            fields = {"id": function, "trigger_type": "http", "function_id": f"state::{function}", "config": config}
            await worker.send("registertrigger", **fields)
        await settled(worker)
        body = b'{"scope":"s","key":"k","value":1,"keys":[],"entries":[],"ops":[]}'
        query = "?scope=s&key=k&value=1"
        async with await trio.open_tcp_stream(*started.http) as stream:
            for function in WRITING:
                sent = request(f"/{function}{query}", "Content-Type: application/json", method="POST", body=body)
                await stream.send_all(sent)
                response = await read_response(stream)
                assert (response.status, response.code) == (500, "deserialization_error"), function
        assert (await worker.call("state::list_groups", {}))["result"] == {"groups": []}
