"""Bounds: a peer that does not read, says nothing, or wants too much is dealt with, and the others do not feel it.

Each test starts an engine with short limits of its own.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import trio

from tests.contract.conftest import StartEngine
from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import Address
from tests.support.naming import unique
from tests.support.raw_client import RawClient, UpgradeRefused, connect, upgrade

KIB = 1 << 10
MIB = 1 << 20


async def send_until_closed(client: RawClient, **message: Any) -> int:
    """Sends without ever reading, until the engine ends the connection; how many messages it took."""
    taken = 0
    try:
        while True:
            await client.send(**message)
            taken += 1
    except trio.BrokenResourceError:
        return taken


async def call_until(client: RawClient, stop: trio.Event) -> int:
    """Calls in a row, each of which must be answered soon; how many there were."""
    at, answered = {"scope": unique("other"), "key": "k"}, 0
    while not stop.is_set():
        with trio.fail_after(2):
            assert "result" in await client.call("state::set", {**at, "value": answered})
        answered += 1
    return answered


async def test_a_peer_that_does_not_read_is_throttled_and_then_closed(start_engine: StartEngine) -> None:
    engine = start_engine(outbox_throttle_bytes=MIB, stall_ms=1_000)
    payload = {"scope": "s", "key": "k", "value": "x" * 256 * KIB}
    call = {"kind": "invokefunction", "invocation_id": "i", "function_id": "state::set", "data": payload}
    done, counts = trio.Event(), {}
    async with connect(engine.worker) as slow, connect(engine.worker) as other, trio.open_nursery() as nursery:

        async def be_slow() -> None:
            counts["taken"] = await send_until_closed(slow, **call)
            done.set()

        async def be_served() -> None:
            counts["answered"] = await call_until(other, done)

        nursery.start_soon(be_slow)
        nursery.start_soon(be_served)
    # Each reply is 512 KiB: what was taken beyond the throttle sits in the buffers of two sockets.
    assert counts["taken"] * 256 * KIB < 64 * MIB
    assert counts["answered"] > 100
    worker_id = slow.registered["worker_id"]
    await trio.to_thread.run_sync(
        engine.process.wait_for, lambda line: worker_id in line and "does not read" in line, ANSWER_S
    )


async def test_a_worker_that_does_not_read_is_overloaded_for_its_callers(start_engine: StartEngine) -> None:
    engine = start_engine(outbox_bytes_max=4 * MIB)
    function = unique("slow")
    async with connect(engine.worker) as slow, connect(engine.worker) as caller:
        await slow.register(function)
        accepted = []
        for _ in range(400):
            accepted.append(await caller.invoke(function, "x" * 256 * KIB))
            refused = await caller.until_pong()
            if refused:
                break
        (result,) = refused
        assert result["invocation_id"] == accepted.pop()
        assert result["error"]["code"] == "worker_overloaded"
        assert str(4 * MIB) in result["error"]["message"]
        for _ in accepted:  # once it reads it gets all that was accepted
            await slow.serve_one(result=1)
        results = [await caller.expect("invocationresult", result=1) for _ in accepted]
        assert [result["invocation_id"] for result in results] == accepted


async def test_connections_above_the_limit_get_503(start_engine: StartEngine) -> None:
    engine = start_engine(connections_max=3)
    clients = [await upgrade(engine.worker) for _ in range(3)]
    with pytest.raises(UpgradeRefused) as refused:
        await upgrade(engine.worker)
    assert refused.value.status == 503
    clients[0].cut()
    clients[0] = await upgraded_when_there_is_room(engine.worker)
    for client in clients:
        await client.expect("workerregistered")
        await client.stream.aclose()


async def upgraded_when_there_is_room(address: Address) -> RawClient:
    """Tries until the engine has noticed that somebody left."""
    while True:
        with contextlib.suppress(UpgradeRefused):
            return await upgrade(address)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_an_unfinished_handshake_is_given_up(start_engine: StartEngine, sent: bytes) -> None:
    engine = start_engine(handshake_ms=300)
    stream = await trio.open_tcp_stream(*engine.worker)
    await stream.send_all(sent)
    received = b""
    with trio.fail_after(5):
        while data := await stream.receive_some(4096):
            received += data
    assert not received.startswith(b"HTTP/1.1 101")
    await stream.aclose()
    async with connect(engine.worker) as client:
        assert await client.until_pong() == []


async def test_a_silent_peer_is_reaped_and_one_that_answers_pings_lives(start_engine: StartEngine) -> None:
    engine = start_engine(ping_interval_ms=200, silence_ms=1_000)
    function = unique("silent")
    async with connect(engine.worker) as silent, connect(engine.worker) as quiet, trio.open_nursery() as nursery:
        await silent.register(function)
        silent.answers_pings = False
        nursery.start_soon(stays_connected, quiet)
        with trio.fail_after(10):
            await silent.closed()
        assert silent.pings > 0
        async with connect(engine.worker) as caller:
            while (
                await caller.call(
                    function,
                )
            )["error"]["code"] != "function_not_found":
                pass
        assert quiet.pings >= 3
        nursery.cancel_scope.cancel()


async def stays_connected(client: RawClient) -> None:
    """Reads, and thereby answers pings; fails when anything but a ping comes."""
    raise AssertionError(await client.receive_message())


async def test_too_many_invocations_in_flight(start_engine: StartEngine) -> None:
    engine = start_engine(invocations_in_flight_max=3)
    function = unique("order")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller, connect(engine.worker) as other:
        await worker.register(function)
        for data in range(3):
            await caller.invoke(function, data)
        error = (await caller.call(function))["error"]
        text = "This connection has 3 invocations in flight, the limit is 3."
        assert error == {"code": "too_many_invocations", "message": text}
        invocations = [await worker.expect("invokefunction", data=data) for data in range(3)]
        await other.invoke(function, "other")  # the limit is each connection's own
        await worker.answer(await worker.expect("invokefunction", data="other"), result=1)
        await other.expect("invocationresult", result=1)
        for invocation in invocations:
            await worker.answer(invocation, result=1)
            await caller.expect("invocationresult", result=1)
        await caller.invoke(function, "again")
        await worker.serve_one(result=2)
        await caller.expect("invocationresult", result=2)


async def test_functions_beyond_the_limits_are_not_registered(start_engine: StartEngine) -> None:
    engine = start_engine(functions_per_worker_max=2, registration_bytes_max=KIB)
    async with connect(engine.worker) as worker, connect(engine.worker) as other:
        await worker.send("registerfunction", id="large", metadata="x" * KIB)
        await worker.register("first", "second", "third", "first")
        await other.register("third", "its own")
        for function in ("first", "second"):
            await other.invoke(function)
            await worker.serve_one(result=1)
            await other.expect("invocationresult", result=1)
        await worker.invoke("third")
        await other.serve_one(result=2)
        await worker.expect("invocationresult", result=2)
        assert (await other.call("large"))["error"]["code"] == "function_not_found"


async def test_messages_above_the_limit_close_with_1009(start_engine: StartEngine) -> None:
    engine = start_engine(message_bytes_max=64 * KIB)
    async with connect(engine.worker) as fits, connect(engine.worker) as whole, connect(engine.worker) as pieces:
        frame = b'{"type":"ping","x":"' + b"x" * (64 * KIB - 22) + b'"}'
        assert len(frame) == 64 * KIB
        await fits.send_text(frame)
        assert await fits.receive() == {"type": "pong"}
        await whole.send_text(frame + b" ")
        assert (await whole.closed()).code == 1009
        await pieces.send_fragments(frame + b" ", 16 * KIB)
        assert (await pieces.closed()).code == 1009
        assert await fits.until_pong() == []


async def test_values_above_the_limit_are_refused_and_not_written(start_engine: StartEngine) -> None:
    engine = start_engine(value_bytes_max=100)
    at = {"scope": "s", "key": "k"}
    async with connect(engine.worker) as client:
        fits = "x" * 98
        assert (await client.call("state::set", {**at, "value": fits}))["result"]["new_value"] == fits
        error = (await client.call("state::set", {**at, "value": fits + "y"}))["error"]
        text = "value of 101 bytes exceeds the configured max_value_bytes limit of 100"
        assert error == {"code": "VALUE_TOO_LARGE", "message": text}
        append = {"type": "append", "path": "", "value": "y"}
        error = (await client.call("state::update", {**at, "ops": [append]}))["error"]
        assert error == {"code": "VALUE_TOO_LARGE", "message": text}
        assert (await client.call("state::get", at))["result"] == fits


async def test_an_engine_out_of_connections_still_serves_those_it_has(start_engine: StartEngine) -> None:
    engine = start_engine(connections_max=1)
    async with connect(engine.worker) as client:
        for _ in range(20):
            with pytest.raises(UpgradeRefused):
                await upgrade(engine.worker)
        assert await client.until_pong() == []
