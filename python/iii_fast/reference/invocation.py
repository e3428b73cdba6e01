"""Pending invocations: who waits, and who was asked. Mirrors ``rust/core/src/invocation.rs``.

An entry is made before the request can be seen by the worker, and taken out exactly once: by the worker's answer, when
the worker leaves, or when nobody waits any more. Void calls have none: a worker that never answers them costs nothing.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Final, TypeAlias

from iii_fast.contracts import ExchangeId
from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference.peer import Peer
from iii_fast.reference.registry import Function

_HEX: Final = "[0-9a-fA-F]"
_HYPHENATED: Final = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_CANONICAL: Final = re.compile(_HYPHENATED.replace("A-F", ""))
_ANY_FORM: Final = re.compile(rf"(?:urn:uuid:)?{_HYPHENATED}|\{{{_HYPHENATED}\}}|{_HEX}{{32}}")


def new_id() -> str:
    """An id of the engine's own."""
    return str(uuid.uuid4())


def is_canonical_uuid(text: str) -> bool:
    """Whether ``text`` is a UUID in lower case with hyphens."""
    return _CANONICAL.fullmatch(text) is not None


def canonical_uuid(text: str) -> str | None:
    """The canonical form of a UUID in any usual one; ``None`` for other text."""
    return str(uuid.UUID(text)) if _ANY_FORM.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class WorkerCaller:
    """A worker waits. ``own_id`` is the JSON text of its id; only one without escapes can go on as it is."""

    peer: Peer
    own_id: str


@dataclass(frozen=True, slots=True)
class ControlCaller:
    """The control plane waits."""

    ticket: int


@dataclass(frozen=True, slots=True)
class HttpCaller:
    """An http client waits."""

    exchange: ExchangeId


Caller: TypeAlias = WorkerCaller | ControlCaller | HttpCaller
"""Who gets the outcome."""


@dataclass(frozen=True, eq=False, slots=True)
class Pending:
    """One invocation under way. ``id`` is what the executing worker sees."""

    id: str
    caller: Caller
    function: Function


class Invocations:
    """All pending invocations. ``per_caller_max`` bounds what one connection may wait for."""

    def __init__(self, per_caller_max: int) -> None:
        self._per_caller_max = per_caller_max
        self._pending: dict[str, Pending] = {}
        self._tickets: dict[int, Pending] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._pending)

    def begin(self, caller: Caller, function: Function) -> Pending:
        """Makes the entry. Raises ``WireError`` when the caller waits for too many or for this id already."""
        invocation_id = self._choose_id(caller)
        pending = Pending(invocation_id, caller, function)
        self._pending[invocation_id] = pending
        function.peer.executing[invocation_id] = pending
        match caller:
            case WorkerCaller(peer):
                peer.calling[invocation_id] = pending
            case ControlCaller(ticket):
                self._tickets[ticket] = pending
        return pending

    def _choose_id(self, caller: Caller) -> str:
        if not isinstance(caller, WorkerCaller):
            return new_id()
        waiting = len(caller.peer.calling)
        if waiting >= self._per_caller_max:
            raise WireError(
                Code.TOO_MANY_INVOCATIONS,
                f"This connection has {waiting} invocations in flight, the limit is {self._per_caller_max}.",
            )
        wanted = caller.own_id[1:-1]
        if not is_canonical_uuid(wanted):
            return new_id()
        taken = self._pending.get(wanted)
        if taken is None:
            return wanted
        if isinstance(taken.caller, WorkerCaller) and taken.caller.peer is caller.peer:
            raise WireError(
                Code.DUPLICATE_INVOCATION_ID, f"Invocation id `{wanted}` is already in flight on this connection."
            )
        return new_id()

    def settle(self, invocation_id: str, answering: Peer) -> Pending | None:
        """Takes the entry out that ``answering`` was asked for; ``None`` when it was not."""
        pending = self._pending.get(invocation_id)
        if pending is None or pending.function.peer is not answering:
            return None
        self.withdraw(pending)
        return pending

    def withdraw(self, pending: Pending) -> None:
        """Takes an entry out."""
        del self._pending[pending.id]
        del pending.function.peer.executing[pending.id]
        match pending.caller:
            case WorkerCaller(peer):
                del peer.calling[pending.id]
            case ControlCaller(ticket):
                del self._tickets[ticket]

    def forget(self, ticket: int) -> bool:
        """The control plane waits for ``ticket`` no longer; false when it was not under way."""
        pending = self._tickets.get(ticket)
        if pending is not None:
            self.withdraw(pending)
        return pending is not None

    def stop_worker(self, peer: Peer) -> list[Pending]:
        """A worker left: returns what it was executing; what else it waited for is dropped."""
        stopped = list(peer.executing.values())
        for pending in stopped:
            self.withdraw(pending)
        for pending in list(peer.calling.values()):
            self.withdraw(pending)
        return stopped
