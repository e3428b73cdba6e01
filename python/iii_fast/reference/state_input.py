"""Reads the input of state functions from JSON text. Mirrors ``rust/core/src/state``.

Rules and texts: docs/wire.md 17; docs/state.md, Conventions. All methods raise ``InputError`` for what cannot be used.
"""

from __future__ import annotations

import re
from typing import Final

from iii_fast.reference import codec_json as json_text
from iii_fast.reference.update_ops import InputError

ITEMS_MAX: Final = 1_000
SAFE_INTEGER_MAX: Final = 2**53 - 1
"""What every client can say exactly."""
TTL_MS_MAX: Final = 100 * 365 * 24 * 60 * 60 * 1_000

_DIGITS: Final = re.compile("[0-9]+")
_DIGITS_MAX: Final = 20
"""Longer integers are beyond every range here (JSON has no leading zeros), and Python refuses very long ones."""


class Fields:
    """The known members of an object. ``where`` is empty for the whole input, or names an item: ``keys[1]``."""

    def __init__(self, text: str, *names: str, where: str = "", aliases: dict[str, str] | None = None) -> None:
        self._where = where
        if json_text.kind(text) != "object":
            place = f"field `{where}`: " if where else ""
            raise InputError(f"{place}invalid type: {json_text.kind(text)}, expected an object")
        self._fields: dict[str, str] = {}
        for name, value in json_text.members(text):
            field = (aliases or {}).get(name, name)
            if field not in names:
                continue
            if field in self._fields:
                place = self.place(field)
                raise InputError(f"field `{place}`: duplicate" if where else f"duplicate field `{place}`")
            self._fields[field] = value

    def place(self, name: str) -> str:
        """A member as texts name it."""
        return f"{self._where}.{name}" if self._where else name

    def value(self, name: str) -> str:
        """The text of a required member of any type."""
        if name not in self._fields:
            raise InputError(f"missing field `{self.place(name)}`")
        return self._fields[name]

    def optional_value(self, name: str) -> str | None:
        """The text of a member of any type; a null is one."""
        return self._fields.get(name)

    def string(self, name: str) -> str:
        """A required string."""
        return json_text.unescape(self._typed(name, self.value(name), "string", "a string"))

    def optional_string(self, name: str) -> str | None:
        """A string, if it is there."""
        text = self._optional(name)
        return None if text is None else json_text.unescape(self._typed(name, text, "string", "a string"))

    def scope(self, default: str | None) -> str:
        """``scope`` of an item, or else the call's own."""
        scope = self.optional_string("scope")
        if scope is None:
            scope = default
        if scope is None:
            raise InputError(f"missing field `{self.place('scope')}`")
        return scope

    def boolean(self, name: str) -> bool:
        """A boolean; false when it is not there."""
        text = self._optional(name)
        return text is not None and self._typed(name, text, "boolean", "a boolean") == "true"

    def integer(self, name: str, least: int, most: int) -> int | None:
        """An integer in a range, if it is there."""
        text = self._optional(name)
        if text is None:
            return None
        number = int(text) if _DIGITS.fullmatch(text) and len(text) <= _DIGITS_MAX else -1
        if not least <= number <= most:
            raise InputError(f"field `{self.place(name)}`: expected an integer from {least} to {most}")
        return number

    def array(self, name: str) -> str:
        """The text of a required array."""
        return self._typed(name, self.value(name), "array", "an array")

    def optional_array(self, name: str) -> str:
        """The text of an array; an empty one when it is not there."""
        text = self._optional(name)
        return "[]" if text is None else self._typed(name, text, "array", "an array")

    def items(self, name: str) -> list[str]:
        """The texts of 1 to ``ITEMS_MAX`` items of a required array."""
        items = list(json_text.elements(self.array(name)))
        if not 1 <= len(items) <= ITEMS_MAX:
            raise InputError(f"field `{self.place(name)}`: expected 1 to {ITEMS_MAX} items, got {len(items)}")
        return items

    def expires_at(self, now: int) -> int | None:
        """``ttl_ms`` from ``now`` on, or ``expires_at``: Unix ms."""
        ttl = self.integer("ttl_ms", 1, TTL_MS_MAX)
        instant = self.integer("expires_at", 0, SAFE_INTEGER_MAX)
        self.exclusive("ttl_ms", "expires_at", both=ttl is not None and instant is not None)
        return instant if ttl is None else now + ttl

    def exclusive(self, first: str, second: str, *, both: bool) -> None:
        """Refuses two members of which only one may be given."""
        if both:
            raise InputError(f"fields `{self.place(first)}` and `{self.place(second)}`: give one of them")

    def _optional(self, name: str) -> str | None:
        text = self._fields.get(name)
        return None if text == "null" else text

    def _typed(self, name: str, text: str, kind: json_text.Kind, expected: str) -> str:
        if json_text.kind(text) != kind:
            found = json_text.kind(text)
            raise InputError(f"field `{self.place(name)}`: invalid type: {found}, expected {expected}")
        return text
