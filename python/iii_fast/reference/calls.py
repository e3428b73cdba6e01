"""What the data plane hands up to the control plane, in order. Mirrors ``rust/core/src/calls.rs``.

Calls wait here until the backend's task gives them to ``Control``: the control plane may ask for the next thing from
within a call without getting another one in the middle of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from iii_fast.contracts import Call, Control, ExchangeId, Outcome, SessionId


@dataclass(frozen=True, slots=True)
class Called:
    """A function of the control plane was invoked, or an invocation is to be enqueued."""

    call: Call

    def give(self, control: Control) -> None:
        control.called(self.call)


@dataclass(frozen=True, slots=True)
class Message:
    """A message about triggers or trigger types. ``handled`` is set when the control plane is through with it."""

    session: SessionId
    kind: str
    message: bytes
    handled: trio.Event = field(default_factory=trio.Event, compare=False)

    def give(self, control: Control) -> None:
        try:
            control.message(self.session, self.kind, self.message)
        finally:
            self.handled.set()  # also when it failed: the worker must be served further


@dataclass(frozen=True, slots=True)
class Settled:
    """An invocation of the control plane has come to its end."""

    ticket: int
    outcome: Outcome

    def give(self, control: Control) -> None:
        control.settled(self.ticket, self.outcome)


@dataclass(frozen=True, slots=True)
class Changed:
    """A watched scope changed."""

    scope: str
    key: str
    event: bytes

    def give(self, control: Control) -> None:
        control.changed(self.scope, self.key, self.event)


@dataclass(frozen=True, slots=True)
class Advanced:
    """There may be more in the change feed."""

    def give(self, control: Control) -> None:
        control.advanced()


@dataclass(frozen=True, slots=True)
class Requested:
    """An http request that the control plane decides about."""

    exchange: ExchangeId
    route: int
    request: bytes
    left_ms: int

    def give(self, control: Control) -> None:
        control.requested(self.exchange, self.route, self.request, self.left_ms)


@dataclass(frozen=True, slots=True)
class Left:
    """Nobody waits for the answer to such a request any more."""

    exchange: ExchangeId

    def give(self, control: Control) -> None:
        control.left(self.exchange)


@dataclass(frozen=True, slots=True)
class Closed:
    """A worker is gone."""

    session: SessionId
    worker_id: str
    reason: str

    def give(self, control: Control) -> None:
        control.closed(self.session, self.worker_id, self.reason)


AnyCall: TypeAlias = Called | Message | Settled | Changed | Advanced | Requested | Left | Closed


class CallQueue:
    """Calls in order. ``wake`` is called for each."""

    def __init__(self) -> None:
        self._calls: deque[AnyCall] = deque()
        self._advance_waits = False
        self.wake: Callable[[], None] = lambda: None

    def push(self, call: AnyCall) -> None:
        """Adds one call."""
        self._calls.append(call)
        self.wake()

    def pop(self) -> AnyCall | None:
        """Takes the oldest call."""
        call = self._calls.popleft() if self._calls else None
        if isinstance(call, Advanced):
            self._advance_waits = False
        return call

    def advance(self) -> None:
        """Adds ``Advanced``, unless one waits already."""
        if not self._advance_waits:
            self._advance_waits = True
            self.push(Advanced())

    def forget(self, ticket: int) -> None:
        """Takes out what ``ticket`` has come to."""
        self._calls = deque(c for c in self._calls if not (isinstance(c, Settled) and c.ticket == ticket))
