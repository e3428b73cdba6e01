"""Connects to the worker port of an engine, as a worker's SDK does, for the time of a command."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, wrap_client_stream

from iii_fast.cli.session import NoEngineError, Session
from iii_fast.errors import WireError
from iii_fast.protocol import Code

MESSAGE_BYTES_MAX: Final = 128 << 20
"""Above every limit the engine has, so that it is the engine that tells."""

READ_BYTES: Final = 1 << 16
HANDSHAKE_S: Final = 10.0
CLOSE_S: Final = 2.0

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]
T = TypeVar("T")
Work: TypeAlias = Callable[[Session], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    """What the work on a connection came to. A value, since exceptions would leave a nursery in groups."""

    value: T | None = None
    error: Exception | None = None


async def call(url: str, function_id: str, data: bytes, *, namespace: str | None, timeout_ms: int) -> bytes:
    """Calls a function through the engine at ``url`` and returns its result as JSON text (``null`` for no result).

    Raises ``WireError`` with the function's or the engine's error, ``NoEngineError`` when there is no engine, and
    ``WireError`` ``TIMEOUT`` when ``timeout_ms`` have passed since the start of connecting.
    """
    outcome: bytes | None = None
    with trio.move_on_after(timeout_ms / 1000):
        outcome = await converse(url, lambda session: session.call(function_id, data, namespace))
    if outcome is None:
        raise WireError(Code.TIMEOUT, f"{function_id} gave no result within {timeout_ms} ms (--timeout-ms)")
    return outcome


async def converse(url: str, work: Work[T], *, calls_max: int = 1, timeout_ms: int | None = None) -> T:
    """Opens a connection, returns what ``work`` came to on it, and closes it.

    ``calls_max`` calls may be under way at a time, each for ``timeout_ms`` (``None``: as long as it takes). Raises
    ``NoEngineError`` when there is no engine, and whatever ``work`` raises.
    """
    try:
        stream = await _open(url)
    except OSError as error:
        raise NoEngineError(_unreachable(url, error)) from None
    except UnicodeError:  # a name that looks right and is none by the rules of international domain names
        raise NoEngineError(f"{url} has no valid host name") from None
    outcome: _Outcome[T] | None = None
    status: int | None = None
    # The stream is ours and not the library's, which leaves it open when the peer closes first or refuses.
    async with stream:
        try:
            outcome = await _on(stream, url, work, calls_max, timeout_ms)
        except* ConnectionRejected as refused:
            status = next((one.status_code for one in refused.exceptions if isinstance(one, ConnectionRejected)), 0)
    if status is not None:
        raise NoEngineError(f"{url} answers with HTTP status {status}, it is no iii engine")
    if outcome is None:
        raise NoEngineError(f"{url} does not answer as a WebSocket within {HANDSHAKE_S:g} s, it is no iii engine")
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value]  # there is a value when there is no error


async def _on(stream: Stream, url: str, work: Work[T], calls_max: int, timeout_ms: int | None) -> _Outcome[T] | None:
    """What ``work`` came to; ``None`` when the handshake took too long."""
    parts = urlsplit(url)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    outcome: _Outcome[T] | None = None
    async with trio.open_nursery() as nursery:
        link = None
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
            session = Session(link, url, calls_max, timeout_ms)
            nursery.start_soon(session.run)
            try:
                outcome = _Outcome(value=await work(session))
            except Exception as error:
                outcome = _Outcome(error=error)
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
