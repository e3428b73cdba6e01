"""``state::transact``: checks and operations at one instant, all or none. Mirrors ``rust/core/src/state``.

Rules: docs/state.md 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from iii_fast.reference import codec_json as json_text
from iii_fast.reference import codec_value as values
from iii_fast.reference.state import State
from iii_fast.reference.state_answer import Answer, or_null, updated_text, written_text
from iii_fast.reference.state_batch import Batch
from iii_fast.reference.state_input import ITEMS_MAX, SAFE_INTEGER_MAX, Fields
from iii_fast.reference.state_writes import apply_update, keep_update
from iii_fast.reference.update_ops import InputError, read_ops
from iii_fast.reference.update_ops import Op as UpdateOp

_TYPES: Final = ("set", "update", "delete")


@dataclass(frozen=True, slots=True)
class _Check:
    """The entry must have this version, or not be there when that is ``None``."""

    scope: str
    key: str
    version: int | None


@dataclass(frozen=True, slots=True)
class _Set:
    scope: str
    key: str
    value: str
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class _Update:
    scope: str
    key: str
    ops: list[UpdateOp]
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class _Delete:
    scope: str
    key: str


_Op: TypeAlias = _Set | _Update | _Delete


class _FailedOpError(Exception):
    """An update with an operation that fails; ``errors`` are JSON texts."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__()
        self.errors = errors


def transact(state: State, now: int, data: str) -> Answer:
    """Makes all checks, then applies all operations in their order; or does nothing."""
    fields = Fields(data, "checks", "ops", "durable")
    checks, ops = _read(fields, now)
    durable = fields.boolean("durable")
    to_set = [(op.scope, op.key) for op in ops if not isinstance(op, _Delete)]
    batch = state.begin(now, durable=durable, to_set=to_set)
    for index, check in enumerate(checks):
        entry = state.get(check.scope, check.key, now)
        version = None if entry is None else entry.version
        if version != check.version:
            return Answer(_failed("check", index, check, f'"version":{or_null(version)}'))
    results = []
    for index, op in enumerate(ops):
        try:
            results.append(_apply(batch, op))
        except _FailedOpError as failed:
            return Answer(_failed("op", index, op, f'"errors":[{",".join(failed.errors)}]'))
    position = state.commit(batch)
    result = f'{{"committed":true,"version":{or_null(position)},"results":[{",".join(results)}]}}'
    return Answer(result, position, durable)


def _failed(what: str, index: int, item: _Check | _Op, reason: str) -> str:
    scope, key = json_text.string_text(item.scope), json_text.string_text(item.key)
    return f'{{"committed":false,"failed_{what}":{{"index":{index},"scope":{scope},"key":{key},{reason}}}}}'


def _apply(batch: Batch, op: _Op) -> str:
    """Applies one operation; returns what its function would answer. Raises ``_FailedOpError``, and ``WireError``."""
    match op:
        case _Set(scope, key, value, expires_at):
            return written_text(batch.set(scope, key, value, expires_at), value)
        case _Delete(scope, key):
            return or_null(batch.delete(scope, key))
        case _Update(scope, key, ops, expires_at):
            found = batch.get(scope, key)
            updated = apply_update(found, ops)
            if updated.errors:
                raise _FailedOpError(updated.errors)
            keep_update(batch, scope, key, found, updated, expires_at)
            return updated_text(None if found is None else found.value, updated)


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(fields: Fields, now: int) -> tuple[list[_Check], list[_Op]]:
    """Types and numbers first, then item after item. Raises ``InputError``."""
    checks = list(values.elements(fields.optional_array("checks")))
    ops = list(values.elements(fields.array("ops")))
    if not ops:
        raise InputError(f"field `ops`: expected 1 to {ITEMS_MAX} items, got 0")
    count = len(checks) + len(ops)
    if count > ITEMS_MAX:
        raise InputError(f"fields `checks` and `ops`: expected at most {ITEMS_MAX} items, got {count}")
    return (
        [_read_check(f"checks[{index}]", check) for index, check in enumerate(checks)],
        [_read_op(index, op, now) for index, op in enumerate(ops)],
    )


def _read_check(where: str, text: str) -> _Check:
    fields = Fields(text, "scope", "key", "version", "absent", where=where)
    scope, key = fields.string("scope"), fields.string("key")
    version, absent = fields.integer("version", 1, SAFE_INTEGER_MAX), fields.boolean("absent")
    if (version is not None) == absent:
        raise InputError(f"field `{where}`: give `version` or `absent`")
    return _Check(scope, key, version)


def _read_op(index: int, text: str, now: int) -> _Op:
    where = f"ops[{index}]"
    fields = Fields(text, "type", "scope", "key", "value", "ops", "ttl_ms", "expires_at", where=where)
    kind = fields.string("type")
    if kind not in _TYPES:
        found, expected = values.shown(fields.value("type")), ", ".join(_TYPES)
        raise InputError(f"field `{where}.type`: unknown type {found}, expected one of {expected}")
    scope, key = fields.string("scope"), fields.string("key")
    if kind == "set":
        return _Set(scope, key, fields.value("value"), fields.expires_at(now))
    if kind == "update":
        return _Update(
            scope, key, read_ops(fields.update_ops("data", "ops", index, "ops"), f"{where}.ops"), fields.expires_at(now)
        )
    return _Delete(scope, key)
