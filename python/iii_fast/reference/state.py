"""Key-value state: scopes of keys, their values as the JSON text that came, and the change events of watched scopes.

Mirrors ``rust/core/src/state``. Knows neither messages nor sessions; ``calls`` reads inputs and writes results. A scope
exists while it has keys. Rules: docs/wire.md 18 to 22.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference import update
from iii_fast.reference.update_ops import Op

OnChange: TypeAlias = Callable[[str, str, str], None]
"""Called with scope, key and event (JSON text) in commit order."""


class State:
    """All values. ``value_bytes_max`` bounds the JSON text of one value; ``None`` is no bound."""

    def __init__(self, value_bytes_max: int | None, on_change: OnChange) -> None:
        self._value_bytes_max = value_bytes_max
        self._on_change = on_change
        # A dict keeps the place of a key that is overwritten: insertion order, as list promises.
        self._scopes: dict[str, dict[str, str]] = {}
        self._watches: Counter[str | None] = Counter()

    def get(self, scope: str, key: str) -> str | None:
        """The value's text, or ``None`` when there is none."""
        return self._scopes.get(scope, {}).get(key)

    def set(self, scope: str, key: str, value: str) -> str | None:
        """Stores a value and returns the old one. Raises ``WireError`` (``VALUE_TOO_LARGE``), storing nothing."""
        self._check_size(value)
        values = self._scopes.setdefault(scope, {})
        old = values.get(key)
        values[key] = value
        self._changed(scope, key, old, value)
        return old

    def delete(self, scope: str, key: str) -> str | None:
        """Removes a value and returns it; silent when there is none."""
        values = self._scopes.get(scope, {})
        old = values.pop(key, None)
        if old is not None:
            if not values:
                del self._scopes[scope]
            self._changed(scope, key, old, None)
        return old

    def values(self, scope: str) -> list[str]:
        """All values of a scope, in the order their keys were created."""
        return list(self._scopes.get(scope, {}).values())

    def groups(self) -> list[str]:
        """Names of all scopes, sorted by their UTF-8 bytes (which is the order of code points)."""
        return sorted(self._scopes)

    def update(self, scope: str, key: str, ops: list[Op]) -> tuple[str | None, update.Updated]:
        """Applies ``ops``; returns the old value and what came of them. Stores only when one changed something.

        Raises ``WireError`` (``VALUE_TOO_LARGE``), storing nothing.
        """
        old = self.get(scope, key)
        updated = update.apply(old, ops)
        if updated.changed and updated.value is not None:
            self.set(scope, key, updated.value)
        return old, updated

    def watch(self, scope: str | None) -> None:
        """Starts events for a scope, or for all. Counted."""
        self._watches[scope] += 1

    def unwatch(self, scope: str | None) -> None:
        """Ends one ``watch``."""
        if self._watches[scope] <= 1:
            del self._watches[scope]
        else:
            self._watches[scope] -= 1

    def _check_size(self, value: str) -> None:
        if self._value_bytes_max is None:
            return
        size = json_text.byte_len(value)
        if size > self._value_bytes_max:
            limit = self._value_bytes_max
            raise WireError(
                Code.VALUE_TOO_LARGE, f"value of {size} bytes exceeds the configured max_value_bytes limit of {limit}"
            )

    def _changed(self, scope: str, key: str, old: str | None, new: str | None) -> None:
        if scope not in self._watches and None not in self._watches:
            return
        kind = "deleted" if new is None else "created" if old is None else "updated"
        event = (
            f'{{"type":"state","event_type":"state:{kind}",'
            f'"scope":{json_text.string_text(scope)},"key":{json_text.string_text(key)},'
            f'"old_value":{old or "null"},"new_value":{new or "null"}}}'
        )
        self._on_change(scope, key, event)
