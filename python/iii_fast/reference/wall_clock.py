"""The system's clock as state needs it. Touches nothing else."""

from __future__ import annotations

import time


class WallClock:
    """Unix time in ms, which stands still while the system's clock is behind what it has said before."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last
