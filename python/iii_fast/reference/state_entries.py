"""All entries of state: the map, the order of insertion, what is due, and how many bytes there are.

Mirrors ``rust/core/src/state``. Knows no rules but these: what is put here is here, and nothing is checked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

from iii_fast.reference import codec_json as json_text
from iii_fast.reference.codec_value import size


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value. ``version`` is the position of its last write; ``expires_at`` is Unix ms."""

    value: str
    version: int
    insertion: int
    expires_at: int | None = None

    def is_due(self, now: int) -> bool:
        """Whether its time has come: then no call sees it."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, order=True, slots=True)
class Expiry:
    """When an entry goes. They go in this order."""

    expires_at: int
    insertion: int
    scope: str
    key: str


class Scope:
    """The entries of one scope. ``bytes`` counts keys and values in UTF-8."""

    def __init__(self) -> None:
        self.bytes = 0
        self._entries: dict[str, Entry] = {}
        # Insertion numbers and keys, ascending. Removed entries stay in it until there are too many of them.
        self._order: list[tuple[int, str]] = []
        self._expiries: list[int] = []

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """The entry of a key."""
        return self._entries.get(key)

    def visible(self, now: int) -> int:
        """How many entries have not expired."""
        return len(self._entries) - bisect_right(self._expiries, now)

    def after(self, insertion: int = 0) -> Iterator[tuple[str, Entry]]:
        """Keys and entries in the order of insertion, from behind an insertion number on."""
        for index in range(bisect_right(self._order, insertion, key=lambda item: item[0]), len(self._order)):
            number, key = self._order[index]
            entry = self._entries.get(key)
            if entry is not None and entry.insertion == number:
                yield key, entry

    def put(self, key: str, entry: Entry) -> None:
        """Stores an entry, in place of the former one."""
        former = self._entries.get(key)
        if former is not None:
            self._count(key, former, -1)
        self._entries[key] = entry
        self._count(key, entry, 1)
        place = (entry.insertion, key)
        index = bisect_left(self._order, place)
        if self._order[index : index + 1] != [place]:
            self._order.insert(index, place)
            self._tidy()

    def remove(self, key: str) -> Entry:
        """Takes out the entry of a key, which is there."""
        entry = self._entries.pop(key)
        self._count(key, entry, -1)
        self._tidy()
        return entry

    def _count(self, key: str, entry: Entry, times: int) -> None:
        self.bytes += times * size_of(key, value=entry.value)
        if entry.expires_at is None:
            return
        if times > 0:
            insort(self._expiries, entry.expires_at)
        else:
            del self._expiries[bisect_left(self._expiries, entry.expires_at)]

    def _tidy(self) -> None:
        """Drops what is not there from the order, when that is more than half of it."""
        if len(self._order) > 2 * len(self._entries) + 16:
            self._order = [(entry.insertion, key) for key, entry in self.after()]


class Entries:
    """All scopes; one exists while it has entries. ``bytes`` counts scope names, keys and values of all entries."""

    def __init__(self) -> None:
        self.bytes = 0
        self.count = 0
        self._scopes: dict[str, Scope] = {}
        self._expiries: list[Expiry] = []

    def scopes(self) -> dict[str, Scope]:
        """All scopes by name; not to be changed."""
        return self._scopes

    def scope(self, name: str) -> Scope:
        """A scope; an empty one that is not kept when there is none."""
        return self._scopes.get(name) or Scope()

    def get(self, scope: str, key: str) -> Entry | None:
        """The entry of a key, also when it is due."""
        return self.scope(scope).get(key)

    def put(self, scope: str, key: str, entry: Entry) -> None:
        """Stores an entry, in place of the former one."""
        former = self.get(scope, key)
        if former is not None:
            self._count(scope, key, former, -1)
        self._count(scope, key, entry, 1)
        self._scopes.setdefault(scope, Scope()).put(key, entry)

    def remove(self, scope: str, key: str) -> Entry:
        """Takes out the entry of a key, which is there."""
        entry = self._scopes[scope].remove(key)
        self._count(scope, key, entry, -1)
        if not len(self._scopes[scope]):
            del self._scopes[scope]
        return entry

    def first_due(self, now: int) -> Expiry | None:
        """The next entry to be removed because its time has come."""
        return self._expiries[0] if self._expiries and self._expiries[0].expires_at <= now else None

    def _count(self, scope: str, key: str, entry: Entry, times: int) -> None:
        self.count += times
        self.bytes += times * size_of(scope, key, value=entry.value)
        if entry.expires_at is None:
            return
        expiry = Expiry(entry.expires_at, entry.insertion, scope, key)
        if times > 0:
            insort(self._expiries, expiry)
        else:
            del self._expiries[bisect_left(self._expiries, expiry)]


def size_of(*names: str, value: str | None = None) -> int:
    """Bytes of names in UTF-8 and of a value in its codec, together."""
    return sum(map(json_text.byte_len, names)) + (0 if value is None else size(value))
