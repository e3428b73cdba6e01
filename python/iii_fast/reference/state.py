"""Key-value state: scopes of keys, their values as they came (``codec_value``), and events of watched scopes.

Mirrors ``rust/core/src/state``. Knows neither messages nor sessions; ``state_calls`` reads inputs and writes results. A
scope exists while it has keys that have not expired. Rules: docs/wire.md 18 to 22, docs/state.md 1 to 14.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from iii_fast.errors import WireError
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.codec_value import json_or_null
from iii_fast.reference.commit import DeleteScopeOp, ExpireOp, Op, SetOp
from iii_fast.reference.log import Log
from iii_fast.reference.state_batch import Batch, Change
from iii_fast.reference.state_entries import Entries, Entry, size_of
from iii_fast.reference.state_quotas import Quotas

OnChange: TypeAlias = Callable[[str, str, str], None]
"""Called with scope, key and event (JSON text) in commit order."""

PAGE_LOOKS_MAX: Final = 10_000
"""Entries that one page looks at."""


@dataclass(frozen=True, slots=True)
class Page:
    """Texts ``[K,V]`` of entries. ``cursor``: the last entry that was looked at, ``None`` when nothing is left behind.

    ``oversized`` is the first entry's key and size when it alone was too large; then there is nothing else.
    """

    rows: list[str]
    cursor: int | None
    oversized: tuple[str, int] | None = None


class State:
    """All values. ``now_ms`` gives Unix time in ms and never goes back; ``log`` is where every write goes."""

    def __init__(self, log: Log, quotas: Quotas, now_ms: Callable[[], int], on_change: OnChange) -> None:
        self.log = log
        self.entries = Entries()
        self.now_ms = now_ms
        self.quotas = quotas
        self._on_change = on_change
        self._watches: Counter[str | None] = Counter()

    # --- reading ---------------------------------------------------------------------------------------------------

    def get(self, scope: str, key: str, now: int) -> Entry | None:
        """The entry, or ``None`` when there is none."""
        entry = self.entries.get(scope, key)
        return None if entry is None or entry.is_due(now) else entry

    def items(self, scope: str, now: int, after: int = 0) -> Iterator[tuple[str, Entry]]:
        """Keys and entries of a scope in the order of insertion, from behind the insertion number ``after`` on."""
        return (item for item in self.entries.scope(scope).after(after) if not item[1].is_due(now))

    def count(self, scope: str, now: int) -> int:
        """How many keys a scope has."""
        return self.entries.scope(scope).visible(now)

    def groups(self, now: int) -> list[str]:
        """Names of all scopes, sorted by their UTF-8 bytes (which is the order of code points)."""
        return sorted(name for name, scope in self.entries.scopes().items() if scope.visible(now))

    def page(self, scope: str, now: int, *, prefix: str, after: int, limit: int, bytes_max: int) -> Page:
        """A page of entries behind the insertion number ``after`` (docs/state.md, 8)."""
        rows: list[str] = []
        size = 0
        last = after
        for looked, (key, entry) in enumerate(self.items(scope, now, after)):
            if looked == PAGE_LOOKS_MAX or len(rows) == limit:
                return Page(rows, last)
            if key.startswith(prefix):
                row = f"[{json_text.string_text(key)},{entry.value}]"
                row_size = json_text.byte_len(f"[{json_text.string_text(key)},]") + size_of(value=entry.value)
                if not rows and row_size > bytes_max:
                    return Page([], last, (key, row_size))
                size += row_size + (1 if rows else 0)
                if size > bytes_max:
                    return Page(rows, last)
                rows.append(row)
            last = entry.insertion
        return Page(rows, None)

    # --- writing ---------------------------------------------------------------------------------------------------

    def begin(self, now: int, *, durable: bool, to_set: Iterable[tuple[str, str]] = ()) -> Batch:
        """What is to be written together; ``to_set`` are scopes and keys that it may set.

        Raises ``WireError`` (``DURABILITY_UNAVAILABLE``, ``STORAGE_FAILED``, ``KEY_TOO_LARGE``).
        """
        if durable:
            self.log.check_durable()
        self.log.check_writable()
        for scope, key in to_set:
            self.quotas.check_names(scope, key)
        return Batch(self.entries, self.quotas, now)

    def commit(self, batch: Batch) -> int | None:
        """Writes everything; returns its position, or ``None`` when there is nothing to be written.

        Raises ``WireError`` (``SCOPE_FULL``, ``STATE_FULL``), writing nothing.
        """
        if not batch.ops:
            return None
        batch.check_room()
        for expiry in batch.due_before():
            self._expire(expiry.scope, expiry.key)
        position = self._write(batch.ops, batch.changes)
        for scope, key in batch.due_after():
            self._expire(scope, key)
        return position

    def delete_scope(self, batch: Batch, scope: str) -> tuple[int, int | None]:
        """Removes all entries of a scope; ``batch`` is an empty one. Returns how many, and the position."""
        entries = list(self.entries.scope(scope).after())
        changes = [
            Change("deleted", scope, key, entry.value, None) for key, entry in entries if not entry.is_due(batch.now)
        ]
        if not changes:
            return 0, None
        due = [(entry.expires_at, entry.insertion, key) for key, entry in entries if entry.is_due(batch.now)]
        for *_, key in sorted(due):
            self._expire(scope, key)
        return len(changes), self._write([DeleteScopeOp(scope)], changes)

    def expire_due(self, count_max: int) -> int:
        """Removes what is due, at most ``count_max`` entries; returns how many. None once nothing can be written."""
        now = self.now_ms()
        for removed in range(count_max):
            expiry = self.entries.first_due(now)
            if expiry is None or self.log.failure is not None:
                return removed
            self._expire(expiry.scope, expiry.key)
        return count_max

    def _expire(self, scope: str, key: str) -> None:
        entry = self.entries.get(scope, key)
        assert entry is not None  # whoever calls has just seen it
        self._write([ExpireOp(scope, key)], [Change("expired", scope, key, entry.value, None)])

    def _write(self, ops: Sequence[Op], changes: Sequence[Change]) -> int:
        position = self.log.commit(ops)
        first = position - len(ops) + 1
        for insertion, op in enumerate(ops, first):
            self._apply(op, insertion, position)
        for change in changes:
            if change.scope in self._watches or None in self._watches:
                self._tell(change, position)
        return position

    def _apply(self, op: Op, insertion: int, position: int) -> None:
        """Does one operation to the map. ``insertion`` is the number of an entry that it creates."""
        match op:
            case SetOp(scope, key, value, created, expires_at):
                former = None if created else self.entries.get(scope, key)
                number = insertion if former is None else former.insertion
                self.entries.put(scope, key, Entry(value, position, number, expires_at))
            case DeleteScopeOp(scope):
                for key, _ in list(self.entries.scope(scope).after()):
                    self.entries.remove(scope, key)
            case _:
                self.entries.remove(op.scope, op.key)

    # --- events ----------------------------------------------------------------------------------------------------

    def watch(self, scope: str | None) -> None:
        """Starts events for a scope, or for all. Counted."""
        self._watches[scope] += 1

    def unwatch(self, scope: str | None) -> None:
        """Ends one ``watch``."""
        if self._watches[scope] <= 1:
            del self._watches[scope]
        else:
            self._watches[scope] -= 1

    def _tell(self, change: Change, position: int) -> None:
        """Tells of a change as soon as it is acknowledged."""
        old, problem = json_or_null(change.old, "old_value")
        new, other_problem = json_or_null(change.new, "new_value")
        event = (
            f'{{"type":"state","event_type":"state:{change.kind}",'
            f'"scope":{json_text.string_text(change.scope)},"key":{json_text.string_text(change.key)},'
            f'"old_value":{old},"new_value":{new}{problem or other_problem}}}'
        )

        def tell(error: WireError | None) -> None:
            if error is None:
                self._on_change(change.scope, change.key, event)

        self.log.when_acknowledged(position, False, tell)
