"""Writing: positions, durability, compare-and-set, and many keys together (docs/state.md 1, 2, 9 to 12)."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tests.reference.states import Disk, Store

UNAVAILABLE = (
    "DURABILITY_UNAVAILABLE: field `durable`: this engine keeps state in memory only; configure store_method file_based"
)
WRITES: list[tuple[str, dict[str, Any]]] = [
    ("set", {"scope": "s", "key": "k", "value": 1}),
    ("delete", {"scope": "s", "key": "k"}),
    ("update", {"scope": "s", "key": "k", "ops": []}),
    ("compare-and-set", {"scope": "s", "key": "k", "value": 1}),
    ("set_many", {"scope": "s", "entries": [{"key": "k", "value": 1}]}),
    ("delete_many", {"scope": "s", "keys": [{"key": "k"}]}),
    ("delete_scope", {"scope": "s"}),
    ("transact", {"ops": [{"type": "delete", "scope": "s", "key": "k"}]}),
]


@pytest.fixture
def store() -> Store:
    return Store()


# Positions


def test_only_what_changes_something_has_a_position(store: Store) -> None:
    assert store.set("k", 1) == 1
    assert store.set("k", 1) == 2
    for function, members in (
        ("delete", {"key": "x"}),
        ("update", {"key": "k", "ops": []}),
        ("update", {"key": "k", "ops": [{"type": "remove", "path": "a"}]}),
        ("delete_many", {"keys": [{"key": "x"}]}),
        ("compare-and-set", {"key": "k", "value": 1}),
    ):
        store.call(function, scope="s", **members)
    store.call("delete_scope", scope="x")
    assert store.log.position == 2
    store.call("delete", scope="s", key="k")
    assert store.log.position == 3


def test_a_new_key_gets_an_insertion_number_of_its_own(store: Store) -> None:
    store.call("set_many", scope="s", entries=[{"key": key, "value": 1} for key in "abc"])
    store.set("b")
    assert [(key, entry.insertion, entry.version) for key, entry in store.state.items("s", 0)] == [
        ("a", 1, 3),
        ("b", 2, 4),
        ("c", 3, 3),
    ]


# Durability and storage


@pytest.mark.parametrize(("function", "members"), WRITES)
def test_durable_needs_files(store: Store, function: str, members: dict[str, Any]) -> None:
    assert store.refused(function, **members, durable=True) == UNAVAILABLE
    store.call(function, **members, durable=False)


@pytest.mark.parametrize(("function", "members"), WRITES)
def test_a_failed_disk_refuses_every_call_that_writes(store: Store, function: str, members: dict[str, Any]) -> None:
    store.set("k", 7, ttl_ms=1)
    store.set("l", 7)
    store.log.attach(Disk(), 2)
    store.log.fail("disk full")
    assert store.refused(function, **members, durable=True) == (
        "STORAGE_FAILED: state is read-only since a write to its files failed: disk full; "
        "free the disk or replace it, then restart the engine"
    )
    store.now += 1
    assert store.state.expire_due(10) == 0
    assert store.call("list", scope="s") == "[7]"


def test_durable_is_for_the_answer(store: Store) -> None:
    disk = Disk()
    store.log.attach(disk, 0)
    members = '"scope":"s","key":"k"'
    assert store.answer("set", f'{{{members},"value":1,"durable":true}}').durable
    assert not store.answer("set", f'{{{members},"value":1}}').durable
    assert [position for position, _ in disk.appended] == [1, 2]


def test_events_wait_for_the_disk(store: Store) -> None:
    store.log.attach(Disk(), 0)
    store.set("k", 1)
    store.set("k", 2)
    assert store.events() == []
    store.log.acknowledge(1, 0)
    assert store.events() == ["state:created s/k null -> 1"]
    store.log.fail("disk full")
    assert store.events() == []


# compare-and-set


def test_compare_with_a_value(store: Store) -> None:
    store.answer("set", '{"scope":"s","key":"k","value":{"a":1.0,"b":[]}}')
    data = '{"scope":"s","key":"k","value":"new","expected":{"b":[ ],"a":10e-1}}'
    assert store.answer("compare-and-set", data).result == '{"swapped":true,"current":"new","version":2}'
    assert store.answer("compare-and-set", data).result == '{"swapped":false,"current":"new","version":2}'
    assert store.events()[1:] == ['state:updated s/k {"a":1.0,"b":[]} -> "new"']
    assert store.call("compare-and-set", scope="s", key="x", value=1, expected=1) == (
        '{"swapped":false,"current":null,"version":null}'
    )


def test_compare_with_null(store: Store) -> None:
    assert store.call("compare-and-set", scope="s", key="k", value=1, expected=None) == (
        '{"swapped":false,"current":null,"version":null}'
    )
    store.set("k", None)
    assert store.call("compare-and-set", scope="s", key="k", value=1, expected=None) == (
        '{"swapped":true,"current":1,"version":2}'
    )


def test_compare_with_a_version(store: Store) -> None:
    store.set("k", 1)
    store.set("l", 1)
    assert store.call("compare-and-set", scope="s", key="k", value=2, version=2) == (
        '{"swapped":false,"current":1,"version":1}'
    )
    assert store.call("compare-and-set", scope="s", key="k", value=2, version=1) == (
        '{"swapped":true,"current":2,"version":3}'
    )
    assert store.call("compare-and-set", scope="s", key="x", value=2, version=1) == (
        '{"swapped":false,"current":null,"version":null}'
    )


def test_set_if_absent(store: Store) -> None:
    assert store.call("compare-and-set", scope="s", key="k", value=None) == (
        '{"swapped":true,"current":null,"version":1}'
    )
    assert store.call("compare-and-set", scope="s", key="k", value=2) == (
        '{"swapped":false,"current":null,"version":1}'
    )


# Many keys


def test_set_many(store: Store) -> None:
    store.set("old", 0)
    store.events()
    entries = [
        {"key": "a", "value": 1},
        {"scope": "t", "key": "b", "value": 2},
        {"key": "old", "value": 3},
        {"key": "a", "value": 4},
    ]
    assert store.call("set_many", scope="s", entries=entries) == '{"written":4,"version":5}'
    assert store.events() == [
        "state:created s/a null -> 1",
        "state:created t/b null -> 2",
        "state:updated s/old 0 -> 3",
        "state:updated s/a 1 -> 4",
    ]
    assert store.changes(1) == ["5 created s/a", "5 created t/b", "5 updated s/old", "5 updated s/a"]
    assert store.entry("a") == {"value": 4, "version": 5, "expires_at": None}
    assert store.keys() == ["old", "a"]


def test_delete_many(store: Store) -> None:
    for key in "abc":
        store.set(key)
    store.set("a", scope="t")
    store.events()
    keys = [{"key": "c"}, {"key": "nope"}, {"scope": "t", "key": "a"}, {"key": "c"}]
    assert store.call("delete_many", scope="s", keys=keys) == '{"deleted":2,"version":6}'
    assert store.events() == ["state:deleted s/c 1 -> null", "state:deleted t/a 1 -> null"]
    assert store.changes(4) == ["6 deleted s/c", "6 deleted t/a"]
    assert store.call("delete_many", scope="s", keys=keys) == '{"deleted":0,"version":null}'
    assert store.call("list_groups") == '{"groups":["s"]}'


def test_delete_scope(store: Store) -> None:
    for key in "bac":
        store.set(key)
    store.set("a", 2)
    store.set("a", scope="t")
    store.events()
    assert store.call("delete_scope", scope="s") == '{"deleted":3,"version":6}'
    assert store.events() == [
        "state:deleted s/b 1 -> null",
        "state:deleted s/a 2 -> null",
        "state:deleted s/c 1 -> null",
    ]
    assert store.changes(5) == ["6 scope_deleted s/*"]
    assert store.call("list_groups") == '{"groups":["t"]}'
    assert store.call("delete_scope", scope="s") == '{"deleted":0,"version":null}'


def test_removed_keys_leave_nothing_behind(store: Store) -> None:
    store.set("stays")
    store.call("set", scope="s", key="k", value=1, ttl_ms=1)
    size = len(pickle.dumps(store.state.entries))
    for _ in range(1_000):
        store.call("delete", scope="s", key="k")
        store.call("set", scope="s", key="k", value=1, ttl_ms=1)
    assert len(pickle.dumps(store.state.entries)) < size + 1_000
    assert store.keys() == ["stays", "k"]


def test_a_scope_of_many_keys_is_listed_and_emptied(store: Store) -> None:
    for turn in range(30):
        store.call("set_many", scope="s", entries=[{"key": f"{turn}-{number}", "value": 1} for number in range(1_000)])
    for turn in range(29):
        store.call("delete_many", scope="s", keys=[{"key": f"{turn}-{number}"} for number in range(1_000)])
    assert store.keys() == [f"29-{number}" for number in range(1_000)]
    assert store.call("delete_scope", scope="s") == '{"deleted":1000,"version":59001}'
    assert (store.state.entries.count, store.state.entries.bytes) == (0, 0)
