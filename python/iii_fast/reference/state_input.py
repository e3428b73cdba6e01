"""Reads the input of state functions. Mirrors ``rust/core/src/state``.

Rules and texts: docs/wire.md 17; docs/state.md, Conventions. All methods raise ``InputError`` for what cannot be used.
"""

from __future__ import annotations

from typing import Final

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_value as values
from iii_fast.reference.transcode import InexpressibleError, Step
from iii_fast.reference.update_ops import InputError

ITEMS_MAX: Final = 1_000
SAFE_INTEGER_MAX: Final = 2**53 - 1
"""What every client can say exactly."""
TTL_MS_MAX: Final = 100 * 365 * 24 * 60 * 60 * 1_000


class Fields:
    """The known members of an object. ``where`` is empty for the whole input, or names an item: ``keys[1]``."""

    def __init__(self, text: str, *names: str, where: str = "", aliases: dict[str, str] | None = None) -> None:
        self._where = where
        if values.kind(text) != "object":
            place = f"field `{where}`: " if where else ""
            raise InputError(f"{place}invalid type: {values.kind(text)}, expected an object")
        self._fields: dict[str, str] = {}
        for name, member in values.members(text):
            field = (aliases or {}).get(name, name)
            if field not in names:
                continue
            if field in self._fields:
                place = self.place(field)
                raise InputError(f"field `{place}`: duplicate" if where else f"duplicate field `{place}`")
            self._fields[field] = member

    def place(self, name: str) -> str:
        """A member as texts name it."""
        return f"{self._where}.{name}" if self._where else name

    def value(self, name: str) -> str:
        """A required member of any type."""
        if name not in self._fields:
            raise InputError(f"missing field `{self.place(name)}`")
        return self._fields[name]

    def optional_value(self, name: str) -> str | None:
        """A member of any type; a null is one."""
        return self._fields.get(name)

    def string(self, name: str) -> str:
        """A required string."""
        return values.string(self._typed(name, self.value(name), "string", "a string")) or ""

    def optional_string(self, name: str) -> str | None:
        """A string, if it is there."""
        text = self._optional(name)
        return None if text is None else values.string(self._typed(name, text, "string", "a string"))

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
        return text is not None and values.is_true(self._typed(name, text, "boolean", "a boolean"))

    def integer(self, name: str, least: int, most: int) -> int | None:
        """An integer in a range, if it is there."""
        text = self._optional(name)
        if text is None:
            return None
        number = values.unsigned(text)
        if number is None or not least <= number <= most:
            raise InputError(f"field `{self.place(name)}`: expected an integer from {least} to {most}")
        return number

    def array(self, name: str) -> str:
        """A required array."""
        return self._typed(name, self.value(name), "array", "an array")

    def optional_array(self, name: str) -> str:
        """An array; an empty one when it is not there."""
        text = self._optional(name)
        return "[]" if text is None else self._typed(name, text, "array", "an array")

    def update_ops(self, *steps: Step) -> str:
        """The JSON text of ``ops``, to which ``steps`` lead: updates work on that. Raises ``WireError``."""
        try:
            return values.to_json(self.array("ops"), *steps)
        except InexpressibleError as error:
            raise WireError(Code.NOT_EXPRESSIBLE, str(error)) from None

    def items(self, name: str) -> list[str]:
        """The 1 to ``ITEMS_MAX`` items of a required array."""
        items = list(values.elements(self.array(name)))
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
        return None if text is None or values.kind(text) == "null" else text

    def _typed(self, name: str, text: str, kind: values.Kind, expected: str) -> str:
        if values.kind(text) != kind:
            found = values.kind(text)
            raise InputError(f"field `{self.place(name)}`: invalid type: {found}, expected {expected}")
        return text
