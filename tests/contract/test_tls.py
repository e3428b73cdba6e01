"""The worker port with a certificate: what it serves, whom it turns away, and how connections end."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from tests.contract.conftest import VARIANTS
from tests.support.certificates import Certificates
from tests.support.engine_process import EngineProcess
from tests.support.naming import unique
from tests.support.raw_client import connect, encode_frame, upgrade

MIB = 1 << 20
T = TypeVar("T")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those of this run."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def engine(variant: str, certificates: Certificates) -> Generator[EngineProcess]:
    """A running engine with a certificate, shared by the tests here."""
    with EngineProcess(*VARIANTS[variant], *certificates.flags) as started:
        yield started


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_workers_are_served(engine: EngineProcess, certificates: Certificates, version: ssl.TLSVersion) -> None:
    tls = certificates.client(version)
    async with connect(engine.worker, tls=tls) as worker, connect(engine.worker, tls=tls) as caller:
        function_id = unique("tls::echo")
        await worker.register(function_id)
        invocation_id = await caller.invoke(function_id, {"text": "ü"})
        invocation = await worker.serve_one(result=[1])
        assert invocation["data"] == {"text": "ü"}
        assert (await caller.expect("invocationresult", invocation_id=invocation_id))["result"] == [1]


async def test_large_messages_both_ways(engine: EngineProcess, certificates: Certificates) -> None:
    scope, value = unique("tls"), "x" * (5 * MIB)
    async with connect(engine.worker, tls=certificates.client()) as client:
        set_result = await client.call("state::set", {"scope": scope, "key": "k", "value": value})
        assert set_result["result"] == {"old_value": None, "new_value": value}
        for _ in range(3):
            assert (await client.call("state::get", {"scope": scope, "key": "k"}))["result"] == value


async def test_messages_in_many_small_records(engine: EngineProcess, certificates: Certificates) -> None:
    async with connect(engine.worker, tls=certificates.client()) as client:
        frame = encode_frame(1, b'{"type":"ping"}')
        for byte in frame:
            await client.send_raw(bytes([byte]))
        assert await client.receive() == {"type": "pong"}
        await client.send_raw(frame * 500)
        for _ in range(500):
            assert await client.receive() == {"type": "pong"}


async def test_a_peer_that_reads_late_gets_everything(engine: EngineProcess, certificates: Certificates) -> None:
    scope, value = unique("tls"), "x" * MIB
    async with (
        connect(engine.worker, tls=certificates.client()) as late,
        connect(engine.worker, tls=certificates.client()) as other,
    ):
        await other.call("state::set", {"scope": scope, "key": "k", "value": value})
        asked = [await late.invoke("state::get", {"scope": scope, "key": "k"}) for _ in range(30)]
        for _ in range(20):
            assert await other.until_pong() == []
        for invocation_id in asked:
            assert (await late.expect("invocationresult", invocation_id=invocation_id))["result"] == value


async def test_the_end_of_a_connection_is_said_in_tls_too(engine: EngineProcess, certificates: Certificates) -> None:
    async with connect(engine.worker, tls=certificates.client()) as client:
        await client.send_close(1000)
        assert (await client.closed()).code == 1000
        # Without the peer's last word this would be a BrokenResourceError.
        assert await client.stream.receive_some(100) == b""


class TlsByHand:
    """The client's side of TLS on a stream of which the caller says what leaves together."""

    def __init__(self, carrier: trio.SocketStream, context: ssl.SSLContext, host: str) -> None:
        self.carrier = carrier
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    async def run(self, step: Callable[[], T]) -> T:
        """What ``step`` returns, when enough has come for it. Raises ``ssl.SSLError`` when nothing comes any more."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self.flush()
                received = await self.carrier.receive_some(1 << 16)
                self.incoming.write(received) if received else self.incoming.write_eof()
            else:
                await self.flush()
                return result

    async def flush(self) -> None:
        """Sends what waits."""
        if self.outgoing.pending:
            await self.carrier.send_all(self.outgoing.read())

    async def read_until(self, end: bytes) -> None:
        """Reads until ``end`` has come."""
        received = b""
        while end not in received:
            received += await self.run(lambda: self.tls.read(1 << 16))


LARGE_CALL = (
    b'{"type":"invokefunction","invocation_id":"1","function_id":"state::compare-and-set",'
    b'"data":{"scope":"last words","key":"k","version":7,"value":"%s"}}' % (b"x" * (3 * MIB))
)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(b'{"type":"ping"}', b'{"type":"pong"}', id="small"),
        pytest.param(LARGE_CALL, b'"swapped":false', id="large"),
    ],
)
async def test_what_is_asked_with_the_last_words_is_answered(
    engine: EngineProcess, certificates: Certificates, message: bytes, answer: bytes
) -> None:
    host, port = engine.worker
    request = (
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    async with await trio.open_tcp_stream(host, port) as carrier:
        peer = TlsByHand(carrier, certificates.client(), host)
        await peer.run(peer.tls.do_handshake)
        peer.tls.write(request.encode())
        await peer.read_until(b"workerregistered")
        # A call and the end of the TLS session arrive as one.
        peer.tls.write(encode_frame(1, message))
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.unwrap()
        await peer.flush()
        await peer.read_until(answer)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 300])
async def test_who_does_not_speak_tls_is_turned_away_alone(
    engine: EngineProcess, certificates: Certificates, sent: bytes
) -> None:
    async with connect(engine.worker, tls=certificates.client()) as client:
        async with await trio.open_tcp_stream(*engine.worker) as stream:
            await stream.send_all(sent)
            answer = b"".join([bytes(data) async for data in stream])
        assert b"HTTP" not in answer
        assert await client.until_pong() == []


async def test_who_does_not_trust_the_certificate_is_not_connected(engine: EngineProcess) -> None:
    with pytest.raises(trio.BrokenResourceError) as refused:
        await upgrade(engine.worker, tls=ssl.create_default_context())
    assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)


async def test_a_tls_handshake_has_to_end_in_time(variant: str, certificates: Certificates, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "workers:\n  - name: iii-worker-manager\n    config:\n      handshake_timeout_ms: 3000\n"
        f"      tls: {{cert_file: '{certificates.chain}', key_file: '{certificates.key}'}}\n"
    )
    with EngineProcess(*VARIANTS[variant], "-c", str(config)) as engine:
        async with connect(engine.worker, tls=certificates.client()) as client:
            async with await trio.open_tcp_stream(*engine.worker) as stream:
                await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
                assert b"".join([bytes(data) async for data in stream]) == b""
            assert await client.until_pong() == []
