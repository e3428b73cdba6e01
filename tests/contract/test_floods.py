"""Clients that flood the engine and leave in the middle of it: others are served on, and nothing of them stays."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.contract.conftest import VARIANTS
from tests.support.certificates import Certificates
from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import BINARY, CONTINUATION, RawClient, encode_frame, upgrade

MIB = 1 << 20
FLOODERS = 6
FLOOD_BYTES = 12 * MIB
"""What each of them sends, at least, before it leaves."""
ROUNDS = 8
LEFT_BYTES_MAX = 140 * MIB
"""By so much may memory be more afterwards: what allocators and collectors keep, less than half of what was held."""
LINES_MAX = FLOODERS * (ROUNDS + 1)
"""What the log may say: of each that it is gone."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those of these tests."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["plain", "tls"])
def is_secure(request: pytest.FixtureRequest) -> bool:
    return request.param == "tls"


@pytest.fixture(scope="module")
def flooded(variant: str, is_secure: bool, certificates: Certificates) -> Generator[EngineProcess]:
    """A running engine, with or without certificates on both of its ports."""
    https = ["--http-tls-cert", str(certificates.chain), "--http-tls-key", str(certificates.key)]
    flags = [*certificates.flags, *https] if is_secure else []
    with EngineProcess(*VARIANTS[variant], "--in-memory", *flags) as started:
        yield started


def resident_bytes(engine: EngineProcess) -> int:
    """Memory of the engine's process."""
    status = Path(f"/proc/{engine.process.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


@asynccontextmanager
async def worker(engine: EngineProcess, certificates: Certificates, is_secure: bool) -> AsyncGenerator[RawClient]:
    client = await upgrade(engine.worker, tls=certificates.client() if is_secure else None)
    try:
        await client.expect("workerregistered")
        yield client
    finally:
        client.socket.close()


async def light_calls(client: RawClient, until: trio.Event) -> int:
    """A light peer's calls, each answered in time, until the flood is over."""
    place, count = {"scope": unique("light"), "key": "k"}, 0
    while not until.is_set() or count < 20:
        with trio.fail_after(ANSWER_S):
            assert (await client.call("state::set", {**place, "value": count}))["result"]["new_value"] == count
        count += 1
    return count


def reset(sock: trio.socket.SocketType) -> None:
    """Ends a TCP connection as a crash does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def check(
    engine: EngineProcess,
    light: RawClient,
    flood: Callable[[int], Awaitable[None]],
) -> None:
    """Floods; looks after the light peer meanwhile, and after memory and the log then."""

    async def flood_all() -> None:
        async with trio.open_nursery() as floods:
            for number in range(FLOODERS):
                floods.start_soon(flood, number)

    # What the allocator keeps of a first round, in each thread, is no leak: later rounds must not add to it.
    await flood_all()
    before, said = resident_bytes(engine), len(engine.process.lines)
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(light_calls, light, over)
        for _ in range(ROUNDS):
            await flood_all()
        over.set()
    with trio.fail_after(ANSWER_S):
        while resident_bytes(engine) > before + LEFT_BYTES_MAX:
            await light.until_pong()
    lines = engine.process.lines[said:]
    assert len(lines) <= LINES_MAX, "\n".join(lines[:50])
    assert not [line for line in lines if " INFO " not in line], lines


@pytest.mark.deadline(90)
async def test_a_worker_that_leaves_while_it_floods(
    flooded: EngineProcess, certificates: Certificates, is_secure: bool
) -> None:
    piece = b"x" * (64 << 10)
    place = {"scope": unique("flood"), "key": "k"}

    async def calls(client: RawClient) -> None:
        """Calls whose replies are never read, until no more are taken."""
        with trio.move_on_after(1):
            while True:
                await client.invoke("state::get", place)

    async def half_a_message(client: RawClient) -> None:
        """Most of a message that never ends, as fast as it is taken."""
        await client.send_raw(encode_frame(BINARY, piece, final=False))
        for _ in range(FLOOD_BYTES // len(piece)):
            await client.send_raw(encode_frame(CONTINUATION, piece, final=False))

    async def flood(number: int) -> None:
        async with worker(flooded, certificates, is_secure) as client:
            await (calls if number % 2 else half_a_message)(client)
            reset(client.socket)

    async with worker(flooded, certificates, is_secure) as light:
        await light.call("state::set", {**place, "value": "v" * 4096})
        await check(flooded, light, flood)
        await light.call("state::delete", place)


@pytest.mark.deadline(90)
async def test_an_http_client_that_leaves_while_it_floods(
    flooded: EngineProcess, certificates: Certificates, is_secure: bool
) -> None:
    path = unique("flood")

    async def serve(provider: RawClient) -> None:
        while True:
            asked = await provider.receive()
            if asked["type"] == "invokefunction":
                await provider.answer(asked, result={"body": "y" * 20_000})

    async def flood(number: int) -> None:
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = await trio.open_tcp_stream(*flooded.http)
        sock = stream.socket
        if is_secure:
            stream = trio.SSLStream(stream, certificates.client(), server_hostname=flooded.http[0])
        requests = f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 200
        body = f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode() + b"z" * 900_000
        with trio.move_on_after(1), suppress(trio.BrokenResourceError):
            if number % 2:
                await stream.send_all(body)
            while True:  # responses are never read
                await stream.send_all(requests)
        reset(sock)

    async with (
        worker(flooded, certificates, is_secure) as light,
        worker(flooded, certificates, is_secure) as provider,
        trio.open_nursery() as nursery,
    ):
        function_id = unique("flood")
        await provider.register(function_id)
        config = {"api_path": path}
        await provider.send("registertrigger", id=path, trigger_type="http", function_id=function_id, config=config)
        await provider.until_pong()
        nursery.start_soon(serve, provider)
        await check(flooded, light, flood)
        nursery.cancel_scope.cancel()
