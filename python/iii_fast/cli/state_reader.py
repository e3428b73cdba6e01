"""Reads all entries of a scope from a running engine, page by page, with their expiry."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from iii_fast import jsontext
from iii_fast.cli import packed
from iii_fast.cli.failure import CommandError
from iii_fast.cli.record import Record
from iii_fast.cli.session import Session
from iii_fast.errors import WireError
from iii_fast.protocol import Code

PAGE_ENTRIES: Final = 1_000
PAGE_BYTES: Final = 1_000_000
PAGE_BYTES_MAX: Final = 16_000_000
"""What ``state::list_entries`` can be asked for; larger entries are found by their keys."""

KEYS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in order. The scope goes on behind ``cursor``, or, among all its keys, behind ``after_key``."""

    records: list[Record]
    cursor: str | None
    after_key: str | None


async def scopes(session: Session) -> list[str]:
    """The names of all scopes, sorted by their UTF-8 bytes."""
    answer = await session.call("state::list_groups", b"{}")
    return sorted(_strings(_member(answer, "groups", "state::list_groups")), key=str.encode)


async def pages(
    session: Session, scope: str, cursor: str | None = None, after_key: str | None = None, *, take_packed: bool = False
) -> AsyncGenerator[Page]:
    """The entries of a scope in insertion order, from a former page's end on.

    None that is there throughout is missed. Each is as it is when its page is read; what is gone by then is left out.
    ``take_packed``: values that JSON does not have come as ``packed``; otherwise they end it with a ``CommandError``.
    Raises ``WireError`` and ``NoEngineError``; ``CommandError`` when the engine answers what it should not.
    """
    bytes_max = PAGE_BYTES
    while True:
        try:
            answer = await _list_entries(session, scope, cursor, bytes_max)
        except WireError as error:
            if error.code not in (Code.ROW_TOO_LARGE, Code.NOT_EXPRESSIBLE):
                raise
            if error.code == Code.ROW_TOO_LARGE and bytes_max < PAGE_BYTES_MAX:
                bytes_max = PAGE_BYTES_MAX
                continue
            async with aclosing(_by_keys(session, scope, cursor, after_key, take_packed)) as rest:
                async for page in rest:
                    yield page
            return
        keys, following = _page(answer)
        records = await _with_expiry(session, scope, keys, take_packed)
        cursor, after_key, bytes_max = following, keys[-1] if keys else after_key, PAGE_BYTES
        yield Page(records, cursor, after_key)
        if cursor is None:
            return


async def keys_of(session: Session, scope: str, prefix: str | None = None) -> AsyncGenerator[list[str]]:
    """The keys of a scope that begin with ``prefix``, in insertion order, in portions."""
    try:
        yield await _list_keys(session, scope, prefix)
        return
    except WireError as error:
        if error.code != Code.PAYLOAD_TOO_LARGE:
            raise
    cursor: str | None = None
    while True:
        answer = await _list_entries(session, scope, cursor, PAGE_BYTES_MAX, prefix)
        keys, cursor = _page(answer)
        yield keys
        if cursor is None:
            return


async def _by_keys(
    session: Session, scope: str, cursor: str | None, after_key: str | None, take_packed: bool
) -> AsyncGenerator[Page]:
    """The rest of a scope with entries that no page in JSON can hold."""
    keys = await _list_keys(session, scope, None)
    # If that key was deleted meanwhile, entries come twice, which changes nothing when they are imported.
    start = keys.index(after_key) + 1 if after_key in keys else 0
    for at in range(start, len(keys), KEYS_AT_ONCE):
        portion = keys[at : at + KEYS_AT_ONCE]
        yield Page(await _with_expiry(session, scope, portion, take_packed), cursor, portion[-1])


async def _list_keys(session: Session, scope: str, prefix: str | None) -> list[str]:
    answer = await session.call("state::list_keys", jsontext.encode({"scope": scope, "prefix": prefix}))
    return _strings(_member(answer, "keys", "state::list_keys"))


async def _list_entries(
    session: Session, scope: str, cursor: str | None, bytes_max: int, prefix: str | None = None
) -> bytes:
    question = {"scope": scope, "prefix": prefix, "cursor": cursor, "limit": PAGE_ENTRIES, "max_bytes": bytes_max}
    return await session.call("state::list_entries", jsontext.encode(question))


async def _with_expiry(session: Session, scope: str, keys: list[str], take_packed: bool) -> list[Record]:
    """The entries of these keys, value and expiry of one instant; asks for fewer at a time when they are too large.

    So it does to find those that JSON does not have. Raises ``CommandError`` for the first of them that is not taken.
    """
    if not keys:
        return []
    question = {"scope": scope, "keys": [{"key": key} for key in keys], "meta": True}
    try:
        answer = await session.call("state::get_many", jsontext.encode(question))
    except WireError as error:
        foreign = packed.problem_of(error)
        if foreign is not None and not take_packed:
            at, problem = foreign
            hint = "export with --format msgpack"
            raise CommandError(f"scope {scope!r}, key {keys[at]!r}: {problem}; {hint}") from None
        if foreign is not None and len(keys) == 1:
            return await _packed_entry(session, scope, keys[0])
        if foreign is None and (error.code != Code.PAYLOAD_TOO_LARGE or len(keys) == 1):
            raise
        half = len(keys) // 2
        first = await _with_expiry(session, scope, keys[:half], take_packed)
        return first + await _with_expiry(session, scope, keys[half:], take_packed)
    entries = jsontext.elements(_member(answer, "entries", "state::get_many")) or []
    found = zip(keys, entries, strict=True)
    return [_record(scope, key, entry) for key, entry in found if not jsontext.is_null(entry)]


async def _packed_entry(session: Session, scope: str, key: str) -> list[Record]:
    """An entry as msgpack, if it is still there."""
    question = packed.pack({"scope": scope, "key": key, "meta": True})
    entry = packed.unpack(await session.call("state::get", question))
    return [] if entry is None else [Record(scope, key, packed.pack(entry["value"]), entry["expires_at"])]


def _page(answer: bytes) -> tuple[list[str], str | None]:
    """Of a page of ``state::list_entries`` the keys, and the cursor behind it."""
    entries = jsontext.decode(_member(answer, "entries", "state::list_entries"))
    return [str(key) for key, _ in entries], jsontext.decode(_member(answer, "next_cursor", "state::list_entries"))


def _record(scope: str, key: str, entry: bytes) -> Record:
    members = dict(jsontext.members(entry) or ())
    value, expires_at = members.get("value"), members.get("expires_at", b"null")
    if value is None:
        raise _odd("state::get_many", "value")
    return Record(scope, key, value, None if expires_at == b"null" else int(expires_at))


def _member(answer: bytes, name: str, function_id: str) -> bytes:
    found = dict(jsontext.members(answer) or ()).get(name)
    if found is None:
        raise _odd(function_id, name)
    return found


def _odd(function_id: str, name: str) -> CommandError:
    return CommandError(f"{function_id} answered without `{name}`: is this engine iii-fast, and up to date?")


def _strings(text: bytes) -> list[str]:
    return [str(one) for one in jsontext.decode(text)]
