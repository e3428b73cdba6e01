"""State without sessions, on a clock that stands until it is set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio

from iii_fast.contracts import Limits
from iii_fast.errors import WireError
from iii_fast.reference import state_calls
from iii_fast.reference.commit import Op
from iii_fast.reference.history import Filter
from iii_fast.reference.log import Log
from iii_fast.reference.state import State
from iii_fast.reference.state_quotas import Quotas

NOW = 1_700_000_000_000
MANY = 1 << 30


class Disk:
    """A journal that only takes down what it is told."""

    def __init__(self) -> None:
        self.appended: list[tuple[int, Sequence[Op]]] = []
        self.synced: list[int] = []

    def append(self, position: int, ops: Sequence[Op]) -> None:
        self.appended.append((position, ops))

    def sync(self, position: int) -> None:
        self.synced.append(position)

    def room(self) -> trio.Event | None:
        return None


class Store:
    """All of state; ``now`` is its clock (Unix ms)."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = NOW
        self.log = Log(MANY)
        self.log.begin_feed()
        self._events: list[str] = []
        quotas = Quotas.of(limits or Limits())
        self.state = State(self.log, quotas, lambda: self.now, lambda _, __, event: self._events.append(event))
        self.state.watch(None)

    def answer(self, function: str, data: str) -> state_calls.Answer:
        """Calls ``state::<function>`` with JSON text."""
        return state_calls.call(self.state, f"state::{function}", data)

    def call(self, function: str, **members: Any) -> str | None:
        """Calls ``state::<function>``; returns the text of its result."""
        return self.answer(function, text(members)).result

    def refused(self, function: str, **members: Any) -> str:
        """Code and message of the error that a call ends with, as ``code: message``. Nothing is written."""
        return self.refused_text(function, text(members))

    def refused_text(self, function: str, data: str) -> str:
        """The same for JSON text."""
        position = self.log.position
        with pytest.raises(WireError) as caught:
            self.answer(function, data)
        assert self.log.position == position
        return str(caught.value)

    def unusable(self, function: str, data: str) -> str:
        """The reason why an input cannot be used."""
        start = f"deserialization_error: Failed to deserialize input for state::{function}: "
        refusal = self.refused_text(function, data)
        assert refusal.startswith(start)
        return refusal.removeprefix(start)

    def set(self, key: str, value: Any = 1, scope: str = "s", **members: Any) -> int:
        """Sets a value; returns its version."""
        position = self.answer("set", text({"scope": scope, "key": key, "value": value, **members})).position
        assert position is not None
        return position

    def keys(self, scope: str = "s") -> list[str]:
        """The keys of a scope in order."""
        found = json.loads(self.call("list_keys", scope=scope) or "")["keys"]
        assert isinstance(found, list)
        return found

    def entry(self, key: str, scope: str = "s") -> Any:
        """An entry with its version and expiry, or ``None``."""
        found = self.call("get", scope=scope, key=key, meta=True)
        return None if found is None else json.loads(found)

    def events(self) -> list[str]:
        """Takes the events so far: ``state:created s/k null -> 1``."""
        events, self._events = [json.loads(event) for event in self._events], []
        return [
            f"{event['event_type']} {event['scope']}/{event['key']} "
            f"{text(event['old_value'])} -> {text(event['new_value'])}"
            for event in events
        ]

    def changes(self, since: int = 0) -> list[str]:
        """The change feed: ``2 created s/k``."""
        found = self.log.read_changes(since, Filter(), MANY, MANY)
        return [
            f"{change['position']} {change['type']} {change['scope']}/{change.get('key', '*')}"
            for change in map(json.loads, found.items)
        ]


def text(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
