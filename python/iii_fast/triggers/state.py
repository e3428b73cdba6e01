"""The ``state`` trigger type: changes of watched scopes become invocations. Touches the backend's watches only.

Events of one key reach one trigger in commit order, each after the one before it was handled; other keys and other
triggers do not wait for that.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import trio

from iii_fast.contracts import Backend, Invoker, Trigger
from iii_fast.errors import WireError
from iii_fast.triggers.config_reader import condition, members, optional_string

logger = logging.getLogger(__name__)

HANDLER_S_MAX: Final = 30.0
"""A handler that hangs must not hold up its key for ever."""
EVENTS_WAITING_MAX: Final = 10_000
"""Per trigger. The writer cannot be slowed down from here, so beyond this new events are dropped, and logged."""

WAITING_BYTES_MAX: Final = 128 << 20
"""Of all triggers together, an event counted once for each that holds it. Two events of the largest message fit."""
EVENT_BYTES: Final = 500
"""What a waiting event costs beside its text."""
DROPPED_LOG_S: Final = 10.0
"""At most one line about dropped events per trigger in this time; in the end all are counted."""


# Config


@dataclass(slots=True, eq=False)
class _Bound:
    """A bound trigger: its config, read, and its events that are not handled yet, by scope and key."""

    trigger: Trigger
    scope: str | None
    key: str | None
    condition: str | None
    lines: dict[tuple[str, str], deque[bytes]] = field(default_factory=dict)
    waiting: int = 0
    dropped: int = 0
    dropped_logged: int = 0
    quiet: bool = False
    """Whether a line about dropped events was written just now."""

    @staticmethod
    def read(trigger: Trigger) -> _Bound:
        """Raises ``WireError`` for a config that cannot be bound."""
        config = members(trigger.config)
        return _Bound(trigger, optional_string(config, "scope"), optional_string(config, "key"), condition(config))

    def log_dropped(self) -> bool:
        """Tells how many events were dropped, if that is news; returns whether it was."""
        if self.dropped == self.dropped_logged:
            return False
        logger.error("State trigger %r is too slow: %d events dropped so far", self.trigger.id, self.dropped)
        self.dropped_logged = self.dropped
        return True


class StateTrigger:
    """Implements ``contracts.TriggerType``; ``changed`` is what the engine passes state events to."""

    ids: tuple[str, ...] = ("state",)

    def __init__(self, invoker: Invoker, backend: Backend) -> None:
        self._invoker = invoker
        self._backend = backend
        self._bound: dict[str, _Bound] = {}
        self._by_scope: dict[str | None, dict[str, _Bound]] = {}
        self._waiting_bytes = 0
        self._nursery: trio.Nursery | None = None
        self._running = 0
        self._idle = trio.Event()

    # Bind, unbind

    def bind(self, trigger: Trigger) -> None:
        """Starts watching. Raises ``WireError``."""
        bound = _Bound.read(trigger)
        self._bound[trigger.id] = bound
        self._by_scope.setdefault(bound.scope, {})[trigger.id] = bound
        self._backend.watch(bound.scope)

    def unbind(self, trigger: Trigger) -> None:
        """Stops watching; events that wait are dropped, and logged; the handlers under way finish."""
        bound = self._bound.pop(trigger.id)
        group = self._by_scope[bound.scope]
        del group[trigger.id]
        if not group:
            del self._by_scope[bound.scope]
        self._backend.unwatch(bound.scope)
        if waiting := self._drop_waiting(bound):
            logger.warning("State trigger %r is unbound: %d waiting events dropped", trigger.id, waiting)

    def _drop_waiting(self, bound: _Bound) -> int:
        """Leaves of each line the event that is under way; returns how many went."""
        before = bound.waiting
        for line in bound.lines.values():
            while len(line) > 1:
                self._give_back(bound, line.pop())
        return before - bound.waiting

    # Run, fire

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs handlers until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def drain(self) -> None:
        """Returns when every event that happened is handled."""
        await trio.lowlevel.checkpoint()
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()

    def changed(self, scope: str, key: str, event: bytes) -> None:
        """Takes one state event."""
        for group in (self._by_scope.get(scope), self._by_scope.get(None)):
            for bound in (group or {}).values():
                if bound.key is None or bound.key == key:
                    self._add(bound, (scope, key), event)

    def _add(self, bound: _Bound, address: tuple[str, str], event: bytes) -> None:
        assert self._nursery is not None, "StateTrigger.run has not started"
        size = EVENT_BYTES + len(event)
        if bound.waiting >= EVENTS_WAITING_MAX or self._waiting_bytes + size > WAITING_BYTES_MAX:
            bound.dropped += 1
            if not bound.quiet:
                bound.quiet = True
                self._nursery.start_soon(self._log_dropped, bound)
            return
        bound.waiting += 1
        self._waiting_bytes += size
        line = bound.lines.get(address)
        if line is not None:
            line.append(event)
            return
        bound.lines[address] = deque([event])
        self._running += 1
        self._nursery.start_soon(self._work_off, bound, address)

    def _give_back(self, bound: _Bound, event: bytes) -> None:
        bound.waiting -= 1
        self._waiting_bytes -= EVENT_BYTES + len(event)

    @staticmethod
    async def _log_dropped(bound: _Bound) -> None:
        try:
            while bound.log_dropped():  # noqa: ASYNC110 - a pace, not a wait for something
                await trio.sleep(DROPPED_LOG_S)
        finally:
            bound.quiet = False
            bound.log_dropped()

    async def _work_off(self, bound: _Bound, address: tuple[str, str]) -> None:
        line = bound.lines[address]
        try:
            while line:
                await self._deliver(bound, line[0])
                self._give_back(bound, line.popleft())
        finally:
            del bound.lines[address]
            self._running -= 1
            self._idle.set()

    async def _deliver(self, bound: _Bound, event: bytes) -> None:
        trigger = bound.trigger
        try:
            with trio.move_on_after(HANDLER_S_MAX) as limit:
                if await self._invoker.allows(bound.condition, event):
                    await self._invoker.invoke(trigger.function_id, event, metadata=trigger.metadata)
            if limit.cancelled_caught:
                logger.error("State trigger %r: no result within %d s, going on", trigger.id, HANDLER_S_MAX)
        except WireError as error:
            logger.warning("State trigger %r failed in %s: %s", trigger.id, trigger.function_id, error)
        except Exception:
            logger.exception("Bug in state trigger %r", trigger.id)


# Result: a handler's return value means nothing here.
