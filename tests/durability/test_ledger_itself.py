"""The ledger checked: what it must call explained, and what it must not."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.support.ledger import Entries, Found, Ledger, Write

WRITES = 60


class Toy:
    """Writes of a ledger carried out by hand; ``found`` is what there would be after the first ``count`` of them."""

    def __init__(self, seed: int = 5) -> None:
        self.ledger = Ledger("toy", Random(seed))
        self.writes = [self.ledger.next() for _ in range(WRITES)]

    def acknowledge(self, count: int) -> None:
        for write in self.writes[:count]:
            self.ledger.acknowledge(write, answer(write))

    def found(self, count: int, leave_out: int | None = None) -> dict[str, dict[str, tuple[Any, int]]]:
        entries: Entries = {scope: {} for scope in self.ledger.scopes}
        for index, write in enumerate(self.writes[:count]):
            if index != leave_out:
                write.changes(entries)
        return {
            scope: {key: (cell.value, version(cell.write)) for key, cell in cells.items()}
            for scope, cells in entries.items()
        }

    def changing(self, among: range) -> int:
        """The last write of these that makes a difference."""
        return max(n for n in among if self.found(n) != self.found(n + 1))


def version(write: int) -> int:
    return 100 + write


def answer(write: Write) -> Any:
    """What an engine would say: versions by number, and counters that nobody else moved."""
    told = dict(write.answer) if isinstance(write.answer, dict) else write.answer
    if isinstance(told, dict) and told.get("version") is not None:
        told["version"] = version(write.number)
    if write.transfers:
        counters = [
            {"old_value": {"n": 0}, "new_value": {"n": amount}} for amount in (write.transfers, -write.transfers)
        ]
        told["results"] = [*told["results"], *counters]
    return told


@pytest.mark.parametrize("kept", [0, 1, 30, WRITES])
def test_any_beginning_that_holds_what_was_acknowledged_is_explained(kept: int) -> None:
    toy = Toy()
    toy.acknowledge(min(kept, 20))
    toy.ledger.explain(Found(toy.found(kept)), floor=0)
    assert toy.ledger.sent == []


def test_afterwards_the_writer_goes_on_from_what_was_found() -> None:
    toy = Toy()
    toy.acknowledge(20)
    found = toy.found(30)
    toy.ledger.explain(Found(found), floor=0)
    toy.ledger.explain(Found(found), floor=200)  # nothing was written since
    write = toy.ledger.next()
    while write.function_id != "state::set":
        write = toy.ledger.next()
    assert write.number > WRITES


def test_an_acknowledged_write_that_is_lost_is_seen() -> None:
    toy = Toy()
    lost = toy.changing(range(30))
    toy.acknowledge(30)
    with pytest.raises(AssertionError, match=f"toy: 30 of {WRITES} writes at least must be there"):
        toy.ledger.explain(Found(toy.found(lost)), floor=0)


def test_a_hole_among_the_open_ones_is_seen() -> None:
    toy = Toy()
    hole = toy.changing(range(40, 50))
    with pytest.raises(AssertionError, match="writes at least must be there"):
        toy.ledger.explain(Found(toy.found(WRITES, leave_out=hole)), floor=0)


def test_half_a_write_is_seen() -> None:
    toy = Toy()
    many = next(n for n in range(10, WRITES) if toy.writes[n].function_id == "state::transact")
    whole, before = toy.found(many + 1), toy.found(many)
    half = {toy.ledger.scopes[0]: whole[toy.ledger.scopes[0]], toy.ledger.scopes[1]: before[toy.ledger.scopes[1]]}
    with pytest.raises(AssertionError, match="writes at least must be there"):
        toy.ledger.explain(Found(half), floor=0)


def test_another_order_of_keys_is_seen() -> None:
    toy = Toy()
    found = toy.found(WRITES)
    scope = toy.ledger.scopes[0]
    found[scope] = dict(reversed(found[scope].items()))
    with pytest.raises(AssertionError, match="order"):
        toy.ledger.explain(Found(found), floor=0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda one: 1, "written together with others|has version 1"),
        (lambda one: one + 500, "written together with others|was answered|an earlier one"),
        (lambda one: 1000 - one, "was answered|an earlier one"),
    ],
)
def test_versions_that_do_not_fit_are_seen(change: Any, text: str) -> None:
    toy = Toy()
    toy.acknowledge(WRITES)
    found = toy.found(WRITES)
    scope = toy.ledger.scopes[0]
    found[scope] = {key: (value, change(one)) for key, (value, one) in found[scope].items()}
    with pytest.raises(AssertionError, match=text):
        toy.ledger.explain(Found(found), floor=0)


def test_versions_that_were_used_before_are_seen() -> None:
    toy = Toy()
    with pytest.raises(AssertionError, match="but 100000 had been used before it was written"):
        toy.ledger.explain(Found(toy.found(WRITES)), floor=100_000)


def test_a_version_that_changes_without_a_write_is_seen() -> None:
    toy = Toy()
    found = toy.found(WRITES)
    toy.ledger.explain(Found(found), floor=0)
    scope = toy.ledger.scopes[0]
    key, (value, one) = next(iter(found[scope].items()))
    found[scope][key] = value, one + 500
    with pytest.raises(AssertionError, match="and was left alone"):
        toy.ledger.explain(Found(found), floor=0)


@pytest.mark.parametrize("function_id", ["state::set", "state::update", "state::delete", "state::transact"])
def test_a_wrong_answer_is_seen(function_id: str) -> None:
    toy = Toy()
    write = next(one for one in toy.writes[5:] if one.function_id == function_id)
    wrong = answer(write)
    if write.transfers:
        wrong["results"][-1] = {"old_value": {"n": 0}, "new_value": {"n": 1}}
    elif isinstance(wrong, dict):
        wrong = {**wrong, "new_value": {"n": 0}}
    else:
        wrong = {"n": 0}
    with pytest.raises(AssertionError, match="was answered"):
        toy.ledger.acknowledge(write, wrong)
