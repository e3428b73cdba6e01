"""The WebSocket upgrade on a fresh connection of the worker port, with h11; hands the socket over afterwards.

Knows HTTP and sockets, nothing of workers. RFC 6455, section 4.2. No extension and no sub-protocol is negotiated.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import h11
import trio

from iii_fast.protocol import CAPABILITIES_HEADER

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_BYTES_MAX = 16 << 10
_READ_BYTES = 8 << 10
_LINGER_BYTES = 64 << 10
_LINGER_S = 1.0
_ABSOLUTE_FORM = re.compile(rb"\A(?:https?|wss?)://[^/?]*", re.IGNORECASE)


class HandshakeError(Exception):
    """The peer did not ask for a WebSocket that we serve; it has been told why."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A connection that speaks WebSocket from now on; ``leftover`` came glued to the upgrade request."""

    path: str
    leftover: bytes


async def upgrade(
    stream: trio.abc.HalfCloseableStream, routes: Mapping[str, object], admit: Callable[[], bool]
) -> Upgraded:
    """Answers the upgrade request on ``stream``: 101 for a path in ``routes``.

    ``admit`` says whether there is room; it is asked once, of a request that is good, right before the 101. Otherwise
    answers 4xx, 501 or (no room) 503, reads on until the peer's end, at most 64 KiB and 1 s, and raises
    ``HandshakeError``. A connection that ends early raises it too. The query string is ignored.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX)
    request = await _read_request(stream, connection)
    path = _path(request.target)
    refusal = _refusal(request, path, routes)
    if refusal is None and not admit():
        refusal = 503, "Too many connections"
    if refusal is not None:
        await _refuse(stream, connection, *refusal, with_body=request.method != b"HEAD")
    accept = base64.b64encode(hashlib.sha1(_value(request, b"sec-websocket-key") + _GUID).digest())
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


async def _read_request(stream: trio.abc.HalfCloseableStream, connection: h11.Connection) -> h11.Request:
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


def _refusal(request: h11.Request, path: str, routes: Mapping[str, object]) -> tuple[int, str] | None:
    """Status and text for a request that is not a good upgrade request (RFC 6455, section 4.2.1)."""
    if path.startswith("/ws/channels/"):
        return 404, "Channel not found"
    if path not in routes:
        return 404, "Not Found"
    if b"websocket" not in _tokens(request, b"upgrade") or b"upgrade" not in _tokens(request, b"connection"):
        return 426, "This port speaks WebSocket: connect with ws:// (iii workers do)"
    if request.method != b"GET" or request.http_version != b"1.1" or _has_body(request):
        return 400, "Bad WebSocket upgrade request: expected GET, HTTP/1.1 and no body"
    if _value(request, b"sec-websocket-version") != b"13" or not _is_key(_value(request, b"sec-websocket-key")):
        return 400, "Bad WebSocket upgrade request: expected version 13 and a 16-byte key"
    return None


async def _refuse(
    stream: trio.abc.HalfCloseableStream, connection: h11.Connection, status: int, text: str, *, with_body: bool = True
) -> NoReturn:
    body = text.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    if status == 426:  # it must say to what (RFC 9110, section 15.5.22)
        headers += [("Upgrade", "websocket"), ("Connection", "Upgrade, close")]
    else:
        headers += [("Connection", "close")]
    response = h11.Response(status_code=status, reason=http.HTTPStatus(status).phrase.encode(), headers=headers)
    events = [response, *([h11.Data(body)] if with_body else []), h11.EndOfMessage()]
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(b"".join(connection.send(event) or b"" for event in events))
        await _linger(stream)
    raise HandshakeError(f"{status} {text}")


async def _linger(stream: trio.abc.HalfCloseableStream) -> None:
    """Reads until the peer's end: closing over unread bytes would reset the connection behind the answer."""
    await stream.send_eof()
    left = _LINGER_BYTES
    with trio.move_on_after(_LINGER_S):
        while left > 0 and (data := await stream.receive_some(_READ_BYTES)):
            left -= len(data)


def _path(target: bytes) -> str:
    """The path of a target in origin form or absolute form (RFC 9112, section 3.2)."""
    return _ABSOLUTE_FORM.sub(b"", target, count=1).split(b"?", 1)[0].decode("latin-1") or "/"


def _value(request: h11.Request, name: bytes) -> bytes:
    """A header's value; of several headers all values, as one list (RFC 9110, section 5.3)."""
    return b", ".join(value for header, value in request.headers if header == name)


def _tokens(request: h11.Request, name: bytes) -> list[bytes]:
    return [token.strip().lower() for token in _value(request, name).split(b",")]


def _has_body(request: h11.Request) -> bool:
    return _value(request, b"transfer-encoding") != b"" or int(_value(request, b"content-length") or b"0") > 0


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False
