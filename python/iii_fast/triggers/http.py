"""The ``http`` trigger type: binds routes in the backend, decides about requests whose route has more than a function.

The backend reads requests, finds their route and calls its function by itself. What has a condition or middleware
comes up here as a request object, and goes down again to be answered or to have its function called.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Final

import trio

from iii_fast.contracts import Answered, Backend, ExchangeId, HttpAnswer, Invoker, Refused, Route, Trigger
from iii_fast.errors import WireError
from iii_fast.jsontext import build, decode, encode, members
from iii_fast.protocol import HTTP_METHODS
from iii_fast.triggers.config_reader import condition, refused, string_list
from iii_fast.triggers.config_reader import members as config_members

logger = logging.getLogger(__name__)

_CHANNELS: Final = frozenset({"request_body", "response"})
_FACTS: Final = frozenset({"method", "path_params", "query_params", "headers"})
_ERROR: Final = {"code": "CONDITION_NOT_MET", "message": "Request condition not met"}
_SKIPPED: Final = encode({"status_code": 422, "body": {"error": _ERROR, "skipped": True}})


# Config


@dataclass(frozen=True, slots=True)
class _Bound:
    """A bound trigger: its config, read."""

    route: Route
    condition: str | None
    middleware: tuple[str, ...]
    provided: bool
    """Whether the engine itself provides the function."""


def _read(trigger: Trigger, route_id: int, invoker: Invoker, is_watched: bool) -> _Bound:
    """``is_watched``: every request passes middleware. Raises ``WireError`` for a config that cannot be bound."""
    config = config_members(trigger.config)
    api_path = config.get("api_path")
    if not isinstance(api_path, str):
        raise refused("api_path is required for http triggers")
    method = config.get("http_method")
    asked, middleware = condition(config), string_list(config, "middleware_function_ids")
    provided = invoker.provides(trigger.function_id)
    route = Route(
        route_id,
        method.upper() if isinstance(method, str) else "GET",
        api_path,
        trigger.function_id,
        trigger.metadata,
        direct=asked is None and not middleware and not provided and not is_watched,
    )
    return _Bound(route, asked, middleware, provided)


@dataclass(slots=True)
class _Progress:
    """How far a request has come, for the error when its time is up."""

    middleware: str | None = None


class HttpTrigger:
    """Implements ``contracts.TriggerType``; ``requested`` and ``left`` are what the engine passes requests to."""

    ids: tuple[str, ...] = ("http",)

    def __init__(self, invoker: Invoker, backend: Backend, middleware: tuple[str, ...] = ()) -> None:
        self._middleware = middleware
        self._invoker = invoker
        self._backend = backend
        self._route_ids = itertools.count(1)
        self._bound: dict[str, _Bound] = {}
        self._by_route: dict[int, _Bound] = {}
        self._nursery: trio.Nursery | None = None
        self._running: dict[ExchangeId, trio.CancelScope] = {}

    # Bind, unbind

    def bind(self, trigger: Trigger) -> None:
        """Adds a route. Raises ``WireError``."""
        bound = _read(trigger, next(self._route_ids), self._invoker, bool(self._middleware))
        self._backend.bind_route(bound.route)
        if bound.route.method not in HTTP_METHODS:
            logger.warning("Trigger %r: method %r is never served", trigger.id, bound.route.method)
        self._bound[trigger.id] = bound
        self._by_route[bound.route.id] = bound

    def unbind(self, trigger: Trigger) -> None:
        """Removes a route; requests under way finish."""
        route = self._bound.pop(trigger.id).route
        del self._by_route[route.id]
        self._backend.unbind_route(route.id)

    # Run

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decides about requests until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def drain(self) -> None:
        """Nothing to wait for: the backend begins no further request and waits for those under way."""
        await trio.lowlevel.checkpoint()

    def requested(self, exchange: ExchangeId, route: int, request: bytes, left_ms: int) -> None:
        """Begins to decide about one request."""
        bound = self._by_route.get(route)
        if bound is None or self._nursery is None:
            self._backend.answer(exchange, Refused(404, "NOT_FOUND", "Not Found"))
            return
        self._running[exchange] = trio.CancelScope()
        self._nursery.start_soon(self._decide, exchange, bound, request, left_ms / 1000)

    def left(self, exchange: ExchangeId) -> None:
        """Nobody waits for a request's answer any more."""
        if (scope := self._running.get(exchange)) is not None:
            scope.cancel()

    async def _decide(self, exchange: ExchangeId, bound: _Bound, request: bytes, left_s: float) -> None:
        progress = _Progress()
        with self._running[exchange]:
            try:
                await self._decide_in_time(exchange, bound, request, left_s, progress)
            except Exception:
                logger.exception("Bug in the engine while deciding about an http request")
                text = "Internal error; the engine's log has the details"
                self._backend.answer(exchange, Refused(500, "INTERNAL_ERROR", text))
            finally:
                del self._running[exchange]

    async def _decide_in_time(
        self, exchange: ExchangeId, bound: _Bound, request: bytes, left_s: float, progress: _Progress
    ) -> None:
        with trio.move_on_after(left_s) as limit:
            answer = await self._answer(bound, request, progress)
        if limit.cancelled_caught:
            answer = _timed_out(progress, left_s)
        if answer is None:
            self._backend.proceed(exchange)
        else:
            self._backend.answer(exchange, answer)

    async def _answer(self, bound: _Bound, request: bytes, progress: _Progress) -> HttpAnswer | None:
        """The answer of a request; ``None`` when its function is to be called by the backend."""
        told = members(request) or []
        try:
            if (answer := await self._pass(self._middleware, told, progress)) is not None:
                return answer
            asked = build([one for one in told if one[0] not in _CHANNELS]) if bound.condition is not None else b""
            if not await self._invoker.allows(bound.condition, asked):
                return Answered(_SKIPPED)
            if (answer := await self._pass(bound.middleware, told, progress)) is not None:
                return answer
            if not bound.provided:
                return None
            route = bound.route
            return Answered(await self._invoker.invoke(route.function_id, request, metadata=route.metadata))
        except WireError as error:
            return Refused(500, error.code, error.message)

    async def _pass(
        self, middleware: tuple[str, ...], told: list[tuple[str, bytes]], progress: _Progress
    ) -> HttpAnswer | None:
        """Asks middleware in order; the answer of the first that wants to answer itself. Raises ``WireError``."""
        for function_id in middleware:
            progress.middleware = function_id
            answer = _middleware_answer(function_id, await self._invoker.invoke(function_id, _for_middleware(told)))
            if answer is not None:
                return answer
        progress.middleware = None
        return None


# Result


def _timed_out(progress: _Progress, left_s: float) -> HttpAnswer:
    after = f"timed out after {round(left_s * 1000)}ms"
    if progress.middleware is not None:
        return Refused(504, "MIDDLEWARE_TIMEOUT", f"middleware {progress.middleware} {after}")
    return Refused(504, "TIMEOUT", f"request {after}")


def _for_middleware(request: list[tuple[str, bytes]]) -> bytes:
    """The input of a route middleware before the handler."""
    facts = build([one for one in request if one[0] in _FACTS])
    return build([("phase", b'"preHandler"'), ("request", facts), ("context", b"{}")])


def _middleware_answer(function_id: str, result: bytes | None) -> HttpAnswer | None:
    """The answer of a middleware that wants to answer itself; ``None`` to go on."""
    fields = dict(members(result) or ()) if result is not None else {}
    action = decode(fields.get("action", b"null"))
    if action in (None, "continue"):
        return None
    if action == "respond":
        # A middleware's body is always JSON, whatever its headers say; without one it is ``{}``.
        return Answered(fields.get("response", b"{}"), document=True)
    # Fail closed: an action that is not understood may have meant to deny.
    return Refused(500, "INTERNAL_ERROR", f"middleware {function_id} answered with an unknown action")
