"""Time: the clocks of the machine, and things to do later. Touches the operating system's and Trio's clocks only."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable

import trio

WALL_CHECK_S = 1.0
"""The wall clock may be set while somebody sleeps towards an instant of it, so it is read again this often."""


class SystemClock:
    """Implements ``contracts.Clock``. Monotonic time is Trio's, so that deadlines and this clock agree."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return trio.current_time()

    async def sleep_until_wall(self, unix_time: float) -> None:
        """Sleeps until wall time reaches ``unix_time``; notices within ``WALL_CHECK_S`` that the clock was set."""
        await trio.lowlevel.checkpoint()
        while (remaining := unix_time - self.now()) > 0:  # noqa: ASYNC110 - nobody could set an event for this
            await trio.sleep(min(remaining, WALL_CHECK_S))


class Timetable:
    """Calls functions at monotonic instants, from one task: thousands of waiting retries cost a heap entry each."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = trio.Event()

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Calls ``call`` in ``delay_s`` seconds."""
        heapq.heappush(self._due, (trio.current_time() + delay_s, next(self._order), call))
        self._changed.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._due[0][0] if self._due else math.inf):
                await self._changed.wait()
            while self._due and self._due[0][0] <= trio.current_time():
                heapq.heappop(self._due)[2]()
