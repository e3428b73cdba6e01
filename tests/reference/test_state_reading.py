"""Reading: entries with their versions, many keys, keys and pages of a scope (docs/state.md, 5 to 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iii_fast.reference.state import PAGE_LOOKS_MAX
from tests.reference.states import NOW, Store, text


@pytest.fixture
def store() -> Store:
    return Store()


def page(store: Store, **members: Any) -> tuple[list[str], str | None]:
    """The keys of a page, and the cursor that goes on behind it."""
    found = json.loads(store.call("list_entries", scope="s", **members) or "")
    assert (found["next_cursor"] is None) is found["done"]
    return [key for key, _ in found["entries"]], found["next_cursor"]


def pages(store: Store, **members: Any) -> list[list[str]]:
    """The keys of all pages."""
    keys, cursor = page(store, **members)
    all_keys = [keys]
    while cursor is not None:
        keys, cursor = page(store, cursor=cursor, **members)
        all_keys.append(keys)
    return all_keys


# get, get_many


def test_an_entry_with_its_version_and_expiry(store: Store) -> None:
    store.answer("set", '{"scope":"s","key":"k","value":{"a" : 1.0}}')
    store.set("l", None, ttl_ms=5)
    assert store.call("get", scope="s", key="k", meta=True) == '{"value":{"a" : 1.0},"version":1,"expires_at":null}'
    assert store.call("get", scope="s", key="l", meta=True) == (f'{{"value":null,"version":2,"expires_at":{NOW + 5}}}')
    assert store.call("get", scope="s", key="l", meta=False) == "null"
    assert store.call("get", scope="s", key="m", meta=True) is None
    assert store.call("get", scope="s", key="m") is None


def test_many_keys_of_many_scopes(store: Store) -> None:
    store.set("k", 1)
    store.set("k", None, scope="t")
    keys = [{"key": "k"}, {"scope": "t", "key": "k"}, {"scope": None, "key": "nope"}, {"key": "k"}]
    assert store.call("get_many", scope="s", keys=keys) == '{"values":[1,null,null,1]}'
    assert store.call("get_many", keys=[{"scope": "t", "key": "k"}], meta=True) == (
        '{"entries":[{"value":null,"version":2,"expires_at":null}]}'
    )
    entry = '{"value":1,"version":1,"expires_at":null}'
    assert store.call("get_many", scope="s", keys=[{"key": "k"}, {"key": "x"}], meta=True) == (
        f'{{"entries":[{entry},null]}}'
    )


# list_keys


def test_keys_in_the_order_of_insertion(store: Store) -> None:
    for key in ("b", "a", 'é"\n', "b"):
        store.set(key)
    assert store.call("list_keys", scope="s") == '{"keys":["b","a","é\\"\\n"]}'
    store.call("delete", scope="s", key="b")
    store.set("b")
    assert store.keys() == ["a", 'é"\n', "b"]
    assert store.call("list_keys", scope="s", prefix="é") == '{"keys":["é\\"\\n"]}'
    assert store.call("list_keys", scope="s", prefix="x") == '{"keys":[]}'
    assert store.call("list_keys", scope="empty") == '{"keys":[]}'


# list_entries


def test_a_page_and_the_next_ones(store: Store) -> None:
    for key in "abcde":
        store.set(key, key)
    store.set("a", [1])
    assert store.call("list_entries", scope="s", limit=2) == (
        '{"entries":[["a",[1]],["b","b"]],"next_cursor":"c2","done":false,"total":5}'
    )
    assert store.call("list_entries", scope="s", limit=2, cursor="c4") == (
        '{"entries":[["e","e"]],"next_cursor":null,"done":true,"total":5}'
    )
    assert pages(store, limit=2) == [["a", "b"], ["c", "d"], ["e"]]
    assert pages(store, limit=5) == [list("abcde")]
    assert pages(store, limit=4) == [list("abcd"), ["e"]]
    assert store.call("list_entries", scope="empty") == ('{"entries":[],"next_cursor":null,"done":true,"total":0}')
    assert page(store, cursor="c18446744073709551615") == ([], None)


def test_without_a_limit_a_page_has_100_entries(store: Store) -> None:
    for number in range(101):
        store.set(str(number))
    assert [len(keys) for keys in pages(store)] == [100, 1]


def test_a_page_is_bounded_by_bytes(store: Store) -> None:
    for key in ("a", "é", "c"):
        store.set(key, key)
    row = len('["a","a"]')
    assert pages(store, max_bytes=row + 1 + row + 2) == [["a", "é"], ["c"]]
    assert pages(store, max_bytes=row + 1 + row + 1) == [["a"], ["é"], ["c"]]
    assert pages(store, max_bytes=row + 2) == [["a"], ["é"], ["c"]]
    assert page(store, max_bytes=row + 1) == (["a"], "c1")
    assert store.refused("list_entries", scope="s", cursor="c1", max_bytes=row + 1) == (
        f'ROW_TOO_LARGE: entry "é" has {row + 2} bytes, field `max_bytes` is {row + 1}'
    )
    assert store.refused("list_entries", scope="s", max_bytes=1) == (
        f'ROW_TOO_LARGE: entry "a" has {row} bytes, field `max_bytes` is 1'
    )


def test_without_a_bound_a_page_has_a_million_bytes(store: Store) -> None:
    store.set("k", "x" * 1_000_000)
    assert store.refused("list_entries", scope="s") == (
        'ROW_TOO_LARGE: entry "k" has 1000008 bytes, field `max_bytes` is 1000000'
    )
    assert page(store, max_bytes=1_000_008) == (["k"], None)


def test_the_prefix_does_not_change_the_total(store: Store) -> None:
    for key in ("a1", "b1", "a2", "b2"):
        store.set(key)
    assert store.call("list_entries", scope="s", prefix="a") == (
        '{"entries":[["a1",1],["a2",1]],"next_cursor":null,"done":true,"total":4}'
    )
    # Something is behind this page, though nothing that it would show.
    assert pages(store, prefix="a", limit=2) == [["a1", "a2"], []]
    assert pages(store, prefix="b", limit=2) == [["b1", "b2"]]


def test_what_has_expired_is_not_behind_a_page(store: Store) -> None:
    store.set("a")
    store.set("b", ttl_ms=1)
    store.now += 1
    assert store.call("list_entries", scope="s", limit=1) == (
        '{"entries":[["a",1]],"next_cursor":null,"done":true,"total":1}'
    )


def test_nothing_that_stays_is_missed_or_repeated(store: Store) -> None:
    for number in range(20):
        store.set(f"k{number}")
    seen, cursor = page(store, limit=5)
    store.call("delete", scope="s", key="k2")
    store.call("delete", scope="s", key="k4")  # the one that the cursor is at
    store.call("delete", scope="s", key="k7")
    store.set("k1", "changed")
    store.set("k2", "again")
    while cursor is not None:
        keys, cursor = page(store, limit=5, cursor=cursor)
        seen += keys
    assert seen == [*(f"k{number}" for number in range(20) if number != 7), "k2"]


def test_a_page_looks_at_so_many_entries(store: Store) -> None:
    entries = [{"key": f"x{number}", "value": 0} for number in range(1_000)]
    for turn in range(PAGE_LOOKS_MAX // 1_000):
        store.call("set_many", scope="s", entries=[{**entry, "key": f"{entry['key']}-{turn}"} for entry in entries])
    assert page(store, prefix="y") == ([], None)
    store.set("y")
    assert page(store, prefix="y") == ([], f"c{PAGE_LOOKS_MAX}")
    assert pages(store, prefix="y") == [[], ["y"]]


@pytest.mark.parametrize(
    "cursor",
    ["", "c", "1", "c0", "c01", "c-1", "c+1", "C1", "c1 ", "c1\n", "c1.0", "c18446744073709551616", "c\u0661", "x"],
)
def test_no_cursor(store: Store, cursor: str) -> None:
    assert store.refused("list_entries", scope="s", cursor=cursor, limit=0) == (
        f"INVALID_CURSOR: field `cursor`: {text(cursor)} is not a cursor of state::list_entries"
    )


def test_a_cursor_is_quoted_as_it_came(store: Store) -> None:
    assert store.refused_text("list_entries", '{"scope":"s","cursor":"\\u0078"}') == (
        'INVALID_CURSOR: field `cursor`: "\\u0078" is not a cursor of state::list_entries'
    )
