"""Lets jobs begin in order of arrival, whatever order their conditions answer in. Touches nothing but its places."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from iii_fast.contracts import Pending


@dataclass(slots=True, eq=False)
class Place:
    """A job's place in the line; ``allowed`` is ``None`` until its condition has answered."""

    begin: Callable[[], Pending]
    allowed: bool | None = None
    reached: trio.Event = field(default_factory=trio.Event)
    begun: Pending | Exception | None = None

    async def begun_in_turn(self) -> Pending:
        """Waits until every earlier job has begun or been denied, and this one has begun. Raises what ``begin`` did."""
        await self.reached.wait()
        assert self.begun is not None, "an allowed place that was reached has begun"
        if isinstance(self.begun, Exception):
            raise self.begun
        return self.begun


class ArrivalGate:
    """The line of jobs whose conditions are asked at the same time. Every place that was taken must be decided."""

    def __init__(self) -> None:
        self._line: deque[Place] = deque()

    def take_place(self, begin: Callable[[], Pending]) -> Place:
        """Puts a job at the end of the line."""
        place = Place(begin)
        self._line.append(place)
        return place

    def decide(self, place: Place, allowed: bool) -> None:
        """Tells whether a job may begin, and begins every job whose turn has come."""
        place.allowed = allowed
        while self._line and self._line[0].allowed is not None:
            first = self._line.popleft()
            if first.allowed:
                try:
                    first.begun = first.begin()
                except Exception as error:
                    # It is the failure of that job, not of the one whose decision opened the gate.
                    first.begun = error
            first.reached.set()
