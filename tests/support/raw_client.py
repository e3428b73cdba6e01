"""A WebSocket client that obeys the tests and nothing else: it can fragment, send junk, stop reading, cut hard.

It has its own RFC 6455 framing on purpose: an independent reading of the standard, and frames no library would send.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

TEXT: Final = 0x1
BINARY: Final = 0x2
CONTINUATION: Final = 0x0
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame from the engine."""

    opcode: int
    payload: bytes
    final: bool = True


class ClosedByEngine(Exception):  # noqa: N818 - an outcome that tests expect, not a fault of the test
    """The engine closed the connection; ``code`` is ``None`` when it did so without a close frame."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason!r}")
        self.code = code
        self.reason = reason


class UpgradeRefused(Exception):  # noqa: N818 - as above
    """The engine answered the upgrade request with something other than 101."""

    def __init__(self, status: int, head: str, body: bytes) -> None:
        super().__init__(f"{status}: {head!r} {body!r}")
        self.status = status
        self.head = head
        self.body = body


def encode_frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame as a client sends it (RFC 6455 section 5.2)."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, mask_bit | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + _mask(payload, mask)


def _mask(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")


Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class RawClient:
    """One connection. Nothing is read unless a method waits for something; pings are answered while it does."""

    def __init__(self, stream: Stream, head: str, rest: bytes) -> None:
        self.stream = stream
        self.head = head
        self.answers_pings = True
        self.pings = 0
        self.registered: dict[str, Any] = {}
        self._buffer = bytearray(rest)
        self._sending = trio.Lock()

    # -- sending ---------------------------------------------------------------------------------------------------

    async def send_raw(self, data: bytes) -> None:
        """Bytes as they are, whole, also when several tasks send."""
        async with self._sending:
            await self.stream.send_all(data)

    async def send_text(self, text: str | bytes) -> None:
        """One text message in one frame."""
        await self.send_raw(encode_frame(TEXT, text if isinstance(text, bytes) else text.encode()))

    async def send_fragments(self, text: bytes, fragment_bytes: int) -> None:
        """One text message in frames of ``fragment_bytes``."""
        starts = range(0, len(text), fragment_bytes)
        frames = [
            encode_frame(
                CONTINUATION if start else TEXT,
                text[start : start + fragment_bytes],
                final=start + fragment_bytes >= len(text),
            )
            for start in starts
        ]
        async with self._sending:
            for frame in frames:
                await self.stream.send_all(frame)

    async def send(self, kind: str, **fields: Any) -> None:
        """One wire message of ``type`` ``kind``."""
        await self.send_text(json.dumps({"type": kind, **fields}))

    async def send_close(self, code: int = 1000) -> None:
        """A close frame."""
        await self.send_raw(encode_frame(CLOSE, struct.pack("!H", code)))

    # -- receiving -------------------------------------------------------------------------------------------------

    async def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = await self.stream.receive_some(max(READ_BYTES, count - len(self._buffer)))
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise ClosedByEngine(None)
            self._buffer += data
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return taken

    async def receive_frame(self) -> Frame:
        """The next frame as it is; it must follow the standard (no mask, no reserved bits)."""
        first, second = await self._read(2)
        assert first & 0x70 == 0, f"reserved bits set: {first:#x}"
        assert second & 0x80 == 0, "the engine masked a frame"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._read(8))
        return Frame(first & 0xF, await self._read(length), bool(first & 0x80))

    async def receive_message(self) -> Frame:
        """The next data message, put together; pings are answered, pongs skipped, a close raises ``ClosedByEngine``."""
        parts: list[bytes] = []
        opcode = TEXT
        while True:
            frame = await self.receive_frame()
            if frame.opcode == PING:
                self.pings += 1
                if self.answers_pings:
                    await self.send_raw(encode_frame(PONG, frame.payload))
            elif frame.opcode == CLOSE:
                code = struct.unpack("!H", frame.payload[:2])[0] if frame.payload else None
                raise ClosedByEngine(code or 1005, frame.payload[2:].decode())
            elif frame.opcode in (TEXT, BINARY, CONTINUATION):
                opcode = frame.opcode or opcode
                parts.append(frame.payload)
                if frame.final:
                    return Frame(opcode, b"".join(parts))

    async def receive(self) -> dict[str, Any]:
        """The next wire message; the engine sends JSON objects in text messages only."""
        message = await self.receive_message()
        assert message.opcode == TEXT
        parsed = json.loads(message.payload)
        assert isinstance(parsed, dict)
        return parsed

    async def expect(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next wire message, which must be of ``kind`` and have these members."""
        message = await self.receive()
        assert message["type"] == kind, message
        assert {name: message.get(name) for name in fields} == fields, message
        return message

    async def closed(self) -> ClosedByEngine:
        """Reads on until the engine closes the connection."""
        while True:
            try:
                await self.receive_message()
            except ClosedByEngine as closed:
                return closed

    # -- what many tests do ----------------------------------------------------------------------------------------

    async def invoke(self, function_id: str, data: Any = None, **fields: Any) -> str:
        """Sends a call and returns its invocation id."""
        invocation_id = str(uuid.uuid4())
        await self.send("invokefunction", invocation_id=invocation_id, function_id=function_id, data=data, **fields)
        return invocation_id

    async def call(self, function_id: str, data: Any = None, **fields: Any) -> dict[str, Any]:
        """Calls and returns the ``invocationresult``, which must be the next message of this connection."""
        invocation_id = await self.invoke(function_id, data, **fields)
        return await self.expect("invocationresult", invocation_id=invocation_id, function_id=function_id)

    async def until_pong(self) -> list[dict[str, Any]]:
        """Everything that arrives before the answer to a ``ping`` message: what the engine had to say by then."""
        await self.send("ping")
        messages = []
        while (message := await self.receive()) != {"type": "pong"}:
            messages.append(message)
        return messages

    async def register(self, *function_ids: str) -> None:
        """Registers functions and waits until the engine has taken them."""
        for function_id in function_ids:
            await self.send("registerfunction", id=function_id)
        assert await self.until_pong() == []

    async def serve_one(self, **outcome: Any) -> dict[str, Any]:
        """Waits for one invocation, answers it with ``outcome`` (``result`` or ``error``), and returns it."""
        invocation = await self.expect("invokefunction")
        await self.answer(invocation, **outcome)
        return invocation

    async def answer(self, invocation: dict[str, Any], **outcome: Any) -> None:
        """Answers an invocation."""
        ids = {name: invocation[name] for name in ("invocation_id", "function_id")}
        await self.send("invocationresult", **ids, **outcome)

    def cut(self) -> None:
        """Ends the TCP connection with a reset, as a crashed machine would be noticed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket below, encrypted or not."""
        carrier = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        return carrier.socket


async def upgrade(
    address: tuple[str, int],
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> RawClient:
    """Connects and upgrades, encrypted with ``tls``. Raises ``UpgradeRefused``."""
    carrier = await trio.open_tcp_stream(*address)
    carrier.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = carrier if tls is None else trio.SSLStream(carrier, tls, server_hostname=address[0])
    try:
        return await _upgraded(stream, address, path, headers)
    except BaseException:
        carrier.socket.close()
        raise


async def _upgraded(
    stream: Stream, address: tuple[str, int], path: str, headers: Mapping[str, str] | None
) -> RawClient:
    key = base64.b64encode(os.urandom(16)).decode()
    fields = {
        "Host": f"{address[0]}:{address[1]}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    await stream.send_all("\r\n".join(lines).encode())
    received = bytearray()
    while b"\r\n\r\n" not in received:
        data = await stream.receive_some(65536)
        if not data:
            raise UpgradeRefused(0, received.decode("latin-1"), b"")
        received += data
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status != 101:
        raise UpgradeRefused(status, head.decode("latin-1"), rest)
    return RawClient(stream, head.decode("latin-1"), rest)


@asynccontextmanager
async def connect(
    address: tuple[str, int],
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[RawClient]:
    """A connected worker: the engine's first message is in ``registered``."""
    client = await upgrade(address, path, headers, tls=tls)
    try:
        client.registered = await client.expect("workerregistered")
        yield client
    finally:
        client.socket.close()
