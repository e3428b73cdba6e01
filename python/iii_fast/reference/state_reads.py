"""The functions ``state::*`` that read. Mirrors ``rust/core/src/state``.

Each takes the state, the time of the call and its input, and returns its answer. Rules: docs/wire.md 17 and 18,
docs/state.md 5 to 8.
"""

from __future__ import annotations

import re
from typing import Final

from iii_fast.errors import WireError
from iii_fast.protocol import Code
from iii_fast.reference import codec_json as json_text
from iii_fast.reference import codec_value as values
from iii_fast.reference.state import State
from iii_fast.reference.state_answer import Answer, entry_text, or_null
from iii_fast.reference.state_input import Fields

PAGE_ENTRIES_MAX: Final = 1_000
PAGE_ENTRIES: Final = 100
PAGE_BYTES_MAX: Final = 16_000_000
PAGE_BYTES: Final = 1_000_000
INSERTION_MAX: Final = 2**64 - 1

_CURSOR: Final = re.compile("c([1-9][0-9]{0,19})")


def get(state: State, now: int, data: str) -> Answer:
    """The value, with ``meta`` the entry; no result when there is none."""
    fields = Fields(data, "scope", "key", "meta")
    scope, key, meta = fields.string("scope"), fields.string("key"), fields.boolean("meta")
    entry = state.get(scope, key, now)
    if meta:
        return Answer(entry_text(entry))
    return Answer(None if entry is None else entry.value)


def get_many(state: State, now: int, data: str) -> Answer:
    """Values or entries of many keys at one instant."""
    fields = Fields(data, "scope", "keys", "meta")
    keys, meta = read_keys(fields), fields.boolean("meta")
    entries = [state.get(scope, key, now) for scope, key in keys]
    if meta:
        return Answer(f'{{"entries":[{",".join(or_null(entry_text(entry)) for entry in entries)}]}}')
    values = ("null" if entry is None else entry.value for entry in entries)
    return Answer(f'{{"values":[{",".join(values)}]}}')


def read_keys(fields: Fields) -> list[tuple[str, str]]:
    """``scope`` and ``keys`` of a call: scope and key of each item. Raises ``InputError``."""
    own_scope = fields.optional_string("scope")
    items = fields.items("keys")
    read = (Fields(item, "scope", "key", where=f"keys[{index}]") for index, item in enumerate(items))
    return [(item.scope(own_scope), item.string("key")) for item in read]


def list_values(state: State, now: int, data: str) -> Answer:
    """All values of a scope."""
    scope = Fields(data, "scope").string("scope")
    return Answer(f"[{','.join(entry.value for _, entry in state.items(scope, now))}]")


def list_groups(state: State, now: int, data: str) -> Answer:
    """All scopes; null is taken as ``{}``."""
    if values.kind(data) != "null":
        Fields(data)
    return Answer(f'{{"groups":[{",".join(map(json_text.string_text, state.groups(now)))}]}}')


def list_keys(state: State, now: int, data: str) -> Answer:
    """The keys of a scope that begin with a prefix."""
    fields = Fields(data, "scope", "prefix")
    scope, prefix = fields.string("scope"), fields.optional_string("prefix") or ""
    keys = (json_text.string_text(key) for key, _ in state.items(scope, now) if key.startswith(prefix))
    return Answer(f'{{"keys":[{",".join(keys)}]}}')


def list_entries(state: State, now: int, data: str) -> Answer:
    """A page of keys and values."""
    fields = Fields(data, "scope", "prefix", "cursor", "limit", "max_bytes")
    scope, prefix = fields.string("scope"), fields.optional_string("prefix") or ""
    after = _read_cursor(fields)
    limit = fields.integer("limit", 1, PAGE_ENTRIES_MAX) or PAGE_ENTRIES
    bytes_max = fields.integer("max_bytes", 1, PAGE_BYTES_MAX) or PAGE_BYTES
    page = state.page(scope, now, prefix=prefix, after=after, limit=limit, bytes_max=bytes_max)
    if page.oversized is not None:
        key, size = page.oversized
        text = f"entry {json_text.string_text(key)} has {size} bytes, field `max_bytes` is {bytes_max}"
        raise WireError(Code.ROW_TOO_LARGE, text)
    cursor = "null" if page.cursor is None else f'"c{page.cursor}"'
    done = "true" if page.cursor is None else "false"
    total = state.count(scope, now)
    return Answer(f'{{"entries":[{",".join(page.rows)}],"next_cursor":{cursor},"done":{done},"total":{total}}}')


def _read_cursor(fields: Fields) -> int:
    """The insertion number behind which a page begins, 0 without. Raises ``WireError`` (``INVALID_CURSOR``)."""
    cursor = fields.optional_string("cursor")
    if cursor is None:
        return 0
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[1]) > INSERTION_MAX:
        text = f"field `cursor`: {values.shown(fields.value('cursor'))} is not a cursor of state::list_entries"
        raise WireError(Code.INVALID_CURSOR, text)
    return int(match[1])
