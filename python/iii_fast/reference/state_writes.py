"""The functions ``state::*`` that write, but for ``transact``. Mirrors ``rust/core/src/state``.

Each takes the state, the time of the call and its input, and returns its answer. Rules: docs/wire.md 17 to 21,
docs/state.md 2, 3 and 9 to 12.
"""

from __future__ import annotations

from dataclasses import replace

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_value as values
from iii_fast.reference import update as update_text
from iii_fast.reference.commit import SetOp
from iii_fast.reference.equality import equal
from iii_fast.reference.state import State
from iii_fast.reference.state_answer import Answer, or_null, updated_text, written_text
from iii_fast.reference.state_batch import Batch
from iii_fast.reference.state_entries import Entry
from iii_fast.reference.state_input import SAFE_INTEGER_MAX, Fields
from iii_fast.reference.state_reads import read_keys
from iii_fast.reference.transcode import InexpressibleError
from iii_fast.reference.update_ops import Op, read_ops


def set_value(state: State, now: int, data: str) -> Answer:
    """Sets one value."""
    fields = Fields(data, "scope", "key", "value", "ttl_ms", "expires_at", "durable", aliases={"data": "value"})
    scope, key, value = fields.string("scope"), fields.string("key"), fields.value("value")
    expires_at, durable = fields.expires_at(now), fields.boolean("durable")
    batch = state.begin(now, durable=durable, to_set=[(scope, key)])
    old = batch.set(scope, key, value, expires_at)
    return Answer(written_text(old, value), state.commit(batch), durable)


def delete(state: State, now: int, data: str) -> Answer:
    """Removes one value; no result when there is none."""
    fields = Fields(data, "scope", "key", "durable")
    scope, key, durable = fields.string("scope"), fields.string("key"), fields.boolean("durable")
    batch = state.begin(now, durable=durable)
    old = batch.delete(scope, key)
    return Answer(old, state.commit(batch), durable)


def update(state: State, now: int, data: str) -> Answer:
    """Changes one value by operations; those that fail are told, the others apply."""
    fields = Fields(data, "scope", "key", "ops", "ttl_ms", "expires_at", "durable")
    scope, key, ops = fields.string("scope"), fields.string("key"), read_ops(fields.update_ops("data", "ops"))
    expires_at, durable = fields.expires_at(now), fields.boolean("durable")
    batch = state.begin(now, durable=durable, to_set=[(scope, key)])
    found = batch.get(scope, key)
    updated = apply_update(found, ops)
    keep_update(batch, scope, key, found, updated, expires_at)
    old = None if found is None else found.value
    return Answer(updated_text(old, updated), state.commit(batch), durable)


def apply_update(found: Entry | SetOp | None, ops: list[Op]) -> update_text.Updated:
    """What comes of operations on what is there, as JSON text. Raises ``WireError`` (``not_expressible``)."""
    if found is None:
        return update_text.apply(None, ops)
    try:
        updated = update_text.apply(values.to_json(found.value, "old_value"), ops)
    except InexpressibleError as error:
        raise WireError(Code.NOT_EXPRESSIBLE, str(error)) from None
    return updated if updated.changed else replace(updated, value=found.value)


def keep_update(
    batch: Batch,
    scope: str,
    key: str,
    found: Entry | SetOp | None,
    updated: update_text.Updated,
    expires_at: int | None,
) -> None:
    """Writes what came of an update, if it changed something; without a new expiry the one that was found stays."""
    if updated.changed and updated.value is not None:
        if expires_at is None and found is not None:
            expires_at = found.expires_at
        batch.set(scope, key, updated.value, expires_at)


def compare_and_set(state: State, now: int, data: str) -> Answer:
    """Sets one value if what is there is what the caller expects."""
    fields = Fields(data, "scope", "key", "value", "expected", "version", "ttl_ms", "expires_at", "durable")
    scope, key, value = fields.string("scope"), fields.string("key"), fields.value("value")
    expected, version = fields.optional_value("expected"), fields.integer("version", 1, SAFE_INTEGER_MAX)
    fields.exclusive("expected", "version", both=expected is not None and version is not None)
    expires_at, durable = fields.expires_at(now), fields.boolean("durable")
    batch = state.begin(now, durable=durable, to_set=[(scope, key)])
    state.quotas.check_value(value)
    entry = state.get(scope, key, now)
    if not _is_as_expected(entry, expected, version):
        return Answer(_compared_text(False, entry))
    batch.set(scope, key, value, expires_at)
    position = state.commit(batch)
    return Answer(_compared_text(True, state.get(scope, key, now)), position, durable)


def _is_as_expected(entry: Entry | None, expected: str | None, version: int | None) -> bool:
    if expected is not None:
        return entry is not None and equal(entry.value, expected)
    if version is not None:
        return entry is not None and entry.version == version
    return entry is None


def _compared_text(swapped: bool, entry: Entry | None) -> str:
    value, version = ("null", "null") if entry is None else (entry.value, entry.version)
    return f'{{"swapped":{"true" if swapped else "false"},"current":{value},"version":{version}}}'


def set_many(state: State, now: int, data: str) -> Answer:
    """Sets many values, or none when one of them cannot be."""
    fields = Fields(data, "scope", "entries", "durable")
    own_scope = fields.optional_string("scope")
    entries = []
    for index, text in enumerate(fields.items("entries")):
        item = Fields(text, "scope", "key", "value", "ttl_ms", "expires_at", where=f"entries[{index}]")
        entries.append((item.scope(own_scope), item.string("key"), item.value("value"), item.expires_at(now)))
    durable = fields.boolean("durable")
    batch = state.begin(now, durable=durable, to_set=[(scope, key) for scope, key, _, _ in entries])
    for entry in entries:
        batch.set(*entry)
    position = state.commit(batch)
    return Answer(f'{{"written":{len(entries)},"version":{or_null(position)}}}', position, durable)


def delete_many(state: State, now: int, data: str) -> Answer:
    """Removes many values; those that are not there do not count."""
    fields = Fields(data, "scope", "keys", "durable")
    keys, durable = read_keys(fields), fields.boolean("durable")
    batch = state.begin(now, durable=durable)
    for scope, key in keys:
        batch.delete(scope, key)
    deleted = len(batch.ops)
    position = state.commit(batch)
    return Answer(_deleted_text(deleted, position), position, durable)


def delete_scope(state: State, now: int, data: str) -> Answer:
    """Removes all values of a scope."""
    fields = Fields(data, "scope", "durable")
    scope, durable = fields.string("scope"), fields.boolean("durable")
    deleted, position = state.delete_scope(state.begin(now, durable=durable), scope)
    return Answer(_deleted_text(deleted, position), position, durable)


def _deleted_text(deleted: int, position: int | None) -> str:
    return f'{{"deleted":{deleted},"version":{or_null(position)}}}'
