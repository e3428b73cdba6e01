"""A backend without sockets or state: tests script its functions and its change feed, and see what was asked of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from iii_fast.contracts import (
    Call,
    Changes,
    Control,
    ExchangeId,
    FunctionInfo,
    HttpAnswer,
    Limits,
    Outcome,
    Recovered,
    Route,
    SessionId,
    Stats,
    WorkerInfo,
)
from iii_fast.errors import WireError
from iii_fast.protocol import Code, function_not_found

Script = Callable[[bytes], Outcome]


@dataclass(frozen=True)
class Invocation:
    """One ``Backend.invoke``."""

    ticket: int
    function_id: str
    data: bytes
    metadata: bytes | None = None
    traceparent: str | None = None
    baggage: str | None = None

    @property
    def value(self) -> Any:
        """The payload, parsed."""
        return json.loads(self.data)


@dataclass(frozen=True)
class Change:
    """One change in the feed of the fake backend."""

    position: int
    scope: str
    key: str

    @property
    def text(self) -> bytes:
        return json.dumps({"position": self.position, "scope": self.scope, "key": self.key}).encode()


@dataclass
class FakeBackend:
    """Functions in ``scripts`` answer at once; those in ``held`` wait for ``settle_held``; all others do not exist."""

    limits: Limits = field(default_factory=Limits)
    name: Literal["native", "reference"] = "reference"
    control: Control | None = None
    scripts: dict[str, Script] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    invocations: list[Invocation] = field(default_factory=list)
    pushed: list[tuple[SessionId, dict[str, Any]]] = field(default_factory=list)
    answers: list[tuple[SessionId, str, str, Outcome]] = field(default_factory=list)
    watches: list[str | None] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    defined: list[str] = field(default_factory=list)
    peer_maxima: dict[SessionId, int] = field(default_factory=dict)
    closed: list[tuple[int, str]] = field(default_factory=list)
    function_list: list[FunctionInfo] = field(default_factory=list)
    worker_list: list[WorkerInfo] = field(default_factory=list)
    current: Stats = field(default_factory=Stats)
    recovered: Recovered | Exception = field(default_factory=Recovered)
    opened: int = 0
    feed: list[Change] = field(default_factory=list)
    position: int = 0
    remembered: int = 0
    write_out: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    routes: dict[int, Route] = field(default_factory=dict)
    refuses: WireError | None = None
    http: list[tuple[ExchangeId, HttpAnswer | None]] = field(default_factory=list)
    """Requests that were answered, or (``None``) let pass."""
    decided: trio.Event = field(default_factory=trio.Event)
    http_stopped: bool = False
    accepted: list[trio.SocketStream] = field(default_factory=list)
    invoked: trio.Event = field(default_factory=trio.Event)
    served: trio.Event = field(default_factory=trio.Event)
    counted: trio.Event = field(default_factory=trio.Event)
    said_goodbye: trio.Event = field(default_factory=trio.Event)

    def define(self, function_ids: Sequence[str]) -> None:
        self.defined.extend(function_ids)

    async def open(self) -> Recovered:
        await trio.lowlevel.checkpoint()
        self.opened += 1
        if isinstance(self.recovered, Exception):
            raise self.recovered
        return self.recovered

    async def serve(self, control: Control, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.control = control
        self.served.set()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await self.write_out()

    async def accept(self, stream: trio.SocketStream) -> None:
        self.accepted.append(stream)
        await stream.send_all(b"taken")
        await stream.aclose()

    def invoke(
        self,
        ticket: int,
        function_id: str,
        data: bytes,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
    ) -> None:
        self.invocations.append(Invocation(ticket, function_id, data, metadata, traceparent, baggage))
        self.invoked.set()
        self.invoked = trio.Event()
        if function_id in self.held:
            return
        script = self.scripts.get(function_id)
        if script is None:
            self.settled(ticket, WireError(Code.FUNCTION_NOT_FOUND, function_not_found(function_id)))
        else:
            self.settled(ticket, script(data))

    def settled(self, ticket: int, outcome: Outcome) -> None:
        assert self.control is not None
        self.control.settled(ticket, outcome)

    def settle_held(self, index: int = 0, outcome: Outcome = None, function_id: str | None = None) -> None:
        """Settles the ``index``-th invocation (of one function)."""
        self.settled(self.invocations_of(function_id)[index].ticket, outcome)

    def invocations_of(self, function_id: str | None) -> list[Invocation]:
        return [one for one in self.invocations if function_id is None or one.function_id == function_id]

    async def wait_for_invocations(self, count: int, function_id: str | None = None) -> list[Invocation]:
        """Waits until there are ``count``; returns them all."""
        while len(found := self.invocations_of(function_id)) < count:
            await self.invoked.wait()
        return found

    def forget(self, ticket: int) -> None:
        self.forgotten.append(ticket)

    def settle(self, session: SessionId, invocation_id: str, function_id: str, outcome: Outcome) -> None:
        self.answers.append((session, invocation_id, function_id, outcome))

    def push(self, session: SessionId, message: bytes) -> None:
        self.pushed.append((session, json.loads(message)))

    def close(self, session: SessionId, code: int, reason: str) -> None:
        raise NotImplementedError("nothing that is tested with it closes connections")

    def set_peer_message_max(self, session: SessionId, message_bytes_max: int) -> None:
        self.peer_maxima[session] = message_bytes_max

    def watch(self, scope: str | None) -> None:
        self.watches.append(scope)

    def unwatch(self, scope: str | None) -> None:
        self.watches.remove(scope)

    def begin_feed(self) -> int:
        return self.position

    def read_changes(
        self, since: int, scope: str | None, prefix: str | None, count_max: int, bytes_max: int
    ) -> Changes:
        """At most ``count_max`` changes, those of one position together; bytes are not counted."""
        if not self.remembered <= since <= self.position:
            text = f"changes after position {since} are not known any more; read and watch from {self.position}"
            raise WireError(Code.HISTORY_LOST, text)
        found = [
            one
            for one in self.feed
            if one.position > since and scope in (None, one.scope) and one.key.startswith(prefix or "")
        ]
        taken = found[:count_max]
        taken += [one for one in found[count_max:] if one.position == taken[-1].position]
        position = taken[-1].position if len(taken) < len(found) else self.position
        return Changes([one.text for one in taken], position)

    def change(self, *keys: str, scope: str = "s", position: int | None = None) -> None:
        """Changes these keys, each with a position of its own unless it is given, and tells the control plane."""
        for key in keys:
            self.position = position or self.position + 1
            self.feed.append(Change(self.position, scope, key))
        if self.control is not None:
            self.control.advanced()

    def forget_changes(self) -> None:
        """What has happened so far is not remembered any more."""
        self.remembered = self.position
        self.feed.clear()

    def provider(self, function_id: str) -> SessionId | None:
        return next((one.session for one in self.function_list if one.function_id == function_id), None)

    def functions(self) -> list[FunctionInfo]:
        return self.function_list

    def workers(self) -> list[WorkerInfo]:
        return self.worker_list

    def stats(self) -> Stats:
        self.counted.set()
        return self.current

    async def serve_http(self, listeners: Sequence[trio.SocketListener]) -> None:
        await trio.serve_listeners(self.accept, list(listeners))

    def bind_route(self, route: Route) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.routes[route.id] = route

    def unbind_route(self, route_id: int) -> None:
        del self.routes[route_id]

    def proceed(self, exchange: ExchangeId) -> None:
        self.http.append((exchange, None))
        self.decided.set()

    def answer(self, exchange: ExchangeId, answer: HttpAnswer) -> None:
        self.http.append((exchange, answer))
        self.decided.set()

    def stop_http(self) -> None:
        self.http_stopped = True

    def close_all(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))
        self.said_goodbye.set()


def call(function_id: str, value: Any = None, **fields: Any) -> Call:
    """A call as a backend hands it up."""
    return Call(
        fields.pop("session", 1), fields.pop("invocation_id", "i"), function_id, json.dumps(value).encode(), **fields
    )
