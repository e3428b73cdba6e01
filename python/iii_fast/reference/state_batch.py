"""What one call is about to write, at one instant: seen by the call itself, by nobody else until it is committed.

Mirrors ``rust/core/src/state``. Rules: docs/state.md 1, 3, 4 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from iii_fast.reference.commit import DeleteOp, SetOp
from iii_fast.reference.state_entries import Entries, Entry, Expiry, size_of
from iii_fast.reference.state_quotas import Quotas, check_commit

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
        self.ops: list[SetOp | DeleteOp] = []
        self.changes: list[Change] = []
        self._entries = entries
        self._quotas = quotas
        self._bytes_set = 0
        # What the keys had before the call and have now, in the order in which the call names them.
        self._before: dict[tuple[str, str], Entry | None] = {}
        self._left: dict[tuple[str, str], Entry | SetOp | None] = {}

    def get(self, scope: str, key: str) -> Entry | SetOp | None:
        """What is there for this call: what it wrote itself (also if that has expired), or what was there before."""
        if (scope, key) not in self._left:
            entry = self._entries.get(scope, key)
            live = None if entry is None or entry.is_due(self.now) else entry
            self._before[scope, key] = self._left[scope, key] = live
        return self._left[scope, key]

    def set(self, scope: str, key: str, value: str, expires_at: int | None) -> str | None:
        """Sets a value and returns the old one. Raises ``WireError`` (``VALUE_TOO_LARGE``, ``payload_too_large``)."""
        self._quotas.check_value(value)
        self._bytes_set += size_of(scope, key, value=value)
        check_commit(self._bytes_set)
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
        self._left[op.scope, op.key] = left

    def due_before(self) -> list[Expiry]:
        """What has to be removed before this is written: the keys' entries whose time has come, in their order."""
        found = ((op.scope, op.key, self._entries.get(op.scope, op.key)) for op in self.ops)
        due = {
            Expiry(entry.expires_at, entry.insertion, scope, key)
            for scope, key, entry in found
            if entry is not None and entry.expires_at is not None and entry.is_due(self.now)
        }
        return sorted(due)

    def due_after(self) -> list[tuple[str, str]]:
        """Keys of what is written with a time that has passed, in the order in which the call names them."""
        return [
            key
            for key, left in self._left.items()
            if isinstance(left, SetOp) and left.expires_at is not None and left.expires_at <= self.now
        ]

    def check_room(self) -> None:
        """Whether scopes, and all of state, may become what they would. Raises ``WireError`` (``SCOPE_FULL``, ...)."""
        growth: dict[str, int] = {}
        total = 0
        for (scope, key), before in self._before.items():
            left = self._left[scope, key]
            grown = _size(key, left) - _size(key, before)
            growth[scope] = growth.get(scope, 0) + grown
            total += grown + size_of(scope) * ((left is not None) - (before is not None))
        for scope, grown in growth.items():
            bytes_before = self._entries.scope(scope).bytes
            self._quotas.check_scope(scope, bytes_before, bytes_before + grown)
        self._quotas.check_total(self._entries.bytes, self._entries.bytes + total)


def _size(key: str, item: Entry | SetOp | None) -> int:
    return 0 if item is None else size_of(key, value=item.value)
