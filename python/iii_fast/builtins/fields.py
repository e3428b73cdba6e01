"""Reads the input of a function of the engine, member by member, with the errors its caller sees (docs/wire.md, 17)."""

from __future__ import annotations

import re
from typing import Any, Final

from iii_fast.contracts import Call
from iii_fast.errors import WireError
from iii_fast.jsontext import decode, is_null, kind, members
from iii_fast.protocol import Code

_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
"""As many digits as any bound here could need."""


class Fields:
    """The members of a call's payload; a null payload is ``{}``. Members that are null count as absent.

    Raises ``WireError`` (``deserialization_error``) when the payload is no object or has one of ``names`` twice.
    """

    def __init__(self, call: Call, *names: str) -> None:
        self._function_id = call.function_id
        self._members: dict[str, bytes] = {}
        found = [] if is_null(call.data) else members(call.data)
        if found is None:
            raise self.error(f"invalid type: {kind(call.data)}, expected an object")
        for name, text in found:
            if name in names:
                if name in self._members:
                    raise self.error(f"duplicate field `{name}`")
                self._members[name] = text

    def raw(self, name: str) -> bytes | None:
        """A member's JSON text; ``None`` when it is absent or null."""
        text = self._members.get(name)
        return None if is_null(text) else text

    def value(self, name: str) -> Any:
        """A member's value, whatever it is."""
        text = self.raw(name)
        return None if text is None else decode(text)

    def string(self, name: str) -> str:
        """A required string."""
        if name not in self._members:
            raise self.error(f"missing field `{name}`")
        return self._typed(name, self._members[name], "string", "a string")  # type: ignore[no-any-return]

    def optional_string(self, name: str) -> str | None:
        """A string, if there is one."""
        return self._optional(name, "string", "a string")  # type: ignore[no-any-return]

    def optional_boolean(self, name: str) -> bool:
        """A boolean, ``False`` without one."""
        return bool(self._optional(name, "boolean", "a boolean"))

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """An integer of ``low..high``, written as digits only, if there is one."""
        text = self.raw(name)
        if text is None:
            return None
        digits = text.strip()
        if _DIGITS.fullmatch(digits) and low <= int(digits) <= high:
            return int(digits)
        raise self.error(f"field `{name}`: expected an integer from {low} to {high}")

    def strings(self, name: str) -> list[str]:
        """An array of strings, empty without one."""
        items = self._optional(name, "array", "an array") or []
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise self.error(f"field `{name}[{index}]`: expected a string")
        return list(items)

    def error(self, reason: str) -> WireError:
        """What the caller sees when the input is unusable."""
        return WireError(Code.DESERIALIZATION_ERROR, f"Failed to deserialize input for {self._function_id}: {reason}")

    def _optional(self, name: str, wanted: str, expected: str) -> Any:
        text = self.raw(name)
        return None if text is None else self._typed(name, text, wanted, expected)

    def _typed(self, name: str, text: bytes, wanted: str, expected: str) -> Any:
        if kind(text) != wanted:
            raise self.error(f"field `{name}`: invalid type: {kind(text)}, expected {expected}")
        return decode(text)
