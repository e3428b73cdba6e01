"""What one call is about to write, at one instant: seen by the call itself, by nobody else until it is committed.

Mirrors ``rust/core/src/state``. Rules: docs/state.md 1, 3, 4 and 14.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from iii_fast.reference.commit import DeleteOp, Op, SetOp
from iii_fast.reference.state_entries import Entries, Entry, Expiry, size_of
from iii_fast.reference.state_quotas import Quotas

ChangeKind: TypeAlias = Literal["created", "updated", "deleted", "expired"]


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation did to one key; values are ``None`` where there is none."""

    kind: ChangeKind
    scope: str
    key: str
    old: str | None
    new: str | None


class Batch:
    """Operations in order. ``now`` is the time of the call, Unix ms; what is due then is not there."""

    def __init__(self, entries: Entries, quotas: Quotas, now: int) -> None:
        self.now = now
        self.ops: list[Op] = []
        self.changes: list[Change] = []
        self._entries = entries
        self._quotas = quotas
        self._written: dict[tuple[str, str], SetOp | None] = {}

    def get(self, scope: str, key: str) -> Entry | SetOp | None:
        """What is there for this call: what it wrote itself (also if that has expired), or what was there before."""
        if (scope, key) in self._written:
            return self._written[scope, key]
        entry = self._entries.get(scope, key)
        return None if entry is None or entry.is_due(self.now) else entry

    def set(self, scope: str, key: str, value: str, expires_at: int | None) -> str | None:
        """Sets a value and returns the old one. Raises ``WireError`` (``KEY_TOO_LARGE``, ``VALUE_TOO_LARGE``)."""
        self._quotas.check_entry(scope, key, value)
        old = self.get(scope, key)
        op = SetOp(scope, key, value, created=old is None, expires_at=expires_at)
        old_value = None if old is None else old.value
        self._add(op, op, Change("created" if op.created else "updated", scope, key, old_value, value))
        return old_value

    def delete(self, scope: str, key: str) -> str | None:
        """Removes a value and returns it; nothing happens when there is none."""
        old = self.get(scope, key)
        if old is None:
            return None
        self._add(DeleteOp(scope, key), None, Change("deleted", scope, key, old.value, None))
        return old.value

    def _add(self, op: SetOp | DeleteOp, left: SetOp | None, change: Change) -> None:
        self.ops.append(op)
        self.changes.append(change)
        self._written[op.scope, op.key] = left

    def due(self) -> list[Expiry]:
        """What has to be removed before this is written: the keys' entries whose time has come, in their order."""
        return sorted(
            Expiry(entry.expires_at, entry.insertion, scope, key)
            for (scope, key), entry in self._replaced()
            if entry is not None and entry.expires_at is not None and entry.is_due(self.now)
        )

    def check_room(self) -> None:
        """Whether scopes, and all of state, may become what they would. Raises ``WireError`` (``SCOPE_FULL``, ...)."""
        scopes: dict[str, int] = {}
        total = 0
        for (scope, key), entry in self._replaced():
            left = self._written[scope, key]
            before = 0 if entry is None else size_of(key, entry.value)
            after = 0 if left is None else size_of(key, left.value)
            scopes[scope] = scopes.get(scope, 0) + after - before
            total += after - before + size_of(scope) * ((left is not None) - (entry is not None))
        for scope, growth in scopes.items():
            before = self._entries.scope(scope).bytes
            self._quotas.check_scope(scope, before, before + growth)
        self._quotas.check_total(self._entries.bytes, self._entries.bytes + total)

    def _replaced(self) -> Iterator[tuple[tuple[str, str], Entry | None]]:
        """The keys that are written, and the entries they have in the map, which may be due."""
        for scope, key in self._written:
            yield (scope, key), self._entries.get(scope, key)
