"""Whether a history of concurrent operations could have happened one operation at a time, each between its call and its
return. The algorithm is that of Wing and Gong with Lowe's memory of what was tried; it knows no particular object.

An object is a function ``step(state, operation)``: the states (hashable) in which the object can be after the operation
was carried out in ``state`` with the answer that was seen; none when that answer was impossible then. More than one
for operations whose outcome nobody has heard.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

STEPS_MAX: Final = 3_000_000
"""Tries after which a history counts as too hard to decide: tests fail then and ask for a smaller one."""


class Operation(Protocol):
    """Something that was called at one instant and had returned at a later one; instants are numbers that differ."""

    @property
    def called(self) -> float: ...

    @property
    def returned(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """``longest`` is the longest sequence that was found to be possible: all of the history when ``possible``."""

    possible: bool
    longest: Sequence[Any]
    stuck: Sequence[Any]
    """Operations of which none could come next after ``longest``."""

    def explain(self) -> str:
        """A text for people: where the search got stuck."""
        lines = [f"no order explains this history; {len(self.longest)} operations fit, the last of them:"]
        lines += [f"  {one}" for one in self.longest[-12:]]
        return "\n".join([*lines, "then one of these must come, and none can:", *(f"  {one}" for one in self.stuck)])


class _Events:
    """Calls and returns in the order of their instants, as a list from which operations can be lifted and put back."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        events = [(one.called, index, True) for index, one in enumerate(operations)]
        events += [(one.returned, index, False) for index, one in enumerate(operations)]
        events.sort()
        assert len({instant for instant, _, _ in events}) == len(events), "two events at one instant"
        self.operation = [-1] + [index for _, index, _ in events]
        self.is_call = [False] + [is_call for _, _, is_call in events]
        self.next = [*range(1, len(events) + 1), 0]
        self.previous = [len(events), *range(len(events))]
        self._places = [[0, 0] for _ in operations]
        for place, (_, index, is_call) in enumerate(events, 1):
            self._places[index][0 if is_call else 1] = place

    def lift(self, operation: int) -> None:
        for place in self._places[operation]:
            self.next[self.previous[place]] = self.next[place]
            self.previous[self.next[place]] = self.previous[place]

    def put_back(self, operation: int) -> None:
        for place in reversed(self._places[operation]):
            self.next[self.previous[place]] = place
            self.previous[self.next[place]] = place

    def callable_now(self) -> list[int]:
        """Operations that were called before any other had returned."""
        found, place = [], self.next[0]
        while place and self.is_call[place]:
            found.append(self.operation[place])
            place = self.next[place]
        return found


def check(
    operations: Sequence[Operation],
    initial: Hashable,
    step: Callable[[Any, Any], Iterable[Hashable]],
    steps_max: int = STEPS_MAX,
) -> Verdict:
    """Searches for an order. Fails (``AssertionError``) when ``steps_max`` tries did not decide it."""
    events = _Events(operations)
    tried: set[tuple[int, Hashable]] = set()
    done, state, place = 0, initial, events.next[0]
    path: list[tuple[int, Hashable, Iterator[Hashable]]] = []
    longest: list[int] = []
    stuck = events.callable_now()
    steps = 0
    options: Iterator[Hashable] = iter(())
    fresh = True
    while events.next[0]:
        steps += 1
        assert steps < steps_max, f"undecided after {steps_max} tries: record a shorter history"
        if events.is_call[place]:
            index = events.operation[place]
            if fresh:
                options = iter(step(state, operations[index]))
            after = next((one for one in options if (done | 1 << index, one) not in tried), None)
            fresh = True
            if after is None:
                place = events.next[place]
                continue
            done |= 1 << index
            tried.add((done, after))
            path.append((place, state, options))
            state = after
            events.lift(index)
            place = events.next[0]
            if len(path) > len(longest):
                longest, stuck = [events.operation[one] for one, _, _ in path], events.callable_now()
        elif path:
            place, state, options = path.pop()
            index = events.operation[place]
            done ^= 1 << index
            events.put_back(index)
            fresh = False
        else:
            return Verdict(False, [operations[one] for one in longest], [operations[one] for one in stuck])
    return Verdict(True, [operations[events.operation[one]] for one, _, _ in path], [])
