"""The checker of histories checked: against histories whose truth is known, and against trying all orders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import linearizability
from tests.support.state_spec import DELETE, GET, GET_MANY, SET, SWAP, TRANSACT, Done, History, State, step

# Any object: all orders of small histories of a register


@dataclass(frozen=True)
class Register:
    """An operation on a register: writes ``value``, or read it; ``heard`` is false when a write was not answered."""

    called: int
    returned: int
    write: bool
    value: int
    heard: bool = True


def register(state: int, operation: Register) -> Iterator[int]:
    if not operation.write:
        yield from [state] if state == operation.value else []
        return
    yield operation.value
    if not operation.heard:
        yield state


def some_order_explains(operations: Sequence[Register]) -> bool:
    """The definition, word by word: an order that keeps to real time and in which every answer is right."""
    for order in itertools.permutations(operations):
        if any(a.called > b.returned for a, b in itertools.combinations(order, 2)):
            continue
        states = {0}
        for one in order:
            states = {after for state in states for after in register(state, one)}
        if states:
            return True
    return False


@st.composite
def register_histories(draw: st.DrawFn) -> list[Register]:
    count = draw(st.integers(1, 6))
    instants = draw(st.permutations(range(2 * count)))
    found = []
    for index in range(count):
        called, returned = sorted(instants[2 * index : 2 * index + 2])
        write = draw(st.booleans())
        found.append(Register(called, returned, write, draw(st.integers(0, 2)), not write or draw(st.booleans())))
    return found


@settings(deadline=None)
@given(register_histories())
def test_it_agrees_with_trying_all_orders(history: list[Register]) -> None:
    assert linearizability.check(history, 0, register).possible == some_order_explains(history)


def test_what_takes_too_long_is_not_called_right() -> None:
    # Nobody ever wrote 99: all orders of the writes are tried before the read is found impossible.
    history = [Register(n, 100 + n, True, n) for n in range(18)] + [Register(50, 200, False, 99)]
    with pytest.raises(AssertionError, match="undecided after 500 tries"):
        linearizability.check(history, 0, register, steps_max=500)


def test_it_tells_where_no_order_goes_on() -> None:
    verdict = linearizability.check([Register(1, 2, True, 7), Register(3, 4, False, 8)], 0, register)
    assert list(verdict.longest) == [Register(1, 2, True, 7)]
    assert "Register(called=3, returned=4, write=False, value=8, heard=True)" in verdict.explain()


# State: histories one after the other, each answer with what makes it wrong


def possible(*done: tuple[str, dict[str, Any], Any]) -> bool:
    """Whether calls of one client, one after the other, may have had these answers."""
    return explained([Done(2 * n, 2 * n + 1, *one) for n, one in enumerate(done)])


def explained(done: list[Done]) -> bool:
    return linearizability.check(done, State(), step).possible


def seen(value: Any, version: int) -> dict[str, Any]:
    return {"value": value, "version": version, "expires_at": None}


def wrote(old: Any, new: Any) -> dict[str, Any]:
    return {"old_value": old, "new_value": new}


def a(**more: Any) -> dict[str, Any]:
    return {"key": "a", **more}


SET_1 = (SET, a(value=1), wrote(None, 1))
SWAPPED_2 = (SWAP, a(value=2, expected=1), {"swapped": True, "current": 2, "version": 9})


@pytest.mark.parametrize(
    "after",
    [
        (SET, a(value=3), wrote(2, 3)),
        (GET, a(), seen(2, 9)),
        (DELETE, a(), 2),
        (DELETE, {"key": "b"}, None),
        (SWAP, a(value=3, version=9), {"swapped": True, "current": 3, "version": 10}),
        (SWAP, a(value=3, version=8), {"swapped": False, "current": 2, "version": 9}),
        (SWAP, a(value=3), {"swapped": False, "current": 2, "version": 9}),
        (SWAP, {"key": "b", "value": 3}, {"swapped": True, "current": 3, "version": 12}),
        (GET_MANY, {"keys": [a(), {"key": "b"}]}, {"entries": [seen(2, 9), None]}),
        (
            TRANSACT,
            {"checks": [a(version=9), {"key": "b", "absent": True}], "ops": [a(type="delete"), a(type="set", value=4)]},
            {"committed": True, "version": 12, "results": [2, wrote(None, 4)]},
        ),
        (
            TRANSACT,
            {"checks": [{"key": "b", "version": 3}], "ops": [a(type="delete")]},
            {"committed": False, "failed_check": {"index": 0, "key": "b", "version": None}},
        ),
        (
            TRANSACT,
            {"checks": [], "ops": [{"type": "delete", "key": "b"}]},
            {"committed": True, "version": None, "results": [None]},
        ),
    ],
)
def test_right_answers_are_right(after: tuple[str, dict[str, Any], Any]) -> None:
    assert possible(SET_1, SWAPPED_2, after)


@pytest.mark.parametrize(
    "after",
    [
        (SET, a(value=3), wrote(1, 3)),
        (GET, a(), seen(1, 9)),
        (GET, a(), seen(2, 8)),
        (GET, a(), None),
        (GET, {"key": "b"}, seen(2, 9)),
        (DELETE, a(), 1),
        (DELETE, a(), None),
        (SWAP, a(value=3, version=9), {"swapped": True, "current": 3, "version": 9}),
        (SWAP, a(value=3, version=9), {"swapped": False, "current": 2, "version": 9}),
        (SWAP, a(value=3, expected=2), {"swapped": True, "current": 2, "version": 10}),
        (SWAP, a(value=3, expected=1), {"swapped": True, "current": 3, "version": 10}),
        (SWAP, a(value=3), {"swapped": False, "current": None, "version": None}),
        (SWAP, {"key": "b", "value": 3}, {"swapped": False, "current": None, "version": None}),
        (GET_MANY, {"keys": [a(), {"key": "b"}]}, {"entries": [seen(2, 9), seen(2, 9)]}),
        (
            TRANSACT,
            {"checks": [a(version=8)], "ops": [a(type="delete")]},
            {"committed": True, "version": 11, "results": [2]},
        ),
        (
            TRANSACT,
            {"checks": [], "ops": [a(type="delete"), a(type="set", value=4)]},
            {"committed": True, "version": 12, "results": [2, wrote(2, 4)]},
        ),
        (
            TRANSACT,
            {"checks": [a(version=9)], "ops": [a(type="delete")]},
            {"committed": False, "failed_check": {"index": 0, "key": "a", "version": 9}},
        ),
        (
            TRANSACT,
            {"checks": [], "ops": [a(type="delete")]},
            {"committed": True, "version": None, "results": [None]},
        ),
    ],
)
def test_wrong_answers_are_wrong(after: tuple[str, dict[str, Any], Any]) -> None:
    assert not possible(SET_1, SWAPPED_2, after)


def test_a_version_once_seen_counts() -> None:
    assert possible(SET_1, (GET, a(), seen(1, 5)), SWAPPED_2)
    assert not possible(SET_1, (GET, a(), seen(1, 5)), (GET, a(), seen(1, 6)))
    assert not possible(SET_1, SWAPPED_2, (SET, a(value=3), wrote(2, 3)), (GET, a(), seen(3, 7)))


# State: at the same time, and over crashes


class Story(History):
    """A history told by hand."""

    def do(self, function_id: str, data: dict[str, Any], answer: Any) -> None:
        self.answered(self.call(function_id, data), answer)

    def is_possible(self) -> bool:
        return explained(self.done)


def test_reads_at_the_time_of_a_write_see_it_or_not_but_not_back_and_forth() -> None:
    for first, second, right in ((None, 1, True), (1, 1, True), (None, None, True), (1, None, False)):
        story = Story()
        write = story.call(SET, a(value=1))
        for value in (first, second):
            story.do(GET, a(), None if value is None else seen(value, 1))
        story.answered(write, wrote(None, 1))
        assert story.is_possible() == right, (first, second)


def test_a_transaction_is_not_seen_in_part() -> None:
    for b, right in ((None, False), (seen(2, 2), True)):
        story = Story()
        ops = [{"type": "set", "key": "a", "value": 1}, {"type": "set", "key": "b", "value": 2}]
        write = story.call(TRANSACT, {"checks": [], "ops": ops})
        story.do(GET_MANY, {"keys": [a(), {"key": "b"}]}, {"entries": [seen(1, 2), b]})
        story.answered(write, {"committed": True, "version": 2, "results": [wrote(None, 1), wrote(None, 2)]})
        assert story.is_possible() == right


@pytest.mark.parametrize("crash", [False, True])
def test_what_was_acknowledged_is_there_after_the_end(crash: bool) -> None:
    for value, right in ((1, True), (None, False)):
        story = Story()
        story.do(*SET_1)
        story.crashed() if crash else story.ended()
        story.do(GET, a(), None if value is None else seen(value, 1))
        assert story.is_possible() == right


@pytest.mark.parametrize("crash", [False, True])
def test_what_was_open_may_be_there_from_the_start_or_never(crash: bool) -> None:
    for values, right in (((1, 1), True), ((None, None), True), ((None, 1), False), ((1, None), False)):
        story = Story()
        story.call(SET, a(value=1))
        story.crashed() if crash else story.ended()
        for value in values:
            story.do(GET, a(), None if value is None else seen(value, 1))
        assert story.is_possible() == right


@pytest.mark.parametrize("crash", [False, True])
def test_only_a_crash_takes_back_what_others_had_read(crash: bool) -> None:
    story = Story()
    story.call(SET, a(value=1))
    story.do(GET, a(), seen(1, 1))
    story.crashed() if crash else story.ended()
    story.do(GET, a(), None)
    assert story.is_possible() == crash


def test_a_crash_loses_a_tail_and_no_piece_of_the_middle() -> None:
    for b, right in ((None, True), (seen(2, 2), False)):
        story = Story()
        story.call(SET, a(value=1))
        story.do(GET, a(), seen(1, 1))
        story.call(SET, {"key": "b", "value": 2})
        story.do(GET, {"key": "b"}, seen(2, 2))
        story.crashed()
        story.do(GET_MANY, {"keys": [a(), {"key": "b"}]}, {"entries": [None, b]})
        assert story.is_possible() == right


def test_an_acknowledged_write_keeps_all_that_it_stood_on() -> None:
    story = Story()
    story.call(SET, a(value=1))
    story.do(SWAP, a(value=2, expected=1), {"swapped": True, "current": 2, "version": 2})
    story.crashed()
    story.do(GET, a(), seen(1, 1))
    assert not story.is_possible()
