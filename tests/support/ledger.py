"""What a writer wrote, what of it was acknowledged, and whether that explains what an engine has after its end.

A writer sends its writes over one connection, so they happen in the order in which they are sent, and all that an
engine may forget is a tail of them that it has not acknowledged. Nobody else writes the writer's keys: it knows what
every answer must be. Two counters that all writers share only grow and shrink together with keys of the writer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, Final

SHARED: Final = "ledger"
"""The scope in which every writer has keys, beside the one of its own."""
COUNTERS: Final = "counters"
"""A scope with ``up`` and ``down``, whose sum is 0 in every moment."""
KEYS: Final = 12
"""Keys of a writer in each of its two scopes."""
PAD_BYTES: Final = (0, 40, 400, 3000)
"""Sizes of what makes values longer: journals shall have more than one segment."""


@dataclass(slots=True)
class Cell:
    """A value, and the write (its number) that made it so; ``version`` once it is known."""

    value: Any
    write: int
    version: int | None = None


Entries = dict[str, dict[str, Cell]]
"""Keys in the order of insertion, by scope."""


@dataclass(slots=True)
class Write:
    """One call. ``changes`` carries it out on entries; ``answer`` is what the engine must say (``version`` apart)."""

    number: int
    function_id: str
    data: dict[str, Any]
    changes: Callable[[Entries], None]
    answer: Any
    transfers: int = 0
    acknowledged: bool = False
    version: int | None = None

    @property
    def durable(self) -> bool:
        """Whether it asked for the disk."""
        return "durable" in self.data

    @property
    def wrote(self) -> bool:
        """Whether it had something to write. What has nothing to write is answered at once: that promises nothing."""
        return self.changes is not _nothing and not (self.function_id == "state::delete" and self.answer is None)


@dataclass(frozen=True, slots=True)
class Found:
    """What an engine has of a writer's scopes: ``{scope: {key: (value, version)}}`` in insertion order."""

    entries: Mapping[str, Mapping[str, tuple[Any, int]]]


class Ledger:
    """The writes of one writer. ``name`` must not be another's as well.

    ``durable_share`` of the writes ask for the disk, whatever level is configured.
    """

    def __init__(self, name: str, random: Random, durable_share: float = 0.0) -> None:
        self.name = name
        self._durable_share = durable_share
        self.random = random
        self.scopes = (f"{SHARED}-{name}", SHARED)
        self.sent: list[Write] = []  # since the engine began, or the last audit
        self._kept: Entries = {scope: {} for scope in self.scopes}  # what was found then
        self._now = _copied(self._kept)  # with everything that was sent
        self._numbers = 0

    # -- writing ---------------------------------------------------------------------------------------------------

    def next(self) -> Write:
        """The next write, which counts as sent."""
        self._numbers += 1
        make = self.random.choice(
            (self._set, self._set, self._update, self._swap, self._delete, self._set_many, self._transact)
        )
        write = make(self._numbers)
        if self.random.random() < self._durable_share:
            write.data["durable"] = True
        write.changes(self._now)
        self.sent.append(write)
        return write

    def acknowledge(self, write: Write, answer: Any) -> None:
        """The answer to ``write`` has come: it must be the one that follows from what was sent before."""
        expected, seen, version = write.answer, answer, None
        if isinstance(expected, dict) and "version" in expected:
            version = answer["version"]
            assert (version is None) == (expected["version"] is None), f"{self.name}: {write} was answered {answer}"
            seen = {**answer, "version": expected["version"]}
        if write.transfers:
            own, counters = answer["results"][:-2], answer["results"][-2:]
            seen["results"] = own
            moved = [one["new_value"]["n"] - one["old_value"]["n"] for one in counters]
            assert moved == [write.transfers, -write.transfers], f"{self.name}: {write} was answered {answer}"
        assert seen == expected, f"{self.name}: {write} was answered {answer}"
        write.acknowledged = True
        write.version = None if write.changes is _nothing else version

    def _key(self) -> tuple[str, str]:
        scope = self.random.choice(self.scopes)
        return scope, f"{self.name}-{self.random.randrange(KEYS)}"

    def _value(self, number: int) -> dict[str, Any]:
        return {"by": self.name, "n": number, "pad": "x" * self.random.choice(PAD_BYTES)}

    def _current(self, scope: str, key: str) -> Any:
        cell = self._now[scope].get(key)
        return None if cell is None else cell.value

    def _set(self, number: int) -> Write:
        (scope, key), value = self._key(), self._value(number)
        answer = {"old_value": self._current(scope, key), "new_value": value}
        data = {"scope": scope, "key": key, "value": value}
        return Write(number, "state::set", data, _put(number, scope, key, value), answer)

    def _update(self, number: int) -> Write:
        scope, key = self._key()
        old = self._current(scope, key)
        new = {**(old or {}), "n": number, "count": (old or {}).get("count", 0) + 2}
        ops = [{"type": "set", "path": "n", "value": number}, {"type": "increment", "path": "count", "by": 2}]
        answer = {"old_value": old, "new_value": new}
        data = {"scope": scope, "key": key, "ops": ops}
        return Write(number, "state::update", data, _put(number, scope, key, new), answer)

    def _swap(self, number: int) -> Write:
        (scope, key), value = self._key(), self._value(number)
        current = self._current(scope, key)
        data = {"scope": scope, "key": key, "value": value, **({} if current is None else {"expected": current})}
        if self.random.random() < 0.2:  # one that must fail
            data["expected"] = {"never": "written"}
            known = None if current is None else 0
            answer = {"swapped": False, "current": current, "version": known}
            return Write(number, "state::compare-and-set", data, _nothing, answer)
        answer = {"swapped": True, "current": value, "version": 0}
        return Write(number, "state::compare-and-set", data, _put(number, scope, key, value), answer)

    def _delete(self, number: int) -> Write:
        scope, key = self._key()
        data = {"scope": scope, "key": key}
        return Write(number, "state::delete", data, _remove(scope, key), self._current(scope, key))

    def _set_many(self, number: int) -> Write:
        keys = [self._key() for _ in range(self.random.randint(1, 4))]
        values = [self._value(number) for _ in keys]
        items = [{"scope": scope, "key": key, "value": value} for (scope, key), value in zip(keys, values, strict=True)]
        steps = [_put(number, *where, value) for where, value in zip(keys, values, strict=True)]
        answer = {"written": len(items), "version": 0}
        return Write(number, "state::set_many", {"entries": items}, _all(steps), answer)

    def _transact(self, number: int) -> Write:
        """Keys of both scopes, and the counters."""
        value = self._value(number)
        amount = self.random.randint(1, 9)
        (gone_scope, gone), put = self._key(), f"{self.name}-0"
        ops = [
            {"type": "delete", "scope": gone_scope, "key": gone},
            *({"type": "set", "scope": scope, "key": put, "value": value} for scope in self.scopes),
            *(
                {"type": "update", "scope": COUNTERS, "key": key, "ops": [{"type": kind, "path": "n", "by": amount}]}
                for key, kind in (("up", "increment"), ("down", "decrement"))
            ),
        ]
        steps = [_remove(gone_scope, gone), *(_put(number, scope, put, value) for scope in self.scopes)]
        checks = [{"scope": SHARED, "key": "never", "absent": True}]
        answer = {"committed": True, "version": 0, "results": self._results(steps[0], gone_scope, gone, put, value)}
        return Write(number, "state::transact", {"checks": checks, "ops": ops}, _all(steps), answer, amount)

    def _results(self, first: Callable[[Entries], None], scope: str, gone: str, put: str, value: Any) -> list[Any]:
        """What the ops on own keys answer; ``first`` deletes ``gone``."""
        then = _copied(self._now)
        first(then)
        olds = [then[one].get(put) for one in self.scopes]
        sets = [{"old_value": None if old is None else old.value, "new_value": value} for old in olds]
        return [self._current(scope, gone), *sets]

    # -- explaining ------------------------------------------------------------------------------------------------

    def explain(self, found: Found, floor: int, durable_only: bool = False) -> tuple[int, int]:
        """Takes ``found`` as what is there now: all that was acknowledged, and a beginning of what was open.

        ``floor`` is the highest position known before these writes. Returns how much of the shared counters is due to
        them, and the highest position seen. Fails when no beginning of what was sent explains it. ``durable_only``:
        what was acknowledged without having asked to be ``durable`` may be lost as well.
        """
        promised = [one.acknowledged and one.wrote and (one.durable or not durable_only) for one in self.sent]
        needed = max((index for index, is_promised in enumerate(promised, 1) if is_promised), default=0)
        entries = self._kept
        for write in self.sent[:needed]:
            write.changes(entries)
        happened = needed
        while not _same(entries, found):
            assert happened < len(self.sent), self._unexplained(entries, found, needed)
            self.sent[happened].changes(entries)
            happened += 1
        highest = self._check_versions(entries, found, floor, happened)
        transfers = sum(one.transfers for one in self.sent[:happened])
        self._now, self.sent = _copied(entries), []
        return transfers, highest

    def _unexplained(self, entries: Entries, found: Found, needed: int) -> str:
        lines = [f"{self.name}: {needed} of {len(self.sent)} writes at least must be there; after all of them"]
        for scope, cells in entries.items():
            there = found.entries[scope]
            lines += [f"  {scope}: order {list(cells)}, found {list(there)}"] * (list(cells) != list(there))
            for key in {**cells, **there}:
                cell, pair = cells.get(key), there.get(key)
                wanted, seen = cell and cell.value, pair and pair[0]
                if wanted != seen:
                    lines.append(f"  {scope}/{key}: {_short(wanted)}, found {_short(seen)}")
        return "\n".join(lines)

    def _check_versions(self, entries: Entries, found: Found, floor: int, happened: int) -> int:
        """Versions tell which write an entry was last written by; they grow in the order of the writes."""
        told = {one.number: one.version for one in self.sent[:happened] if one.version is not None}
        fresh = {one.number for one in self.sent}
        versions: dict[int, int] = {}
        for scope, cells in entries.items():
            for key, cell in cells.items():
                version = found.entries[scope][key][1]
                where = f"{self.name}: {scope}/{key} has version {version}"
                assert cell.version in (None, version), f"{where}, it had {cell.version} and was left alone"
                assert versions.setdefault(cell.write, version) == version, f"{where}, written together with others"
                assert told.get(cell.write, version) == version, f"{where}, {told.get(cell.write)} was answered"
                if cell.write in fresh:
                    assert version > floor, f"{where}, but {floor} had been used before it was written"
                cell.version = version
        known = sorted({**told, **versions}.items())
        for (_, earlier), (number, later) in pairwise(known):
            assert earlier < later, f"{self.name}: write {number} has version {later}, an earlier one {earlier}"
        return max((version for _, version in known), default=0)


def _copied(entries: Entries) -> Entries:
    return {scope: dict(cells) for scope, cells in entries.items()}


def _short(value: Any) -> str:
    return "nothing" if value is None else str({name: one for name, one in value.items() if name != "pad"})


def _same(entries: Entries, found: Found) -> bool:
    return all(
        [(key, cell.value) for key, cell in cells.items()]
        == [(key, value) for key, (value, _) in found.entries[scope].items()]
        for scope, cells in entries.items()
    )


def _put(number: int, scope: str, key: str, value: Any) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries[scope][key] = Cell(value, number)

    return change


def _remove(scope: str, key: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries[scope].pop(key, None)

    return change


def _all(steps: Sequence[Callable[[Entries], None]]) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        for step in steps:
            step(entries)

    return change


def _nothing(entries: Entries) -> None:
    pass
