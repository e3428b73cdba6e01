"""Expiry (docs/state.md, 3 and 4)."""

from __future__ import annotations

import pytest

from iii_fast.reference.history import Filter
from tests.reference.states import NOW, Store


@pytest.fixture
def store() -> Store:
    return Store()


def test_ttl_counts_from_the_call(store: Store) -> None:
    store.now = NOW + 7
    store.set("k", ttl_ms=10)
    assert store.entry("k") == {"value": 1, "version": 1, "expires_at": NOW + 17}


def test_set_ends_an_expiry_and_update_keeps_it(store: Store) -> None:
    increment = [{"type": "increment", "path": "", "by": 1}]
    store.set("k", expires_at=NOW + 9)
    store.call("update", scope="s", key="k", ops=increment)
    assert store.entry("k") == {"value": 2, "version": 2, "expires_at": NOW + 9}
    store.call("update", scope="s", key="k", ops=increment, ttl_ms=5)
    assert store.entry("k")["expires_at"] == NOW + 5
    store.call("update", scope="s", key="k", ops=[{"type": "merge", "value": 1}], ttl_ms=50)
    assert store.entry("k") == {"value": 3, "version": 3, "expires_at": NOW + 5}
    store.set("k")
    assert store.entry("k")["expires_at"] is None
    store.call("compare-and-set", scope="s", key="k", value=1, version=4, ttl_ms=5)
    assert store.entry("k")["expires_at"] == NOW + 5
    store.call("set_many", scope="s", entries=[{"key": "k", "value": 1, "ttl_ms": 6}])
    assert store.entry("k")["expires_at"] == NOW + 6
    store.call("set_many", scope="s", entries=[{"key": "k", "value": 1}])
    assert store.entry("k")["expires_at"] is None


def test_nobody_sees_an_entry_from_its_time_on(store: Store) -> None:
    store.set("k", expires_at=NOW + 10)
    store.set("stays")
    store.set("k", scope="t", expires_at=NOW + 10)
    store.now = NOW + 9
    assert store.entry("k") is not None
    assert store.call("list_groups") == '{"groups":["s","t"]}'
    store.now = NOW + 10
    position = store.log.position
    assert store.call("get", scope="s", key="k") is None
    assert store.entry("k") is None
    assert store.call("get_many", scope="s", keys=[{"key": "k"}, {"key": "stays"}]) == '{"values":[null,1]}'
    assert store.call("list", scope="s") == "[1]"
    assert store.keys() == ["stays"]
    page = '{"entries":[["stays",1]],"next_cursor":null,"done":true,"total":1}'
    assert store.call("list_entries", scope="s") == page
    assert store.call("list_groups") == '{"groups":["s"]}'
    assert store.call("delete", scope="s", key="k") is None
    assert store.call("delete_many", scope="s", keys=[{"key": "k"}]) == '{"deleted":0,"version":null}'
    assert store.call("delete_scope", scope="t") == '{"deleted":0,"version":null}'
    assert store.call("compare-and-set", scope="s", key="k", value=2, expected=1) == (
        '{"swapped":false,"current":null,"version":null}'
    )
    assert store.call("update", scope="s", key="k", ops=[{"type": "remove", "path": "a"}]) == (
        '{"old_value":null,"new_value":null}'
    )
    assert store.log.position == position


def test_the_background_removes_what_is_due_in_the_order_of_time_then_insertion(store: Store) -> None:
    for key, until in (("d", 3), ("b", 2), ("c", 2), ("a", 1), ("e", 4)):
        store.set(key, key, expires_at=NOW + until)
    store.events()
    assert store.state.expire_due(10) == 0
    store.now = NOW + 3
    assert store.state.expire_due(2) == 2
    assert store.changes(5) == ["6 expired s/a", "7 expired s/b"]
    assert store.state.expire_due(10) == 2
    assert store.changes(7) == ["8 expired s/c", "9 expired s/d"]
    assert store.events() == [f'state:expired s/{key} "{key}" -> null' for key in "abcd"]
    assert store.keys() == ["e"]
    assert store.state.entries.count == 1


def test_an_expiry_that_was_put_off_does_not_come(store: Store) -> None:
    store.set("k", expires_at=NOW + 1)
    store.set("k", expires_at=NOW + 2)
    store.now = NOW + 1
    assert store.state.expire_due(10) == 0
    store.set("k")
    store.now = NOW + 2
    assert store.state.expire_due(10) == 0
    assert store.entry("k") is not None


def test_a_write_to_the_key_removes_it_first(store: Store) -> None:
    store.set("k", "old", expires_at=NOW + 1)
    store.set("l")
    store.events()
    store.now = NOW + 1
    assert store.call("set", scope="s", key="k", value="new") == '{"old_value":null,"new_value":"new"}'
    assert store.changes(2) == ["3 expired s/k", "4 created s/k"]
    assert store.events() == ['state:expired s/k "old" -> null', 'state:created s/k null -> "new"']
    assert store.keys() == ["l", "k"]


def test_writes_together_remove_their_keys_first_each_by_itself(store: Store) -> None:
    for key, until in (("a", 2), ("b", 1), ("c", 1)):
        store.set(key, expires_at=NOW + until)
    store.now = NOW + 2
    store.call("set_many", scope="s", entries=[{"key": "a", "value": 1}, {"key": "b", "value": 1}])
    assert store.changes(3) == ["4 expired s/b", "5 expired s/a", "7 created s/a", "7 created s/b"]
    assert store.state.entries.count == 3


def test_what_is_refused_removes_nothing(store: Store) -> None:
    store.set("k", expires_at=NOW + 1)
    store.now = NOW + 1
    ops = [
        {"type": "set", "scope": "s", "key": "k", "value": 1},
        {"type": "update", "scope": "s", "key": "k", "ops": [{"type": "merge", "value": 1}]},
    ]
    result = store.call("transact", ops=ops)
    assert result is not None
    assert result.startswith('{"committed":false')
    assert store.log.position == 1


def test_delete_scope_expires_what_is_due_and_deletes_the_rest(store: Store) -> None:
    store.set("late", expires_at=NOW + 2)
    store.set("k", "v")
    store.set("early", expires_at=NOW + 1)
    store.events()
    store.now = NOW + 2
    assert store.call("delete_scope", scope="s") == '{"deleted":1,"version":6}'
    assert store.changes(3) == ["4 expired s/early", "5 expired s/late", "6 scope_deleted s/*"]
    assert store.events() == [
        "state:expired s/early 1 -> null",
        "state:expired s/late 1 -> null",
        'state:deleted s/k "v" -> null',
    ]
    assert (store.state.entries.count, store.state.entries.bytes) == (0, 0)


def test_a_time_that_has_passed_is_written_and_gone(store: Store) -> None:
    assert store.call("set", scope="s", key="k", value=1, expires_at=0) == '{"old_value":null,"new_value":1}'
    assert store.entry("k") is None
    assert store.call("compare-and-set", scope="s", key="k", value=2, expires_at=NOW) == (
        '{"swapped":true,"current":null,"version":null}'
    )
    assert store.entry("k") is None
    assert store.state.expire_due(10) == 0
    assert store.changes() == ["1 created s/k", "2 expired s/k", "3 created s/k", "4 expired s/k"]


def test_ops_of_one_transaction_see_what_it_wrote_with_a_time_that_has_passed(store: Store) -> None:
    ops = [
        {"type": "set", "scope": "s", "key": "k", "value": 1, "expires_at": 0},
        {"type": "update", "scope": "s", "key": "k", "ops": [{"type": "increment", "path": "", "by": 1}]},
    ]
    assert store.call("transact", ops=ops) == (
        '{"committed":true,"version":2,"results":[{"old_value":null,"new_value":1},{"old_value":1,"new_value":2}]}'
    )
    assert store.entry("k") is None
    assert store.changes() == ["2 created s/k", "2 updated s/k", "3 expired s/k"]


def test_what_is_written_with_a_time_that_has_passed_goes_in_the_order_of_the_call(store: Store) -> None:
    entries = [{"key": key, "value": 1, "expires_at": until} for key, until in (("a", 2), ("b", 1), ("a", 3))]
    assert store.call("set_many", scope="s", entries=entries) == '{"written":3,"version":3}'
    assert store.changes(3) == ["4 expired s/a", "5 expired s/b"]


def test_the_expiry_of_a_change(store: Store) -> None:
    store.set("k", expires_at=NOW + 1)
    (change,) = store.log.read_changes(0, Filter(), 10, 10).items
    assert change.decode() == (
        f'{{"position":1,"type":"created","scope":"s","key":"k","value":1,"expires_at":{NOW + 1}}}'
    )
