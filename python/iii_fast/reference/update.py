"""The six operations of ``state::update`` on JSON text: only what an operation names changes, all other text stays.

Mirrors ``rust/core/src/state``. Rules: docs/wire.md 19 and 20. Knows no keys and no storage.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from iii_fast.protocol import JSON_DEPTH_MAX
from iii_fast.reference import codec_json as json_text
from iii_fast.reference.object_text import ObjectText
from iii_fast.reference.update_ops import Op

PATH_SEGMENTS_MAX: Final = 32
SEGMENT_BYTES_MAX: Final = 256
MERGE_DEPTH_MAX: Final = 16
MERGE_KEYS_MAX: Final = 1024
PROTOTYPE_KEYS: Final = frozenset({"__proto__", "constructor", "prototype"})
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
DOC_URL: Final = "https://iii.dev/docs/workers/iii-state#error-codes"

_INTEGER: Final = re.compile(r"-?[0-9]+")


class _OpError(Exception):
    """An operation failed; the others still apply. ``code`` comes without the operation's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Updated:
    """What came of all operations: the new text (``None``: still nothing there) and the error entries as JSON text."""

    value: str | None
    changed: bool
    errors: list[str]


def apply(value: str | None, ops: list[Op]) -> Updated:
    """Applies ``ops`` in order to ``value``, the text of what is stored, or ``None``."""
    changed = False
    errors = []
    for index, op in enumerate(ops):
        try:
            result = _apply_one(value, op)
        except _OpError as error:
            errors.append(_error_entry(index, f"{op.kind}.{error.code}", error.message))
            continue
        if result is not None:
            value = result
            changed = True
    return Updated(value, changed, errors)


def _error_entry(index: int, code: str, message: str) -> str:
    message_text = json_text.string_text(message)
    return f'{{"op_index":{index},"code":"{code}","message":{message_text},"doc_url":"{DOC_URL}"}}'


def _apply_one(root: str | None, op: Op) -> str | None:
    """The new root, or ``None`` when the operation succeeded without changing anything."""
    _check_path(op.path)
    match op.kind:
        case "set":
            return _set(root, op)
        case "merge":
            return _merge(root, op)
        case "increment" | "decrement":
            return _add(root, op)
        case "append":
            return _append(root, op)
        case "remove":
            return _remove(root, op)


def _check_path(path: tuple[str, ...]) -> None:
    if len(path) > PATH_SEGMENTS_MAX:
        raise _OpError("path.too_deep", f"Path depth {len(path)} exceeds maximum of {PATH_SEGMENTS_MAX}")
    for segment in path:
        size = json_text.byte_len(segment)
        if size == 0:
            raise _OpError("path.empty_segment", "Path contains an empty segment")
        if size > SEGMENT_BYTES_MAX:
            raise _OpError(
                "path.segment_too_long", f"Path segment of {size} bytes exceeds maximum of {SEGMENT_BYTES_MAX}"
            )
        if segment in PROTOTYPE_KEYS:
            raise _OpError("path.proto_polluted", f"Path segment '{segment}' is not allowed (prototype pollution).")


def _path_text(path: tuple[str, ...]) -> str:
    """A path as error texts show it."""
    if not path:
        return "root"
    return path[0] if len(path) == 1 else f"[{', '.join(path)}]"


def _root_object(root: str | None, op: Op) -> ObjectText:
    """The object that an operation with a path works in; nothing stored counts as an empty one."""
    if root is not None and json_text.kind(root) != "object":
        kind = json_text.kind(root)
        raise _OpError(
            "target_not_object", f"Cannot {op.kind} at path '{_path_text(op.path)}': target is {kind}, expected object."
        )
    return ObjectText(root or "{}")


def _set(root: str | None, op: Op) -> str:
    if not op.path:
        return op.argument
    target = _root_object(root, op)
    target.put(op.path[0], op.argument)
    return str(target)


def _remove(root: str | None, op: Op) -> str | None:
    if root is None:
        return None
    if not op.path:
        return "null"
    target = _root_object(root, op)
    return str(target) if target.remove(op.path[0]) else None


def _add(root: str | None, op: Op) -> str:
    if not op.path:
        return _sum(root or "0", op)
    target = _root_object(root, op)
    target.put(op.path[0], _sum(target.get(op.path[0]) or "0", op))
    return str(target)


def _sum(number: str, op: Op) -> str:
    """Adds or subtracts ``op.argument``, exactly between integers, as 64-bit floats otherwise (rule 20)."""
    if json_text.kind(number) != "number":
        raise _OpError("not_number", f"Expected number at path '{_path_text(op.path)}', got {json_text.kind(number)}.")
    summand, by = _number(number), _number(op.argument)
    if summand is not None and by is not None:
        total = summand - by if op.kind == "decrement" else summand + by
        if isinstance(total, float):
            if math.isfinite(total):
                return json_text.float_text(total)
        elif INTEGER_MIN <= total <= INTEGER_MAX:
            return str(total)
    raise _OpError("not_number", f"Number overflow at path '{_path_text(op.path)}'.")


def _number(text: str) -> int | float | None:
    """A number as sums see it; nothing for an integer outside the range that sums have."""
    if not _INTEGER.fullmatch(text):
        return float(text)
    # Longer texts are out of range (JSON has no leading zeros), and Python refuses to convert very long ones.
    if len(text) > len(str(INTEGER_MIN)):
        return None
    integer = int(text)
    return integer if INTEGER_MIN <= integer <= INTEGER_MAX else None


def _merge(root: str | None, op: Op) -> str | None:
    _check_merge_value(op.argument)
    if not op.path:
        _root_object(root, op)  # only below the root is anything but an object replaced
    return _merge_at(root, op.path, op.argument)


def _merge_at(current: str | None, path: tuple[str, ...], value: str) -> str | None:
    """Merges into the object at ``path`` below ``current``; steps that are no objects become empty ones."""
    is_object = current is not None and json_text.kind(current) == "object"
    target = ObjectText(current if current is not None and is_object else "{}")
    if path:
        inner = _merge_at(target.get(path[0]), path[1:], value)
        if inner is None:
            return None
        target.put(path[0], inner)
        return str(target)
    members = list(json_text.members(value))
    if is_object and not members:
        return None
    for name, member in members:
        target.put(name, member)
    return str(target)


def _check_merge_value(value: str) -> None:
    if json_text.kind(value) != "object":
        raise _OpError("value.not_an_object", "Merge value must be a JSON object")
    names = dict.fromkeys(name for name, _ in json_text.members(value))
    if len(names) > MERGE_KEYS_MAX:
        raise _OpError(
            "value.too_many_keys", f"Merge value has {len(names)} top-level keys, exceeds maximum of {MERGE_KEYS_MAX}"
        )
    depth = json_text.depth(value)
    if depth > MERGE_DEPTH_MAX:
        raise _OpError("value.too_deep", f"Merge value JSON nesting depth {depth} exceeds maximum of {MERGE_DEPTH_MAX}")
    for name in names:
        if name in PROTOTYPE_KEYS:
            raise _OpError("value.proto_polluted", f'Merge value top-level key "{name}" is a prototype-pollution sink')


def _append(root: str | None, op: Op) -> str:
    depth = len(op.path) + 1 + json_text.depth(op.argument)
    if depth > JSON_DEPTH_MAX:
        raise _OpError(
            "value.too_deep",
            f"Append value at path '{_path_text(op.path)}' would nest {depth} levels, "
            f"exceeds maximum of {JSON_DEPTH_MAX}",
        )
    if not op.path:
        return _appended(root, op)
    target = _root_object(root, op)
    return _append_at(target, op.path, op)


def _append_at(target: ObjectText, path: tuple[str, ...], op: Op) -> str:
    """Appends at ``path`` below ``target``; steps that are no objects become empty ones."""
    name, rest = path[0], path[1:]
    current = target.get(name)
    if rest:
        step = current if current is not None and json_text.kind(current) == "object" else "{}"
        target.put(name, _append_at(ObjectText(step), rest, op))
    else:
        target.put(name, _appended(current, op))
    return str(target)


def _appended(current: str | None, op: Op) -> str:
    """What is at the end of the path after appending to ``current``."""
    value = op.argument
    if current is None and len(op.path) > 1:
        return f"[{value}]"
    kind = json_text.kind(current or "null")
    if kind == "null":
        return value if json_text.kind(value) == "string" else f"[{value}]"
    if kind == "array" and current is not None:
        return _pushed(current, value)
    if kind != "string" or current is None:
        raise _OpError(
            "type_mismatch",
            f"Cannot append at path '{_path_text(op.path)}': target is {kind}, "
            "expected array, string, null, or missing field.",
        )
    if json_text.kind(value) != "string":
        raise _OpError(
            "type_mismatch",
            f"Expected string append value at path '{_path_text(op.path)}', got {json_text.kind(value)}.",
        )
    return current[:-1] + value[1:]


def _pushed(array: str, value: str) -> str:
    """The array with one more element, right behind the last one."""
    inner = array[1:-1].rstrip(" \t\n\r")
    if not inner:
        return f"[{value}{array[1:]}"
    end = 1 + len(inner)
    return f"{array[:end]},{value}{array[end:]}"
