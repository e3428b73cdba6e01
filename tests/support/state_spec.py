"""State as an object that does one thing at a time: what each answer says about the moment in which it was given.

For ``linearizability.check``. Versions are not in every answer, so an entry's may be unknown until somebody sees it.
An engine that is killed may forget writes that it has not acknowledged, also such as others had read by then: a crash
is a ``CUT``, at some moment before the engine's end, and a ``RESTART`` that goes back to it. Acknowledged writes come
before the cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

GET: Final = "state::get"
SET: Final = "state::set"
DELETE: Final = "state::delete"
SWAP: Final = "state::compare-and-set"
TRANSACT: Final = "state::transact"
GET_MANY: Final = "state::get_many"
CUT: Final = "cut"
RESTART: Final = "restart"

OPEN: Final = "open"
"""The answer of an operation that was never answered."""


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that was called and returned, or, with the answer ``OPEN``, ended with its engine or connection."""

    called: float
    returned: float
    function_id: str
    data: Any
    answer: Any

    def touched(self) -> frozenset[str]:
        """What it may touch."""
        if self.function_id == TRANSACT:
            return frozenset(one["key"] for one in [*self.data["checks"], *self.data["ops"]])
        if self.function_id == GET_MANY:
            return frozenset(one["key"] for one in self.data["keys"])
        return frozenset() if self.data is None else frozenset((self.data["key"],))


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and its version; when that is not known yet (0) it is above ``floor``."""

    value: Any
    version: int
    floor: int = 0


Entries = tuple[tuple[str, Entry], ...]


@dataclass(frozen=True, slots=True)
class State:
    """``entries`` by key, sorted; ``kept`` is what a crash will leave, once that is decided; ``position`` the last
    one known."""

    entries: Entries = ()
    position: int = 0
    kept: tuple[Entries, int] | None = None

    def get(self, key: str) -> Entry | None:
        return next((entry for name, entry in self.entries if name == key), None)

    def put(self, key: str, entry: Entry | None) -> State:
        others = [(name, one) for name, one in self.entries if name != key]
        return replace(self, entries=tuple(sorted(others + ([] if entry is None else [(key, entry)]), key=_name)))


def _name(pair: tuple[str, Entry]) -> str:
    return pair[0]


def step(state: State, done: Done) -> Iterator[State]:
    """The states after ``done``; see ``linearizability``."""
    if done.function_id == CUT:
        yield replace(state, kept=(state.entries, state.position))
    elif done.function_id == RESTART:
        assert state.kept is not None
        yield State(*state.kept)
    elif done.answer == OPEN:
        yield state
        yield from _unheard(state, done)
    else:
        heard = _HEARD[done.function_id](state, done.data, done.answer)
        # Once it is decided what a crash leaves, nothing that writes can have been acknowledged.
        if heard is not None and (state.kept is None or not _writes(done)):
            yield heard


def _writes(done: Done) -> bool:
    match done.function_id:
        case "state::set":
            return True
        case "state::delete":
            return done.answer is not None
        case "state::compare-and-set":
            return bool(done.answer["swapped"])
        case "state::transact":
            return bool(done.answer["committed"]) and done.answer["version"] is not None
    return False


# What answers say: the state after them, None when they are impossible


def _matches(state: State, key: str, seen: Mapping[str, Any] | None) -> State | None:
    """``seen``: a value with its version, or nothing at all."""
    entry = state.get(key)
    if entry is None or seen is None:
        return state if entry is None and seen is None else None
    if entry.value != seen["value"]:
        return None
    version: int = seen["version"]
    if entry.version:
        return state if entry.version == version else None
    if version <= entry.floor:
        return None
    return replace(state.put(key, Entry(entry.value, version)), position=max(state.position, version))


def _at(state: State, version: int) -> State | None:
    """The state at whose end a write with ``version`` stands."""
    return replace(state, position=version) if version > state.position else None


def _get(state: State, data: Any, answer: Any) -> State | None:
    return _matches(state, data["key"], answer)


def _get_many(state: State, data: Any, answer: Any) -> State | None:
    after: State | None = state
    for one, seen in zip(data["keys"], answer["entries"], strict=True):
        after = None if after is None else _matches(after, one["key"], seen)
    return after


def _value(entry: Entry | None) -> Any:
    return None if entry is None else entry.value


def _set(state: State, data: Any, answer: Any) -> State | None:
    key, value = data["key"], data["value"]
    if answer != {"old_value": _value(state.get(key)), "new_value": value}:
        return None
    return state.put(key, Entry(value, 0, state.position))


def _delete(state: State, data: Any, answer: Any) -> State | None:
    return state.put(data["key"], None) if answer == _value(state.get(data["key"])) else None


def _swap(state: State, data: Any, answer: Any) -> State | None:
    key = data["key"]
    if answer["swapped"]:
        met = _condition(state, key, data)
        after = None if met is None else _at(met, answer["version"])
        if after is None or answer["current"] != data["value"]:
            return None
        return after.put(key, Entry(data["value"], answer["version"]))
    seen = None if answer["version"] is None else {"value": answer["current"], "version": answer["version"]}
    known = _matches(state, key, seen)
    # The version is known now, if there is an entry: the condition can be decided.
    return None if known is None or _condition(known, key, data) is not None else known


def _condition(state: State, key: str, data: Any) -> State | None:
    """The state when the condition of a compare-and-set or check holds, with what that tells."""
    entry = state.get(key)
    if "version" in data:
        return None if entry is None else _matches(state, key, {"value": entry.value, "version": data["version"]})
    if "expected" in data:
        return state if entry is not None and entry.value == data["expected"] else None
    return state if entry is None else None


def _transact(state: State, data: Any, answer: Any) -> State | None:
    after: State | None = state
    if not answer["committed"]:
        failed = answer["failed_check"]
        for check in data["checks"][: failed["index"]]:
            after = None if after is None else _condition(after, check["key"], check)
        check = data["checks"][failed["index"]]
        entry = None if after is None else after.get(check["key"])
        if after is None or (entry is None) != (failed["version"] is None) or check["key"] != failed["key"]:
            return None
        if entry is not None:
            after = _matches(after, check["key"], {"value": entry.value, "version": failed["version"]})
        return None if after is None or _condition(after, check["key"], check) is not None else after
    for check in data["checks"]:
        after = None if after is None else _condition(after, check["key"], check)
    if after is None or answer["version"] is None:
        deleted_nothing = after is not None and all(
            one["type"] == "delete" and after.get(one["key"]) is None for one in data["ops"]
        )
        return after if deleted_nothing and answer["results"] == [None] * len(data["ops"]) else None
    after = _at(after, answer["version"])
    for op, result in zip(data["ops"], answer["results"], strict=True):
        after = None if after is None else _op(after, op, result, answer["version"])
    return after


def _op(state: State, op: Any, result: Any, version: int) -> State | None:
    if op["type"] == "delete":
        return _delete(state, op, result)
    after = _set(state, op, result)
    return None if after is None else after.put(op["key"], Entry(op["value"], version))


_HEARD: Final = {
    GET: _get,
    GET_MANY: _get_many,
    SET: _set,
    DELETE: _delete,
    SWAP: _swap,
    TRANSACT: _transact,
}


def _unheard(state: State, done: Done) -> Iterator[State]:
    """What an operation may have done that was never answered, if it did anything."""
    data = done.data
    if done.function_id == SET:
        yield state.put(data["key"], Entry(data["value"], 0, state.position))
    elif done.function_id == DELETE:
        yield state.put(data["key"], None)
    elif done.function_id == SWAP:
        met = _condition(state, data["key"], data)
        if met is not None:
            yield met.put(data["key"], Entry(data["value"], 0, met.position))
    elif done.function_id == TRANSACT:
        after: State | None = state
        for check in data["checks"]:
            after = None if after is None else _condition(after, check["key"], check)
        for op in data["ops"] if after is not None else ():
            entry = Entry(op["value"], 0, state.position) if op["type"] == "set" else None
            after = after.put(op["key"], entry) if after is not None else None
        if after is not None:
            yield after


@dataclass(slots=True)
class History:
    """What concurrent clients did. Instants are counted: a call is noted before it is sent, a return after it came."""

    done: list[Done] = field(default_factory=list)
    now: int = 0
    _open: dict[int, tuple[str, Any]] = field(default_factory=dict)
    _before: int = 0  # of ``done``: what belongs to engines that are gone
    _began: int = 0

    def tick(self) -> int:
        """The next instant."""
        self.now += 1
        return self.now

    def call(self, function_id: str, data: Any) -> int:
        """A call that is about to be sent; returns what ``answered`` takes."""
        called = self.tick()
        self._open[called] = (function_id, data)
        return called

    def answered(self, called: int, answer: Any) -> None:
        """The call's answer has come."""
        function_id, data = self._open.pop(called)
        self.done.append(Done(called, self.tick(), function_id, data, answer))

    def ended(self) -> None:
        """The engine is gone, having kept all it did: what is still open has happened by now, or never will."""
        for called, (function_id, data) in self._open.items():
            self.done.append(Done(called, self.tick(), function_id, data, OPEN))
        self._open.clear()
        self._before, self._began = len(self.done), self.tick()

    def crashed(self) -> None:
        """The engine is gone without a word: it may have lost what it had not acknowledged."""
        acknowledged = [one.called for one in self.done[self._before :] if one.answer != OPEN and _writes(one)]
        # The cut comes after all of these: the later it can begin, the less there is to search.
        began = max(acknowledged) + 0.5 if acknowledged else self._began
        self.ended()
        self.done.append(Done(began, self.tick(), CUT, None, None))
        self.done.append(Done(self.tick(), self.tick(), RESTART, None, None))
        self._before, self._began = len(self.done), self.tick()

    def by_key(self) -> list[list[Done]]:
        """The history of each key by itself; only for operations of one key."""
        keys = {key for one in self.done for key in one.touched()}
        assert all(len(one.touched()) < 2 for one in self.done)
        return [[one for one in self.done if one.touched() <= {key}] for key in sorted(keys)]
