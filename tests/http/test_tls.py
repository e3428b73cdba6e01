"""The http port with a certificate: what its clients see, and that one without TLS costs nobody anything."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from iii_fast.contracts import HttpLimits, Limits, TlsFiles
from iii_fast.engine import Engine
from iii_fast.errors import ConfigError
from tests.engine.conftest import LOCAL, Running, running
from tests.engine.test_end_to_end import bind
from tests.http.site import Response, read_responses, request
from tests.http.test_sockets import rest, serve
from tests.support.certificates import Certificates
from tests.support.deadlines import ANSWER_S
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.raw_client import connect

MIB = 1 << 20
Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those of this run."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["reference", "native", "native-3"])
def start(request: pytest.FixtureRequest, certificates: Certificates) -> Start:
    """Starts an engine whose http port has a certificate, with these http limits; one of them has three reactors."""
    backend, _, loops = request.param.partition("-")
    http = replace(LOCAL.http, tls=TlsFiles(certificates.chain, certificates.key))

    def start_one(**limits: int) -> AbstractAsyncContextManager[Running]:
        changed = Limits(http=HttpLimits(**limits))
        return running(replace(LOCAL, backend=backend, loops=int(loops or 1), limits=changed, http=http))

    return start_one


@asynccontextmanager
async def secured(started: Running, context: ssl.SSLContext) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A client's connection, its handshake made."""
    stream = await trio.open_ssl_over_tcp_stream(*started.http, ssl_context=context)
    try:
        await stream.do_handshake()
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def read_response(stream: trio.abc.ReceiveStream) -> Response:
    """One whole response with a length."""
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
        if found and len(body) >= length:
            [response] = read_responses(data, ["GET"])
            return response
        more = await stream.receive_some(1 << 16)
        assert more, "the connection ended"
        data += more


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_ordinary_client(start: Start, certificates: Certificates, version: ssl.TLSVersion) -> None:
    def ask(url: str, body: bytes) -> tuple[int, Any]:
        asked = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=ANSWER_S, context=certificates.client(version)) as response:
            return response.status, json.loads(response.read())

    async with start() as started, connect(started.worker) as worker, trio.open_nursery() as nursery:
        await bind(worker, "http", "f", {"api_path": "a/:n", "http_method": "POST"})
        nursery.start_soon(serve, worker, lambda data: {"body": [data["path_params"]["n"], data["body"]]})
        url = f"https://127.0.0.1:{started.http[1]}/a/1"
        assert await trio.to_thread.run_sync(ask, url, b'{"x":1}') == (200, ["1", {"x": 1}])
        nursery.cancel_scope.cancel()


async def test_who_does_not_trust_the_certificate_is_not_connected(start: Start) -> None:
    async with start() as started:
        with pytest.raises(trio.BrokenResourceError) as refused:
            async with secured(started, ssl.create_default_context()):
                pass
        assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)


async def test_keep_alive_pipelining_and_bodies_in_pieces(start: Start, certificates: Certificates) -> None:
    async with start() as started, connect(started.worker) as worker, trio.open_nursery() as nursery:
        await bind(worker, "http", "f", {"api_path": "a/:n", "http_method": "POST"})
        nursery.start_soon(serve, worker, lambda data: {"body": [data["path_params"]["n"], data["body"]]})
        async with secured(started, certificates.client()) as stream:
            for number in range(3):
                raw = request(f"/a/{number}", "Content-Type: text/plain", method="POST", body=b"xyz")
                for at in range(0, len(raw), 11):
                    await stream.send_all(raw[at : at + 11])
                assert (await read_response(stream)).value == [str(number), "xyz"]
            await stream.send_all(b"".join(request(f"/b/{number}") for number in range(50)))
            received = b""
            while received.count(b"HTTP/1.1 404") < 50:
                received += await stream.receive_some(1 << 16)
        nursery.cancel_scope.cancel()


async def test_large_bodies_there_and_back(start: Start, certificates: Certificates) -> None:
    async with start() as started, connect(started.worker) as worker, trio.open_nursery() as nursery:
        await bind(worker, "http", "f", {"api_path": "a", "http_method": "POST"})
        nursery.start_soon(serve, worker, lambda data: {"body": data["body"] * 5})
        async with secured(started, certificates.client()) as stream:
            body = b"x" * (MIB - 1)
            for _ in range(2):
                await stream.send_all(request("/a", "Content-Type: text/plain", method="POST", body=body))
                assert (await read_response(stream)).body == b'"' + body * 5 + b'"'
        nursery.cancel_scope.cancel()


async def test_the_end_of_a_connection_is_said_in_tls_too(start: Start, certificates: Certificates) -> None:
    async with start() as started, secured(started, certificates.client()) as stream:
        await stream.send_all(request("/none", "Connection: close"))
        assert (await read_response(stream)).status == 404
        # Without the peer's last word this would be a BrokenResourceError.
        assert await stream.receive_some(100) == b""


async def test_a_refused_client_that_still_sends_reads_why(start: Start, certificates: Certificates) -> None:
    async with start() as started, secured(started, certificates.client()) as stream:
        await stream.send_all(request("/a", f"Content-Length: {MIB + 1}", method="POST") + b"x" * 300_000)
        assert (await read_response(stream)).code == "PAYLOAD_TOO_LARGE"
        assert await stream.receive_some(1) == b""


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 300])
async def test_who_does_not_speak_tls_is_turned_away_alone(
    start: Start, certificates: Certificates, sent: bytes
) -> None:
    async with start() as started, secured(started, certificates.client()) as steady:
        async with await trio.open_tcp_stream(*started.http) as stream:
            await stream.send_all(sent)
            assert b"HTTP" not in await rest(stream)
        await steady.send_all(request())
        assert (await read_response(steady)).status == 404


async def test_a_handshake_has_to_end_in_time(start: Start, certificates: Certificates) -> None:
    async with start(head_ms=1000, linger_ms=500) as started:
        async with (
            await trio.open_tcp_stream(*started.http) as silent,
            await trio.open_tcp_stream(*started.http) as slow,
        ):
            await slow.send_all(b"\x16\x03\x01\x02\x00\x01")
            for stream in (silent, slow):
                assert b"HTTP" not in await rest(stream)
        # Once it is made, the time of a head begins with its first byte.
        async with secured(started, certificates.client()) as begun:
            await begun.send_all(b"GET /")
            assert (await read_response(begun)).status == 408
        await all_gone(started)


async def test_beyond_the_limit_of_connections_the_refusal_is_encrypted_as_well(
    start: Start, certificates: Certificates
) -> None:
    async with start(connections_max=1, write_ms=1000, linger_ms=500) as started:
        async with secured(started, certificates.client()) as first:
            await first.send_all(request())
            assert (await read_response(first)).status == 404
            # This one never makes its handshake, and is let go.
            async with await trio.open_tcp_stream(*started.http) as silent:
                async with secured(started, certificates.client()) as second:
                    await second.send_all(request())
                    assert (await read_response(second)).status == 503
                assert b"HTTP" not in await rest(silent)
        await all_gone(started)


async def all_gone(started: Running) -> None:
    with trio.fail_after(10):
        while started.engine._backend.stats().http_connections > 0:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("backend", BACKENDS)
def test_by_the_configuration_and_by_flags(backend: str, certificates: Certificates, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "workers:\n  - name: http\n    config:\n"
        f"      tls: {{cert_file: '{certificates.chain}', key_file: '{certificates.key}'}}\n"
    )
    flags = ["--http-tls-cert", str(certificates.chain), "--http-tls-key", str(certificates.key)]
    for arguments in (["-c", str(config)], flags):
        with EngineProcess(backend, *arguments) as engine:
            assert any(f"http=https://127.0.0.1:{engine.http[1]}" in line for line in engine.process.lines)
            url = f"https://127.0.0.1:{engine.http[1]}/none"
            with pytest.raises(urllib.error.HTTPError) as answered:
                urllib.request.urlopen(url, timeout=ANSWER_S, context=certificates.client())
            with answered.value as response:
                assert json.loads(response.read()) == {"error": {"code": "NOT_FOUND", "message": "Not Found"}}


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_cannot_be_used_end_the_start(backend: str, certificates: Certificates, tmp_path: Path) -> None:
    other = Certificates.make(tmp_path)
    for tls, reason in [
        (
            TlsFiles(tmp_path / "none.pem", certificates.key),
            r"TLS certificate .*none\.pem cannot be read: No such file",
        ),
        (TlsFiles(certificates.chain, other.key), "does not belong to the certificate"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            Engine(replace(LOCAL, backend=backend, http=replace(LOCAL.http, tls=tls)))
