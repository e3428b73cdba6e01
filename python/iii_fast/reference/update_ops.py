"""Reads the operations of ``state::update`` from JSON text: which they are, not what they do.

Mirrors ``rust/core/src/state``. Rules: docs/wire.md 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from iii_fast.reference import codec_json as json_text

OpKind: TypeAlias = Literal["set", "merge", "increment", "decrement", "append", "remove"]

_OP_KINDS: Final = ("set", "merge", "increment", "decrement", "append", "remove")
_FIELDS: Final = frozenset({"type", "path", "value", "by"})
_SHORT_FIELDS: Final = frozenset({"field", "by"})


class InputError(ValueError):
    """The input of a state function cannot be used; the text is the reason that ends ``Failed to deserialize ...``."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. ``path`` is empty for the root; ``argument`` is the JSON text of ``value`` or ``by``."""

    kind: OpKind
    path: tuple[str, ...]
    argument: str = "null"


def read_ops(ops: str, where: str = "ops") -> list[Op]:
    """All operations of an array, which texts call ``where``. Raises ``InputError`` for the first that is not one."""
    _expect(where, ops, "array", "an array")
    return [_read_op(f"{where}[{index}]", op) for index, op in enumerate(json_text.elements(ops))]


def _read_op(where: str, op: str) -> Op:
    fields = _read_fields(where, op, _FIELDS)
    short = None if "type" in fields else _read_short(where, op)
    if short is not None:
        return short
    kind = _read_kind(where, fields)
    path = _read_path(where, kind, fields.get("path"))
    match kind:
        case "set":
            return Op(kind, path, fields.get("value", "null"))
        case "merge" | "append":
            if "value" not in fields:
                raise InputError(f"field `{where}.value`: missing")
            return Op(kind, path, fields["value"])
        case "increment" | "decrement":
            return Op(kind, path, _required(where, fields, "by", "number", "a number"))
        case "remove":
            return Op(kind, path)


def _read_short(where: str, op: str) -> Op | None:
    """How iii 0.10 wrote operations: ``{"set":V}``, ``{"increment":{"field":F,"by":N}}``, ``{"remove":F}``, ..."""
    members = list(json_text.members(op))
    if len(members) != 1:
        return None
    kind, value = members[0]
    match kind:
        case "set" | "merge":
            return Op(kind, (), value)
        case "remove":
            _expect(f"{where}.{kind}", value, "string", "a string")
            return Op(kind, _segments(value))
        case "increment" | "decrement":
            where = f"{where}.{kind}"
            fields = _read_fields(where, value, _SHORT_FIELDS)
            field = _required(where, fields, "field", "string", "a string")
            return Op(kind, _segments(field), _required(where, fields, "by", "number", "a number"))
    return None


def _read_fields(where: str, op: str, names: frozenset[str]) -> dict[str, str]:
    _expect(where, op, "object", "an object")
    fields: dict[str, str] = {}
    for name, value in json_text.members(op):
        if name in names:
            if name in fields:
                raise InputError(f"field `{where}.{name}`: duplicate")
            fields[name] = value
    return fields


def _read_kind(where: str, fields: dict[str, str]) -> OpKind:
    if "type" not in fields:
        raise InputError(f"field `{where}.type`: missing")
    _expect(f"{where}.type", fields["type"], "string", "a string")
    kind = json_text.unescape(fields["type"])
    if kind not in _OP_KINDS:
        expected = ", ".join(_OP_KINDS)
        raise InputError(f"field `{where}.type`: unknown operation {fields['type']}, expected one of {expected}")
    return cast(OpKind, kind)


def _read_path(where: str, kind: OpKind, path: str | None) -> tuple[str, ...]:
    """A string is one literal segment, an array (merge and append only) has nested ones."""
    nested = kind in ("merge", "append")
    if path is None or (nested and path == "null"):
        if nested:
            return ()
        raise InputError(f"field `{where}.path`: missing")
    if nested and json_text.kind(path) == "array":
        segments = list(json_text.elements(path))
        for segment in segments:
            _expect(f"{where}.path", segment, "string", "a string or an array of strings", found="array")
        return tuple(json_text.unescape(segment) for segment in segments)
    _expect(f"{where}.path", path, "string", "a string or an array of strings" if nested else "a string")
    return _segments(path)


def _segments(path: str) -> tuple[str, ...]:
    """A string path: one literal first-level name, or the root when it is empty."""
    segment = json_text.unescape(path)
    return (segment,) if segment else ()


def _required(where: str, fields: dict[str, str], name: str, kind: json_text.Kind, expected: str) -> str:
    if name not in fields:
        raise InputError(f"field `{where}.{name}`: missing")
    _expect(f"{where}.{name}", fields[name], kind, expected)
    return fields[name]


def _expect(where: str, value: str, kind: json_text.Kind, expected: str, *, found: str | None = None) -> None:
    if json_text.kind(value) != kind:
        raise InputError(f"field `{where}`: invalid type: {found or json_text.kind(value)}, expected {expected}")
