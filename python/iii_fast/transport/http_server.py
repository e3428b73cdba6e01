"""HTTP/1.1 on h11 and Trio: keep-alive, pipelining, and a bound on everything a client can make us hold or wait for.

Calls one async handler per request. Touches the streams it is given, nothing else.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11
import trio

from iii_fast.http_message import HttpHandler, HttpRequest, HttpResponse

logger = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 64 << 10

_REFUSALS: Final = {
    400: "BAD_REQUEST",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
    500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED",
    503: "UNAVAILABLE",
}
_SHOWN_BYTES: Final = re.compile(r":? (?:bytearray\()?b['\"].*", re.DOTALL)
"""The parser quotes what it refuses as a Python literal, which tells a client nothing."""
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus} | {
    413: b"Content Too Large",
    422: b"Unprocessable Content",
}
"""The phrases of RFC 9110; Python's table has older ones for two of them."""
_BODILESS: Final = frozenset({204, 304})
_SERVER_OWNED: Final = frozenset({"content-length", "transfer-encoding", "connection", "date"})


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one connection; ``connections_max`` is for all of them together.

    A request that takes longer than ``leave_ms`` ends when its client closes or half-closes the connection.
    After a refusal the rest of the request is read away for a while (``linger``): closing at once would reset the
    connection and destroy the answer before the client has read it.
    """

    head_bytes_max: int = 64 << 10
    body_bytes_max: int = 1 << 20
    head_ms: int = 10_000
    body_ms: int = 30_000
    idle_ms: int = 75_000
    write_ms: int = 30_000
    leave_ms: int = 1_000
    linger_ms: int = 2_000
    linger_bytes_max: int = 4 << 20
    connections_max: int = 4_096


class HttpServer:
    """Serves connections; after ``stop`` it finishes the requests under way and takes no others."""

    def __init__(
        self, handler: HttpHandler, limits: HttpLimits | None = None, refusal_headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """``refusal_headers`` go with every answer that the handler does not give."""
        self.handler = handler
        self.refusal_headers = refusal_headers
        self.limits = limits or HttpLimits()
        self.stopping = False
        self._idle: set[trio.CancelScope] = set()
        self._connections = 0
        self._left = trio.Event()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._connections

    async def serve_stream(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serves one connection to its end and closes it. Raises nothing that the client causes."""
        connection = _Connection(self, stream)
        self._connections += 1
        try:
            if self.stopping or self._connections > self.limits.connections_max:
                await connection.turn_away()
            else:
                await connection.run()
        except* (_Closed, trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("HTTP connection ended early")
        except* h11.LocalProtocolError:
            logger.exception("Bug: the handler made a response that is not HTTP")
        finally:
            self._connections -= 1
            self._left.set()
            await trio.aclose_forcefully(stream)

    def stop(self) -> None:
        """Closes the connections between two requests; the others close after their response."""
        self.stopping = True
        for scope in self._idle:
            scope.cancel()

    @contextmanager
    def idling(self) -> Iterator[None]:
        """A block without a request, which ``stop`` cuts short. Raises ``_Closed`` then."""
        with trio.CancelScope() as scope:
            self._idle.add(scope)
            if self.stopping:
                scope.cancel()
            try:
                yield
            finally:
                self._idle.discard(scope)
            return
        raise _Closed

    async def drain(self) -> None:
        """Stops, and returns when the last connection has gone."""
        self.stop()
        await trio.lowlevel.checkpoint()
        while self._connections:
            self._left = trio.Event()
            await self._left.wait()


class _Refused(Exception):  # noqa: N818 - an outcome, answered with a status
    """The request cannot be taken: answer ``status`` and close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Closed(Exception):  # noqa: N818 - an outcome
    """The connection is over and there is nothing left to answer."""


def _check_framing(head: h11.Request) -> None:
    """Refuses a body whose end two readers could find in different places (RFC 9112, 6.1)."""
    names = {name for name, _ in head.headers}
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            raise _Refused(400, "a request has either Transfer-Encoding or Content-Length, not both")
        if head.http_version < b"1.1":
            raise _Refused(400, "HTTP/1.0 has no Transfer-Encoding")


class _Departure:
    """Ends a request whose client leaves before the response.

    One task per connection, which sleeps while requests are short: one per request would cost much of what they do.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, parser: h11.Connection, limits: HttpLimits) -> None:
        self._stream = stream
        self._h11 = parser
        self._limits = limits
        self._request: trio.CancelScope | None = None
        self._begun = trio.Event()
        self._reading: trio.CancelScope | None = None
        self._stopped = trio.Event()

    def begin(self, request: trio.CancelScope) -> None:
        """A request is under way; its scope is cancelled when the client leaves."""
        self._request = request
        self._begun.set()

    async def end(self) -> None:
        """The request is over; returns when nobody but the caller reads from the stream."""
        self._request = None
        if self._reading is not None:
            self._reading.cancel()
            await self._stopped.wait()

    async def watch(self) -> None:
        """Looks at the stream when a request takes longer than ``leave_ms``. Runs until cancelled."""
        while True:
            request = self._request
            if request is None:
                self._begun = trio.Event()
                await self._begun.wait()
                continue
            await trio.sleep(self._limits.leave_ms / 1000)
            if request is self._request and await self._closes():
                logger.debug("An HTTP client left before its response")
                request.cancel()

    async def _closes(self) -> bool:
        """Whether the client closes; reads ahead what it pipelines, up to the size of a head."""
        self._stopped = trio.Event()
        with trio.CancelScope() as self._reading:
            try:
                while len(self._h11.trailing_data[0]) < self._limits.head_bytes_max:
                    data = await self._stream.receive_some(RECEIVE_BYTES)
                    if not data:
                        return True
                    self._h11.receive_data(bytes(data))
            except trio.BrokenResourceError:
                return True
            finally:
                self._reading = None
                self._stopped.set()
        return False


class _Connection:
    """One client: requests in, responses out, one at a time and in order."""

    def __init__(self, server: HttpServer, stream: trio.abc.HalfCloseableStream) -> None:
        self._server = server
        self._stream = stream
        self._limits = server.limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.head_bytes_max)
        self._departure = _Departure(stream, self._h11, server.limits)
        self._requests = 0
        self._method = b""

    async def run(self) -> None:
        """Serves to the end; what the client causes comes as an exception group."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._departure.watch)
            await self._serve()
            nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        while True:
            try:
                request = await self._request()
            except _Refused as refusal:
                await self._refuse(refusal)
                return
            await self._respond(await self._handle_while_there(request))
            if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def turn_away(self) -> None:
        """Answers 503 without reading anything."""
        await self._refuse(_Refused(503, "too many connections, or shutting down"))

    async def _handle_while_there(self, request: HttpRequest) -> HttpResponse:
        """The handler's response; raises ``_Closed`` when the client leaves before it."""
        response: HttpResponse | None = None
        with trio.CancelScope() as scope:
            self._departure.begin(scope)
            response = await self._handle(request)
        await self._departure.end()
        if response is None:
            raise _Closed
        return response

    async def _handle(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._server.handler(request)
        except Exception:
            logger.exception("Bug in the handler of %s %s", request.method, request.path)
            return self._refusal(500, "Internal error; the engine's log has the details")

    # Reading

    async def _request(self) -> HttpRequest:
        try:
            head = await self._head()
            body = await self._body(head)
        except h11.RemoteProtocolError as error:
            raise self._not_http(error) from None
        path, _, query = head.target.decode("latin-1").partition("?")
        if path.startswith(("http://", "https://")):
            path = "/" + path.split("://", 1)[1].partition("/")[2]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        return HttpRequest(head.method.decode("latin-1"), path, query, headers, body)

    def _not_http(self, error: h11.RemoteProtocolError) -> _Refused:
        if error.error_status_hint == 431:
            return _Refused(431, f"the request head exceeds the limit of {self._limits.head_bytes_max} bytes")
        return _Refused(error.error_status_hint, _SHOWN_BYTES.sub("", str(error)))

    async def _head(self) -> h11.Request:
        """A request begins when its head is complete; until then the connection is idle."""
        event = self._h11.next_event()
        with self._server.idling():
            if event is h11.NEED_DATA and not self._h11.trailing_data[0]:
                await self._receive_first_bytes()
                event = self._h11.next_event()
            with trio.move_on_after(self._limits.head_ms / 1000) as limit:
                while event is h11.NEED_DATA:
                    self._feed(await self._stream.receive_some(RECEIVE_BYTES))
                    event = self._h11.next_event()
        if limit.cancelled_caught:
            raise _Refused(408, "the request head took too long")
        if not isinstance(event, h11.Request):
            raise _Closed
        self._requests += 1
        self._method = event.method
        _check_framing(event)
        return event

    async def _receive_first_bytes(self) -> None:
        wait_ms = self._limits.idle_ms if self._requests else self._limits.head_ms
        with trio.move_on_after(wait_ms / 1000):
            self._feed(await self._stream.receive_some(RECEIVE_BYTES))
            return
        raise _Closed

    async def _body(self, head: h11.Request) -> bytes:
        bytes_max = self._limits.body_bytes_max
        length = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        too_large = _Refused(413, f"the body exceeds the limit of {bytes_max} bytes")
        if length > bytes_max:
            raise too_large
        body = bytearray()
        with trio.move_on_after(self._limits.body_ms / 1000):
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))
            while not isinstance(event := self._h11.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    self._feed(await self._stream.receive_some(RECEIVE_BYTES))
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > bytes_max:
                        raise too_large
                else:
                    raise _Closed
            return bytes(body)
        raise _Refused(408, "the request body took too long")

    def _feed(self, data: bytes | bytearray) -> None:
        self._h11.receive_data(bytes(data))

    # Writing

    async def _respond(self, response: HttpResponse, *, close: bool = False) -> None:
        headers = [(name, value) for name, value in response.headers if name.lower() not in _SERVER_OWNED]
        headers.append(("date", formatdate(usegmt=True)))
        if response.status not in _BODILESS:
            headers.append(("content-length", str(len(response.body))))
        if close or self._server.stopping:
            headers.append(("connection", "close"))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        reason = _REASONS.get(response.status, b"")
        head = h11.Response(status_code=response.status, headers=encoded, reason=reason)
        parts = [self._h11.send(head)]
        if response.status not in _BODILESS and self._method != b"HEAD":
            parts.append(self._h11.send(h11.Data(data=response.body)))
        parts.append(self._h11.send(h11.EndOfMessage()))
        await self._write(b"".join(part for part in parts if part))

    async def _write(self, data: bytes | None) -> None:
        with trio.move_on_after(self._limits.write_ms / 1000):
            await self._stream.send_all(data or b"")
            return
        raise _Closed

    async def _refuse(self, refusal: _Refused) -> None:
        await self._respond(self._refusal(refusal.status, str(refusal)), close=True)
        await self._stream.send_eof()
        left = self._limits.linger_bytes_max
        with trio.move_on_after(self._limits.linger_ms / 1000):
            while left > 0 and (data := await self._stream.receive_some(RECEIVE_BYTES)):
                left -= len(data)

    def _refusal(self, status: int, reason: str) -> HttpResponse:
        code = _REFUSALS.get(status, "BAD_REQUEST")
        body = json.dumps({"error": {"code": code, "message": reason}}, separators=(",", ":")).encode()
        return HttpResponse(status, [("content-type", "application/json"), *self._server.refusal_headers], body)
