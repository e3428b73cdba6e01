"""Invokes functions from Python and matches their outcomes. May touch the backend and nothing above itself.

The life of an invocation: ``begin`` takes a ticket and writes down who waits for it, *then* asks the backend, so that
no answer can come too early. The backend ends it with ``settled``, exactly once. If the waiter is cancelled or runs
out of time first, it forgets the ticket: the worker may go on, but nobody is told. Functions that the control plane
itself provides do not go through the backend: they are called on the spot.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import trio

from iii_fast.contracts import Backend, Call, Outcome, SessionId
from iii_fast.errors import WireError
from iii_fast.protocol import Code

logger = logging.getLogger(__name__)

STATE_PREFIX: Final = "state::"
"""Functions of this name belong to the data plane; no worker can have one."""
ENGINE_SESSION: Final[SessionId] = -1
"""``Call.session`` of an invocation that the engine itself makes; no backend hands out negative sessions."""

Function: TypeAlias = Callable[[Call], bytes | None]
"""A function of the control plane: result bytes or no result. Returns quickly; raises ``WireError`` for the caller."""


class Broker:
    """Implements ``contracts.Invoker``, and ``settled`` of ``contracts.Control``."""

    def __init__(self, backend: Backend, functions: Mapping[str, Function]) -> None:
        self._backend = backend
        self._functions = functions
        self._tickets = itertools.count(1)
        self._waiting: dict[int, _Ticket] = {}

    @property
    def waiting(self) -> int:
        """How many invocations of the engine itself are under way."""
        return len(self._waiting)

    def provides(self, function_id: str) -> bool:
        """Whether the engine itself provides a function."""
        return function_id in self._functions or function_id.startswith(STATE_PREFIX)

    def begin(
        self,
        function_id: str,
        data: bytes,
        *,
        metadata: bytes | None = None,
        traceparent: str | None = None,
        baggage: str | None = None,
    ) -> _Ticket:
        """Starts an invocation; its order among others is the order of these calls."""
        function = self._functions.get(function_id)
        if function is not None:
            call = Call(ENGINE_SESSION, None, function_id, data, metadata, None, traceparent, baggage)
            return _Ticket(self, 0, answer(function, call))
        number = next(self._tickets)
        ticket = self._waiting[number] = _Ticket(self, number)
        self._backend.invoke(number, function_id, data, metadata, traceparent, baggage)
        return ticket

    async def invoke(
        self, function_id: str, data: bytes, *, metadata: bytes | None = None, timeout_s: float | None = None
    ) -> bytes | None:
        """Invokes and waits. Raises ``WireError`` for every failure; ``TIMEOUT`` after ``timeout_s`` seconds."""
        ticket = self.begin(function_id, data, metadata=metadata)
        if timeout_s is None:
            return await ticket.outcome()
        with trio.move_on_after(timeout_s):
            return await ticket.outcome()
        raise WireError(Code.TIMEOUT, f"invocation timed out after {round(timeout_s * 1000)}ms")

    async def allows(self, condition_function_id: str | None, data: bytes) -> bool:
        """Asks a condition function, if there is one: only the boolean ``false`` denies. Raises ``WireError``."""
        if condition_function_id is None:
            return True
        result = await self.begin(condition_function_id, data).outcome()
        return result is None or result.strip() != b"false"

    def settled(self, ticket: int, outcome: Outcome) -> None:
        """Takes the outcome of a ticket; one that nobody waits for is dropped."""
        waiter = self._waiting.pop(ticket, None)
        if waiter is not None:
            waiter.settle(outcome)

    def abandon(self, ticket: int) -> None:
        """Forgets a ticket that has not settled."""
        if self._waiting.pop(ticket, None) is not None:
            self._backend.forget(ticket)


class _Ticket:
    """Implements ``contracts.Pending``: the waiting end of one invocation."""

    __slots__ = ("_broker", "_done", "_number", "_outcome")

    def __init__(self, broker: Broker, number: int, outcome: Outcome = None) -> None:
        self._broker = broker
        self._number = number
        self._outcome = outcome
        self._done = trio.Event()
        if number == 0:
            self._done.set()

    def settle(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._done.set()

    async def outcome(self) -> bytes | None:
        try:
            await self._done.wait()
        finally:
            self._broker.abandon(self._number)
        if isinstance(self._outcome, WireError):
            raise self._outcome
        return self._outcome


def answer(function: Function, call: Call) -> Outcome:
    """What a function of the control plane answers: its result or its ``WireError``; a bug of ours is one as well."""
    try:
        return function(call)
    except WireError as error:
        return error
    except Exception:
        logger.exception("Bug in the engine's function %s", call.function_id)
        return WireError(Code.INTERNAL_ERROR, f"{call.function_id} failed inside the engine; its log has the details.")
