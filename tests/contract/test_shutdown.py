"""The end of an engine: it accepts nobody, finishes what is in flight, says 1012 so that SDKs reconnect, exits 0."""

from __future__ import annotations

import signal

import pytest
import trio

from tests.contract.conftest import StartEngine
from tests.support.engine_process import Address, EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import RawClient, connect

SERVICE_RESTART = 1012
EXIT_S = 15.0


async def refuses_connections(address: Address) -> None:
    """Returns when nobody listens there any more."""
    while True:
        try:
            stream = await trio.open_tcp_stream(*address)
        except OSError:
            return
        await stream.aclose()
        await trio.sleep(0.01)


async def exit_status(engine: EngineProcess) -> int:
    return await trio.to_thread.run_sync(engine.process.wait, EXIT_S)


async def bid_goodbye(client: RawClient) -> None:
    """The client's half of the close handshake that ends an engine."""
    assert (await client.closed()).code == SERVICE_RESTART
    await client.send_close(SERVICE_RESTART)
    await client.stream.aclose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_engine_says_1012_and_exits_0(start_engine: StartEngine, number: signal.Signals) -> None:
    engine = start_engine()
    async with connect(engine.worker) as one, connect(engine.worker) as two:
        engine.process.signal(number)
        for client in (one, two):
            await bid_goodbye(client)
        assert await exit_status(engine) == 0


async def test_a_call_in_flight_finishes_first(start_engine: StartEngine) -> None:
    engine, function = start_engine(), unique("slow")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.invoke(function, 1)
        invocation = await worker.expect("invokefunction")
        engine.process.signal(signal.SIGTERM)
        await refuses_connections(engine.worker)
        await worker.answer(invocation, result="finished")
        await caller.expect("invocationresult", result="finished")
        for client in (worker, caller):
            await bid_goodbye(client)
        assert await exit_status(engine) == 0


async def test_a_call_that_never_ends_does_not_hold_it_up(start_engine: StartEngine) -> None:
    engine, function = start_engine(shutdown_ms=300), unique("stuck")
    async with connect(engine.worker) as worker, connect(engine.worker) as caller:
        await worker.register(function)
        await caller.invoke(function, 1)
        await worker.expect("invokefunction")
        engine.process.signal(signal.SIGTERM)
        for client in (worker, caller):
            await bid_goodbye(client)
        assert await exit_status(engine) == 0


async def test_peers_that_do_not_close_do_not_hold_it_up(start_engine: StartEngine) -> None:
    engine = start_engine(close_ms=300)
    async with connect(engine.worker), connect(engine.worker):  # neither reads nor answers the close
        engine.process.signal(signal.SIGTERM)
        assert await exit_status(engine) == 0


async def test_the_port_is_free_afterwards(start_engine: StartEngine) -> None:
    engine = start_engine()
    async with connect(engine.worker) as client:
        engine.process.signal(signal.SIGTERM)
        await client.closed()
    assert await exit_status(engine) == 0
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream(*engine.worker)
