"""The ``http`` trigger type: requests become invocations, their results responses. Knows no socket.

Order of one request: preflight, route, slot, condition, route middleware, handler; one deadline for all of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import trio

from iii_fast.config import HttpSettings
from iii_fast.contracts import Invoker, Trigger
from iii_fast.errors import WireError
from iii_fast.http_message import HttpRequest, HttpResponse
from iii_fast.jsontext import JsonTextError, build, decode, members
from iii_fast.triggers import http_exchange as exchange
from iii_fast.triggers.config_reader import condition, refused, string_list
from iii_fast.triggers.config_reader import members as config_members
from iii_fast.triggers.http_routes import METHODS, Match, Pattern, Routes

logger = logging.getLogger(__name__)

ANY_ORIGIN: Final = [("access-control-allow-origin", "*"), ("access-control-expose-headers", "*")]
"""Lets web pages read a response; on every one that has no such headers of its own."""
_PREFLIGHT: Final = [("access-control-allow-methods", "*"), ("access-control-allow-headers", "*")]


# Config


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A bound trigger: its config, read."""

    trigger: Trigger
    api_path: str
    pattern: Pattern
    method: str
    condition: str | None
    middleware: tuple[str, ...]

    @staticmethod
    def read(trigger: Trigger) -> Route:
        """Raises ``WireError`` for a config that cannot be bound."""
        config = config_members(trigger.config)
        api_path = config.get("api_path")
        if not isinstance(api_path, str):
            raise refused("api_path is required for http triggers")
        method = config.get("http_method")
        return Route(
            trigger,
            api_path,
            Pattern.parse(api_path),
            method.upper() if isinstance(method, str) else "GET",
            condition(config),
            string_list(config, "middleware_function_ids"),
        )


@dataclass(slots=True)
class _Progress:
    """How far a request has come, for the error when its time is up."""

    middleware: str | None = None


class HttpTrigger:
    """Implements ``contracts.TriggerType``; ``handle`` is what a server calls."""

    ids: tuple[str, ...] = ("http",)

    def __init__(self, invoker: Invoker, settings: HttpSettings) -> None:
        self._invoker = invoker
        self._timeout_s = settings.default_timeout_ms / 1000
        self._slots = trio.CapacityLimiter(max(1, settings.concurrency_request_limit))
        self._routes: Routes[Route] = Routes()
        self._bound: dict[str, Route] = {}

    # Bind, unbind

    def bind(self, trigger: Trigger) -> None:
        """Adds a route. Raises ``WireError``."""
        route = Route.read(trigger)
        if route.method not in METHODS:
            logger.warning("Trigger %r: method %r is never served", trigger.id, route.method)
        self._routes.add(route.method, route.pattern, route)
        self._bound[trigger.id] = route

    def unbind(self, trigger: Trigger) -> None:
        """Removes a route; requests under way finish."""
        route = self._bound.pop(trigger.id)
        self._routes.remove(route.method, route.pattern, route)

    # Run

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing of its own to do: requests run in the server's tasks."""
        task_status.started()
        await trio.sleep_forever()

    async def drain(self) -> None:
        """Nothing to wait for: whoever calls ``handle`` takes no more requests and waits for the ones under way."""
        await trio.lowlevel.checkpoint()

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answers one request. Implements ``http_message.HttpHandler``."""
        response = await self._answer(request)
        return HttpResponse(response.status, [*_missing(response), *response.headers], response.body)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.method == "OPTIONS" and request.header("access-control-request-method") is not None:
            return HttpResponse(200, list(_PREFLIGHT))
        match = self._routes.find(request.method, request.path) if request.method in METHODS else None
        if match is None:
            return self._unrouted(request)
        progress = _Progress()
        with trio.move_on_after(self._timeout_s):
            async with self._slots:
                return await self._serve(request, match, progress)
        after = f"after {round(self._timeout_s * 1000)}ms"
        if progress.middleware is not None:
            return exchange.envelope(504, "MIDDLEWARE_TIMEOUT", f"middleware {progress.middleware} timed out {after}")
        return exchange.envelope(504, "TIMEOUT", f"request timed out {after}")

    def _unrouted(self, request: HttpRequest) -> HttpResponse:
        methods = self._routes.methods(request.path)
        if not methods and request.method != "OPTIONS":
            return exchange.envelope(404, "NOT_FOUND", "Not Found")
        allow = [("allow", ", ".join(methods))] if methods else []
        if request.method == "OPTIONS":
            return HttpResponse(200, allow)
        return exchange.envelope(405, "METHOD_NOT_ALLOWED", "Method Not Allowed", allow)

    async def _serve(self, request: HttpRequest, match: Match[Route], progress: _Progress) -> HttpResponse:
        route = match.target
        try:
            told = exchange.RequestObject(request, route.api_path, route.method, match.parameters)
            if not await self._invoker.allows(route.condition, told.for_condition()):
                return exchange.condition_not_met()
            for function_id in route.middleware:
                progress.middleware = function_id
                answer = _middleware_answer(function_id, await self._invoker.invoke(function_id, told.for_middleware()))
                if answer is not None:
                    return answer
            progress.middleware = None
            trigger = route.trigger
            result = await self._invoker.invoke(trigger.function_id, told.for_handler(), metadata=trigger.metadata)
        except JsonTextError as error:
            return exchange.invalid_json(error)
        except WireError as error:
            return exchange.failure(error)
        return exchange.response_of(result)


# Result


def _middleware_answer(function_id: str, result: bytes | None) -> HttpResponse | None:
    """The response of a middleware that wants to answer itself; ``None`` to go on."""
    fields = dict(members(result) or ()) if result is not None else {}
    action = decode(fields.get("action", b"null"))
    if action in (None, "continue"):
        return None
    if action == "respond":
        return _middleware_response(fields.get("response", b"{}"))
    # Fail closed: an action that is not understood may have meant to deny.
    return exchange.envelope(500, "INTERNAL_ERROR", f"middleware {function_id} answered with an unknown action")


def _middleware_response(response: bytes) -> HttpResponse:
    """A middleware's body is always JSON, whatever its headers say; without one it is ``{}``."""
    fields = dict(members(response) or ())
    body = fields.get("body", b"{}")
    made = exchange.response_of(build([*({"body": body} | fields).items()]))
    return HttpResponse(made.status, made.headers, body)


def _missing(response: HttpResponse) -> list[tuple[str, str]]:
    """CORS headers that a response does not bring itself; permissive, as the protocol's documentation has it."""
    own = {name for name, _ in response.headers}
    return [header for header in ANY_ORIGIN if header[0] not in own]
