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


# Config


@dataclass(slots=True, eq=False)
class _Watch:
    """A bound trigger: its config, read, and its events that are not handled yet, by scope and key."""

    trigger: Trigger
    scope: str | None
    key: str | None
    condition: str | None
    lines: dict[tuple[str, str], deque[bytes]] = field(default_factory=dict)
    waiting: int = 0
    dropped: int = 0
    bound: bool = True

    @staticmethod
    def read(trigger: Trigger) -> _Watch:
        """Raises ``WireError`` for a config that cannot be bound."""
        config = members(trigger.config)
        return _Watch(trigger, optional_string(config, "scope"), optional_string(config, "key"), condition(config))


class StateTrigger:
    """Implements ``contracts.TriggerType``; ``changed`` is what the engine passes state events to."""

    ids: tuple[str, ...] = ("state",)

    def __init__(self, invoker: Invoker, backend: Backend) -> None:
        self._invoker = invoker
        self._backend = backend
        self._watches: dict[str, _Watch] = {}
        self._by_scope: dict[str | None, dict[str, _Watch]] = {}
        self._nursery: trio.Nursery | None = None
        self._running = 0
        self._idle = trio.Event()

    # Bind, unbind

    def bind(self, trigger: Trigger) -> None:
        """Starts watching. Raises ``WireError``."""
        watch = _Watch.read(trigger)
        self._watches[trigger.id] = watch
        self._by_scope.setdefault(watch.scope, {})[trigger.id] = watch
        self._backend.watch(watch.scope)

    def unbind(self, trigger: Trigger) -> None:
        """Stops watching; events that wait are dropped, the handlers under way finish."""
        watch = self._watches.pop(trigger.id)
        group = self._by_scope[watch.scope]
        del group[trigger.id]
        if not group:
            del self._by_scope[watch.scope]
        watch.bound = False
        self._backend.unwatch(watch.scope)

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
            for watch in (group or {}).values():
                if watch.key is None or watch.key == key:
                    self._add(watch, (scope, key), event)

    def _add(self, watch: _Watch, address: tuple[str, str], event: bytes) -> None:
        if watch.waiting >= EVENTS_WAITING_MAX:
            watch.dropped += 1
            if watch.dropped % EVENTS_WAITING_MAX == 1:
                logger.error("State trigger %r is too slow: %d events dropped so far", watch.trigger.id, watch.dropped)
            return
        watch.waiting += 1
        line = watch.lines.get(address)
        if line is not None:
            line.append(event)
            return
        watch.lines[address] = deque([event])
        assert self._nursery is not None, "StateTrigger.run has not started"
        self._running += 1
        self._nursery.start_soon(self._work_off, watch, address)

    async def _work_off(self, watch: _Watch, address: tuple[str, str]) -> None:
        line = watch.lines[address]
        try:
            while line and watch.bound:
                await self._deliver(watch, line[0])
                line.popleft()
                watch.waiting -= 1
        finally:
            del watch.lines[address]
            self._running -= 1
            self._idle.set()

    async def _deliver(self, watch: _Watch, event: bytes) -> None:
        trigger = watch.trigger
        try:
            with trio.move_on_after(HANDLER_S_MAX) as limit:
                if await self._invoker.allows(watch.condition, event):
                    await self._invoker.invoke(trigger.function_id, event, metadata=trigger.metadata)
            if limit.cancelled_caught:
                logger.error("State trigger %r: no result within %d s, going on", trigger.id, HANDLER_S_MAX)
        except WireError as error:
            logger.warning("State trigger %r failed in %s: %s", trigger.id, trigger.function_id, error)
        except Exception:
            logger.exception("Bug in state trigger %r", trigger.id)


# Result: a handler's return value means nothing here.
