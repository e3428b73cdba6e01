"""What all http connections share: routes, places for requests that run, the way to functions.

Mirrors ``rust/core/src/http/service.rs``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from iii_fast.contracts import EVERY_PAGE, Cors, ExchangeId, HttpAnswer, HttpLimits, Outcome, Refused, Route
from iii_fast.errors import WireError
from iii_fast.protocol import Code, function_not_found
from iii_fast.reference.calls import Left, Requested
from iii_fast.reference.http_connection import Exchange, HttpConnection
from iii_fast.reference.http_routes import Pattern, Routes
from iii_fast.reference.invocation import HttpCaller
from iii_fast.reference.payload import Payload

if TYPE_CHECKING:
    from iii_fast.reference.core import Core


class HttpService:
    """The shared half of http. ``monotonic_ms`` and ``unix_ms`` tell the time."""

    def __init__(
        self, core: Core, monotonic_ms: Callable[[], float], unix_ms: Callable[[], int], cors: Cors = EVERY_PAGE
    ) -> None:
        self.limits: HttpLimits = core.limits.http
        self.cors = cors
        self.routes: Routes[Route] = Routes()
        self.stopping = False
        self.connections: dict[int, HttpConnection] = {}
        self.wake: Callable[[int], None] = lambda number: None
        """Called with a connection that has something to write, or is over."""
        self._core = core
        self._monotonic_ms = monotonic_ms
        self._unix_ms = unix_ms
        self._numbers = 0
        self._free = self.limits.requests_max
        self._queue: deque[Exchange] = deque()
        self._patterns: dict[int, tuple[Route, Pattern]] = {}

    @property
    def now_ms(self) -> float:
        """Monotonic time."""
        return self._monotonic_ms()

    @property
    def unix_s(self) -> float:
        """Wall time."""
        return self._unix_ms() / 1000

    # Connections

    def connect(self) -> HttpConnection:
        """A client connects; it is turned away when there is no room."""
        self._numbers += 1
        connection = HttpConnection(self._numbers, self)
        if len(self.connections) >= self.limits.connections_max or self.stopping:
            connection.turn_away()
        self.connections[connection.number] = connection
        return connection

    def disconnect(self, connection: HttpConnection) -> None:
        """The connection is gone."""
        self.connections.pop(connection.number, None)
        connection.lost()

    def tick(self) -> None:
        """What has taken too long ends."""
        for connection in list(self.connections.values()):
            connection.tick()

    def stop(self) -> None:
        """No further request is begun."""
        self.stopping = True
        for connection in list(self.connections.values()):
            connection.stop()

    # Routes

    def bind(self, route: Route) -> None:
        """Makes a route serve. Raises ``WireError``."""
        pattern = Pattern.parse(route.api_path)
        self.routes.add(route.method, pattern, route)
        self._patterns[route.id] = route, pattern

    def unbind(self, route_id: int) -> None:
        """Takes a route out; the owner before it serves again."""
        route, pattern = self._patterns.pop(route_id)
        self.routes.remove(route.method, pattern, route)

    # Exchanges

    def begin(self, exchange: Exchange) -> None:
        """Begins a request, now or when there is a place."""
        if self._free == 0:
            self._queue.append(exchange)
            return
        self._free -= 1
        self._start(exchange)

    def _start(self, exchange: Exchange) -> None:
        if exchange.route.direct:
            self._call(exchange)
            return
        exchange.stage = "decided"
        left_ms = max(0, round(exchange.deadline_ms - self.now_ms))
        self._core.calls.push(Requested(exchange.id, exchange.route.id, exchange.request, left_ms))

    def _call(self, exchange: Exchange) -> None:
        route = exchange.route
        exchange.stage = "called"
        try:
            function = self._core.registry.find(route.function_id)
            if function is None:
                raise WireError(Code.FUNCTION_NOT_FOUND, function_not_found(route.function_id))
            metadata = None if route.metadata is None else route.metadata.decode()
            payload = Payload(exchange.request.decode(), metadata)
            exchange.pending = self._core.relay(HttpCaller(exchange.id), function, payload)
        except WireError as error:
            self.answer(exchange.id, Refused(500, str(error.code), error.message))

    def give_back(self) -> None:
        """A place is free again: the next one begins."""
        if self._queue:
            self._start(self._queue.popleft())
        else:
            self._free += 1

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits for a request any more."""
        if exchange.stage == "queued":
            self._queue.remove(exchange)
            return
        if exchange.stage == "decided":
            self._core.calls.push(Left(exchange.id))
        elif exchange.pending is not None:
            self._core.invocations.withdraw(exchange.pending)
        self.give_back()

    def settled(self, exchange_id: ExchangeId, outcome: Outcome) -> None:
        """A function has come to an end."""
        connection = self._waiting(exchange_id)
        if connection is not None:
            connection.settled(outcome)

    def proceed(self, exchange_id: ExchangeId) -> None:
        """The control plane lets a request pass."""
        connection = self._waiting(exchange_id)
        if connection is not None and connection.exchange is not None:
            self._call(connection.exchange)

    def answer(self, exchange_id: ExchangeId, answer: HttpAnswer) -> None:
        """The control plane answers a request."""
        connection = self._waiting(exchange_id)
        if connection is not None:
            connection.answer(answer)

    def _waiting(self, exchange_id: ExchangeId) -> HttpConnection | None:
        connection = self.connections.get(exchange_id[0])
        exchange = None if connection is None else connection.exchange
        return connection if exchange is not None and exchange.id == exchange_id else None
