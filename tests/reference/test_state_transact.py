"""``state::transact`` (docs/state.md, 13)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iii_fast.contracts import Limits
from iii_fast.reference import state_quotas
from iii_fast.reference.update import DOC_URL
from tests.reference.states import NOW, Store

K = {"scope": "s", "key": "k"}
INCREMENT = {"type": "update", **K, "ops": [{"type": "increment", "path": "n", "by": 1}]}


@pytest.fixture
def store() -> Store:
    return Store()


def put(key: str, value: Any, scope: str = "s", **members: Any) -> dict[str, Any]:
    return {"type": "set", "scope": scope, "key": key, "value": value, **members}


def drop(key: str) -> dict[str, Any]:
    return {"type": "delete", "scope": "s", "key": key}


def test_ops_are_done_in_their_order_and_see_each_other(store: Store) -> None:
    store.set("old", "v")
    store.events()
    ops = [put("k", {}), INCREMENT, INCREMENT, drop("old"), drop("old"), put("b", 1, scope="t")]
    assert store.call("transact", ops=ops) == (
        '{"committed":true,"version":6,"results":[{"old_value":null,"new_value":{}},'
        '{"old_value":{},"new_value":{"n":1}},{"old_value":{"n":1},"new_value":{"n":2}},"v",null,'
        '{"old_value":null,"new_value":1}]}'
    )
    assert store.changes(1) == ["6 created s/k", "6 updated s/k", "6 updated s/k", "6 deleted s/old", "6 created t/b"]
    assert store.events() == [
        "state:created s/k null -> {}",
        'state:updated s/k {} -> {"n":1}',
        'state:updated s/k {"n":1} -> {"n":2}',
        'state:deleted s/old "v" -> null',
        "state:created t/b null -> 1",
    ]
    assert store.entry("k") == {"value": {"n": 2}, "version": 6, "expires_at": None}


def test_a_key_that_is_deleted_and_set_again_is_new(store: Store) -> None:
    store.set("a")
    store.set("b")
    store.call("transact", ops=[put("c", 1), drop("a"), put("a", 2), drop("c")])
    assert store.keys() == ["b", "a"]
    assert store.changes(2) == ["6 created s/c", "6 deleted s/a", "6 created s/a", "6 deleted s/c"]
    assert [entry.insertion for _, entry in store.state.items("s", 0)] == [2, 5]


def test_nothing_changed_has_no_version(store: Store) -> None:
    nothing = {"type": "update", **K, "ops": []}
    assert store.call("transact", ops=[drop("k"), nothing]) == (
        '{"committed":true,"version":null,"results":[null,{"old_value":null,"new_value":null}]}'
    )
    assert store.log.position == 0


def test_expiry_of_ops(store: Store) -> None:
    ops = [put("k", {}, ttl_ms=5), INCREMENT, put("l", 1, expires_at=NOW + 9), {**INCREMENT, "key": "m", "ttl_ms": 7}]
    store.call("transact", ops=ops)
    assert [store.entry(key)["expires_at"] for key in "klm"] == [NOW + 5, NOW + 9, NOW + 7]


def test_checks_that_hold(store: Store) -> None:
    version = store.set("k", 1)
    checks = [{**K, "version": version}, {"scope": "s", "key": "x", "absent": True}]
    assert store.call("transact", checks=checks, ops=[put("x", 1), put("k", 2)]) == (
        '{"committed":true,"version":3,"results":[{"old_value":null,"new_value":1},{"old_value":1,"new_value":2}]}'
    )


@pytest.mark.parametrize(
    ("check", "failed"),
    [
        ({"key": "k", "version": 2}, '"index":1,"scope":"s","key":"k","version":1'),
        ({"key": "k", "absent": True}, '"index":1,"scope":"s","key":"k","version":1'),
        ({"key": "x\n", "version": 1}, '"index":1,"scope":"s","key":"x\\n","version":null'),
    ],
)
def test_a_check_that_fails(store: Store, check: dict[str, Any], failed: str) -> None:
    store.set("k", 1)
    checks = [{**K, "version": 1}, {"scope": "s", **check}, {**K, "version": 9}]
    ops = [put("k", 2), {**INCREMENT, "ops": [{"type": "merge", "value": 1}]}]
    assert store.call("transact", checks=checks, ops=ops) == f'{{"committed":false,"failed_check":{{{failed}}}}}'
    assert store.entry("k")["value"] == 1
    assert store.log.position == 1


def test_checks_do_not_see_what_has_expired(store: Store) -> None:
    store.set("k", 1, ttl_ms=1)
    store.now += 1
    assert store.call("transact", checks=[{**K, "version": 1}], ops=[drop("k")]) == (
        '{"committed":false,"failed_check":{"index":0,"scope":"s","key":"k","version":null}}'
    )
    result = store.call("transact", checks=[{**K, "absent": True}], ops=[put("k", 2)])
    assert result == '{"committed":true,"version":3,"results":[{"old_value":null,"new_value":2}]}'


def test_an_update_that_fails_undoes_everything(store: Store) -> None:
    store.set("k", {"n": "text"})
    store.events()
    ops = [
        put("a", 1),
        {**INCREMENT, "ops": [*INCREMENT["ops"], {"type": "set", "path": "b", "value": 1}]},
        put("b", 1),
    ]
    assert store.call("transact", ops=ops) == (
        '{"committed":false,"failed_op":{"index":1,"scope":"s","key":"k","errors":[{"op_index":0,'
        '"code":"increment.not_number","message":"Expected number at path \'n\', got string.",'
        f'"doc_url":"{DOC_URL}"}}]}}}}'
    )
    assert store.keys() == ["k"]
    assert store.entry("k") == {"value": {"n": "text"}, "version": 1, "expires_at": None}
    assert store.events() == []
    assert store.log.position == 1


def test_what_cannot_be_applied_first_counts() -> None:
    store = Store(Limits(value_bytes_max=5))
    failing = {"type": "update", **K, "ops": [{"type": "merge", "value": 1}]}
    result = store.call("transact", ops=[failing, put("k", "12345")])
    assert json.loads(result or "")["failed_op"]["index"] == 0
    assert store.refused("transact", ops=[put("k", "12345"), failing]) == (
        "VALUE_TOO_LARGE: value of 7 bytes exceeds the configured max_value_bytes limit of 5"
    )


def test_what_one_call_sets_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_quotas, "COMMIT_BYTES_MAX", 40)
    store.set("k", {"v": "x" * 20})
    many = "payload_too_large: scopes, keys and values of one write have 41 bytes or more, the limit is 40"
    assert store.refused("transact", ops=[put("a", "é" * 6), drop("k"), put("b", "x" * 21)]) == many
    assert store.refused("set_many", scope="s", entries=[{"key": "a", "value": "x" * 36}, {"key": "b", "value": 1}])
    assert store.refused("set", scope="s", key="b", value="x" * 37) == many
    assert store.refused("transact", ops=[INCREMENT, INCREMENT]).startswith("payload_too_large: ")
    assert store.call("transact", ops=[put("a", "é" * 6), drop("k"), put("b", "x" * 20)])
    assert store.keys() == ["a", "b"]


def test_a_call_may_set_as_much_as_both_backends_say() -> None:
    assert state_quotas.COMMIT_BYTES_MAX == 256 << 20
