"""The WebSocket upgrade on a fresh connection of the worker port, with h11; hands the socket over afterwards.

Knows HTTP and sockets, nothing of workers. RFC 6455, section 4.2. No extension and no sub-protocol is negotiated.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import h11
import trio

from iii_fast.protocol import CAPABILITIES_HEADER

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_BYTES_MAX = 16 << 10
_READ_BYTES = 8 << 10


class HandshakeError(Exception):
    """The peer did not ask for a WebSocket that we serve; it has been told why."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A connection that speaks WebSocket from now on; ``leftover`` came glued to the upgrade request."""

    path: str
    leftover: bytes


async def upgrade(stream: trio.abc.Stream, routes: Mapping[str, object], *, busy: bool = False) -> Upgraded:
    """Answers the upgrade request on ``stream``: 101 for a path in ``routes``.

    Otherwise answers 400, 404, 426 or (``busy``: the connection limit is reached) 503 and raises ``HandshakeError``. A
    connection that ends early raises it too. The query string is ignored.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)
    request = await _read_request(stream, connection)
    path = request.target.split(b"?", 1)[0].decode("latin-1")
    headers = dict(request.headers)
    if path.startswith("/ws/channels/"):
        await _refuse(stream, connection, 404, "Channel not found")
    if path not in routes:
        await _refuse(stream, connection, 404, "Not Found")
    if not _asks_for_websocket(headers):
        await _refuse(stream, connection, 426, "This port speaks WebSocket: connect with ws:// (iii workers do)")
    key = headers.get(b"sec-websocket-key")
    if request.method != b"GET" or headers.get(b"sec-websocket-version") != b"13" or not _is_key(key):
        await _refuse(
            stream, connection, 400, "Bad WebSocket upgrade request: expected GET, version 13 and a 16-byte key"
        )
    if busy:
        await _refuse(stream, connection, 503, "Too many connections")
    accept = base64.b64encode(hashlib.sha1((key or b"") + _GUID).digest())
    response = h11.InformationalResponse(
        status_code=101,
        reason=b"Switching Protocols",
        headers=[
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept.decode()),
            CAPABILITIES_HEADER,
        ],
    )
    await stream.send_all(connection.send(response))
    return Upgraded(path, bytes(connection.trailing_data[0]))


async def _read_request(stream: trio.abc.Stream, connection: h11.Connection) -> h11.Request:
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                raise HandshakeError("the connection ended before an upgrade request")
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
    except h11.RemoteProtocolError as error:
        await _refuse(stream, connection, error.error_status_hint, f"Bad request: {error}")
    except trio.BrokenResourceError as error:
        raise HandshakeError("the connection broke before an upgrade request") from error


async def _refuse(stream: trio.abc.Stream, connection: h11.Connection, status: int, text: str) -> NoReturn:
    body = text.encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    response = h11.Response(status_code=status, reason=http.HTTPStatus(status).phrase.encode(), headers=headers)
    parts = [connection.send(response), connection.send(h11.Data(body)), connection.send(h11.EndOfMessage())]
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(b"".join(part for part in parts if part))
    raise HandshakeError(f"{status} {text}")


def _asks_for_websocket(headers: Mapping[bytes, bytes]) -> bool:
    connection = headers.get(b"connection", b"").lower()
    return headers.get(b"upgrade", b"").lower() == b"websocket" and b"upgrade" in connection


def _is_key(key: bytes | None) -> bool:
    try:
        return key is not None and len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False
