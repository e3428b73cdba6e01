"""The ``cron`` trigger type: one schedule for all triggers, in UTC. Touches the clock it is given.

A trigger never overlaps itself, also when its id is registered again: a tick that comes while it runs is
skipped. Ticks missed while the engine was down are not made up for.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import trio
from croniter import CroniterError, croniter

from iii_fast.contracts import Clock, Invoker, Trigger
from iii_fast.errors import WireError
from iii_fast.jsontext import encode
from iii_fast.triggers.config_reader import condition, members, refused

logger = logging.getLogger(__name__)

EXPRESSION_CHARACTERS_MAX: Final = 256
YEARS_AHEAD_MAX: Final = 130
"""How far the next tick is searched: all years that an expression can name, from 1970 to 2099."""
RUN_S_MAX: Final = 3_600.0
"""A handler that hangs must not stop its trigger for ever."""

_SHORTHANDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELD: Final = re.compile(r"[0-9A-Za-z*?,/#-]+")
_RANDOM: Final = re.compile(r"(^|[\s,])[hHrR]($|[\s,(/])")


# Config


class Schedule:
    """A cron expression of 5, 6 (seconds first) or 7 (year last) fields, or a shorthand such as ``@daily``.

    Numeric days of the week are 0-7, both ends Sunday. When day of month and day of week are both restricted, 5 fields
    mean either, as in POSIX; 6 and 7 mean both.
    """

    def __init__(self, expression: str) -> None:
        self._expression = _SHORTHANDS.get(expression.strip().lower(), expression)
        self._fields = len(self._expression.split())

    def after(self, unix_time: float) -> float | None:
        """The first tick after a time, or ``None`` when there is none left. Raises ``CroniterError``."""
        ticks = croniter(
            self._expression,
            unix_time,
            ret_type=float,
            second_at_beginning=True,
            day_or=self._fields == 5,
            max_years_between_matches=YEARS_AHEAD_MAX,
        )
        try:
            return float(ticks.get_next())
        except CroniterError:
            return None

    @staticmethod
    def read(config: object) -> Schedule:
        """Raises ``WireError`` for an expression that cannot be bound."""
        expression = members(config).get("expression")
        if not isinstance(expression, str) or not expression.strip():
            raise refused("Cron expression is required")
        wrong = f"Invalid cron expression '{expression[:EXPRESSION_CHARACTERS_MAX]}': "
        if len(expression) > EXPRESSION_CHARACTERS_MAX:
            raise refused(f"{wrong}longer than {EXPRESSION_CHARACTERS_MAX} characters")
        schedule = Schedule(expression)
        fields = schedule._expression.split()
        if len(fields) not in (5, 6, 7):
            raise refused(f"{wrong}expected 5, 6 or 7 fields, or one of {', '.join(_SHORTHANDS)}")
        if _RANDOM.search(expression) or not all(_FIELD.fullmatch(text) for text in fields):
            raise refused(f"{wrong}unknown characters")
        try:
            schedule.after(0.0)
        except CroniterError as error:
            raise refused(f"{wrong}{error}") from None
        return schedule


@dataclass(slots=True, eq=False)
class _Entry:
    """A bound trigger: its config, read."""

    trigger: Trigger
    schedule: Schedule
    condition: str | None
    bound: bool = True
    waiting: bool = False
    """Whether a tick of it is in the schedule."""


@dataclass(order=True, slots=True)
class _Tick:
    at: float
    order: int
    entry: _Entry = field(compare=False)


class CronTrigger:
    """Implements ``contracts.TriggerType``."""

    ids: tuple[str, ...] = ("cron",)

    def __init__(self, invoker: Invoker, clock: Clock) -> None:
        self._invoker = invoker
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._ticks: list[_Tick] = []
        self._dead = 0
        self._order = itertools.count()
        self._changed = trio.Event()
        self._running: set[str] = set()
        self._idle = trio.Event()
        self._stopped = False

    # Bind, unbind

    def bind(self, trigger: Trigger) -> None:
        """Schedules a trigger. Raises ``WireError``."""
        schedule = Schedule.read(trigger.config)
        entry = _Entry(trigger, schedule, condition(members(trigger.config)))
        if not self._schedule(entry):
            raise refused(f"Invalid cron expression '{trigger.config['expression']}': it never fires")
        self._entries[trigger.id] = entry

    def unbind(self, trigger: Trigger) -> None:
        """Ends its ticks; a run under way finishes."""
        entry = self._entries.pop(trigger.id)
        entry.bound = False
        if entry.waiting:
            self._dead += 1
            self._drop_dead_ticks()
            self._changed.set()

    def _drop_dead_ticks(self) -> None:
        """Looks at every tick only when more than half are dead: a leaving worker may have had thousands."""
        if self._dead > len(self._ticks) // 2:
            self._ticks = [tick for tick in self._ticks if tick.entry.bound]
            heapq.heapify(self._ticks)
            self._dead = 0

    # Run, fire

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fires until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._changed = trio.Event()
                if self._ticks and not self._stopped:
                    await self._wait_for(self._ticks[0].at)
                    self._fire_due(nursery)
                else:
                    await self._changed.wait()

    async def drain(self) -> None:
        """Stops the schedule and returns when none runs."""
        self._stopped = True
        self._changed.set()
        await trio.lowlevel.checkpoint()
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()

    async def _wait_for(self, unix_time: float) -> None:
        """Until a tick is due or the schedule changed."""
        changed = self._changed
        async with trio.open_nursery() as nursery:

            async def wait_for_change() -> None:
                await changed.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_for_change)
            await self._clock.sleep_until_wall(unix_time)
            nursery.cancel_scope.cancel()

    def _fire_due(self, nursery: trio.Nursery) -> None:
        now = self._clock.now()
        while self._ticks and self._ticks[0].at <= now and not self._stopped:
            tick = heapq.heappop(self._ticks)
            entry = tick.entry
            entry.waiting = False
            if not entry.bound:
                self._dead -= 1
                continue
            if not self._schedule(entry):
                logger.info("Cron trigger %r has no tick left", entry.trigger.id)
            if entry.trigger.id in self._running:
                logger.info("Cron trigger %r still runs, its tick is skipped", entry.trigger.id)
                continue
            self._running.add(entry.trigger.id)
            nursery.start_soon(self._fire, entry, tick.at, now)

    def _schedule(self, entry: _Entry) -> bool:
        at = entry.schedule.after(self._clock.now())
        if at is None:
            return False
        heapq.heappush(self._ticks, _Tick(at, next(self._order), entry))
        entry.waiting = True
        self._changed.set()
        return True

    async def _fire(self, entry: _Entry, scheduled: float, actual: float) -> None:
        trigger = entry.trigger
        data = encode(
            {
                "trigger": "cron",
                "job_id": trigger.id,
                "scheduled_time": _rfc3339(scheduled),
                "actual_time": _rfc3339(actual),
            }
        )
        try:
            with trio.move_on_after(RUN_S_MAX) as limit:
                if await self._invoker.allows(entry.condition, data):
                    await self._invoker.invoke(trigger.function_id, data, metadata=trigger.metadata)
            if limit.cancelled_caught:
                logger.error("Cron trigger %r did not finish in %d s, it is given up", trigger.id, RUN_S_MAX)
        except WireError as error:
            logger.warning("Cron trigger %r failed in %s: %s", trigger.id, trigger.function_id, error)
        except Exception:
            logger.exception("Bug in cron trigger %r", trigger.id)
        finally:
            self._running.discard(trigger.id)
            self._idle.set()


# Result: a handler's return value means nothing here.


def _rfc3339(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat()
