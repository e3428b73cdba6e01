"""One client's connection: requests in, responses out, one at a time and in order.

Knows no stream: bytes and the time come in, ``take`` gives what is to be written. Everything that a client can make us
hold or wait for has a bound. Mirrors ``rust/core/src/http/connection.rs`` and ``exchange.rs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from iii_fast.contracts import Answered, ExchangeId, HttpAnswer, Outcome, Refused, Route
from iii_fast.errors import WireError
from iii_fast.reference import http_body, http_head, http_response
from iii_fast.reference.http_cors import for_pages
from iii_fast.reference.http_head import Head
from iii_fast.reference.http_refusal import Refusal
from iii_fast.reference.http_request import request_object
from iii_fast.reference.http_response import Response
from iii_fast.reference.invocation import Pending

if TYPE_CHECKING:
    from iii_fast.reference.http_service import HttpService


@dataclass(slots=True)
class Exchange:
    """A request under way. ``stage``: it waits for its place, a worker is asked, or the control plane decides."""

    id: ExchangeId
    route: Route
    request: bytes
    is_head: bool
    keeps_alive: bool
    began_ms: float
    deadline_ms: float
    stage: Literal["queued", "called", "decided"] = "queued"
    pending: Pending | None = None


@dataclass(slots=True)
class _Reading:
    """A request whose body is coming in."""

    head: Head
    reader: http_body.Reader


class HttpConnection:
    """One client. Its state is the exchange under way, the request being read, or neither: between two requests."""

    def __init__(self, number: int, service: HttpService) -> None:
        self.number = number
        self.closed = False
        self.exchange: Exchange | None = None
        self.limits = service.limits
        self.unsent = 0
        """Bytes that were taken and are not written yet."""
        self.lingered = 0
        """Bytes that came after the end."""
        self._service = service
        self._limits = service.limits
        self._input = b""
        self._output = b""
        self._reading: _Reading | None = None
        self._requests = 0
        self._origin: bytes | None = None  # of the request that is read or under way
        self._has_ended = False
        self._deadline_ms = service.now_ms + self._limits.head_ms

    @property
    def waiting(self) -> int:
        """Bytes to be written."""
        return len(self._output)

    @property
    def full(self) -> bool:
        """Whether as much is read ahead as may be."""
        return len(self._input) >= self._limits.head_bytes_max and not self.closed

    def turn_away(self) -> None:
        """Refuses a connection that there is no room for."""
        self._refuse(Refusal(503, "too many connections, or shutting down"))

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        if self.closed:
            self.lingered += len(data)
            return
        if not self._input and not self._is_busy and self._reading is None:
            self._deadline_ms = self._service.now_ms + self._limits.head_ms
        self._input += data
        self.go_on()

    def ended(self) -> None:
        """The client sends nothing more. What has come is served; a longer request ends with it."""
        self._has_ended = True
        if not self._is_busy:
            self.go_on()

    def lost(self) -> None:
        """The connection is gone."""
        exchange, self.exchange = self.exchange, None
        self._close()
        if exchange is not None:
            self._service.abandon(exchange)

    def stop(self) -> None:
        """No further request is begun: what is between two requests ends."""
        if self._reading is None and not self._is_busy:
            self._close()

    def take(self) -> bytes:
        """Takes what is to be written."""
        taken, self._output = self._output, b""
        return taken

    def _say(self, text: bytes) -> None:
        self._output += text
        self._service.wake(self.number)

    @property
    def _is_busy(self) -> bool:
        return self.exchange is not None

    @property
    def _is_held_up(self) -> bool:
        """A client that asks on and on without reading gets no further answers."""
        return len(self._output) + self.unsent > self._limits.outbox_bytes_max

    def _close(self) -> None:
        self.closed = True
        self._reading = None
        self._input = b""
        self._service.wake(self.number)

    # Reading

    def go_on(self) -> None:
        """Serves what has come, as far as that is possible now."""
        before = len(self._input)
        try:
            while not self.closed and not self._is_busy and not self._is_held_up and self._step():
                pass
        except Refusal as refusal:
            self._refuse(refusal)
        if self._input and len(self._input) < before and self._reading is None and not self._is_busy:
            # What is left behind requests that were served is the beginning of another one.
            self._deadline_ms = self._service.now_ms + self._limits.head_ms
        if self._has_ended and not self._is_busy and not self._is_held_up:
            self._close()

    def _step(self) -> bool:
        """Reads a head or a body; false when more must come. Raises ``Refusal``."""
        if self._reading is None:
            return self._read_head()
        used = self._reading.reader.feed(self._input)
        self._input = self._input[used:]
        if not self._reading.reader.complete:
            return False
        reading, self._reading = self._reading, None
        self._request(reading.head, bytes(reading.reader.body))
        return True

    def _read_head(self) -> bool:
        # Empty lines in front of a request are tolerated (RFC 9112, section 2.2).
        while self._input.startswith(b"\r\n"):
            self._input = self._input[2:]
        if self._input in (b"", b"\r"):
            return False
        end = http_head.find_end(self._input, self._limits.head_bytes_max)
        if end is None:
            return False
        if self._service.stopping:
            self._close()
            return False
        head = http_head.parse(self._input[:end])
        self._input = self._input[end:]
        self._origin = head.header("origin")
        if head.length != "chunked":
            http_body.check_length(head.length, self._limits.body_bytes_max)
        if head.expects_continue and head.length != 0:
            self._say(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._deadline_ms = self._service.now_ms + self._limits.body_ms
        reader = http_body.Reader(head.length, self._limits.body_bytes_max, self._limits.head_bytes_max)
        self._reading = _Reading(head, reader)
        return True

    def _request(self, head: Head, body: bytes) -> None:
        """A whole request."""
        self._requests += 1
        try:
            answer = self._route(head, body)
        except Refusal as refusal:
            answer = http_response.refused(refusal)
        if answer is not None:
            self._respond(answer, head.method == "HEAD", head.keeps_alive)

    def _route(self, head: Head, body: bytes) -> Response | None:
        """The response, or ``None`` when there will be one later. Raises ``Refusal``."""
        service = self._service
        if head.method == "OPTIONS" and head.header("access-control-request-method") is not None:
            return http_response.preflight(service.cors, self._origin)
        match = service.routes.find(head.method, head.path)
        if match is None:
            return self._unrouted(head)
        route = match.target
        request = request_object(head, body, route, match.parameters)
        now_ms = service.now_ms
        deadline_ms = now_ms + self._limits.request_ms
        exchange_id = (self.number, self._requests)
        is_head = head.method == "HEAD"
        self.exchange = Exchange(exchange_id, route, request, is_head, head.keeps_alive, now_ms, deadline_ms)
        service.begin(self.exchange)
        return None

    def _unrouted(self, head: Head) -> Response:
        methods = self._service.routes.methods(head.path)
        if head.method == "OPTIONS":
            return http_response.options(methods)
        if not methods:
            return http_response.refused(Refusal(404, "Not Found"))
        return http_response.refused(Refusal(405, "Method Not Allowed"), methods)

    # Answering

    def settled(self, outcome: Outcome) -> None:
        """The function of the exchange has come to an end."""
        if isinstance(outcome, WireError):
            self.answer(Refused(500, str(outcome.code), outcome.message))
        else:
            self.answer(Answered(outcome))

    def answer(self, answer: HttpAnswer) -> None:
        """The exchange is answered, and the next request is served."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        self._respond(http_response.of_answer(answer), exchange.is_head, exchange.keeps_alive)
        self._service.give_back()
        self.go_on()

    def _respond(self, response: Response, is_head: bool, keeps_alive: bool) -> None:
        closes = not keeps_alive or self._service.stopping
        self._write(response, is_head=is_head, closes=closes)
        self._origin = None
        if closes:
            self._close()
            return
        wait_ms = self._limits.head_ms if self._input else self._limits.idle_ms
        self._deadline_ms = self._service.now_ms + wait_ms

    def _refuse(self, refusal: Refusal) -> None:
        """The request cannot be taken: it is answered, and the connection ends."""
        self._write(http_response.refused(refusal), is_head=False, closes=True)
        self._close()

    def _write(self, response: Response, *, is_head: bool, closes: bool) -> None:
        service = self._service
        headers = for_pages(service.cors, self._origin)
        self._say(response.text(headers, is_head=is_head, closes=closes, unix_s=service.unix_s))

    # Time

    def tick(self) -> None:
        """Time goes on: what has taken too long ends."""
        now_ms, exchange = self._service.now_ms, self.exchange
        if self.closed:
            return
        if exchange is not None:
            if self._has_ended and now_ms >= exchange.began_ms + self._limits.leave_ms:
                self.lost()
            elif now_ms >= exchange.deadline_ms and exchange.stage != "decided":
                self._time_out(exchange)
        elif now_ms >= self._deadline_ms:
            if self._reading is not None:
                self._refuse(Refusal(408, "the request body took too long"))
            elif self._input:
                self._refuse(Refusal(408, "the request head took too long"))
            else:
                self._close()

    def _time_out(self, exchange: Exchange) -> None:
        self.exchange = None
        self._service.abandon(exchange)
        refusal = Refusal(504, f"request timed out after {self._limits.request_ms}ms")
        self._respond(http_response.refused(refusal), exchange.is_head, exchange.keeps_alive)
        self.go_on()
