"""The real clock: wall time for calendars, monotonic time for durations. Touches only the operating system's clocks."""

from __future__ import annotations

import time

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
