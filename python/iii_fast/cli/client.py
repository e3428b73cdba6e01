"""A client of the worker port that makes one call: what a worker's SDK does for ``trigger``, and nothing more."""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from iii_fast import jsontext
from iii_fast.errors import WireError
from iii_fast.protocol import DEFAULT_NAMESPACE, Code, Kind

MESSAGE_BYTES_MAX: Final = 128 << 20
"""Above every limit the engine has, so that it is the engine that tells."""

READ_BYTES: Final = 1 << 16
HANDSHAKE_S: Final = 10.0
CLOSE_S: Final = 2.0

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class NoEngineError(Exception):
    """No engine could be reached, or it went away; the text tells the next step."""


async def call(url: str, function_id: str, data: bytes, *, namespace: str | None, timeout_ms: int) -> bytes:
    """Calls a function through the engine at ``url`` and returns its result as JSON text (``null`` for no result).

    Raises ``WireError`` with the function's or the engine's error, ``NoEngineError`` when there is no engine, and
    ``WireError`` ``TIMEOUT`` when ``timeout_ms`` have passed since the start of connecting.
    """
    outcome: bytes | None = None
    with trio.move_on_after(timeout_ms / 1000):
        outcome = await _connected(url, lambda link: _call(link, function_id, data, namespace))
    if outcome is None:
        raise WireError(Code.TIMEOUT, f"{function_id} gave no result within {timeout_ms} ms (--timeout-ms)")
    return outcome


async def _connected(url: str, work: Callable[[WebSocketConnection], Awaitable[bytes]]) -> bytes:
    """Opens the connection, runs ``work`` on it, closes it."""
    try:
        stream = await _open(url)
    except OSError as error:
        raise NoEngineError(_unreachable(url, error)) from None
    except UnicodeError:  # a name that looks right and is none by the rules of international domain names
        raise NoEngineError(f"{url} has no valid host name") from None
    outcome: bytes | Exception | None = None
    status: int | None = None
    # The stream is ours and not the library's, which leaves it open when the peer closes first or refuses.
    async with stream:
        try:
            outcome = await _converse(stream, url, work)
        except* ConnectionRejected as refused:
            status = next((one.status_code for one in refused.exceptions if isinstance(one, ConnectionRejected)), 0)
    if status is not None:
        raise NoEngineError(f"{url} answers with HTTP status {status}, it is no iii engine")
    if isinstance(outcome, ConnectionClosed):
        raise NoEngineError(_closed(url, outcome))
    if isinstance(outcome, Exception):
        raise outcome
    if outcome is None:
        raise NoEngineError(f"{url} does not answer as a WebSocket within {HANDSHAKE_S:g} s, it is no iii engine")
    return outcome


async def _converse(
    stream: Stream, url: str, work: Callable[[WebSocketConnection], Awaitable[bytes]]
) -> bytes | Exception | None:
    """What ``work`` came to, its expected failures as values; ``None`` when the handshake took too long."""
    parts = urlsplit(url)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    outcome: bytes | Exception | None = None
    async with trio.open_nursery() as nursery:
        link: WebSocketConnection | None = None
        with trio.move_on_after(HANDSHAKE_S):
            link = await wrap_client_stream(
                nursery,
                stream,
                parts.netloc,
                resource,
                max_message_size=MESSAGE_BYTES_MAX,
                receive_buffer_size=READ_BYTES,
            )
        if link is not None:
            try:
                outcome = await work(link)
            except (ConnectionClosed, NoEngineError, WireError) as error:
                outcome = error
            with trio.move_on_after(CLOSE_S):
                await link.aclose()
        nursery.cancel_scope.cancel()
    return outcome


async def _open(url: str) -> Stream:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "wss":
        return await trio.open_ssl_over_tcp_stream(host, parts.port or 443)
    return await trio.open_tcp_stream(host, parts.port or 80)


async def _call(link: WebSocketConnection, function_id: str, data: bytes, namespace: str | None) -> bytes:
    invocation_id = str(uuid.uuid4())
    members = [
        ("type", jsontext.quote(Kind.INVOKE_FUNCTION)),
        ("invocation_id", jsontext.quote(invocation_id)),
        ("function_id", jsontext.quote(function_id)),
        ("data", data),
    ]
    if namespace is not None and namespace != DEFAULT_NAMESPACE:
        members.append(("namespace", jsontext.quote(namespace)))
    await link.send_message(jsontext.build(members).decode())
    while True:
        message = await link.get_message()
        found = _settled(message.encode() if isinstance(message, str) else message, invocation_id)
        if found is not None:
            return found


def _settled(message: bytes, invocation_id: str) -> bytes | None:
    """The result if ``message`` is the one for our invocation; raises its error; ``None`` for any other message."""
    try:
        jsontext.check(message)
    except jsontext.JsonTextError as broken:
        raise NoEngineError(f"the engine sent a message that is not JSON: {broken}") from None
    fields = dict(jsontext.members(message) or ())
    if _string(fields.get("type")) != Kind.INVOCATION_RESULT or _string(fields.get("invocation_id")) != invocation_id:
        return None
    error = fields.get("error")
    if error is not None and not jsontext.is_null(error):
        raise _wire_error(error)
    return fields.get("result", b"null")


def _wire_error(error: bytes) -> WireError:
    fields = dict(jsontext.members(error) or ())
    code, message = _string(fields.get("code")), _string(fields.get("message"))
    if code is None or message is None:
        return WireError(Code.UNKNOWN, error.decode())
    return WireError(code, message, _string(fields.get("stacktrace")))


def _string(text: bytes | None) -> str | None:
    value = None if text is None else jsontext.decode(text)
    return value if isinstance(value, str) else None


def _unreachable(url: str, error: OSError) -> str:
    return (
        f"no engine answers at {url} ({_reason(error)}): start one with `iii-fast serve`, or name where it is with "
        "--address and --port (or III_URL)"
    )


def _reason(error: OSError) -> str:
    # Trio raises one OSError for all addresses that were tried, with the real ones below it.
    below: BaseException | None = error.__cause__
    while isinstance(below, BaseExceptionGroup):
        below = below.exceptions[0]
    told = below if isinstance(below, OSError) else error
    return os.strerror(told.errno) if told.errno else str(told)


def _closed(url: str, error: ConnectionClosed) -> str:
    reason = error.reason
    if reason is None:
        return f"{url} cut the connection before the result came"
    return f"{url} closed the connection before the result came ({reason.code} {reason.reason or reason.name})"
