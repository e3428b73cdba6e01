"""Quotas, both sides of each, in their order (docs/state.md, 14)."""

from __future__ import annotations

from typing import Any

import pytest

from iii_fast.contracts import Limits
from tests.reference.states import Store


def put(key: str, value: Any = 1, scope: str = "s") -> dict[str, Any]:
    return {"type": "set", "scope": scope, "key": key, "value": value}


def key_too_large(what: str, size: int, limit: int) -> str:
    return f"KEY_TOO_LARGE: {what} of {size} bytes exceeds the configured max_key_bytes limit of {limit}"


def value_too_large(size: int, limit: int) -> str:
    return f"VALUE_TOO_LARGE: value of {size} bytes exceeds the configured max_value_bytes limit of {limit}"


def scope_full(scope: str, size: int, limit: int) -> str:
    return f'SCOPE_FULL: scope "{scope}" would have {size} bytes, the configured max_scope_bytes limit is {limit}'


def state_full(size: int, limit: int) -> str:
    return f"STATE_FULL: state would have {size} bytes, the configured max_total_bytes limit is {limit}"


# Keys and scopes' names


def test_names() -> None:
    store = Store(Limits(key_bytes_max=4))
    store.set("éé", scope="éé")
    members = {"scope": "s", "key": "ééx", "value": 1}
    assert store.refused("set", **members) == key_too_large("key", 5, 4)
    assert store.refused("set", **{**members, "scope": "scope"}) == key_too_large("scope", 5, 4)
    assert store.refused("compare-and-set", **members, expected=7) == key_too_large("key", 5, 4)
    assert store.refused("update", scope="s", key="ééx", ops=[]) == key_too_large("key", 5, 4)
    entries = [{"key": "k", "value": 1}, {"key": "12345", "value": 1}, {"key": "123456", "value": 1}]
    assert store.refused("set_many", scope="s", entries=entries) == key_too_large("key", 5, 4)


def test_names_come_before_everything_else_of_a_transaction() -> None:
    store = Store(Limits(key_bytes_max=4, value_bytes_max=2))
    checks = [{"scope": "s", "key": "k", "version": 9}]
    assert store.refused("transact", checks=checks, ops=[put("k", 123), put("12345")]) == key_too_large("key", 5, 4)
    updated = {"type": "update", "scope": "12345", "key": "k", "ops": []}
    assert store.refused("transact", checks=checks, ops=[updated]) == key_too_large("scope", 5, 4)


def test_long_names_may_be_read_and_deleted() -> None:
    store = Store(Limits(key_bytes_max=1))
    place = {"scope": "long", "key": "long"}
    assert store.call("get", **place) is None
    assert store.call("delete", **place) is None
    assert store.call("delete_many", keys=[place]) == '{"deleted":0,"version":null}'
    ops = [{"type": "delete", **place}]
    assert store.call("transact", checks=[{**place, "absent": True}], ops=ops) is not None


# Values


def test_values() -> None:
    store = Store(Limits(value_bytes_max=4))
    store.set("k", "é")
    members = {"scope": "s", "key": "k", "value": "éx"}
    assert store.refused("set", **members) == value_too_large(5, 4)
    assert store.refused("compare-and-set", **members, expected="other") == value_too_large(5, 4)
    append = [{"type": "append", "path": "", "value": "xy"}]
    assert store.refused("update", scope="s", key="k", ops=append) == value_too_large(6, 4)
    assert store.refused("set_many", entries=[members, {**members, "value": "12345"}]) == value_too_large(5, 4)
    assert store.refused("transact", ops=[put("a"), put("b", "123")]) == value_too_large(5, 4)
    assert store.keys() == ["k"]


def test_checks_of_a_transaction_come_before_its_values() -> None:
    store = Store(Limits(value_bytes_max=4))
    checks = [{"scope": "s", "key": "k", "version": 1}]
    result = store.call("transact", checks=checks, ops=[put("b", "123")])
    assert result is not None
    assert result.startswith('{"committed":false,"failed_check"')


# A scope


def test_a_scope_counts_keys_and_values() -> None:
    store = Store(Limits(scope_bytes_max=10))
    store.set("é", "123")
    store.set("k", 12)
    assert store.refused("set", scope="s", key="l", value=1) == scope_full("s", 12, 10)
    assert store.refused("set", scope="s", key="k", value=123) == scope_full("s", 11, 10)
    store.set("k", 1)
    store.set("k", 12)
    store.set("k", "123456789"[:7], scope="t")
    assert store.refused("set", scope="t", key="k", value="12345678") == scope_full("t", 11, 10)
    assert store.refused("set", scope='"', key="k", value="12345678") == (
        'SCOPE_FULL: scope "\\"" would have 11 bytes, the configured max_scope_bytes limit is 10'
    )


def test_a_write_that_adds_nothing_is_not_refused() -> None:
    store = Store()
    store.set("k", "123456")
    small = Store(Limits(scope_bytes_max=4, total_bytes_max=4))
    small.state.entries = store.state.entries  # as after a start with less than there is
    small.set("k", "654321")
    small.set("k", "12345")
    assert small.refused("set", scope="s", key="k", value="123456") == scope_full("s", 9, 4)
    assert small.refused("set", scope="s", key="l", value=1) == scope_full("s", 10, 4)
    small.call("transact", ops=[put("k", ""), put("l", 12)])
    assert small.keys() == ["k", "l"]
    assert small.call("delete", scope="s", key="k") == '""'


def test_writes_together_count_as_a_whole() -> None:
    store = Store(Limits(scope_bytes_max=4))
    store.set("k", 123)
    ops = [put("l", 12), {"type": "delete", "scope": "s", "key": "k"}]
    assert store.call("transact", ops=ops) is not None
    assert store.keys() == ["l"]
    entries = [{"scope": scope, "key": "key", "value": 12} for scope in ("b", "a")]
    assert store.refused("set_many", entries=entries) == scope_full("b", 5, 4)
    entries = [{"key": "m", "value": value} for value in (12345, 1)]
    assert store.refused("set_many", scope="s", entries=entries) == scope_full("s", 5, 4)
    assert store.call("set_many", scope="t", entries=entries) is not None


def test_what_has_expired_counts_until_it_is_removed() -> None:
    store = Store(Limits(scope_bytes_max=4))
    store.set("k", 1, ttl_ms=1)
    store.now += 1
    assert store.refused("set", scope="s", key="l", value=12) == scope_full("s", 5, 4)
    assert store.refused("set", scope="s", key="k", value=12) == scope_full("s", 5, 4)
    assert store.state.expire_due(1) == 1
    store.set("l", 12)


# Everything


def test_the_total_counts_the_scope_with_each_entry() -> None:
    store = Store(Limits(total_bytes_max=10))
    store.set("a", 1, scope="éé")
    assert store.state.entries.bytes == 6
    store.set("b", 12, scope="s")
    assert store.refused("set", scope="t", key="k", value=1) == state_full(13, 10)
    assert store.refused("set", scope="s", key="b", value=123) == state_full(11, 10)
    store.call("delete_scope", scope="éé")
    assert store.state.entries.bytes == 4
    assert store.refused("set_many", scope="é", entries=[{"key": "k", "value": 1}] * 2 + [put("l")]) == (
        state_full(11, 10)
    )
    assert store.refused("set_many", entries=[put("c"), put("d", 12)]) == state_full(11, 10)
    store.call("set_many", entries=[put("c"), put("d")])
    assert store.state.entries.bytes == 10


def test_the_order_of_the_checks() -> None:
    store = Store(Limits(key_bytes_max=1, value_bytes_max=1, scope_bytes_max=1, total_bytes_max=1))
    members = {"scope": "s", "key": "k"}
    assert store.refused("set", scope="s", key="12", value=12) == key_too_large("key", 2, 1)
    assert store.refused("set", **members, value=12) == value_too_large(2, 1)
    assert store.refused("set", **members, value=1) == scope_full("s", 2, 1)
    assert store.refused("set", scope="s", key="", value=1) == state_full(2, 1)
    store.set("", 1, scope="")


@pytest.mark.parametrize("durable", [True, False])
def test_durability_comes_before_quotas(durable: bool) -> None:
    store = Store(Limits(key_bytes_max=1))
    refusal = store.refused("set", scope="s", key="12", value=1, durable=durable)
    assert refusal.startswith("DURABILITY_UNAVAILABLE" if durable else "KEY_TOO_LARGE")
