"""One entry of state outside the engine, and how it is written in the formats of ``export`` and ``import``.

``jsonl``: a line ``{"scope":S,"key":K,"value":V,"expires_at":MS}`` for each entry, the value in the text it is stored
as. ``msgpack``: the same maps one behind the other, values as msgpack. ``expires_at`` only when there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from json import JSONDecoder
from typing import Any, Final, Literal, TypeAlias

import msgpack

from iii_fast import jsontext
from iii_fast.cli import packed

Format: TypeAlias = Literal["jsonl", "msgpack"]
FORMATS: Final[tuple[Format, ...]] = ("jsonl", "msgpack")

MEMBERS: Final = ("scope", "key", "value", "expires_at")
EXPIRES_AT_MAX: Final = 9_007_199_254_740_991
_INT_MIN, _INT_END = -(1 << 63), 1 << 64
_INT_DIGITS_MAX: Final = 20
_SHOWN_MAX: Final = 60


class RecordError(ValueError):
    """What was read is no record, or a value cannot be written in a format; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """An entry: ``value`` is JSON text, or msgpack that JSON does not have (``packed``); ``expires_at`` Unix ms."""

    scope: str
    key: str
    value: bytes
    expires_at: int | None = None

    def members(self, *, with_scope: bool = True) -> bytes:
        """The entry as the JSON object that ``state::set_many`` takes and that a line of ``jsonl`` is."""
        members = [("scope", jsontext.quote(self.scope))] if with_scope else []
        members += [("key", jsontext.quote(self.key)), ("value", self.value)]
        if self.expires_at is not None:
            members.append(("expires_at", b"%d" % self.expires_at))
        return jsontext.build(members)


def to_line(record: Record) -> bytes:
    """The line of ``jsonl``, with its end. Line breaks between the tokens of a value become spaces."""
    # Inside JSON strings there are no line breaks: control characters are escaped there.
    return record.members().replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


def from_line(line: bytes) -> Record:
    """Reads a line of ``jsonl``. Raises ``RecordError``."""
    try:
        jsontext.check(line)
    except jsontext.JsonTextError as error:
        raise RecordError(f"not JSON: {error}") from None
    members = jsontext.members(line)
    if members is None:
        raise RecordError(f"expected an object, it is: {jsontext.kind(line)}")
    fields = dict(members)
    if len(fields) < len(members):
        raise RecordError("a member is there twice")
    value = fields.pop("value", None)
    return _record({name: jsontext.decode(text) for name, text in fields.items()}, value)


def to_msgpack(record: Record) -> bytes:
    """The map of ``msgpack``. Raises ``RecordError`` naming the entry when its value cannot be expressed exactly."""
    if packed.is_packed(record.value):
        return packed.with_last(_fields(record), "value", record.value)
    try:
        value = _DECODER.decode(record.value.decode())
    except RecordError as error:
        where = f"scope {record.scope!r}, key {record.key!r}"
        raise RecordError(f"{where}: msgpack cannot express {error} exactly; export with --format jsonl") from None
    return bytes(msgpack.packb({**_fields(record), "value": value}))


def _fields(record: Record) -> dict[str, Any]:
    """All but the value."""
    fields: dict[str, Any] = {"scope": record.scope, "key": record.key}
    if record.expires_at is not None:
        fields["expires_at"] = record.expires_at
    return fields


def from_msgpack(fields: Any) -> Record:
    """Reads what a map of ``msgpack`` was unpacked to. Raises ``RecordError``."""
    if not isinstance(fields, dict):
        raise RecordError(f"expected a map, it is: {type(fields).__name__}")
    rest = dict(fields)
    if "value" not in rest:
        return _record(rest, None)
    value = rest.pop("value")
    try:
        return _record(rest, jsontext.encode(value) if _is_json(value) else packed.pack(value))
    except ValueError as error:
        raise RecordError(f"value: {error}") from None


def _record(fields: dict[str, Any], value: bytes | None) -> Record:
    unknown = next((name for name in fields if name not in MEMBERS), None)
    if unknown is not None:
        raise RecordError(f"unknown member {unknown!r}, expected {', '.join(MEMBERS)}")
    for name in ("scope", "key"):
        if not isinstance(fields.get(name), str):
            raise RecordError(f"member `{name}` is missing or no string")
    if value is None:
        raise RecordError("member `value` is missing")
    expires_at = fields.get("expires_at")
    if expires_at is not None and (type(expires_at) is not int or not 0 <= expires_at <= EXPIRES_AT_MAX):
        raise RecordError(f"member `expires_at` is {expires_at!r}, expected Unix time in ms (0 to {EXPIRES_AT_MAX})")
    return Record(fields["scope"], fields["key"], value, expires_at)


def _is_json(value: Any) -> bool:
    """Whether JSON has it: no binary, extensions, floats that are not finite, names that are no strings."""
    level = [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if not all(isinstance(name, str) for name in item):
                    return False
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, float):
                if not math.isfinite(item):
                    return False
            elif item is not None and not isinstance(item, str | bool | int):
                return False
        level = below
    return True


def _integer(digits: str) -> int:
    if len(digits) <= _INT_DIGITS_MAX and _INT_MIN <= (value := int(digits)) < _INT_END:
        return value
    raise RecordError(f"the integer {_shown(digits)}")


def _float(digits: str) -> float:
    value = float(digits)
    try:
        # Exact in the sense of reading back: the shortest text of the float is the same number.
        exact = math.isfinite(value) and Decimal(repr(value)) == Decimal(digits)
    except InvalidOperation:
        exact = False
    if not exact:
        raise RecordError(f"the number {_shown(digits)}")
    return value


def _shown(digits: str) -> str:
    return digits if len(digits) <= _SHOWN_MAX else f"{digits[:_SHOWN_MAX]}... ({len(digits)} characters)"


_DECODER: Final = JSONDecoder(parse_int=_integer, parse_float=_float)
